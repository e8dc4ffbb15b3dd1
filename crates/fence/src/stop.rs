//! SIGINT, SIGTERM and SIGHUP as a wish to stop: the running agent is killed, the outcome is still written down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// Whether somebody wants this program to end. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Turns the three signals into the flag, for the rest of the program's life.
    ///
    /// Must be called before any other thread is started, because the signals are blocked in the calling thread and
    /// in those that it starts. Child processes are not affected: `std::process` empties their signal mask.
    ///
    /// # Errors
    /// When the mask cannot be changed or the thread cannot be started.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block()?;
        let flag = stop.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            while signals.wait().is_ok() {
                flag.request();
            }
        })?;
        Ok(stop)
    }

    /// Asks everybody who holds a clone to stop.
    pub(crate) fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
