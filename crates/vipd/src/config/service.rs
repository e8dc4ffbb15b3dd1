//! What instances share: checks, sync groups, the hook, the control socket.

use std::path::PathBuf;
use std::time::Duration;

use super::instance::Effect;
use super::name::Name;

/// A command that is run again and again; its exit status says whether something is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: Name,
    /// Program, by absolute path, and arguments. No shell.
    pub command: Vec<String>,
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// After this long a run is killed and counts as failed.
    pub timeout: Duration,
    /// Successes in a row that make it up.
    pub rise: u32,
    /// Failures in a row that make it down.
    pub fall: u32,
    /// What it does to an instance that names it without a weight.
    pub effect: Effect,
    /// Who runs it, if not the daemon's own user.
    pub user: Option<String>,
}

/// Instances that are Active together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// Its name.
    pub name: Name,
    /// Its members, at least two, each in no other group.
    pub instances: Vec<Name>,
}

/// What is run for each event, one at a time, with the event as JSON on its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Program, by absolute path, and arguments. No shell.
    pub command: Vec<String>,
    /// After this long it is killed.
    pub timeout: Duration,
}

/// Who may speak to the daemon, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Users that may, besides root and the daemon's own.
    pub users: Vec<Principal>,
    /// Groups whose members may.
    pub groups: Vec<Principal>,
}

impl Control {
    /// Where the socket is unless the file says otherwise.
    pub const SOCKET: &str = "/run/vipd/vipd.sock";
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: PathBuf::from(Self::SOCKET), users: Vec::new(), groups: Vec::new() }
    }
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// By number.
    Id(u32),
    /// By name, to be looked up on the host.
    Name(String),
}
