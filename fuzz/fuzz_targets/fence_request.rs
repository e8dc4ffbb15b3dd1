//! A request to the fence agent, as lines and as options.
#![no_main]

use fence::fence_bc::request::{Action, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let request = Request::from_lines(data);
    if request.action.is_ok() {
        assert!(request.delay.as_secs() <= 3600);
        assert!(String::from_utf8_lossy(data).to_ascii_lowercase().contains("action="), "nothing is done by default");
    }
    assert!(request.warnings.iter().all(|warning| !warning.contains(char::is_control)));
    let words = String::from_utf8_lossy(data).split('\n').map(str::to_owned).collect::<Vec<_>>();
    if let Ok(Request { action: Ok(Action::Off), .. }) = Request::from_arguments(words) {
        assert!(data.contains(&b'-'));
    }
});
