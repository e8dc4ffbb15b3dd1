//! The one place of this program that reads a clock or pauses.

use std::time::{Duration, Instant};

/// The time now, for the pure parts that take it as an argument.
#[expect(clippy::disallowed_methods, reason = "the edge reads the clock here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, for people.
#[expect(clippy::disallowed_methods, reason = "the edge reads the clock here")]
pub(crate) fn timestamp() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Pauses between two attempts of a loop.
#[expect(clippy::disallowed_methods, reason = "the loops of server and agent pause here")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
