//! One request at a time for each node: off and on of two people must not interleave.
//!
//! The lock is `flock` on a file next to the history, named after the node. The kernel drops it when the program ends,
//! however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::stop::Stop;

const PAUSE: Duration = Duration::from_millis(100);

/// Holds a node's lock until it is dropped.
#[derive(Debug)]
pub(crate) struct NodeLock {
    _file: File,
    /// Whether another request had it first.
    pub(crate) waited: bool,
}

/// Why a node's lock was not taken; nothing was touched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another request did not end in time.
    #[error("another request for {node} is running ({holder}); waited {waited:?}")]
    Busy { node: String, holder: String, waited: Duration },
    /// The lock file cannot be used.
    #[error("lock {}: {source}", file.display())]
    Io {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Takes the lock of `node`, waiting up to `limit` or until somebody wants to stop; `busy` is told once who holds it.
///
/// # Errors
/// When another request holds it for longer, or its file cannot be used.
pub(crate) fn take(
    history: &Path,
    node: &str,
    limit: Duration,
    (clock, stop): (&dyn Clock, &Stop),
    busy: &dyn Fn(&str),
) -> Result<NodeLock, LockError> {
    let directory = history.with_extension("locks");
    let path = directory.join(node);
    let io = |source| LockError::Io { file: path.clone(), source };
    fs::create_dir_all(&directory).map_err(io)?;
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    let begun = clock.now();
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(io(source)),
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&path);
                let waited = clock.now().saturating_sub(begun);
                if waited >= limit || stop.requested() {
                    return Err(LockError::Busy { node: node.to_owned(), holder, waited });
                }
                if !std::mem::replace(&mut told, true) {
                    busy(&holder);
                }
                clock.pause(PAUSE);
            }
        }
    }
    // Who holds it is a courtesy to the next one; the lock itself is the kernel's.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "pid {}", std::process::id()));
    Ok(NodeLock { _file: file, waited: told })
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(path).and_then(|file| file.take(64).read_to_string(&mut text));
    if text.trim().is_empty() { "its process is unknown".to_owned() } else { text.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_second_request_waits_its_turn_and_then_gives_up() {
        let directory = tempfile::tempdir().unwrap();
        let history = directory.path().join("history.jsonl");
        let stop = Stop::default();
        let clock = SystemClock::new(stop.clone());
        let take = |node| take(&history, node, Duration::from_millis(300), (&clock, &stop), &|_| {});
        let first = take("pg1").unwrap();
        let other_node = take("pg2");
        assert!(other_node.is_ok(), "another node is not locked");
        let second = take("pg1");
        let said = second.unwrap_err().to_string();
        assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
        drop(first);
        assert!(take("pg1").is_ok());
    }
}
