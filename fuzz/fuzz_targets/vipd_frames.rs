//! Any frame from the wire, as ARP, as neighbour discovery, and as a claim to an address; the first byte says whether an
//! ICMPv6 checksum is made right.
#![no_main]

use bc_fuzz::frame_summed;
use libfuzzer_sys::fuzz_target;
use vipd::frame::{arp::Arp, claim::Claim, ndp::Ndp};

fuzz_target!(|data: &[u8]| {
    let Some((how, frame)) = data.split_first() else { return };
    let frame = if how & 1 == 0 { frame.to_vec() } else { frame_summed(frame) };
    let (arp, ndp) = (Arp::parse(&frame), Ndp::parse(&frame));
    assert!(arp.is_none() || ndp.is_none());
    assert_eq!(Claim::parse(&frame).is_some(), arp.is_some() || ndp.is_some());
});
