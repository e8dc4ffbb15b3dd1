//! keepalived's configuration; an `include` finds nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = vipd::import::import("keepalived.conf", text, "id", &|_, _| Ok(vec![]));
});
