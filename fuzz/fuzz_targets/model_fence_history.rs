//! A line of the fence history: what is read is written back the same.
#![no_main]

use bc_model::fencing::HistoryLine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(line) = serde_json::from_slice::<HistoryLine>(data) {
        let json = serde_json::to_string(&line).expect("a line is JSON");
        assert_eq!(serde_json::from_str::<HistoryLine>(&json).expect("as it was written"), line);
    }
});
