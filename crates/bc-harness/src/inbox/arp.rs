//! The observer of the wire: asks ten times a second, by broadcast, who has the virtual IP, and tells who answers.
//!
//! It shares no code with `vipd`, and asks by broadcast every time, so that every owner hears every question: two
//! owners give two answers. It prints one JSON line per frame, stamped with the machine's monotonic clock.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pnet::datalink::{self, Channel, MacAddr, NetworkInterface};
use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::{MutablePacket, Packet};
use serde::{Deserialize, Serialize};

use crate::clock::{self, Moment};

/// How often the observer asks.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
const FRAME: usize = 14 + 28;

/// One line that the observer prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "saw", rename_all = "kebab-case")]
pub(crate) enum Sighting {
    /// It asked.
    Probe { at: Moment, number: u64 },
    /// Somebody answered it.
    Answer { at: Moment, mac: String },
    /// Somebody announced the address to everybody.
    Announcement { at: Moment, mac: String },
}

/// Watches `target` on the interface `device` until its output is closed.
///
/// # Errors
/// If there is no such interface, it has no IPv4 address, or raw sockets are not permitted.
pub(crate) fn watch(device: &str, target: Ipv4Addr) -> Result<()> {
    let interface = find(device)?;
    let mac = interface.mac.with_context(|| format!("{device} has no MAC address"))?;
    let own = interface.ips.iter().find_map(|net| match net.ip() {
        std::net::IpAddr::V4(address) if address != target => Some(address),
        _ => None,
    });
    let own = own.with_context(|| format!("{device} has no IPv4 address"))?;
    let config = datalink::Config { read_timeout: Some(Duration::from_secs(1)), ..Default::default() };
    let (mut sender, mut receiver) = match datalink::channel(&interface, config) {
        Ok(Channel::Ethernet(sender, receiver)) => (sender, receiver),
        Ok(_) => bail!("{device} is not an Ethernet interface"),
        Err(error) => return Err(error).context("cannot open a raw socket (needs CAP_NET_RAW)"),
    };
    std::thread::spawn(move || {
        loop {
            // A read that times out is no error: nobody spoke.
            let Ok(frame) = receiver.next() else { continue };
            if let Some(sighting) = read(frame, Moment::now(), target, mac) {
                tell(&sighting);
            }
        }
    });
    let request = request(mac, own, target);
    for number in 1.. {
        tell(&Sighting::Probe { at: Moment::now(), number });
        if let Some(Err(error)) = sender.send_to(&request, None) {
            return Err(error).with_context(|| format!("cannot send on {device}"));
        }
        clock::pause_thread(INTERVAL);
    }
    Ok(())
}

fn find(device: &str) -> Result<NetworkInterface> {
    let all = datalink::interfaces();
    all.into_iter()
        .find(|interface| interface.name == device)
        .with_context(|| format!("there is no interface {device}"))
}

/// Prints a line. When nobody reads any more, the observer has done its work.
fn tell(sighting: &Sighting) {
    let mut out = std::io::stdout().lock();
    let told = serde_json::to_string(sighting).map_err(std::io::Error::from).and_then(|line| writeln!(out, "{line}"));
    if told.and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// "Who has `target`? Tell `own`", to everybody (RFC 826).
fn request(mac: MacAddr, own: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0; FRAME];
    if let Some(mut ethernet) = MutableEthernetPacket::new(&mut frame) {
        ethernet.set_destination(MacAddr::broadcast());
        ethernet.set_source(mac);
        ethernet.set_ethertype(EtherTypes::Arp);
        if let Some(mut arp) = MutableArpPacket::new(ethernet.payload_mut()) {
            arp.set_hardware_type(ArpHardwareTypes::Ethernet);
            arp.set_protocol_type(EtherTypes::Ipv4);
            arp.set_hw_addr_len(6);
            arp.set_proto_addr_len(4);
            arp.set_operation(ArpOperations::Request);
            arp.set_sender_hw_addr(mac);
            arp.set_sender_proto_addr(own);
            arp.set_target_hw_addr(MacAddr::zero());
            arp.set_target_proto_addr(target);
        }
    }
    frame
}

/// What a frame says of `target`, if anything. `own` is the observer's own MAC address.
fn read(frame: &[u8], at: Moment, target: Ipv4Addr, own: MacAddr) -> Option<Sighting> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return None;
    }
    let arp = ArpPacket::new(ethernet.payload())?;
    let sender = arp.get_sender_hw_addr();
    // A probe (RFC 5227) asks with sender 0.0.0.0 and claims nothing.
    if arp.get_sender_proto_addr() != target || sender == own {
        return None;
    }
    let mac = sender.to_string();
    if arp.get_operation() == ArpOperations::Reply && ethernet.get_destination() == own {
        Some(Sighting::Answer { at, mac })
    } else {
        Some(Sighting::Announcement { at, mac })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 200);
    const OWN: MacAddr = MacAddr(2, 0x42, 0xc6, 0x12, 5, 31);
    const OWNER: MacAddr = MacAddr(2, 0x42, 0xc6, 0x12, 5, 13);
    const AT: Moment = Moment(7);

    fn frame(destination: MacAddr, sender: MacAddr, address: Ipv4Addr, reply: bool) -> Vec<u8> {
        let mut frame = request(sender, address, VIP);
        frame[..6].copy_from_slice(&destination.octets());
        frame[21] = if reply { 2 } else { 1 };
        frame
    }

    #[test]
    fn the_question_is_a_broadcast_request_of_42_bytes() {
        let bytes = request(OWN, Ipv4Addr::new(198, 18, 5, 31), VIP);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "ffffffffffff",
            "0242c612051f",
            "0806",
            "0001",
            "0800",
            "06",
            "04",
            "0001",
            "0242c612051f",
            "c612051f",
            "000000000000",
            "c61205c8"
        );
        assert_eq!(hex, expected);
    }

    #[test]
    fn answers_and_announcements_are_told_apart() {
        let mac = OWNER.to_string();
        let other = Ipv4Addr::new(198, 18, 5, 13);
        for (frame, seen) in [
            (frame(OWN, OWNER, VIP, true), Some(Sighting::Answer { at: AT, mac: mac.clone() })),
            (frame(MacAddr::broadcast(), OWNER, VIP, true), Some(Sighting::Announcement { at: AT, mac: mac.clone() })),
            (frame(MacAddr::broadcast(), OWNER, VIP, false), Some(Sighting::Announcement { at: AT, mac })),
            (frame(OWN, OWNER, other, true), None),
            (frame(MacAddr::broadcast(), OWNER, Ipv4Addr::UNSPECIFIED, false), None),
            (frame(MacAddr::broadcast(), OWN, VIP, false), None),
            (vec![0; 60], None),
            (vec![], None),
        ] {
            assert_eq!(read(&frame, AT, VIP, OWN), seen, "{frame:02x?}");
        }
    }

    #[test]
    fn a_truncated_frame_is_nothing() {
        let whole = frame(OWN, OWNER, VIP, true);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length], AT, VIP, OWN), None, "{length} bytes");
        }
    }
}
