//! Any frame from the wire, as ARP, as neighbour discovery, and as a claim to an address.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = vipd::frame::arp::Arp::parse(data);
    let _ = vipd::frame::ndp::Ndp::parse(data);
    let _ = vipd::frame::claim::Claim::parse(data);
});
