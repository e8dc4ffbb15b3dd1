//! The number of a virtual router, and the MAC address made of it.

use std::fmt;
use std::num::NonZeroU8;

use crate::Family;

/// Virtual Router Identifier: 1 to 255, one name space per link and address family (RFC 9568 §5.2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// The virtual router of this number; `None` for 0.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, as on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// The Virtual Router MAC address: `00-00-5E-00-01-{VRID}`, or `…-02-…` for IPv6 (RFC 9568 §7.3).
    #[must_use]
    pub const fn mac(self, family: Family) -> [u8; 6] {
        let block = match family {
            Family::V4 => 0x01,
            Family::V6 => 0x02,
        };
        [0x00, 0x00, 0x5e, 0x00, block, self.0.get()]
    }
}

impl fmt::Debug for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_mac_ends_in_the_family_and_the_vrid() {
        let vrid = Vrid::new(51).unwrap();
        assert_eq!(vrid.mac(Family::V4), [0x00, 0x00, 0x5e, 0x00, 0x01, 0x33]);
        assert_eq!(vrid.mac(Family::V6), [0x00, 0x00, 0x5e, 0x00, 0x02, 0x33]);
    }

    #[test]
    fn there_is_no_virtual_router_0() {
        assert_eq!(Vrid::new(0), None);
    }
}
