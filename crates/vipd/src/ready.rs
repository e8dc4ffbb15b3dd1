//! Whether a descriptor has something to read: the one bridge from descriptors of our own to tokio.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A second descriptor of something that is read elsewhere.
#[derive(Debug)]
pub struct Ready(AsyncFd<OwnedFd>);

impl Ready {
    /// Watches `descriptor` for something to read; must be called within a tokio runtime.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    #[expect(unsafe_code, reason = "tokio has no safe way to watch a descriptor that it did not open")]
    pub fn watch(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: the `AsyncFd` owns the `OwnedFd`, which closes its descriptor only when dropped and never changes it.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        watched.map(Self).map_err(io::Error::from)
    }

    /// Ready when something new may have come since the last time. What is left unread is not told of again.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.0.poll_read_ready(context) {
            Poll::Ready(Ok(mut guard)) => {
                guard.clear_ready();
                Poll::Ready(())
            }
            // The read that follows says what is wrong.
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}
