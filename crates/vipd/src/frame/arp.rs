//! ARP over Ethernet for IPv4 (RFC 826): probes and announcements (RFC 5227).

use std::net::Ipv4Addr;

use pnet::packet::Packet as _;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::util::MacAddr;

use super::ethernet;

/// What an ARP packet asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// One ARP packet; always sent to the broadcast address.
///
/// ```text
///  0 htype 1 | ptype 0x0800 | hlen 6 | plen 4 | op
///  8 sender MAC (6) | sender IP (4) | target MAC (6) | target IP (4)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Hardware address of the sender.
    pub sender_mac: MacAddr,
    /// Protocol address of the sender; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// Hardware address of the target.
    pub target_mac: MacAddr,
    /// Protocol address that is asked for.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// An ARP Probe: asks for `target` without claiming any address (RFC 5227 §2.1.1), so no cache is changed.
    #[must_use]
    pub const fn probe(own: MacAddr, target: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: own,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: MacAddr(0, 0, 0, 0, 0, 0),
            target_ip: target,
        }
    }

    /// A gratuitous ARP: tells every neighbour that `vip` is at `own`.
    ///
    /// Sender and target address are the VIP (RFC 5227 §2.3). The target hardware address is our own in both forms:
    /// RFC 5944 §4.6 asks for it in a reply, and erratum 7949 to RFC 9568 §6.4.2 in a request; elsewhere it is ignored.
    #[must_use]
    pub const fn announcement(operation: Operation, own: MacAddr, vip: Ipv4Addr) -> Self {
        Self { operation, sender_mac: own, sender_ip: vip, target_mac: own, target_ip: vip }
    }

    /// The frame, addressed to everybody.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let operation = match self.operation {
            Operation::Request => ArpOperations::Request,
            Operation::Reply => ArpOperations::Reply,
        };
        let mut payload = Vec::with_capacity(28);
        payload.extend(ArpHardwareTypes::Ethernet.0.to_be_bytes());
        payload.extend(EtherTypes::Ipv4.0.to_be_bytes());
        payload.extend([6, 4]);
        payload.extend(operation.0.to_be_bytes());
        payload.extend(self.sender_mac.octets());
        payload.extend(self.sender_ip.octets());
        payload.extend(self.target_mac.octets());
        payload.extend(self.target_ip.octets());
        ethernet(MacAddr::broadcast(), self.sender_mac, EtherTypes::Arp, &payload)
    }

    /// Reads an Ethernet frame; `None` if it is not ARP for IPv4 over Ethernet, or is cut short.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame).filter(|frame| frame.get_ethertype() == EtherTypes::Arp)?;
        let arp = ArpPacket::new(ethernet.payload())?;
        let is_ours = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
            && arp.get_protocol_type() == EtherTypes::Ipv4
            && arp.get_hw_addr_len() == 6
            && arp.get_proto_addr_len() == 4;
        let operation = match arp.get_operation() {
            ArpOperations::Request if is_ours => Operation::Request,
            ArpOperations::Reply if is_ours => Operation::Reply,
            _ => return None,
        };
        Some(Self {
            operation,
            sender_mac: arp.get_sender_hw_addr(),
            sender_ip: arp.get_sender_proto_addr(),
            target_mac: arp.get_target_hw_addr(),
            target_ip: arp.get_target_proto_addr(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: MacAddr = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d);
    const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 200);

    #[test]
    fn a_probe_claims_nothing() {
        let golden = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, 0x08, 0x06, // Ethernet
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, // request
            0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, 0, 0, 0, 0, // from our MAC, but from no address
            0, 0, 0, 0, 0, 0, 198, 18, 5, 200, // for the VIP
        ];
        assert_eq!(Arp::probe(OWN, VIP).emit(), golden);
    }

    #[test]
    fn an_announcement_is_a_request_and_a_reply_with_the_vip_on_both_sides() {
        for (operation, code) in [(Operation::Request, 1), (Operation::Reply, 2)] {
            let golden = [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, 0x08, 0x06, // Ethernet
                0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, code, // request, then reply
                0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, 198, 18, 5, 200, // sender
                0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, 198, 18, 5, 200, // target
            ];
            assert_eq!(Arp::announcement(operation, OWN, VIP).emit(), golden);
        }
    }

    #[test]
    fn every_frame_cut_short_or_of_another_kind_is_refused() {
        let frame = Arp::probe(OWN, VIP).emit();
        for len in 0..frame.len() {
            assert_eq!(Arp::parse(&frame[..len]), None, "{len} bytes");
        }
        for (at, value, what) in
            [(13, 0x00, "IPv4"), (15, 6, "IEEE 802"), (16, 0x86, "other protocol"), (18, 8, "hlen")]
        {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(Arp::parse(&other), None, "{what}");
        }
        let mut reverse = frame;
        reverse[21] = 3;
        assert_eq!(Arp::parse(&reverse), None, "RARP");
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_back_also_with_ethernet_padding(
            reply: bool, sender: [u8; 6], spa: [u8; 4], target: [u8; 6], tpa: [u8; 4], padding in 0_usize..30,
        ) {
            let arp = Arp {
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: sender.into(), sender_ip: spa.into(), target_mac: target.into(), target_ip: tpa.into(),
            };
            let mut frame = arp.emit();
            frame.extend(vec![0; padding]);
            prop_assert_eq!(Arp::parse(&frame), Some(arp));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Arp::parse(&bytes);
        }
    }
}
