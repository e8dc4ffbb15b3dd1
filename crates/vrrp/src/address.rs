//! Address families, and the list of virtual addresses that an advertisement carries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address family of a virtual router; the same VRID in both families is two virtual routers (RFC 9568 §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bytes of one address.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

/// IPvX Address(es): 1 to 255 addresses of one family, in network byte order (RFC 9568 §5.2.5, §5.2.9).
///
/// It borrows the bytes, from a configuration or from a packet, so neither sending nor receiving copies the list. An
/// instance with more addresses than fit advertises some of them: the list is for finding misconfiguration, and no
/// receiver takes its addresses from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AddressList<'a>(List<'a>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum List<'a> {
    V4(&'a [[u8; 4]]),
    V6(&'a [[u8; 16]]),
}

/// Why a list cannot be advertised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressListError {
    /// IPvX Addr Count has a minimum of 1 and 8 bits.
    #[error("{0} addresses, where an advertisement carries 1 to 255")]
    Count(usize),
    /// The first IPv6 address must be link-local (RFC 9568 §5.2.9, erratum 8300).
    #[error("the first IPv6 address is {0}, and it must be link-local (fe80::/10)")]
    FirstNotLinkLocal(Ipv6Addr),
}

impl<'a> AddressList<'a> {
    /// A list of IPv4 addresses.
    ///
    /// # Errors
    /// There are none, or more than 255.
    pub fn v4(octets: &'a [[u8; 4]]) -> Result<Self, AddressListError> {
        counted(octets.len())?;
        Ok(Self(List::V4(octets)))
    }

    /// A list of IPv6 addresses.
    ///
    /// # Errors
    /// There are none, or more than 255, or the first is not link-local.
    pub fn v6(octets: &'a [[u8; 16]]) -> Result<Self, AddressListError> {
        counted(octets.len())?;
        match octets.first().copied().map(Ipv6Addr::from) {
            Some(first) if !first.is_unicast_link_local() => Err(AddressListError::FirstNotLinkLocal(first)),
            Some(_) | None => Ok(Self(List::V6(octets))),
        }
    }

    /// The family of all of them.
    #[must_use]
    pub const fn family(self) -> Family {
        match self.0 {
            List::V4(_) => Family::V4,
            List::V6(_) => Family::V6,
        }
    }

    /// How many there are, 1 to 255: IPvX Addr Count.
    #[must_use]
    pub fn count(self) -> u8 {
        let count = match self.0 {
            List::V4(list) => list.len(),
            List::V6(list) => list.len(),
        };
        u8::try_from(count).unwrap_or(u8::MAX)
    }

    /// The addresses as they stand on the wire.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        match self.0 {
            List::V4(list) => list.as_flattened(),
            List::V6(list) => list.as_flattened(),
        }
    }

    /// The addresses, in order.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> + 'a {
        let (v4, v6): (&[[u8; 4]], &[[u8; 16]]) = match self.0 {
            List::V4(list) => (list, &[]),
            List::V6(list) => (&[], list),
        };
        let v4 = v4.iter().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)));
        v4.chain(v6.iter().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets))))
    }
}

fn counted(count: usize) -> Result<(), AddressListError> {
    if (1..=255).contains(&count) { Ok(()) } else { Err(AddressListError::Count(count)) }
}

impl fmt::Debug for AddressList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK_LOCAL: [u8; 16] = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x64).octets();
    const UNIQUE_LOCAL: [u8; 16] = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x64).octets();

    #[test]
    fn an_advertisement_carries_1_to_255_addresses() {
        assert_eq!(AddressList::v4(&[]), Err(AddressListError::Count(0)));
        assert_eq!(AddressList::v4(&[[198, 18, 0, 1]; 256]), Err(AddressListError::Count(256)));
        assert_eq!(AddressList::v4(&[[198, 18, 0, 1]; 255]).map(AddressList::count), Ok(255));
        assert_eq!(AddressList::v6(&[]), Err(AddressListError::Count(0)));
    }

    #[test]
    fn the_first_ipv6_address_is_link_local() {
        assert!(AddressList::v6(&[LINK_LOCAL, UNIQUE_LOCAL]).is_ok());
        assert_eq!(
            AddressList::v6(&[UNIQUE_LOCAL, LINK_LOCAL]),
            Err(AddressListError::FirstNotLinkLocal(UNIQUE_LOCAL.into()))
        );
    }

    #[test]
    fn the_addresses_come_out_in_order() {
        let octets = [[198, 18, 0, 2], [198, 18, 0, 1]];
        let list = AddressList::v4(&octets).unwrap();
        assert_eq!(list.iter().collect::<Vec<_>>(), [IpAddr::from([198, 18, 0, 2]), IpAddr::from([198, 18, 0, 1])]);
        assert_eq!(list.as_bytes(), [198, 18, 0, 2, 198, 18, 0, 1]);
    }
}
