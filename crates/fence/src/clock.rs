//! The one place where this program reads the clock and pauses.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::stop::Stop;

/// Monotonic time and pauses, so that the order of events can be tested without waiting for it.
pub(crate) trait Clock: Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// Lets `length` go by, or less if the person wants to stop.
    fn pause(&self, length: Duration);
}

/// The machine's clock.
pub(crate) struct SystemClock {
    start: Instant,
    stop: Stop,
}

impl SystemClock {
    pub(crate) fn new(stop: Stop) -> Self {
        Self { start: instant(), stop }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge: between two questions the device is left in peace"
    )]
    fn pause(&self, length: Duration) {
        let until = instant() + length;
        while !self.stop.requested() {
            let left = until.saturating_duration_since(instant());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

/// The monotonic clock, for the deadline of a child process.
#[expect(clippy::disallowed_methods, reason = "this is the edge: a child process runs in real time")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// The time of day, for reports and the history.
#[expect(clippy::disallowed_methods, reason = "this is the edge: a report is stamped once, when the request begins")]
pub(crate) fn timestamp() -> Timestamp {
    Timestamp::now()
}
