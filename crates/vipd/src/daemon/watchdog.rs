//! What systemd is told (sd_notify(3)): ready, reloading, stopping, and that the loop turns.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The line to systemd; silent without one.
#[derive(Debug)]
pub struct Watchdog {
    /// When the loop must have turned again, and how often; `None` without `WatchdogSec`.
    next: Option<(Instant, Duration)>,
}

impl Watchdog {
    /// As systemd asks in the environment.
    #[must_use]
    pub fn from_environment(now: Instant) -> Self {
        Self { next: sd_notify::watchdog_enabled().map(|limit| (now, limit / 2)) }
    }

    /// The daemon does its work.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The configuration is being read again.
    pub fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The daemon lets go of everything.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// When [`pat`](Self::pat) is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// Says that the loop turns, if it is time.
    pub fn pat(&mut self, now: Instant) {
        if let Some((at, every)) = self.next
            && at <= now
        {
            tell(&[NotifyState::Watchdog]);
            self.next = Some((now + every, every));
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "sd_notify");
    }
}
