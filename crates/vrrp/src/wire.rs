//! Bytes. Each decoder works in two steps: a length check that can fail, then accessors that cannot.
//!
//! ```text
//!  frame ──► Ipv4Packet / Ipv6Packet ──► Datagram ──► Message ──► Advertisement ──► VirtualRouter::receive
//!            new_checked: lengths        addresses,   new_checked  parse: §7.1,      is it for us?
//!                                        TTL, payload 8 bytes      checksum
//! ```
//!
//! Nothing here panics on any input, and nothing allocates; the fuzz targets say so too. Only a valid [`Advertisement`]
//! can be built, so [`Advertisement::emit`] fails only for want of room or for an address of the other family.

use std::net::{Ipv4Addr, Ipv6Addr};

mod advertisement;
mod checksum;
mod datagram;
mod message;

pub use advertisement::{Advertisement, EmitError, Parsed, VersionError};
pub use checksum::ChecksumForm;
pub use datagram::{Datagram, Endpoints, Ipv4Packet, Ipv6Packet};
pub use message::Message;

/// The IP protocol number, and IPv6 Next Header, of VRRP (RFC 9568 §5.1.1.4).
pub const PROTOCOL: u8 = 112;

/// TTL and Hop Limit of every advertisement: proof that it comes from this link (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const TTL: u8 = 255;

/// Class selector 6, network control: what keepalived and FRR put into the IPv4 TOS or IPv6 Traffic Class.
pub const TRAFFIC_CLASS: u8 = 0xc0;

/// Where IPv4 advertisements go (RFC 9568 §5.1.1.2).
pub const IPV4_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Where IPv6 advertisements go (RFC 9568 §5.1.2.2).
pub const IPV6_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The Ethernet address of [`IPV4_GROUP`].
pub const IPV4_GROUP_MAC: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];

/// The Ethernet address of [`IPV6_GROUP`].
pub const IPV6_GROUP_MAC: [u8; 6] = [0x33, 0x33, 0x00, 0x00, 0x00, 0x12];

#[cfg(test)]
mod tests;
