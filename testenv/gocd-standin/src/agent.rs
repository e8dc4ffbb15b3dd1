//! An agent: registers once, then pings and asks for work for ever; no failure ends it (GoCD: AgentController,
//! AgentWorkRetrievalScheduler).
//!
//! ```text
//! register ─► latest-agent.status changed? ─► cookie? ─► get_work ─► run, report ─┐
//!     ▲                  └► "relaunch": forget the cookie                        │
//!     └───────────────────────── pause, 1 s × 1.5 … 10 s ◄──────────────────────┘     beside it: ping every 5 s
//! ```

mod identity;
mod job;
mod link;
mod registration;
mod session;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::wire::Work;
use crate::{AgentArgs, VERSION, clock};
use identity::Identity;
use link::Link;
use session::{Session, SessionError};

/// Runs the agent until it is killed; ends with exit code 1 only when its own directory or its URL is no good.
pub(crate) async fn run(args: AgentArgs) -> ExitCode {
    let link = match Link::parse(&args.server_url) {
        Ok(link) => link,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let identity = match Identity::load_or_create(&args.work_directory) {
        Ok(identity) => identity,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(
        version = VERSION,
        server = args.server_url,
        uuid = identity.uuid(),
        "stand-in for a GoCD agent starting"
    );

    let session = Arc::new(Session::new(identity, &args));
    tokio::spawn(ping(Arc::clone(&session), link.clone(), args.ping_interval));
    work(&session, link, &args).await
}

async fn ping(session: Arc<Session>, mut link: Link, period: Duration) {
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        if let Err(error) = session.ping(&mut link).await {
            tracing::warn!("stand-in: ping: {error}");
        }
    }
}

async fn work(session: &Session, mut link: Link, args: &AgentArgs) -> ! {
    let mut backoff = Backoff::new(args.work_interval);
    loop {
        match attempt(session, &mut link, args).await {
            Ok(true) => backoff.reset(),
            Ok(false) => {}
            Err(error) => tracing::warn!("stand-in: {error}; trying again"),
        }
        clock::pause(backoff.next()).await;
    }
}

/// One round of the loop; true if there was a job.
async fn attempt(session: &Session, link: &mut Link, args: &AgentArgs) -> Result<bool, SessionError> {
    if !session.is_registered() {
        registration::register(session, link, &args.auto_register_key).await?;
    }
    session.relaunch_if_outdated(link).await?;
    session.get_cookie_if_necessary(link).await?;
    match session.get_work(link).await? {
        Work::NoWork => Ok(false),
        Work::BuildWork { assignment, .. } => {
            job::run(session, link, &assignment).await;
            Ok(true)
        }
        refused @ (Work::DeniedAgentWork | Work::UnregisteredAgentWork) => {
            tracing::warn!(?refused, "stand-in: no work for this agent");
            Ok(false)
        }
    }
}

/// Pauses between requests for work: 1 s, then half as long again each time, up to a limit.
struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    fn new(longest: Duration) -> Self {
        let mut backoff = Self { next: Duration::ZERO, longest };
        backoff.reset();
        backoff
    }

    fn reset(&mut self) {
        self.next = Duration::from_secs(1).min(self.longest);
    }

    fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = now.mul_f32(1.5).min(self.longest);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn pauses_grow_to_the_limit_and_start_again_after_a_job() {
        let mut backoff = Backoff::new(Duration::from_secs(2));
        let pauses = [(); 4].map(|()| backoff.next().as_millis());
        assert_eq!(pauses, [1000, 1500, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.next(), Duration::from_secs(1));
        assert_eq!(Backoff::new(Duration::from_millis(200)).next(), Duration::from_millis(200));
    }
}
