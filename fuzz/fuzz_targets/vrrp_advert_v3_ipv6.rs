//! The payload of an IP packet as an advertisement; the first byte says whether its checksum is made right.
#![no_main]

use bc_fuzz::{endpoints, summed, swallow};
use libfuzzer_sys::fuzz_target;
use vrrp::{Family, Version};

fuzz_target!(|data: &[u8]| {
    let Some((how, payload)) = data.split_first() else { return };
    let endpoints = endpoints(Family::V6);
    if how & 1 == 0 {
        swallow(endpoints, Version::V3, payload);
    } else {
        swallow(endpoints, Version::V3, &summed(payload, endpoints, true));
    }
});
