//! Priorities: the one that a router holds, and the one that an advertisement carries.

use std::fmt;
use std::num::NonZeroU8;

/// The priority of a VRRP router: 1 to 254 for a Backup, 255 for the address owner (RFC 9568 §5.2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// 255: the router whose own interface address the virtual address is.
    pub const OWNER: Self = Self(NonZeroU8::MAX);

    /// 100, the RFC's default for a router that backs up.
    pub const DEFAULT: Self = match NonZeroU8::new(100) {
        Some(level) => Self(level),
        None => Self::OWNER,
    };

    /// A priority of 1 to 255; `None` for 0, which is no router's priority.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        match NonZeroU8::new(level) {
            Some(level) => Some(Self(level)),
            None => None,
        }
    }

    /// A priority that a router may be configured with or weighted to: 1 to 254; `None` for 0 and 255.
    #[must_use]
    pub const fn backup(level: u8) -> Option<Self> {
        match Self::new(level) {
            Some(priority) if !priority.is_owner() => Some(priority),
            Some(_) | None => None,
        }
    }

    /// The number, as on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Whether this is the address owner's.
    #[must_use]
    pub const fn is_owner(self) -> bool {
        self.0.get() == Self::OWNER.0.get()
    }
}

/// The Priority field of an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdvertPriority {
    /// 0: the Active router stops; a Backup takes over after Skew_Time instead of Active_Down_Interval.
    Resigning,
    /// 1 to 255: the Active router's priority.
    Holding(Priority),
}

impl AdvertPriority {
    /// The field's meaning; every byte has one.
    #[must_use]
    pub const fn from_wire(byte: u8) -> Self {
        match Priority::new(byte) {
            Some(priority) => Self::Holding(priority),
            None => Self::Resigning,
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Resigning => 0,
            Self::Holding(priority) => priority.get(),
        }
    }
}

impl fmt::Debug for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_routers_priority_and_255_is_the_owners() {
        assert_eq!(Priority::new(0), None);
        assert_eq!(Priority::backup(0), None);
        assert_eq!(Priority::backup(255), None);
        assert_eq!(Priority::backup(254).map(Priority::get), Some(254));
        assert_eq!(Priority::new(255), Some(Priority::OWNER));
        assert_eq!(Priority::DEFAULT.get(), 100);
    }

    #[test]
    fn every_byte_is_an_advertised_priority() {
        for byte in 0..=255 {
            assert_eq!(AdvertPriority::from_wire(byte).to_wire(), byte);
        }
        assert_eq!(AdvertPriority::from_wire(0), AdvertPriority::Resigning);
    }
}
