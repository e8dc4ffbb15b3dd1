//! keepalived's configuration, where an `include` finds nothing: what comes of it is a configuration that the daemon accepts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::config::Config;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(import) = vipd::import::import("keepalived.conf", text, "id", &|_, _| Ok(vec![])) else { return };
    if import.instances > 0
        && let Err(error) = Config::parse("vipd.toml", &import.toml)
    {
        panic!("{error}\n{}", import.toml);
    }
});
