//! The one place where this program reads the clock and pauses.

use std::time::{Duration, Instant};

/// A moment on the monotonic clock after which something counts as failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "this is the edge: locks and peers are waited for in real time")]
    pub(crate) fn after(length: Duration) -> Self {
        Self(Instant::now() + length)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the edge: locks and peers are waited for in real time")]
    pub(crate) fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Lets a moment go by before something is looked at again; the caller holds a [`Deadline`].
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge: a lock cannot be waited for with a limit in any other way"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
