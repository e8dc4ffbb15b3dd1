//! The daemon's configuration: what is accepted can also be described, and changes nothing when it is loaded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::config::{Config, Summary, describe_lease, diff, lint};
use vipd::lease::Enforcement;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::parse("vipd.toml", text) {
        Ok(config) => {
            let _ = lint(&config);
            for enforcement in [Enforcement::DeadMan, Enforcement::AddressLifetime] {
                let _ = Summary::of(&config, |instance| describe_lease(instance, enforcement));
            }
            assert!(diff(&config, &config).is_empty());
        }
        Err(error) => assert!(error.to_string().starts_with("vipd.toml"), "{error}"),
    }
});
