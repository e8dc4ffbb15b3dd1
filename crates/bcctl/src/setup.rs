//! Making a host what the inventory says it is: the files and settings of a primary, a standby, or the standby's GoCD host.
//!
//! ```text
//! look ──▶ files as they are ──▶ edits (pure) ──▶ show each as a diff ──▶ confirm ──▶ the steps of the one table
//! ```
//! Every step looks first and is skipped when it is so already, so a setup that was stopped is simply run again.

pub(crate) mod diff;
pub(crate) mod edit;
mod files;
mod verb;

use bc_model::inventory::Inventory;

pub(crate) use verb::setup;

use crate::place::Place;
use edit::Edit;

/// What a host is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// The PostgreSQL server that serves: replication role, settings, archive, slot.
    Primary,
    /// The other PostgreSQL server: the same, and a copy of the primary that follows it.
    Standby,
    /// The GoCD host that rests: configuration from the other one, nothing started at boot.
    GocdStandby,
}

/// Everything that the steps are built from, besides the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    /// What the host is made.
    pub(crate) role: Role,
    /// The place that serves.
    pub(crate) serving: Place,
    /// Id of this call; part of the names of what is kept.
    pub(crate) operation: String,
    /// The files of the host.
    pub(crate) edits: Vec<Edit>,
    /// The base backup; nothing if the standby streams already.
    pub(crate) copy: Option<Copy>,
    /// Whether the GoCD host has the timer that pulls the configuration.
    pub(crate) timer: bool,
}

/// A base backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Bytes that have to be free for it.
    pub(crate) needed: u64,
    /// The call that began it: this one, or one that was stopped and whose copy is still there. Part of its directories' names.
    pub(crate) operation: String,
}

impl Setup {
    /// The host that is set up.
    pub(crate) fn host<'a>(&self, inventory: &'a Inventory) -> &'a str {
        match self.role {
            Role::Primary => self.serving.postgresql(inventory),
            Role::Standby => self.serving.other().postgresql(inventory),
            Role::GocdStandby => self.serving.other().gocd(inventory),
        }
    }
}

/// The files of a host that nobody has looked at yet.
#[cfg(test)]
pub(crate) fn edits(
    inventory: &Inventory,
    role: Role,
    host: &str,
    now: Option<&crate::observe::SqlFacts>,
) -> Vec<Edit> {
    files::of(inventory, role, host, now, now).into_iter().map(|wanted| wanted.seen(host, None)).collect()
}

impl std::fmt::Display for Role {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Primary => "setup primary",
            Self::Standby => "setup standby",
            Self::GocdStandby => "setup gocd-standby",
        })
    }
}
