//! The request line of the fence helper's socket.
#![no_main]

use fence::helper::request::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::decode(data) {
        assert!(!request.node.is_empty() && request.node.chars().count() <= 64);
        assert!(!request.reason.contains(char::is_control));
        let line = serde_json::to_vec(&request).unwrap_or_default();
        assert_eq!(Request::decode(&line).ok(), Some(request), "what is accepted is accepted again");
    }
});
