//! What a frame on the wire says, read by the judge's own eyes: nothing here is shared with vipd.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use pnet::util::MacAddr;

/// A frame, and when the observer's kernel saw it (since the epoch).
#[derive(Clone)]
pub struct Frame {
    pub at: Duration,
    pub bytes: Vec<u8>,
}

/// An ADVERTISEMENT of VRRP v2 or v3.
#[derive(Clone, Debug)]
pub struct Advert {
    pub at: Duration,
    pub source: IpAddr,
    pub ttl: u8,
    pub version: u8,
    pub vrid: u8,
    pub priority: u8,
    pub interval: Duration,
    pub addresses: u8,
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    pub request: bool,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub number: u32,
}

impl Frame {
    fn field<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn kind(&self) -> Option<u16> {
        self.field(12).map(u16::from_be_bytes)
    }

    pub fn from(&self) -> Option<MacAddr> {
        self.field(6).map(|mac: [u8; 6]| mac.into())
    }

    /// Protocol, source, destination, TTL or hop limit, and where the payload starts.
    fn packet(&self) -> Option<(u8, IpAddr, IpAddr, u8, usize)> {
        let byte = |at| self.bytes.get(at).copied();
        match self.kind()? {
            0x0800 => {
                let address = |at| self.field::<4>(at).map(IpAddr::from);
                Some((byte(23)?, address(26)?, address(30)?, byte(22)?, 14 + usize::from(byte(14)? & 0xf) * 4))
            }
            0x86dd => {
                let address = |at| self.field::<16>(at).map(IpAddr::from);
                Some((byte(20)?, address(22)?, address(38)?, byte(21)?, 54))
            }
            _ => None,
        }
    }

    pub fn advert(&self) -> Option<Advert> {
        let (112, source, _, ttl, at) = self.packet()? else { return None };
        let [kind, vrid, priority, addresses] = self.field(at)?;
        let [high, low]: [u8; 2] = self.field(at + 4)?;
        let (version, 1) = (kind >> 4, kind & 0xf) else { return None };
        let interval = match version {
            2 => Duration::from_secs(low.into()),
            _ => Duration::from_millis(u64::from(u16::from_be_bytes([high & 0xf, low])) * 10),
        };
        Some(Advert { at: self.at, source, ttl, version, vrid, priority, interval, addresses })
    }

    /// The address that a gratuitous ARP or an unsolicited neighbour advertisement is about.
    pub fn announces(&self) -> Option<IpAddr> {
        match self.kind()? {
            0x0806 => {
                let (sender, target): ([u8; 4], [u8; 4]) = (self.field(28)?, self.field(38)?);
                (sender == target).then(|| Ipv4Addr::from(sender).into())
            }
            0x86dd => {
                let (58, _, destination, 255, at) = self.packet()? else { return None };
                let to_all = destination == IpAddr::from(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
                let advertises = self.bytes.get(at) == Some(&136) && to_all;
                advertises.then(|| self.field::<16>(at + 8)).flatten().map(IpAddr::from)
            }
            _ => None,
        }
    }

    /// Whether it says in ARP whose the address is: a request does so too, by its sender.
    pub fn speaks_for(&self, address: IpAddr) -> bool {
        self.kind() == Some(0x0806) && self.field::<4>(28).map(IpAddr::from) == Some(address)
    }

    /// The address that an ARP reply to one host speaks for.
    pub fn arp_reply(&self) -> Option<Ipv4Addr> {
        let to_one = self.bytes.first()? & 1 == 0;
        let reply = self.kind()? == 0x0806 && self.field(20)? == [0, 2];
        (reply && to_one).then(|| self.field::<4>(28)).flatten().map(Ipv4Addr::from)
    }

    pub fn echo(&self) -> Option<Echo> {
        let (1, IpAddr::V4(source), IpAddr::V4(destination), _, at) = self.packet()? else { return None };
        let request = match self.bytes.get(at)? {
            8 => true,
            0 => false,
            _ => return None,
        };
        Some(Echo { request, source, destination, number: u32::from_be_bytes(self.field(at + 4)?) })
    }
}

/// RFC 1071.
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).unwrap()).to_be_bytes()
}

/// An ICMP echo request.
pub fn echo_request(number: u32) -> Vec<u8> {
    let mut echo = [&[8, 0, 0, 0], &number.to_be_bytes()[..], b"who answers?"].concat();
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum);
    echo
}
