//! Neighbour Discovery for IPv6 (RFC 4861): the solicitation that probes, the advertisement that announces.

use std::net::Ipv6Addr;

use pnet::packet::Packet as _;
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::Ipv6Packet;
use pnet::util::{MacAddr, ipv6_checksum};

use super::ethernet;

const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_TARGET_LINK_LAYER: u8 = 2;
/// "A value of 255 proves that no router has forwarded the packet" (RFC 4861 §3.1).
const HOP_LIMIT: u8 = 255;
/// Type, code, checksum, flags or reserved, target.
const MESSAGE: usize = 24;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// ff02::1, every node on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A solicitation or an advertisement, as far as anybody here needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ndp {
    /// Who has the target address?
    Solicitation {
        /// The address that is asked for.
        target: Ipv6Addr,
        /// Who asks; unspecified during duplicate address detection (RFC 4862 §5.4.2).
        source: Ipv6Addr,
        /// Hardware address of the asker: its option, or the frame's source.
        mac: MacAddr,
    },
    /// The target address is at `mac`.
    Advertisement {
        /// The address that is advertised.
        target: Ipv6Addr,
        /// The address the packet comes from.
        source: Ipv6Addr,
        /// Hardware address: the option, or the frame's source.
        mac: MacAddr,
        /// R: the sender is a router.
        router: bool,
        /// S: this answers a solicitation.
        solicited: bool,
        /// O: receivers replace what their cache says.
        overrides: bool,
    },
}

/// The multicast group in which the holder of `target` listens (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// The frame of a duplicate address detection: from `::`, to the group of `target`, without option (RFC 4862 §5.4.2).
#[must_use]
pub fn probe(own: MacAddr, target: Ipv6Addr) -> Vec<u8> {
    emit(own, Ipv6Addr::UNSPECIFIED, solicited_node(target), NEIGHBOR_SOLICITATION, 0, target, &[])
}

/// The frame of an unsolicited neighbour advertisement: S=0, O=1, to ff02::1 (RFC 4861 §7.2.6, RFC 9568 §6.4.2).
///
/// `router` sets R and must be true only on a host that forwards IPv6; neighbours that see R cleared take the host
/// out of their list of default routers (RFC 4861 §7.2.5).
#[must_use]
pub fn announcement(own: MacAddr, vip: Ipv6Addr, router: bool) -> Vec<u8> {
    let flags = if router { ROUTER | OVERRIDE } else { OVERRIDE };
    let mut option = vec![OPTION_TARGET_LINK_LAYER, 1];
    option.extend(own.octets());
    emit(own, vip, ALL_NODES, NEIGHBOR_ADVERTISEMENT, flags, vip, &option)
}

/// Puts the three layers around one message.
fn emit(
    own: MacAddr,
    source: Ipv6Addr,
    group: Ipv6Addr,
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    options: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend(options);
    let checksum = ipv6_checksum(&message, 1, &[], &source, &group, IpNextHeaderProtocols::Icmpv6);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut packet = vec![0x60, 0, 0, 0];
    // A message of at most 32 bytes.
    packet.extend(u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend([IpNextHeaderProtocols::Icmpv6.0, HOP_LIMIT]);
    packet.extend(source.octets());
    packet.extend(group.octets());
    packet.extend(message);

    // RFC 2464 §7: 33:33 and the last four octets of the group.
    let [.., a, b, c, d] = group.octets();
    ethernet(MacAddr::new(0x33, 0x33, a, b, c, d), own, EtherTypes::Ipv6, &packet)
}

impl Ndp {
    /// Reads an Ethernet frame; `None` unless it is a solicitation or an advertisement that passes the checks of
    /// RFC 4861 §7.1: hop limit 255, checksum, code 0, length, unicast target, no option of length 0.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame).filter(|frame| frame.get_ethertype() == EtherTypes::Ipv6)?;
        let packet = Ipv6Packet::new(ethernet.payload())?;
        if packet.get_version() != 6
            || packet.get_next_header() != IpNextHeaderProtocols::Icmpv6
            || packet.get_hop_limit() != HOP_LIMIT
        {
            return None;
        }
        let (source, destination) = (packet.get_source(), packet.get_destination());
        let message = ethernet.payload().get(40..)?.get(..usize::from(packet.get_payload_length()))?;
        let (&[kind, code, high, low, flags, ..], options) = message.split_first_chunk::<MESSAGE>()?;
        if code != 0
            || u16::from_be_bytes([high, low])
                != ipv6_checksum(message, 1, &[], &source, &destination, IpNextHeaderProtocols::Icmpv6)
        {
            return None;
        }
        let target = message.get(8..MESSAGE).and_then(|octets| <[u8; 16]>::try_from(octets).ok())?.into();
        if Ipv6Addr::is_multicast(&target) {
            return None;
        }
        match kind {
            NEIGHBOR_SOLICITATION => {
                let option = link_layer(options, OPTION_SOURCE_LINK_LAYER)?;
                // RFC 4861 §7.1.1: an unspecified source goes to a solicited-node address and brings no option.
                if source.is_unspecified() && (option.is_some() || destination != solicited_node(target)) {
                    return None;
                }
                Some(Self::Solicitation { target, source, mac: option.unwrap_or_else(|| ethernet.get_source()) })
            }
            NEIGHBOR_ADVERTISEMENT => {
                let solicited = flags & SOLICITED != 0;
                // RFC 4861 §7.1.2: a multicast advertisement answers nobody in particular.
                if solicited && destination.is_multicast() {
                    return None;
                }
                Some(Self::Advertisement {
                    target,
                    source,
                    mac: link_layer(options, OPTION_TARGET_LINK_LAYER)?.unwrap_or_else(|| ethernet.get_source()),
                    router: flags & ROUTER != 0,
                    solicited,
                    overrides: flags & OVERRIDE != 0,
                })
            }
            _ => None,
        }
    }
}

/// The hardware address in the option `wanted`, if it is there; `None` if the options are malformed.
///
/// Options are type, length in units of 8 octets, value (RFC 4861 §4.6).
fn link_layer(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(len)?;
        if let (true, &[_, _, a, b, c, d, e, f, ..]) = (kind == wanted, option) {
            found = found.or(Some(MacAddr(a, b, c, d, e, f)));
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

#[cfg(test)]
mod tests;
