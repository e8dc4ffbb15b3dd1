//! The token by which a server knows its agents: base64(HMAC-SHA256(tokenGenerationKey, uuid)) (GoCD: AgentRegistrationController).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The token that a server with this key gives the agent `uuid`.
///
/// Two servers accept the same agents exactly if they have the same `tokenGenerationKey`.
pub(crate) fn generate(token_generation_key: &str, uuid: &str) -> String {
    BASE64_STANDARD.encode(keyed(token_generation_key, uuid).finalize().into_bytes())
}

/// Whether `token` is the one this key gives `uuid`, compared in constant time.
pub(crate) fn verify(token_generation_key: &str, uuid: &str, token: &str) -> bool {
    BASE64_STANDARD.decode(token).is_ok_and(|bytes| keyed(token_generation_key, uuid).verify_slice(&bytes).is_ok())
}

fn keyed(token_generation_key: &str, uuid: &str) -> Hmac<Sha256> {
    // HMAC takes a key of any length, so the error cannot happen; an empty key is what it would fall back to.
    let mut mac = Hmac::<Sha256>::new_from_slice(token_generation_key.as_bytes())
        .unwrap_or_else(|_| Hmac::<Sha256>::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
    mac.update(uuid.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::{generate, verify};

    #[test]
    fn a_token_is_the_hmac_of_the_uuid() {
        // printf %s uuid-1 | openssl dgst -sha256 -hmac key-1 -binary | base64
        assert_eq!(generate("key-1", "uuid-1"), "kCceT1ZxOqXS0Jfw4IVTW2VSdfmiV9O3jCkzEyqzXa0=");
    }

    #[test]
    fn a_token_is_good_for_its_key_and_its_agent_only() {
        let token = generate("key-1", "uuid-1");
        assert!(verify("key-1", "uuid-1", &token));
        assert!(!verify("key-2", "uuid-1", &token));
        assert!(!verify("key-1", "uuid-2", &token));
        assert!(!verify("key-1", "uuid-1", "not base64!"));
    }
}
