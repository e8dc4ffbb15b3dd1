//! The one place of the crate that reads the clock, waits for it, and draws a random number.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

/// The monotonic time of this moment. Call it in the outermost loop only, and hand the value inwards.
#[expect(clippy::disallowed_methods, reason = "the edge of the program reads the clock here, and nowhere else")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns when the clock has reached `deadline`. Cancel safe.
pub async fn reach(deadline: Instant) {
    tokio::time::sleep_until(deadline.into()).await;
}

/// A random number from the system, good enough for jitter and nothing else.
#[must_use]
pub fn jitter() -> u64 {
    // RandomState is seeded by the operating system; each new one differs.
    RandomState::new().build_hasher().finish()
}
