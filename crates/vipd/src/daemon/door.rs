//! Where clients come in: whatever they do, descriptors are left for the daemon's own work, and nothing turns in vain.

use std::io;
use std::time::Duration;

/// How long nobody is let in after that has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The next client that `accept` lets in.
pub(super) async fn next<T, F: Future<Output = io::Result<T>>>(accept: impl Fn() -> F) -> T {
    loop {
        match accept().await {
            Ok(client) => return client,
            // Too many open files: it would fail again at once, and the loop have no turn.
            Err(error) => {
                tracing::warn!(%error, "a client was not let in; the next in {PAUSE:?}");
                pause().await;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no event says that a descriptor is free again")]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}
