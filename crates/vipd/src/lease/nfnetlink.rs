//! The socket edge: sends a transaction, and returns when the kernel has done or refused it.

use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::libc::MSG_DONTWAIT;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::answer::{Answer, Refused, answers};
use super::batch::Batch;
use super::error::{LeaseError, Refusal};

/// What we ask the kernel to let one transaction be as long as. It doubles it.
const SEND_BUFFER: usize = 1 << 20;

/// The kernel makes the parts of a list as large as the reader's buffer, up to this.
const INBOX: usize = 32 << 10;

/// A list that was disturbed by a change is asked for again, so often.
const LIST_ATTEMPTS: usize = 10;

/// A connection to nf_tables in the network namespace of the thread that opened it. Changing needs `CAP_NET_ADMIN`.
///
/// The kernel works through a transaction while send(2) runs, and the answers are there when it returns: nothing here
/// waits for anything.
pub(super) struct Nfnetlink {
    socket: Socket,
    inbox: Box<[u8]>,
    longest: usize,
}

impl Nfnetlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        // Refusals shall quote the header of our message and not all of it, and say what is wrong with it. Kernels that
        // cannot (before 4.12) still send the error number.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        // Without the capability the buffer stays as it is, and transactions are shorter.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER);
        let send_buffer = getsockopt(&socket, sockopt::SndBuf)?;
        // netlink_sendmsg() of the kernel: EMSGSIZE if longer than this.
        Ok(Self { socket, inbox: vec![0; INBOX].into(), longest: send_buffer.saturating_sub(32) })
    }

    /// The longest transaction in bytes.
    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    /// Has the kernel do all of `batch`, or nothing.
    ///
    /// # Errors
    /// The first refusal; or that there was no answer, when the kernel may have done it.
    pub(super) fn transact(&mut self, batch: &Batch) -> Result<(), LeaseError> {
        let (mut done, mut refusal) = (false, None);
        self.exchange(batch, |sequence, answer| match answer {
            Answer::Refused(refused) => {
                refusal.get_or_insert_with(|| LeaseError::Refused(refused_by(batch, sequence, refused)));
            }
            Answer::Done if sequence == batch.last_sequence() => done = true,
            Answer::Done | Answer::Elements(_) | Answer::Interrupted | Answer::Other => {}
        })?;
        match refusal {
            Some(refusal) => Err(refusal),
            None if done => Ok(()),
            None => Err(LeaseError::Unanswered),
        }
    }

    /// Asks for a list, and hands each part of it to `part`. A list that was disturbed by a change is asked for again.
    pub(super) fn list(&mut self, question: &Batch, mut part: impl FnMut(&[u8])) -> Result<(), LeaseError> {
        for _ in 0..LIST_ATTEMPTS {
            let (mut done, mut disturbed, mut refusal) = (false, false, None);
            self.exchange(question, |sequence, answer| match answer {
                Answer::Elements(elements) => part(elements),
                Answer::Refused(refused) if refused.errno == Errno::EINTR as i32 => disturbed = true,
                Answer::Refused(refused) => refusal = Some(refused_by(question, sequence, refused)),
                Answer::Interrupted => disturbed = true,
                Answer::Done => done = true,
                Answer::Other => {}
            })?;
            match refusal {
                Some(refusal) => return Err(LeaseError::Refused(refusal)),
                None if done && !disturbed => return Ok(()),
                None => {}
            }
        }
        Err(LeaseError::Unanswered)
    }

    /// Sends, and reads every answer that is there. Answers to earlier questions are skipped.
    fn exchange(&mut self, batch: &Batch, mut each: impl FnMut(u32, Answer<'_>)) -> Result<(), LeaseError> {
        loop {
            match self.socket.send(batch.bytes(), 0) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LeaseError::Socket(error)),
            }
        }
        loop {
            let mut space = &mut self.inbox[..];
            match self.socket.recv(&mut space, MSG_DONTWAIT) {
                Ok(length) => answers(&self.inbox[..length.min(INBOX)])
                    .filter(|(sequence, _)| batch.contains(*sequence))
                    .for_each(|(sequence, answer)| each(sequence, answer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Some answers did not fit; those that did follow. If ours is not among them, the caller sees that.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LeaseError::Socket(error)),
            }
        }
    }
}

fn refused_by(batch: &Batch, sequence: u32, refused: Refused<'_>) -> Refusal {
    Refusal {
        errno: Errno::from_raw(refused.errno),
        words: refused.words.map(str::to_owned),
        operation: batch.operation(sequence),
    }
}
