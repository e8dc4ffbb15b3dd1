//! Advertisement intervals and what is computed from them: the only place where units are converted.
//!
//! On the wire a v3 interval is 12 bits of centiseconds and a v2 interval 8 bits of seconds. Inside, a time span is a
//! [`Duration`]; no number without a unit leaves this file.

use std::fmt;
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use crate::Priority;

/// The protocol version that an instance speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768: IPv4 only, seconds.
    V2,
    /// RFC 9568: IPv4 and IPv6, centiseconds.
    V3,
}

/// Max Advertise Interval of VRRP v3: 1 to 4095 centiseconds (RFC 9568 §5.2.7, erratum 8301).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Centis(NonZeroU16);

impl Centis {
    /// The longest interval that 12 bits can carry: 40.95 s.
    pub const MAX: u16 = 4095;

    /// An interval of this many centiseconds; `None` outside 1 to 4095.
    #[must_use]
    pub const fn new(centis: u16) -> Option<Self> {
        match NonZeroU16::new(centis) {
            Some(centis) if centis.get() <= Self::MAX => Some(Self(centis)),
            Some(_) | None => None,
        }
    }

    /// Centiseconds, as on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// Adver Int of VRRP v2: 1 to 255 seconds (RFC 3768 §5.3.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(NonZeroU8);

impl Seconds {
    /// An interval of this many seconds; `None` for 0.
    #[must_use]
    pub const fn new(seconds: u8) -> Option<Self> {
        match NonZeroU8::new(seconds) {
            Some(seconds) => Some(Self(seconds)),
            None => None,
        }
    }

    /// Seconds, as on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

/// Advertisement_Interval: how often an Active router advertises (RFC 9568 §6.1).
///
/// The unit is the version's, so an interval that its version cannot carry does not exist, and an instance's version is
/// its interval's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdverInterval {
    /// VRRP v3.
    V3(Centis),
    /// VRRP v2.
    V2(Seconds),
}

/// Why a time span is no advertisement interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// v3 counts centiseconds.
    #[error("{0} ms is not a multiple of 10 ms, the unit of VRRP version 3")]
    NotCentiseconds(u64),
    /// v3 has 12 bits.
    #[error("{0} ms is outside 10 to 40950 ms, the range of VRRP version 3")]
    OutsideV3(u64),
    /// v2 counts seconds.
    #[error("{0} ms is not a whole number of seconds, the unit of VRRP version 2")]
    NotSeconds(u64),
    /// v2 has 8 bits.
    #[error("{0} ms is outside 1000 to 255000 ms, the range of VRRP version 2")]
    OutsideV2(u64),
}

impl AdverInterval {
    /// The interval of this many milliseconds, as configuration writes it.
    ///
    /// # Errors
    /// The version cannot carry it: too short, too long, or finer than its unit.
    pub fn from_millis(version: Version, millis: u64) -> Result<Self, IntervalError> {
        match version {
            Version::V3 if !millis.is_multiple_of(10) => Err(IntervalError::NotCentiseconds(millis)),
            Version::V3 => u16::try_from(millis / 10)
                .ok()
                .and_then(Centis::new)
                .map(Self::V3)
                .ok_or(IntervalError::OutsideV3(millis)),
            Version::V2 if !millis.is_multiple_of(1000) => Err(IntervalError::NotSeconds(millis)),
            Version::V2 => u8::try_from(millis / 1000)
                .ok()
                .and_then(Seconds::new)
                .map(Self::V2)
                .ok_or(IntervalError::OutsideV2(millis)),
        }
    }

    /// The version whose unit this is.
    #[must_use]
    pub const fn version(self) -> Version {
        match self {
            Self::V3(_) => Version::V3,
            Self::V2(_) => Version::V2,
        }
    }

    /// The interval as a time span.
    #[must_use]
    pub const fn duration(self) -> Duration {
        match self {
            Self::V3(centis) => Duration::from_millis(centis.get() as u64 * 10),
            Self::V2(seconds) => Duration::from_secs(seconds.get() as u64),
        }
    }

    /// Skew_Time: what a Backup waits beyond three intervals, shorter for a higher priority.
    ///
    /// v3: `(256 − priority) × Active_Adver_Interval / 256` (RFC 9568 §6.1). v2: `(256 − priority) / 256` seconds,
    /// whatever the interval (RFC 3768 §6.1). Exact to the nanosecond; a half is rounded up, never towards an early
    /// take-over.
    #[must_use]
    pub const fn skew_time(self, priority: Priority) -> Duration {
        let below_256 = 256 - priority.get() as u64;
        match self {
            // One centisecond / 256 is 39 062.5 ns.
            Self::V3(centis) => Duration::from_nanos((below_256 * centis.get() as u64 * 78_125).div_ceil(2)),
            // One second / 256 is 3 906 250 ns.
            Self::V2(_) => Duration::from_nanos(below_256 * 3_906_250),
        }
    }

    /// Active_Down_Interval: how long a Backup waits without an advertisement before it takes over.
    ///
    /// `3 × Active_Adver_Interval + Skew_Time` (RFC 9568 §6.1; Master_Down_Interval in RFC 3768).
    #[must_use]
    pub const fn active_down_interval(self, priority: Priority) -> Duration {
        let three = match self.duration().checked_mul(3) {
            Some(three) => three,
            None => Duration::MAX, // 3 × 255 s: cannot happen, and must not panic
        };
        three.saturating_add(self.skew_time(priority))
    }
}

impl fmt::Debug for Centis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cs", self.0)
    }
}

impl fmt::Debug for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

impl fmt::Display for AdverInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}

#[cfg(test)]
mod tests;
