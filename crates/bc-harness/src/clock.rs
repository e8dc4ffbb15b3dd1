//! The one clock of a run: the kernel's `CLOCK_MONOTONIC`.
//!
//! Containers share the kernel of the machine, and with it this clock, so what the harness sees on the machine and
//! what its observer sees inside the operator box can be put in one order without correcting anything.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A reading of `CLOCK_MONOTONIC`, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    /// Reads the clock. `CLOCK_MONOTONIC` cannot fail on Linux; were it to, the moment is zero.
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        Self(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment `time` later.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The calendar's time, for the head of a report and nothing else.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the calendar")]
pub(crate) fn calendar() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Lets `time` pass between two looks at the world. Only [`crate::wait`] and the periodic workloads call this.
#[expect(clippy::disallowed_methods, reason = "the one pause, between two polls that have a deadline")]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The same for code that runs inside a box and has no runtime.
#[expect(clippy::disallowed_methods, reason = "the one pause of the helpers inside a box")]
pub(crate) fn pause_thread(time: Duration) {
    std::thread::sleep(time);
}
