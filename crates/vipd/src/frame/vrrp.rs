//! An advertisement as a whole frame: what a socket cannot send, because its source is not the interface's MAC address.

use pnet::util::MacAddr;
use vrrp::wire::{Endpoints, IPV4_GROUP, IPV6_GROUP, PROTOCOL, TRAFFIC_CLASS, TTL};

/// Writes the frame of an advertisement from `source` to the VRRP group into `frame` (RFC 9568 §5.1, §7.2); false, and
/// nothing of use, for an advertisement to a single router, whose MAC address only the kernel knows.
pub fn write(frame: &mut Vec<u8>, source: MacAddr, endpoints: Endpoints, message: &[u8]) -> bool {
    frame.clear();
    match endpoints {
        Endpoints::V4 { source: from, destination } if destination == IPV4_GROUP => {
            let Ok(length) = u16::try_from(IPV4_HEADER + message.len()) else { return false };
            // RFC 1112 §6.4
            let [_, b, c, d] = destination.octets();
            ethernet(frame, [1, 0, 0x5e, b & 0x7f, c, d], source, 0x0800);
            let start = frame.len();
            frame.extend([0x45, TRAFFIC_CLASS]);
            frame.extend(length.to_be_bytes());
            // No identification, not to be fragmented; the checksum comes last.
            frame.extend([0, 0, 0x40, 0, TTL, PROTOCOL, 0, 0]);
            frame.extend(from.octets());
            frame.extend(destination.octets());
            let sum = checksum(&frame[start..]);
            frame[start + 10..start + 12].copy_from_slice(&sum);
        }
        Endpoints::V6 { source: from, destination } if destination == IPV6_GROUP => {
            let Ok(length) = u16::try_from(message.len()) else { return false };
            // RFC 2464 §7
            let [.., a, b, c, d] = destination.octets();
            ethernet(frame, [0x33, 0x33, a, b, c, d], source, 0x86dd);
            frame.extend([0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([PROTOCOL, TTL]);
            frame.extend(from.octets());
            frame.extend(destination.octets());
        }
        Endpoints::V4 { .. } | Endpoints::V6 { .. } => return false,
    }
    frame.extend(message);
    true
}

/// Without options.
const IPV4_HEADER: usize = 20;

fn ethernet(frame: &mut Vec<u8>, destination: [u8; 6], source: MacAddr, kind: u16) {
    frame.extend(destination);
    frame.extend(source.octets());
    frame.extend(kind.to_be_bytes());
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| pair.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!(folded + (folded >> 16))).to_be_bytes();
    [high, low]
}

#[cfg(test)]
mod tests {
    use pnet::packet::Packet as _;
    use pnet::packet::ethernet::EthernetPacket;
    use pnet::packet::ipv4::{self, Ipv4Packet};
    use pnet::packet::ipv6::Ipv6Packet;

    use super::*;

    const VIRTUAL: MacAddr = MacAddr(0, 0, 0x5e, 0, 1, 51);

    #[test]
    fn over_ipv4_it_goes_to_the_group_with_a_header_that_adds_up() {
        let mut frame = Vec::new();
        let endpoints = Endpoints::V4 { source: [198, 18, 5, 10].into(), destination: IPV4_GROUP };
        assert!(write(&mut frame, VIRTUAL, endpoints, &[1, 2, 3]));
        let ethernet = EthernetPacket::new(&frame).unwrap();
        assert_eq!(
            (ethernet.get_source(), ethernet.get_destination().to_string()),
            (VIRTUAL, "01:00:5e:00:00:12".into())
        );
        let packet = Ipv4Packet::new(ethernet.payload()).unwrap();
        assert_eq!(packet.get_checksum(), ipv4::checksum(&packet));
        assert_eq!((packet.get_ttl(), packet.get_next_level_protocol().0, packet.get_dscp()), (255, 112, 48));
        assert_eq!((packet.get_total_length(), packet.payload()), (23, [1, 2, 3].as_slice()));
    }

    #[test]
    fn over_ipv6_it_goes_to_the_group_with_hop_limit_255() {
        let mut frame = vec![9; 99];
        let endpoints = Endpoints::V6 { source: "fe80::1".parse().unwrap(), destination: IPV6_GROUP };
        assert!(write(&mut frame, VIRTUAL, endpoints, &[1, 2, 3]));
        let ethernet = EthernetPacket::new(&frame).unwrap();
        assert_eq!(ethernet.get_destination().to_string(), "33:33:00:00:00:12");
        let packet = Ipv6Packet::new(ethernet.payload()).unwrap();
        assert_eq!((packet.get_version(), packet.get_traffic_class(), packet.get_hop_limit()), (6, 0xc0, 255));
        assert_eq!((packet.get_next_header().0, packet.payload()), (112, [1, 2, 3].as_slice()));
    }

    #[test]
    fn a_single_router_is_the_kernels_to_find() {
        let endpoints = Endpoints::V4 { source: [198, 18, 5, 10].into(), destination: [198, 18, 5, 11].into() };
        assert!(!write(&mut Vec::new(), VIRTUAL, endpoints, &[]));
    }
}
