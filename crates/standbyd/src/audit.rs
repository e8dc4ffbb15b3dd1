//! A line in the system's log for every request of a peer: who was given what.
//!
//! The peer sees this program's stderr, so that is not where an audit belongs.

use std::env;
use std::os::unix::net::UnixDatagram;

/// Writes `text` to the system's log (RFC 3164, facility auth, severity info). A host without one loses the line only.
pub(crate) fn log(text: &str) {
    let client = env::var("SSH_CONNECTION").unwrap_or_default();
    let client = client.split(' ').next().filter(|client| !client.is_empty()).unwrap_or("an unknown host");
    let line = format!("<38>standbyd[{}]: export to {}: {text}", std::process::id(), quote(client));
    let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(line.as_bytes(), "/dev/log"));
}

/// A peer's words as they may stand in a log or a message: no control characters, no more than 100 characters.
pub(crate) fn quote(words: &str) -> String {
    let shown: String = words.chars().take(100).collect();
    let more = if shown.len() < words.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_peer_cannot_forge_a_line() {
        assert_eq!(quote("x\n<38>root: all is well"), r#""x\n<38>root: all is well""#);
        assert!(quote(&"x".repeat(100_000)).chars().count() < 110);
    }
}
