//! The right to fence, as text and as JSON: what is read is written back the same.
#![no_main]

use bc_model::fencing::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = text.parse::<Token>().ok().into_iter().chain(serde_json::from_str(text).ok());
    for token in read {
        assert_eq!(token.to_string().parse::<Token>().as_ref(), Ok(&token));
        let json = serde_json::to_string(&token).expect("a token is JSON");
        assert_eq!(serde_json::from_str::<Token>(&json).expect("as it was written"), token);
        assert_eq!(token.check(Some(&token), token.expires), Err(bc_model::fencing::Stale::Expired));
    }
});
