//! A run: its id, its labels, and whether the process that owns it still lives.
//!
//! Everything that a run makes carries the label `bc.run=ID`; clean-up selects by that label and by nothing else.
//! `bc.owner` says which process made it, so that `bc-harness gc` leaves a run alone that is still going on.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Label with the id of the run.
pub(crate) const RUN: &str = "bc.run";
/// Label with the [`Owner`] of the run.
pub(crate) const OWNER: &str = "bc.owner";
/// Label that is there when the world was kept on request.
pub(crate) const KEPT: &str = "bc.kept";
/// Name in front of the run's directory under the temporary directory.
pub(crate) const DIRECTORY_PREFIX: &str = "bc-run-";

/// Id of a run: 1 to 12 of `a-z0-9`, so that `bc-ID` is a valid interface name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct RunId(String);

impl RunId {
    /// Eight hexadecimal digits that the standard library's random hasher seed decides.
    pub(crate) fn random() -> Self {
        let number = RandomState::new().hash_one(std::process::id());
        Self(format!("{:08x}", number & 0xffff_ffff))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the run's network and of its bridge.
    pub(crate) fn network(&self) -> String {
        format!("bc-{}", self.0)
    }

    /// Name of the container of a host, or of a volume.
    pub(crate) fn object(&self, name: &str) -> String {
        format!("bc-{}-{name}", self.0)
    }

    /// The run's own directory; removed with the run.
    pub(crate) fn directory(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{DIRECTORY_PREFIX}{}", self.0))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run id that cannot be part of an interface name.
#[derive(Debug, thiserror::Error)]
#[error("a run id is 1 to 12 of a-z and 0-9, not {0:?}")]
pub(crate) struct BadRunId(String);

impl FromStr for RunId {
    type Err = BadRunId;

    fn from_str(text: &str) -> Result<Self, BadRunId> {
        let fits = (1..=12).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadRunId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = BadRunId;

    fn try_from(text: String) -> Result<Self, BadRunId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// The labels of everything that belongs to a run.
pub(crate) fn labels(run: &RunId, kept: bool) -> HashMap<String, String> {
    let mut labels =
        HashMap::from([(RUN.to_owned(), run.to_string()), (OWNER.to_owned(), Owner::this_process().to_string())]);
    if kept {
        labels.insert(KEPT.to_owned(), "true".to_owned());
    }
    labels
}

/// Which process owns a run: boot id, pid namespace, pid, and the start time of the process in clock ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    boot: String,
    pid_namespace: String,
    pid: u32,
    started: String,
}

impl Owner {
    /// This process.
    pub(crate) fn this_process() -> Self {
        let pid = std::process::id();
        Self { boot: boot_id(), pid_namespace: pid_namespace(), pid, started: start_time(pid).unwrap_or_default() }
    }

    /// Whether the process is certainly gone. A process of another pid namespace cannot be seen, so it counts as alive.
    pub(crate) fn is_dead(&self) -> bool {
        if self.boot != boot_id() {
            return true;
        }
        self.pid_namespace == pid_namespace() && start_time(self.pid).as_deref() != Some(self.started.as_str())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.boot, self.pid_namespace, self.pid, self.started)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().ok_or(());
        Ok(Self { boot: next()?, pid_namespace: next()?, pid: next()?.parse().map_err(|_| ())?, started: next()? })
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default()
}

/// Field 22 of `/proc/PID/stat` (proc(5)); the name of the program in field 2 may contain blanks and parentheses.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_fits_into_an_interface_name() {
        for good in ["a", "3f2a91c0", "abcdefghijkl"] {
            assert!(good.parse::<RunId>().expect("an id").network().len() <= 15);
        }
        for bad in ["", "ABC", "a-b", "abcdefghijklm", "a b", "../x"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
        assert!(RunId::random().as_str().parse::<RunId>().is_ok());
    }

    #[test]
    fn this_process_is_alive_and_reads_back_from_its_label() {
        let owner = Owner::this_process();
        assert!(!owner.is_dead());
        assert_eq!(owner.to_string().parse(), Ok(owner));
    }

    #[test]
    fn a_process_is_dead_when_its_pid_belongs_to_another_or_the_machine_was_booted_again() {
        let own = Owner::this_process();
        assert!(Owner { started: "1".into(), ..own.clone() }.is_dead(), "the pid was used again");
        assert!(Owner { boot: "earlier".into(), ..own.clone() }.is_dead(), "booted again");
        assert!(
            !Owner { pid_namespace: "pid:[1]".into(), pid: 4_000_000, ..own }.is_dead(),
            "cannot be seen from here"
        );
    }
}
