//! One job: run its tasks, report each step (GoCD: BuildWork, DefaultGoPublisher).
//!
//! The tasks run on through an outage of the server. A report is sent once: when one fails, the job is abandoned and reported
//! as failed, once; if that does not arrive either, the server runs the job again when this agent asks for work.

use std::process::Stdio;

use tokio::process::Command;

use super::link::Link;
use super::session::{Session, SessionError};
use crate::wire::{Assignment, Builder, JobIdentifier, JobResult, JobState};

/// Runs the job to its end, or abandons it; in both cases the agent is idle afterwards.
pub(super) async fn run(session: &Session, link: &mut Link, assignment: &Assignment) {
    let job = &assignment.job_identifier;
    tracing::info!(job = job.locator(), "stand-in: job started");
    session.set_job(Some(job));
    match attempt(session, link, assignment).await {
        Ok(result) => tracing::info!(job = job.locator(), ?result, "stand-in: job ended"),
        Err(error) => {
            tracing::warn!(job = job.locator(), "stand-in: job abandoned: {error}");
            if let Err(error) = session.report_result(link, "report_completed", job, JobResult::Failed).await {
                tracing::warn!(job = job.locator(), "stand-in: not reported either: {error}");
            }
        }
    }
    session.set_job(None);
}

async fn attempt(session: &Session, link: &mut Link, assignment: &Assignment) -> Result<JobResult, SessionError> {
    let job: &JobIdentifier = &assignment.job_identifier;
    session.report(link, job, JobState::Preparing).await?;
    session.report(link, job, JobState::Building).await?;
    let result = run_tasks(&assignment.builders).await;
    if session.is_ignored(link, job).await? {
        tracing::info!(job = job.locator(), "stand-in: nobody waits for this job any more");
        return Ok(JobResult::Cancelled);
    }
    session.report_result(link, "report_completing", job, result).await?;
    session.report_result(link, "report_completed", job, result).await?;
    Ok(result)
}

async fn run_tasks(builders: &[Builder]) -> JobResult {
    for Builder::CommandBuilderWithArgList { command, args } in builders {
        let ended = Command::new(command).args(args).stdin(Stdio::null()).kill_on_drop(true).status().await;
        if !ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
            tracing::warn!(command, ?ended, "stand-in: task failed");
            return JobResult::Failed;
        }
    }
    JobResult::Passed
}
