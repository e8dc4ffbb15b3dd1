//! Time as an argument. The core reads no clock; whoever calls it says what time it is.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in nanoseconds since an origin that the caller chose.
///
/// The daemon's origin is the start of the process on `CLOCK_MONOTONIC`, a simulation's is 0. Nanoseconds, because a
/// Skew_Time can be as short as 39.0625 µs (RFC 9568 §6.1); the range is 584 years. Arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin itself.
    pub const ORIGIN: Self = Self(0);

    /// The instant that is this many nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant that is this long after the origin.
    #[must_use]
    pub fn after_origin(elapsed: Duration) -> Self {
        Self(nanos(elapsed))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::ORIGIN - Duration::from_secs(1), Instant::ORIGIN);
        assert_eq!(Instant::from_nanos(u64::MAX) + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::ORIGIN.since(Instant::from_nanos(5)), Duration::ZERO);
    }

    #[test]
    fn an_instant_is_the_time_since_the_origin() {
        let noon = Instant::after_origin(Duration::from_millis(361));
        assert_eq!(noon.as_nanos(), 361_000_000);
        assert_eq!((noon + Duration::from_nanos(1)).since(noon), Duration::from_nanos(1));
    }
}
