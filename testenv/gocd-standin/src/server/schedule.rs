//! What the server does by itself: triggers pipelines by their timers, and gives the jobs of lost agents to others.

use std::sync::Arc;
use std::time::Duration;

use super::{Site, every};
use crate::clock;
use crate::cruise_config::Pipeline;

/// Starts the timers; they run until the process ends.
pub(super) fn start(site: &Arc<Site>) {
    for pipeline in site.config.pipelines() {
        if let Some(period) = pipeline.every() {
            tokio::spawn(trigger(Arc::clone(site), pipeline.clone(), period));
        }
    }
    tokio::spawn(reschedule(Arc::clone(site)));
}

async fn trigger(site: Arc<Site>, pipeline: Pipeline, period: Duration) {
    let Some((stage, job)) = pipeline.first_job() else { return };
    let mut timer = every(period);
    loop {
        timer.tick().await;
        if site.maintenance.is_on() {
            continue;
        }
        match site.database.trigger(&pipeline.name, &stage.name, &job.name).await {
            Ok(Some(counter)) => tracing::info!(pipeline = pipeline.name, counter, "stand-in: triggered"),
            Ok(None) => tracing::debug!(pipeline = pipeline.name, "stand-in: its first stage is still active"),
            Err(error) => tracing::error!(pipeline = pipeline.name, "stand-in: not triggered: {error}"),
        }
    }
}

async fn reschedule(site: Arc<Site>) {
    let mut timer = every(Duration::from_secs(1));
    loop {
        timer.tick().await;
        let lost = site.agents().lost(clock::now());
        for agent in lost {
            match site.database.reschedule_jobs_of(&agent).await {
                Ok(0) => {}
                Ok(jobs) => tracing::warn!(agent, jobs, "stand-in: agent lost contact; its jobs run again"),
                Err(error) => tracing::error!(agent, "stand-in: jobs not rescheduled: {error}"),
            }
        }
    }
}
