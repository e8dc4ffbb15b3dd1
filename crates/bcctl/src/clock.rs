//! The one place that reads a clock or pauses.

use std::time::Duration;

use jiff::Timestamp;

/// Time as the executor needs it; the fake one in tests moves only when it is told to pause.
pub(crate) trait Clock: Sync {
    /// Time since some fixed point; never goes back.
    fn now(&self) -> Duration;
    /// Waits.
    fn pause(&self, time: Duration);
}

/// The machine's own clock.
pub(crate) struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(crate) fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the one poll loop pauses here")]
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The time of day, for the journal.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn time_of_day() -> Timestamp {
    Timestamp::now()
}
