//! A whole IPv4 packet: header, options, padding, and what it carries. The first byte says whether the header's checksum is
//! made right.
#![no_main]

use bc_fuzz::receive;
use libfuzzer_sys::fuzz_target;
use vrrp::Version;
use vrrp::wire::Ipv4Packet;

fuzz_target!(|data: &[u8]| {
    let Some((how, packet)) = data.split_first() else { return };
    let mut packet = packet.to_vec();
    let header = usize::from(packet.first().copied().unwrap_or_default() & 0x0f) * 4;
    if how & 1 == 1 && header >= 20 && packet.len() >= header {
        packet[10..12].fill(0);
        let mut sum: u32 = packet[..header].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
    if let Ok(read) = Ipv4Packet::new_checked(&packet) {
        assert!(read.payload().len() + 20 <= packet.len());
        receive(&read.datagram(), Version::V3);
        receive(&read.datagram(), Version::V2);
    }
});
