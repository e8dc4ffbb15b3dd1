//! Signals that ask a one-shot verb to stop, and its one way to wait.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use crate::clock;

/// SIGINT, SIGTERM and SIGHUP (the operator's SSH session ended), from the moment this exists.
///
/// From then on none of them ends the process by itself, so a verb is never cut in two: it asks [`Interrupt::wait`] where it
/// may stop, and elsewhere runs to the end.
pub struct Interrupt {
    signals: SignalFd,
}

/// What a verb waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There is something to read.
    Readable,
    /// The time has come.
    Due,
    /// A signal asks it to stop.
    Interrupted,
}

impl Interrupt {
    /// Takes the signals over.
    ///
    /// # Errors
    /// What sigprocmask(2) and signalfd(2) say.
    pub fn listen() -> io::Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block()?;
        Ok(Self { signals: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)? })
    }

    /// Waits for one of the signals, for something to read, or until `deadline`; the first of these counts.
    ///
    /// # Errors
    /// What ppoll(2) says.
    pub fn wait(&self, readable: BorrowedFd<'_>, deadline: Instant) -> io::Result<Woken> {
        let mut watched =
            [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(readable, PollFlags::POLLIN)];
        let left = TimeSpec::from_duration(deadline.saturating_duration_since(clock::now()));
        match ppoll(&mut watched, Some(left), None) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Woken::Due),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [signal, _] = watched.map(|one| one.any().unwrap_or(true));
        Ok(if signal { Woken::Interrupted } else { Woken::Readable })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signal_comes_before_what_there_is_to_read_and_that_before_the_deadline() {
        // Both concern this thread alone.
        let interrupt = Interrupt::listen().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let soon = || clock::now() + Duration::from_millis(5);
        assert_eq!(interrupt.wait(reader.as_fd(), soon()).unwrap(), Woken::Due);
        writer.write_all(b"x").unwrap();
        let late = clock::now() + Duration::from_secs(60);
        assert_eq!(interrupt.wait(reader.as_fd(), late).unwrap(), Woken::Readable);
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        assert_eq!(interrupt.wait(reader.as_fd(), late).unwrap(), Woken::Interrupted);
    }
}
