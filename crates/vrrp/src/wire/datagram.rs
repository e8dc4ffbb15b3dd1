//! What carries an advertisement: an IPv4 packet (with options or without), or an IPv6 packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::PROTOCOL;
use super::checksum::Sum;
use crate::{Discard, Family};

/// Bytes of an IPv4 header without options.
const IPV4_HEADER: usize = 20;

/// Bytes of an IPv6 header.
const IPV6_HEADER: usize = 40;

/// Source and destination of one packet, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoints {
    /// IPv4.
    V4 {
        /// The sender's primary address.
        source: Ipv4Addr,
        /// [`IPV4_GROUP`](super::IPV4_GROUP), or a unicast peer.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// The sender's link-local address.
        source: Ipv6Addr,
        /// [`IPV6_GROUP`](super::IPV6_GROUP), or a unicast peer.
        destination: Ipv6Addr,
    },
}

impl Endpoints {
    /// The family of both.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// Who sent it.
    #[must_use]
    pub const fn source(self) -> IpAddr {
        match self {
            Self::V4 { source, .. } => IpAddr::V4(source),
            Self::V6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// Whom it was sent to.
    #[must_use]
    pub const fn destination(self) -> IpAddr {
        match self {
            Self::V4 { destination, .. } => IpAddr::V4(destination),
            Self::V6 { destination, .. } => IpAddr::V6(destination),
        }
    }
}

/// One received packet, its IP header read.
///
/// An IPv4 raw socket delivers a whole packet: [`Ipv4Packet`]. An IPv6 raw socket delivers the payload only: fill this in
/// from the address and the control messages. The payload ends where the IP header says, without Ethernet's padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source and destination.
    pub endpoints: Endpoints,
    /// TTL, or Hop Limit, as received.
    pub ttl: u8,
    /// The VRRP message.
    pub payload: &'a [u8],
}

/// An IPv4 packet of protocol 112 whose lengths have been checked.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4Packet<'a> {
    fixed: &'a [u8; IPV4_HEADER],
    payload: &'a [u8],
}

impl<'a> Ipv4Packet<'a> {
    /// Read an IPv4 packet, from its first header byte; bytes after its Total Length (Ethernet pads to 46) are left out.
    ///
    /// # Errors
    /// [`Discard::HeaderTruncated`], [`Discard::HeaderVersion`], [`Discard::HeaderChecksum`], [`Discard::Protocol`],
    /// [`Discard::Fragment`].
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, Discard> {
        let fixed = bytes.first_chunk::<IPV4_HEADER>().ok_or(Discard::HeaderTruncated)?;
        if fixed[0] >> 4 != 4 {
            return Err(Discard::HeaderVersion);
        }
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        let total_length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if header_length < IPV4_HEADER {
            return Err(Discard::HeaderTruncated);
        }
        let packet = bytes.get(..total_length).ok_or(Discard::HeaderTruncated)?;
        let (header, payload) = packet.split_at_checked(header_length).ok_or(Discard::HeaderTruncated)?;
        if !Sum::of(header).is_valid() {
            return Err(Discard::HeaderChecksum);
        }
        if fixed[9] != PROTOCOL {
            return Err(Discard::Protocol);
        }
        // More Fragments, or a Fragment Offset. A part of an advertisement is none.
        if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0 {
            return Err(Discard::Fragment);
        }
        Ok(Self { fixed, payload })
    }

    /// Source and destination.
    #[must_use]
    pub fn endpoints(self) -> Endpoints {
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *self.fixed;
        Endpoints::V4 { source: Ipv4Addr::new(s0, s1, s2, s3), destination: Ipv4Addr::new(d0, d1, d2, d3) }
    }

    /// Time to Live.
    #[must_use]
    pub const fn ttl(self) -> u8 {
        self.fixed[8]
    }

    /// Everything after the header and its options.
    #[must_use]
    pub const fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// The packet as one of either family.
    #[must_use]
    pub fn datagram(self) -> Datagram<'a> {
        Datagram { endpoints: self.endpoints(), ttl: self.ttl(), payload: self.payload }
    }
}

/// An IPv6 packet of Next Header 112 whose lengths have been checked; extension headers are not followed.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6Packet<'a> {
    fixed: &'a [u8; IPV6_HEADER],
    payload: &'a [u8],
}

impl<'a> Ipv6Packet<'a> {
    /// Read an IPv6 packet, from its first header byte; bytes after its Payload Length are left out.
    ///
    /// # Errors
    /// [`Discard::HeaderTruncated`], [`Discard::HeaderVersion`], [`Discard::Protocol`].
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, Discard> {
        let (fixed, rest) = bytes.split_first_chunk::<IPV6_HEADER>().ok_or(Discard::HeaderTruncated)?;
        if fixed[0] >> 4 != 6 {
            return Err(Discard::HeaderVersion);
        }
        let payload_length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        let payload = rest.get(..payload_length).ok_or(Discard::HeaderTruncated)?;
        if fixed[6] != PROTOCOL {
            return Err(Discard::Protocol);
        }
        Ok(Self { fixed, payload })
    }

    /// Source and destination.
    #[must_use]
    pub fn endpoints(self) -> Endpoints {
        let (mut source, mut destination) = ([0; 16], [0; 16]);
        source.copy_from_slice(&self.fixed[8..24]);
        destination.copy_from_slice(&self.fixed[24..40]);
        Endpoints::V6 { source: source.into(), destination: destination.into() }
    }

    /// Hop Limit.
    #[must_use]
    pub const fn hop_limit(self) -> u8 {
        self.fixed[7]
    }

    /// Everything after the header.
    #[must_use]
    pub const fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// The packet as one of either family.
    #[must_use]
    pub fn datagram(self) -> Datagram<'a> {
        Datagram { endpoints: self.endpoints(), ttl: self.hop_limit(), payload: self.payload }
    }
}
