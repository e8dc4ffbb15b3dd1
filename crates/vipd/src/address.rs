//! Which addresses can be a virtual IP, and how they are written on the command line. Pure.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

/// Why a text, or an address, cannot name a virtual IP.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not an address at all.
    #[error("expected an address with its prefix length, such as 198.18.5.200/24 or fd00::200/64")]
    Malformed,
    /// The address is fine, the part after the slash is not.
    #[error("the prefix length must be a number from 1 to {max}")]
    PrefixLength {
        /// The longest prefix of the address family.
        max: u8,
    },
    /// There is no slash.
    #[error("the prefix length is missing; write {address}/{example} if that is the subnet's")]
    NoPrefixLength {
        /// The address as given.
        address: IpAddr,
        /// A usual prefix length of the family.
        example: u8,
    },
    /// The address is reserved for something else.
    #[error("{address} is {what} and cannot be a virtual IP")]
    Reserved {
        /// The address as given.
        address: IpAddr,
        /// What it is, with its article.
        what: &'static str,
    },
}

/// A virtual IP as `assign` takes it: an ordinary unicast address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VipAddress(pub IpNet);

impl FromStr for VipAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let named = NamedAddress::from_str(text)?;
        let Some(prefix_len) = named.prefix_len else {
            let example = if named.addr.is_ipv4() { 24 } else { 64 };
            return Err(AddressError::NoPrefixLength { address: named.addr, example });
        };
        let net = IpNet::new(named.addr, prefix_len).map_err(|_| AddressError::Malformed)?;
        check_host_part(net.addr(), &net)?;
        Ok(Self(net))
    }
}

/// An address as `unassign` and `status` take it: the prefix length may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedAddress {
    /// The address.
    pub addr: IpAddr,
    /// The prefix length, if it was written.
    pub prefix_len: Option<u8>,
}

impl NamedAddress {
    /// Whether `net` is what was named.
    #[must_use]
    pub fn matches(&self, net: &IpNet) -> bool {
        self.addr == net.addr() && self.prefix_len.is_none_or(|prefix_len| prefix_len == net.prefix_len())
    }

    /// The address with its prefix length; a host route's if none was written.
    #[must_use]
    pub fn as_net(&self) -> IpNet {
        self.prefix_len.and_then(|len| IpNet::new(self.addr, len).ok()).unwrap_or_else(|| IpNet::from(self.addr))
    }
}

impl FromStr for NamedAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (addr, prefix_len) = match text.split_once('/') {
            Some((addr, prefix_len)) => (addr, Some(prefix_len)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| AddressError::Malformed)?;
        let max = if addr.is_ipv4() { 32 } else { 128 };
        // `+24` and `024`, which some take for octal, are what it is not written as.
        let plain = |text: &str| text.starts_with(|first: char| matches!(first, '1'..='9'));
        let prefix_len = match prefix_len {
            None => None,
            Some(text) => match text.parse() {
                Ok(len) if plain(text) && (1..=max).contains(&len) => Some(len),
                Ok(_) | Err(_) => return Err(AddressError::PrefixLength { max }),
            },
        };
        check_kind(addr)?;
        Ok(Self { addr, prefix_len })
    }
}

/// Refuses addresses that no host may answer for on a wire.
///
/// # Errors
/// [`AddressError::Reserved`], naming what it is.
pub fn check_kind(address: IpAddr) -> Result<(), AddressError> {
    let what = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "an address of \"this network\" (0.0.0.0/8)",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4 address written as IPv6",
        _ => return Ok(()),
    };
    Err(AddressError::Reserved { address, what })
}

/// Refuses the addresses of `net` that name no host: the network's own, and the broadcast address.
///
/// `address` need not have the prefix length of `net`: a /32 may still be the broadcast address of the
/// interface's /24. Point-to-point subnets (/31, /127) have neither (RFC 3021, RFC 6164).
///
/// # Errors
/// [`AddressError::Reserved`], naming which of the two it is.
pub fn check_host_part(address: IpAddr, net: &IpNet) -> Result<(), AddressError> {
    if net.max_prefix_len() - net.prefix_len() < 2 {
        return Ok(());
    }
    let what = match net {
        IpNet::V4(_) if address == net.network() => "the address of its network",
        IpNet::V4(_) if address == net.broadcast() => "the broadcast address of its network",
        IpNet::V6(_) if address == net.network() => "the subnet-router anycast address",
        IpNet::V4(_) | IpNet::V6(_) => return Ok(()),
    };
    Err(AddressError::Reserved { address, what })
}

/// Whether `address` is an IPv6 link-local one: it means something only together with its interface.
#[must_use]
pub const fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_host_address_can_be_a_virtual_ip() {
        for text in
            ["198.18.5.200/24", "198.18.5.200/32", "198.18.5.0/31", "fd00::200/64", "fe80::200/64", "fd00::/128"]
        {
            let parsed: Result<VipAddress, _> = text.parse();
            assert_eq!(parsed.map(|vip| vip.0.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn whatever_no_host_may_answer_for_is_refused_in_words() {
        let table = [
            ("198.18.5", "expected an address with its prefix length, such as 198.18.5.200/24 or fd00::200/64"),
            ("db1/24", "expected an address with its prefix length, such as 198.18.5.200/24 or fd00::200/64"),
            ("198.18.5.200", "the prefix length is missing; write 198.18.5.200/24 if that is the subnet's"),
            ("fd00::200", "the prefix length is missing; write fd00::200/64 if that is the subnet's"),
            ("198.18.5.200/33", "the prefix length must be a number from 1 to 32"),
            ("198.18.5.200/0", "the prefix length must be a number from 1 to 32"),
            ("fd00::200/129", "the prefix length must be a number from 1 to 128"),
            ("198.18.5.200/024", "the prefix length must be a number from 1 to 32"),
            ("198.18.5.200/+24", "the prefix length must be a number from 1 to 32"),
            ("198.18.5.200/", "the prefix length must be a number from 1 to 32"),
            ("224.0.0.18/32", "224.0.0.18 is a multicast address and cannot be a virtual IP"),
            ("ff02::1/64", "ff02::1 is a multicast address and cannot be a virtual IP"),
            ("127.0.0.1/8", "127.0.0.1 is a loopback address and cannot be a virtual IP"),
            ("::1/128", "::1 is a loopback address and cannot be a virtual IP"),
            ("0.0.0.0/8", "0.0.0.0 is the unspecified address and cannot be a virtual IP"),
            ("0.1.2.3/8", "0.1.2.3 is an address of \"this network\" (0.0.0.0/8) and cannot be a virtual IP"),
            ("255.255.255.255/32", "255.255.255.255 is the broadcast address and cannot be a virtual IP"),
            ("198.18.5.0/24", "198.18.5.0 is the address of its network and cannot be a virtual IP"),
            ("198.18.5.255/24", "198.18.5.255 is the broadcast address of its network and cannot be a virtual IP"),
            ("fd00::/64", "fd00:: is the subnet-router anycast address and cannot be a virtual IP"),
            (
                "::ffff:198.18.5.200/128",
                "::ffff:198.18.5.200 is an IPv4 address written as IPv6 and cannot be a virtual IP",
            ),
        ];
        for (text, words) in table {
            let parsed: Result<VipAddress, _> = text.parse();
            assert_eq!(parsed.map_err(|error| error.to_string()), Err(words.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_host_route_to_the_broadcast_address_of_the_subnet_is_refused() {
        let subnet: IpNet = "198.18.5.11/24".parse().unwrap();
        assert!(check_host_part("198.18.5.255".parse().unwrap(), &subnet).is_err());
        assert!(check_host_part("198.18.5.254".parse().unwrap(), &subnet).is_ok());
    }

    #[test]
    fn a_named_address_without_prefix_matches_any_prefix() {
        let named: NamedAddress = "198.18.5.200".parse().unwrap();
        assert!(named.matches(&"198.18.5.200/24".parse().unwrap()));
        assert!(named.matches(&"198.18.5.200/32".parse().unwrap()));
        let named: NamedAddress = "198.18.5.200/24".parse().unwrap();
        assert!(!named.matches(&"198.18.5.200/32".parse().unwrap()));
    }
}
