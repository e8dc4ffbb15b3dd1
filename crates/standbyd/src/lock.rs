//! GoCD's own lock on `cruise-config.xml`.
//!
//! GoCD takes a POSIX write lock (fcntl) on the whole file while it rewrites it in place. We take a read lock of the kind
//! that belongs to the open file (`F_OFD_SETLK`): it conflicts with GoCD's in the same way, and does not vanish when
//! some other descriptor of this process is closed.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::clock::{Deadline, pause};

/// Takes the read lock, waiting up to `limit` for a writer to finish; it is released when `file` is closed.
///
/// # Errors
/// `TimedOut` if a writer holds the file all the time; else what fcntl(2) says.
pub(crate) fn read_lock(file: &File, limit: Duration) -> io::Result<()> {
    let whole = libc::flock {
        l_type: short(libc::F_RDLCK),
        l_whence: short(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        // Must be 0 for a lock of this kind.
        l_pid: 0,
    };
    let deadline = Deadline::after(limit);
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) if !deadline.passed() => pause(),
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("a writer has held its lock for {limit:?}"),
                ));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The constants are int, the fields short; every value is below 3.
fn short(value: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(value).unwrap_or_default()
}
