//! Signals that ask the program to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and SIGHUP (the operator's SSH session ended), from the moment this exists.
///
/// As long as it exists none of them ends the process by itself, so a verb is never cut in two: it asks
/// [`Interrupt::wait`] where it may stop, and elsewhere runs to the end.
pub struct Interrupt {
    signals: [Signal; 3],
}

impl Interrupt {
    /// Takes the signals over.
    ///
    /// # Errors
    /// What sigaction(2) says.
    pub fn listen() -> io::Result<Self> {
        let [int, term, hup] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { signals: [int?, term?, hup?] })
    }

    /// Returns when one of the signals has come. Cancel safe.
    pub async fn wait(&mut self) {
        let [int, term, hup] = &mut self.signals;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }
}
