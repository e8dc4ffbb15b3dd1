//! What `fence off|on|status|check|nodes|token --json` says, and each line of the fence history.
//!
//! Reports of version 1 had no grades; they are still read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

mod drill;
mod grade;
mod history;
mod reach;
mod token;

pub use drill::{DeviceDrill, DrillReport};
pub use grade::{Grade, NoGrade};
pub use history::{FenceAttempt, FenceIntent, FenceObserved, HistoryLine, SeenToken, TornLine};
pub use reach::{DeviceReach, LevelReach, NodeReach, ReachReport, TokenReport};
pub use token::{Id, Stale, Token, TokenError};

/// What was asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceAction {
    /// Turn the node off.
    Off,
    /// Turn the node on.
    On,
    /// Ask only.
    Status,
}

/// The power state of a node as its devices answer it.
///
/// Anything that is not an exact `on` or `off` (suspended, transitional, unreachable, timed out) is `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// The device answered on.
    On,
    /// The device answered off.
    Off,
    /// The device could not say.
    Unknown,
}

/// One call of one device, in the order in which the calls were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// Level the device belongs to, counted from 1.
    pub level: u32,
    /// Name of the device in the configuration.
    pub device: String,
    /// What was asked of it.
    pub action: FenceAction,
    /// What it answered.
    pub state: NodeState,
    /// What this answer proves: the grade of the device if it read back off, else [`Grade::X`].
    #[serde(default)]
    pub grade: Grade,
    /// Its own words, or the error: one line, secrets removed.
    pub detail: String,
    /// How long the call took.
    pub took_ms: u64,
}

/// The outcome of one request; printed with `--json`, and appended to the history as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FenceReport {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// When the request began.
    pub at: Timestamp,
    /// When the verdict was known; absent in reports of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Name of the node in the fence configuration.
    pub node: String,
    /// What was asked for.
    pub action: FenceAction,
    /// Why: the words given with `--reason`; empty for `status`.
    pub reason: String,
    /// Who asked: login name and host of the caller.
    pub by: String,
    /// The state that was read back after acting.
    pub state: NodeState,
    /// Whether the request is fulfilled: the state read back is the state asked for (any exact state for `status`), and for
    /// `off` the proof is of the required grade.
    pub confirmed: bool,
    /// What proves that the node is off: the weakest device of the strongest level that is off; [`Grade::X`] if none is.
    #[serde(default)]
    pub grade: Grade,
    /// The weakest grade that counts as off for this node, by policy and request, as things were found.
    #[serde(default)]
    pub required: Grade,
    /// Answers that do not go together, in words: `pg1-ssh says on, but pg1-power says off (grade A)`.
    #[serde(default)]
    pub contradictions: Vec<String>,
    /// The right to fence that the request carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Whether an identical request that was already on its way did the work, and this is its result.
    #[serde(default)]
    pub merged: bool,
    /// Every call that was made.
    pub evidence: Vec<Evidence>,
}

impl FenceReport {
    /// The version written by this code. Version 1 had no grades: they are read as [`Grade::X`].
    pub const SCHEMA: u32 = 2;

    /// Whether this is what a person confirmed, and no device was asked.
    #[must_use]
    pub fn is_a_persons_word(&self) -> bool {
        self.grade == Grade::E && self.action == FenceAction::Off && self.evidence.is_empty() && !self.merged
    }

    /// Seen off, with a proof that is strong enough; never with [`Grade::X`], which is what a report of version 1 reads as.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.confirmed && self.state == NodeState::Off && self.grade > Grade::X && self.grade >= self.required
    }
}

/// The answer of `fence check --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckReport {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// Whether every device could be asked and gave an exact answer.
    pub healthy: bool,
    /// What is legal in the configuration but probably not meant.
    pub warnings: Vec<String>,
    /// Every device of the configuration, ordered by name.
    pub devices: Vec<DeviceCheck>,
}

/// Whether one device would be able to do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceCheck {
    /// Name of the device in the configuration.
    pub device: String,
    /// The nodes whose levels name it.
    pub nodes: Vec<String>,
    /// Whether it answered `monitor`, and `status` with an exact state.
    pub healthy: bool,
    /// The state it answered.
    pub state: NodeState,
    /// Its own words, or the error: one line, secrets removed.
    pub detail: String,
    /// How long the calls took.
    pub took_ms: u64,
}

impl FenceAction {
    /// The word on the command line and in the agent's request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Status => "status",
        }
    }
}

impl NodeState {
    /// The word in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for FenceAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> FenceReport {
        FenceReport {
            schema: FenceReport::SCHEMA,
            at: Timestamp::UNIX_EPOCH,
            ended: None,
            node: "pg1".into(),
            action: FenceAction::Off,
            reason: "drill".into(),
            by: "root@operator".into(),
            state: NodeState::Off,
            confirmed: true,
            grade: Grade::A,
            required: Grade::B,
            contradictions: vec![],
            token: None,
            merged: false,
            evidence: vec![],
        }
    }

    #[test]
    fn only_a_proof_that_is_strong_enough_is_off() {
        assert!(outcome().is_off());
        assert!(!FenceReport { grade: Grade::C, ..outcome() }.is_off());
        assert!(!FenceReport { confirmed: false, ..outcome() }.is_off());
        assert!(!FenceReport { state: NodeState::Unknown, grade: Grade::E, required: Grade::E, ..outcome() }.is_off());
        assert!(!FenceReport { schema: 1, grade: Grade::X, required: Grade::X, ..outcome() }.is_off());
    }

    #[test]
    fn a_verdict_in_the_history_is_still_a_report() {
        let line = serde_json::to_string(&HistoryLine::Verdict(outcome())).unwrap();
        assert!(line.starts_with(r#"{"kind":"verdict","schema":2,"#), "{line}");
        assert_eq!(serde_json::from_str::<FenceReport>(&line).unwrap(), outcome());
        assert_eq!(serde_json::from_str::<HistoryLine>(&line).unwrap(), HistoryLine::Verdict(outcome()));
    }

    #[test]
    fn a_line_of_the_first_format_is_read_as_one_without_a_grade() {
        let line = r#"{"kind":"outcome","schema":1,"at":"2026-11-21T20:30:00Z","node":"pg1","action":"off","reason":"x",
            "by":"root@op","state":"off","confirmed":true,"evidence":[{"level":1,"device":"p","action":"status",
            "state":"off","detail":"exit 2","took-ms":3}]}"#;
        let HistoryLine::Verdict(report) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
        assert_eq!(
            (report.grade, report.confirmed, report.is_off()),
            (Grade::X, true, false),
            "enough then, not enough to promote upon now"
        );
    }
}
