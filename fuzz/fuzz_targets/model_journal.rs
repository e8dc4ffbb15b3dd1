//! The journal of an operation, torn or not.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(journal) = bc_model::journal::Journal::parse(text) {
        assert!(journal.whole <= text.len());
        let _ = (journal.begun(), journal.facts(), journal.outcome());
    }
});
