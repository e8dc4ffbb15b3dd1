//! A line of the control socket, from a client and from a daemon: what is understood is said again in the same words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vipd::daemon::protocol::{Answer, Request};

fuzz_target!(|line: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let said = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<Request>(&said).unwrap(), request);
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(line) {
        let said = serde_json::to_vec(&answer).unwrap();
        assert_eq!(serde_json::from_slice::<Answer>(&said).unwrap(), answer);
    }
});
