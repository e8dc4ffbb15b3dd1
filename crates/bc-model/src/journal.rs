//! The journal of one operation: `STATE/SITE/OPERATION.jsonl`, one fsynced JSON line per event.
//!
//! ```text
//! {"at":"2026-11-21T20:30:00.000Z","event":"planned","schema":1,"operation":"20261121T203000Z-failover","site":"gocd",
//!  "intent":"failover","by":"root@operator","steps":[{"id":"fence-gocd","words":"…","host":"operator", …}],"decision":{…}}
//! {"at":"…","event":"begin","step":"fence-gocd"}
//! {"at":"…","event":"done","step":"fence-gocd","took-ms":812,"evidence":"go1 is off","facts":{}}
//! {"at":"…","event":"finished","outcome":"done","words":"…"}
//! ```
//!
//! `OPERATION` is `20261121T203000Z-failover`, so the names sort by time. A line counts when it ends in a newline; what
//! follows the last newline was being written when the writer died, and is not an event. `begin` is on disk before
//! anything is changed; `done` carries what was seen afterwards. Step ids are stable: scripts may wait for them.
//!
//! Steps that say `"beside":true` form a group with the ones before them: they begin together, and their lines may come in any
//! order among themselves. All of a group are over before the next step begins.
//!
//! | id | what is true after `done` or `skipped` |
//! |----|----------------------------------------|
//! | `power-on-HOST`        | a host that was off answers again |
//! | `rejoin-quiet`         | neither GoCD, nor the VIP, nor a second primary came back with those hosts |
//! | `fence-gocd`, `fence-postgresql` | the old GoCD (PostgreSQL) host was seen off; `fence-gocd` alone if it is one host |
//! | `salvage`              | the standby has replayed all that the old primary has on its disk; fact `salvaged`. Best effort: it may also fail, or be skipped because there is nothing to read, and the next step follows |
//! | `catch-up`             | the standby is near enough, by `policy.maximum-lag`, if `policy.when-behind` is `wait` |
//! | `quiesce`              | GoCD at the old place is in maintenance mode, and no job runs, or `policy.wait-for-jobs` is over |
//! | `checkpoint`           | the primary has written its dirty pages, so that it stops quickly |
//! | `stop-gocd`            | no GoCD server runs at the old place |
//! | `unassign-vip`         | the old GoCD host does not hold the VIP |
//! | `sync-config`          | the GoCD files of both hosts have the same hashes |
//! | `asynchronous`         | the standby will wait for nobody at a commit once it is promoted |
//! | `arm`                  | the old primary will come up as a standby of the new one |
//! | `stop-postgresql`      | the old primary is shut down cleanly; facts `checkpoint`, `timeline` |
//! | `replay`               | the standby has replayed all it received (switchover: past the shutdown checkpoint) |
//! | `promote`              | **point of no return**: the new primary takes writes on a new timeline |
//! | `settle`               | checkpoint, no synchronous standby that is down, a slot for the peer |
//! | `counters`             | it is known which artifacts are of runs that the database has lost; fact `excess` |
//! | `quarantine`           | those artifacts are out of GoCD's way |
//! | `start-gocd`, `gocd-ready` | GoCD runs at the new place; it answers 200 |
//! | `gocd-quiet`, `gocd-loaded` | it is in maintenance mode, its dashboard is loaded, its database takes writes |
//! | `assign-vip`           | the new GoCD host holds the VIP |
//! | `release`              | GoCD at the new place is not in maintenance mode |
//! | `publish-token`        | `fence`, if it works on the operator's machine, refuses what was decided on an older timeline |
//! | `follow`               | the old primary streams from the new one |
//! | `synchronous`          | `synchronous_standby_names` names the peer again |
//! | `verify`               | one holder of the VIP, GoCD answers through it, one writable PostgreSQL |
//! | `rejoin-stop`, `rejoin-slot`, `rejoin-checkpoint`, `rejoin-rewind`, `rejoin-copy`, `rejoin-swap`, `rejoin-start`, `rejoin-stream` | the parts of the re-seed in a failback |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version written by this code; readers refuse what they do not know.
pub const SCHEMA: u32 = 1;

/// What the operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// Planned, both places healthy: the other place takes over, nothing is lost.
    Switchover,
    /// Unplanned: the serving place is lost, the other one takes over.
    Failover,
    /// Home again: rejoin the old primary as a standby, then a planned switchover.
    Failback,
    /// The old primary becomes a standby of the serving one; nothing else.
    Rejoin,
    /// The standby becomes the primary; nothing else.
    PromoteOnly,
    /// The VIP changes its host; nothing else.
    VipOnly,
}

impl fmt::Display for Intent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Switchover => "switchover",
            Self::Failover => "failover",
            Self::Failback => "failback",
            Self::Rejoin => "rejoin",
            Self::PromoteOnly => "promote-only",
            Self::VipOnly => "vip-only",
        })
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step was done.
    Done,
    /// A step failed before the point of no return, and what had been changed was put back.
    Undone,
    /// A node could not be proven off; nothing else was touched.
    NotFenced,
    /// A person gave the operation up before the point of no return.
    Abandoned,
}

/// One step as it was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedStep {
    /// Stable id, from the table above.
    pub id: String,
    /// What it does, for people.
    pub words: String,
    /// Where it is done: a host of the inventory, or `operator`.
    pub host: String,
    /// Whether there is no way back once it has begun.
    #[serde(default)]
    pub point_of_no_return: bool,
    /// Whether it begins together with the step before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// First line: the operation, its steps in order, and what they are built from.
    Planned {
        /// [`SCHEMA`].
        schema: u32,
        /// Id of the operation; also the name of the file.
        operation: String,
        /// Name of the site.
        site: String,
        /// What was asked for.
        intent: Intent,
        /// Login and host of who asked.
        by: String,
        /// The steps, in order.
        steps: Vec<PlannedStep>,
        /// What the plan decided, for `bcctl resume`; opaque to others.
        decision: serde_json::Value,
        /// What the operator was told before the operation began: what may be lost, what stays.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        /// Rules that the operator has overridden: the flag, and the host's name that was typed for it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        overrides: Vec<String>,
    },
    /// Another `bcctl` continues the operation.
    Resumed {
        /// Login and host of who asked.
        by: String,
    },
    /// A step is about to change something.
    Begin {
        /// Its id.
        step: String,
    },
    /// The step's condition was seen to hold after it had run.
    Done {
        /// Its id.
        step: String,
        /// From `begin` to now.
        took_ms: u64,
        /// What was seen.
        evidence: String,
        /// Values that later steps use.
        #[serde(default)]
        facts: BTreeMap<String, String>,
    },
    /// The step's condition held already, or the step is not needed and could not begin: nothing was run.
    Skipped {
        /// Its id.
        step: String,
        /// What was seen.
        evidence: String,
        /// Values that later steps use.
        #[serde(default)]
        facts: BTreeMap<String, String>,
    },
    /// The step could not be done.
    Failed {
        /// Its id.
        step: String,
        /// From `begin` to now.
        took_ms: u64,
        /// Why.
        error: String,
    },
    /// What the step had changed was put back.
    Undone {
        /// Its id.
        step: String,
        /// What was seen.
        evidence: String,
    },
    /// Putting it back failed: a person has to look.
    NotUndone {
        /// Its id.
        step: String,
        /// Why.
        error: String,
    },
    /// The last line of an operation that is over.
    Finished {
        /// How.
        outcome: Outcome,
        /// In one sentence, for people.
        words: String,
    },
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, to the millisecond.
    #[serde(serialize_with = "milliseconds")]
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// The line as it is written, newline included.
    ///
    /// # Errors
    /// None in practice: every part of an entry has a JSON form.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|line| line + "\n")
    }
}

fn milliseconds<S: serde::Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&format_args!("{at:.3}"))
}

/// Why a journal cannot be read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A whole line in the middle is not an event.
    #[error("line {line} of the journal is not an event: {source}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The first line is not `planned`.
    #[error("the journal does not begin with the plan")]
    NoPlan,
    /// A newer program wrote it.
    #[error("the journal has schema {found}; this program knows {SCHEMA}")]
    Schema {
        /// What the file says.
        found: u32,
    },
}

/// A journal that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// The events in the order of writing; the first is `planned`.
    pub entries: Vec<Entry>,
    /// Length in bytes of the whole lines; what follows was torn off when a writer died.
    pub whole: usize,
}

impl Journal {
    /// Reads a journal; a torn last line is left out.
    ///
    /// # Errors
    /// When a whole line is not an event, when there is no plan, or when the schema is unknown.
    pub fn parse(text: &str) -> Result<Self, JournalError> {
        let whole = text.rfind('\n').map_or(0, |newline| newline + 1);
        let entries = text[..whole]
            .lines()
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line).map_err(|source| JournalError::Line { line: index + 1, source })
            })
            .collect::<Result<Vec<Entry>, _>>()?;
        match entries.first().map(|entry| &entry.event) {
            Some(Event::Planned { schema, .. }) if *schema == SCHEMA => Ok(Self { entries, whole }),
            Some(Event::Planned { schema, .. }) => Err(JournalError::Schema { found: *schema }),
            _ => Err(JournalError::NoPlan),
        }
    }

    /// How it ended, if it is over.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.entries.iter().rev().find_map(|entry| match entry.event {
            Event::Finished { outcome, .. } => Some(outcome),
            _ => None,
        })
    }

    /// The steps that were planned.
    #[must_use]
    pub fn steps(&self) -> &[PlannedStep] {
        match self.entries.first().map(|entry| &entry.event) {
            Some(Event::Planned { steps, .. }) => steps,
            _ => &[],
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn intent(&self) -> Option<Intent> {
        match self.entries.first().map(|entry| &entry.event) {
            Some(Event::Planned { intent, .. }) => Some(*intent),
            _ => None,
        }
    }

    /// Steps that may have changed something: begun, and not put back since.
    #[must_use]
    pub fn begun(&self) -> BTreeSet<&str> {
        let mut begun = BTreeSet::new();
        for entry in &self.entries {
            match &entry.event {
                Event::Begin { step } => {
                    begun.insert(step.as_str());
                }
                Event::Undone { step, .. } => {
                    begun.remove(step.as_str());
                }
                _ => {}
            }
        }
        begun
    }

    /// Whether the promotion may have happened: from here there is only forward.
    #[must_use]
    pub fn past_point_of_no_return(&self) -> bool {
        let begun = self.begun();
        self.steps().iter().any(|step| step.point_of_no_return && begun.contains(step.id.as_str()))
    }

    /// The last step whose condition was seen to hold.
    #[must_use]
    pub fn last_done(&self) -> Option<&str> {
        self.entries.iter().rev().find_map(|entry| match &entry.event {
            Event::Done { step, .. } | Event::Skipped { step, .. } => Some(step.as_str()),
            _ => None,
        })
    }

    /// Every value that a step has left for later ones; a later line wins.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, String> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Done { facts, .. } | Event::Skipped { facts, .. } => Some(facts),
                _ => None,
            })
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
