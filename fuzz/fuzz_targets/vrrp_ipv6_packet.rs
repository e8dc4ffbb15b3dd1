//! A whole IPv6 packet: header and what it carries.
#![no_main]

use bc_fuzz::receive;
use libfuzzer_sys::fuzz_target;
use vrrp::Version;
use vrrp::wire::Ipv6Packet;

fuzz_target!(|packet: &[u8]| {
    if let Ok(read) = Ipv6Packet::new_checked(packet) {
        assert!(read.payload().len() + 40 <= packet.len());
        receive(&read.datagram(), Version::V3);
    }
});
