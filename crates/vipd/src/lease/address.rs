//! What the dead-man switch knows an address and a lease by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

/// The number of a lease: the addresses of one lease are renewed, and fall silent, together.
///
/// The caller chooses it, such as one for each instance. It means nothing after the daemon's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub NonZeroU32);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A leased address.
///
/// The kernel answers for a global address on every interface (weak host model), so it is guarded on all of them. An IPv6
/// link-local address means something only on its interface, and may be leased on several at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leased {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// A global or unique local IPv6 address.
    V6(Ipv6Addr),
    /// A link-local IPv6 address on the interface with this number.
    OnLink(Ipv6Addr, u32),
}

impl Leased {
    /// The lease of `address`, configured on the interface number `link`.
    #[must_use]
    pub const fn new(address: IpAddr, link: u32) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Self::OnLink(v6, link),
            IpAddr::V6(v6) => Self::V6(v6),
        }
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self {
            Self::V4(v4) => IpAddr::V4(v4),
            Self::V6(v6) | Self::OnLink(v6, _) => IpAddr::V6(v6),
        }
    }

    /// Which map it belongs to.
    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::V4(_) => Scope::V4,
            Self::V6(_) => Scope::V6,
            Self::OnLink(..) => Scope::OnLink,
        }
    }

    /// Its key, in the first [`Scope::key_len`] bytes.
    pub(super) fn key(self) -> [u8; KEY_MAX] {
        let mut key = [0; KEY_MAX];
        match self {
            Self::V4(v4) => key[..4].copy_from_slice(&v4.octets()),
            Self::V6(v6) => key[..16].copy_from_slice(&v6.octets()),
            Self::OnLink(v6, link) => {
                // `meta iif` is in the machine's byte order.
                key[..4].copy_from_slice(&link.to_ne_bytes());
                key[4..].copy_from_slice(&v6.octets());
            }
        }
        key
    }

    /// Reads a key back; `None` if its length is not that of the scope.
    pub(super) fn from_key(scope: Scope, key: &[u8]) -> Option<Self> {
        match scope {
            Scope::V4 => <[u8; 4]>::try_from(key).ok().map(|octets| Self::V4(octets.into())),
            Scope::V6 => <[u8; 16]>::try_from(key).ok().map(|octets| Self::V6(octets.into())),
            Scope::OnLink => {
                let (link, octets) = key.split_first_chunk::<4>()?;
                let octets = <[u8; 16]>::try_from(octets).ok()?;
                Some(Self::OnLink(octets.into(), u32::from_ne_bytes(*link)))
            }
        }
    }
}

impl fmt::Display for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) => v4.fmt(f),
            Self::V6(v6) => v6.fmt(f),
            Self::OnLink(v6, link) => write!(f, "{v6} on interface {link}"),
        }
    }
}

/// The longest key.
const KEY_MAX: usize = 20;

/// Addresses that share a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    V4,
    V6,
    OnLink,
}

impl Scope {
    /// Length of the key in bytes.
    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
            Self::OnLink => KEY_MAX,
        }
    }

    /// The key's type as the `nft` program names it: ipv4_addr, ipv6_addr, iface_index . ipv6_addr.
    ///
    /// The kernel only keeps it; it is what lets `nft list ruleset` show the elements as addresses.
    pub(super) const fn key_type(self) -> u32 {
        match self {
            Self::V4 => 7,
            Self::V6 => 8,
            Self::OnLink => 20 << 6 | 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_local_address_is_leased_per_interface() {
        assert_eq!(Leased::new("198.18.5.200".parse().unwrap(), 3), Leased::V4("198.18.5.200".parse().unwrap()));
        assert_eq!(Leased::new("fd00::200".parse().unwrap(), 3), Leased::V6("fd00::200".parse().unwrap()));
        let link_local = Leased::new("fe80::200".parse().unwrap(), 3);
        assert_eq!(link_local, Leased::OnLink("fe80::200".parse().unwrap(), 3));
        assert_eq!(link_local.to_string(), "fe80::200 on interface 3");
    }

    #[test]
    fn a_key_reads_back_as_the_address_it_was_made_from() {
        for (address, link) in [("198.18.5.200", 1), ("fd00::200", 2), ("fe80::200", 0x0102_0304)] {
            let leased = Leased::new(address.parse().unwrap(), link);
            let (key, scope) = (leased.key(), leased.scope());
            assert_eq!(Leased::from_key(scope, &key[..scope.key_len()]), Some(leased));
            assert_eq!(Leased::from_key(scope, &key[..scope.key_len() - 1]), None, "a short key is no address");
        }
    }
}
