//! What the targets share: a virtual router to receive as, and checksums made right.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp::wire::{ChecksumForm, Datagram, Endpoints, IPV4_GROUP, IPV6_GROUP, TTL};
use vrrp::{
    AddressList, AdverInterval, Advertisement, Counters, Family, Peers, Priority, Version, VirtualRouter, Vrid,
};

const VIP_V4: [[u8; 4]; 1] = [[198, 18, 0, 100]];
const VIP_V6: [[u8; 16]; 1] = [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100).octets()];

/// From 198.18.0.1, or fe80::1, to the VRRP group.
pub fn endpoints(family: Family) -> Endpoints {
    match family {
        Family::V4 => Endpoints::V4 { source: Ipv4Addr::new(198, 18, 0, 1), destination: IPV4_GROUP },
        Family::V6 => Endpoints::V6 { source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), destination: IPV6_GROUP },
    }
}

/// The message with a right checksum, in one form or the other, so that the checks behind it are reached.
pub fn summed(payload: &[u8], endpoints: Endpoints, pseudo_header: bool) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    if bytes.len() < 8 {
        return bytes;
    }
    bytes[6..8].fill(0);
    let mut sum: u64 = words(&bytes);
    if pseudo_header {
        sum += match endpoints {
            Endpoints::V4 { source, destination } => words(&source.octets()) + words(&destination.octets()),
            Endpoints::V6 { source, destination } => words(&source.octets()) + words(&destination.octets()),
        };
        sum += bytes.len() as u64 + 112;
    }
    bytes[6..8].copy_from_slice(&folded(sum));
    bytes
}

/// The frame with a right ICMPv6 checksum, if it is long enough to be neighbour discovery.
pub fn frame_summed(frame: &[u8]) -> Vec<u8> {
    const ICMPV6: u64 = 58;
    let mut bytes = frame.to_vec();
    let Some(packet) = bytes.get_mut(14..).filter(|packet| packet.len() >= 44) else { return bytes };
    let length = usize::from(u16::from_be_bytes([packet[4], packet[5]])).clamp(4, packet.len() - 40);
    let (header, message) = packet.split_at_mut(40);
    let message = &mut message[..length];
    message[2..4].fill(0);
    let sum = folded(words(message) + words(&header[8..]) + length as u64 + ICMPV6);
    message[2..4].copy_from_slice(&sum);
    bytes
}

/// The ones' complement of a sum of words (RFC 1071).
fn folded(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

fn words(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low))).sum()
}

/// Everything that happens to a payload: parse, and emit what was accepted; receive, and count.
pub fn swallow(endpoints: Endpoints, version: Version, payload: &[u8]) {
    let datagram = Datagram { endpoints, ttl: TTL, payload };
    let parsed = Advertisement::parse(&datagram);
    if let Ok(parsed) = parsed {
        let mut buffer = vec![0xa5; payload.len()];
        let form = parsed.checksum.unwrap_or(ChecksumForm::Rfc5798);
        let length = parsed.advertisement.emit(endpoints, form, &mut buffer);
        assert_eq!(length, Ok(payload.len()), "what is accepted is as long as what would be sent");
        let again = Advertisement::parse(&Datagram { endpoints, ttl: TTL, payload: &buffer });
        assert_eq!(again.map(|again| again.advertisement), Ok(parsed.advertisement));
    }
    receive(&datagram, version);
}

/// The verdict on a datagram is counted once, whatever it is.
pub fn receive(datagram: &Datagram<'_>, version: Version) {
    let family = datagram.endpoints.family();
    let (addresses, primary) = match family {
        Family::V4 => (AddressList::v4(&VIP_V4), Ipv4Addr::new(198, 18, 0, 2).into()),
        Family::V6 => (AddressList::v6(&VIP_V6), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).into()),
    };
    let (Ok(addresses), Ok(interval), Some(vrid)) =
        (addresses, AdverInterval::from_millis(version, 1000), Vrid::new(51))
    else {
        return;
    };
    let router =
        VirtualRouter { vrid, priority: Priority::DEFAULT, interval, addresses, primary, peers: Peers::Multicast };
    let mut counters = Counters::ZERO;
    match router.receive(datagram, &mut counters) {
        Ok(received) => {
            assert_eq!((counters.accepted(), counters.discarded_in_all()), (1, 0));
            assert_eq!(received.advertisement.vrid(), vrid);
        }
        Err(why) => {
            assert_eq!((counters.accepted(), counters.discarded(why), counters.discarded_in_all()), (0, 1, 1));
        }
    }
}
