//! What a frame on the wire says about who has an address. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::util::MacAddr;

use super::arp::{Arp, Operation};
use super::ndp::Ndp;

/// How a host showed that an address is, or is about to be, its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It answered a question for the address.
    Answered,
    /// It announced the address unasked.
    Announced,
    /// It sent something from the address.
    Used,
    /// It is probing for the address itself (RFC 5227 §2.1.1, RFC 4862 §5.4.3).
    Probing,
}

impl Manner {
    /// One word, as it stands in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Announced => "announced",
            Self::Used => "used",
            Self::Probing => "probing",
        }
    }
}

/// A host says: this address is mine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// The hardware address of the host.
    pub mac: MacAddr,
    /// How it said so.
    pub manner: Manner,
}

impl Claim {
    /// The claim in a frame; `None` if it is no ARP and no neighbour discovery, is malformed, or claims nothing.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        Arp::parse(frame).map(Self::from_arp).or_else(|| Ndp::parse(frame).map(Self::from_ndp))
    }

    fn from_arp(arp: Arp) -> Self {
        let (address, manner) = match arp.operation {
            Operation::Request if arp.sender_ip == Ipv4Addr::UNSPECIFIED => (arp.target_ip, Manner::Probing),
            Operation::Request | Operation::Reply if arp.sender_ip == arp.target_ip => {
                (arp.sender_ip, Manner::Announced)
            }
            Operation::Request => (arp.sender_ip, Manner::Used),
            Operation::Reply => (arp.sender_ip, Manner::Answered),
        };
        Self { address: address.into(), mac: arp.sender_mac, manner }
    }

    fn from_ndp(ndp: Ndp) -> Self {
        let (address, mac, manner) = match ndp {
            Ndp::Solicitation { target, source, mac } if source == Ipv6Addr::UNSPECIFIED => {
                (target, mac, Manner::Probing)
            }
            Ndp::Solicitation { source, mac, .. } => (source, mac, Manner::Used),
            // The answer to a probe goes to all nodes with S=0 (RFC 4861 §7.2.4): asked or not cannot be told apart.
            Ndp::Advertisement { target, mac, .. } => (target, mac, Manner::Answered),
        };
        Self { address: address.into(), mac, manner }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ndp;

    const THEIRS: MacAddr = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x02);
    const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 200);
    const OTHER: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 1);

    #[test]
    fn each_arp_packet_claims_its_sender_address_and_a_probe_its_target() {
        let arp = |operation, sender_ip, target_ip| Arp {
            operation,
            sender_mac: THEIRS,
            sender_ip,
            target_mac: MacAddr::zero(),
            target_ip,
        };
        let table = [
            (arp(Operation::Reply, VIP, Ipv4Addr::UNSPECIFIED), VIP, Manner::Answered),
            (arp(Operation::Request, VIP, VIP), VIP, Manner::Announced),
            (arp(Operation::Reply, VIP, VIP), VIP, Manner::Announced),
            (arp(Operation::Request, VIP, OTHER), VIP, Manner::Used),
            (arp(Operation::Request, OTHER, VIP), OTHER, Manner::Used),
            (arp(Operation::Request, Ipv4Addr::UNSPECIFIED, VIP), VIP, Manner::Probing),
        ];
        for (arp, address, manner) in table {
            let claim = Claim { address: address.into(), mac: THEIRS, manner };
            assert_eq!(Claim::parse(&arp.emit()), Some(claim), "{arp:?}");
        }
    }

    #[test]
    fn an_advertisement_claims_its_target_and_a_probe_too() {
        let vip: Ipv6Addr = "fd00:5::200".parse().unwrap();
        let answered = Claim { address: vip.into(), mac: THEIRS, manner: Manner::Answered };
        assert_eq!(Claim::parse(&ndp::announcement(THEIRS, vip, false)), Some(answered));
        let probing = Claim { address: vip.into(), mac: THEIRS, manner: Manner::Probing };
        assert_eq!(Claim::parse(&ndp::probe(THEIRS, vip)), Some(probing));
    }
}
