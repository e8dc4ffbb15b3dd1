//! The lines of the fence history.
//!
//! ```text
//! intent ─▶ attempt ─▶ observed … ─▶ verdict
//!            └ before each call that changes something; on the disk before the call is made
//! ```
//!
//! A request that was killed has no verdict; the next one for the same node continues by looking. Each line carries the
//! hash of the line before it and its own (`docs/fencing.md`); requests that change nothing (`status`, `check`) leave no line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Evidence, FenceAction, FenceReport, Grade, Token};

/// What is about to be done to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FenceIntent {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// When the request began; together with `node` it names the request in the lines that follow.
    pub at: Timestamp,
    /// Name of the node in the fence configuration.
    pub node: String,
    /// What was asked for.
    pub action: FenceAction,
    /// Why: the words given with `--reason`.
    pub reason: String,
    /// Who asked: login name and host of the caller.
    pub by: String,
    /// The right to fence that the request carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The grade that the request asked for, beyond policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Grade>,
    /// When the request began that was killed on the way, and that this one continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Timestamp>,
}

/// A call that changes something is made now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FenceAttempt {
    /// When.
    pub at: Timestamp,
    /// `at` of the intent.
    pub request: Timestamp,
    /// Name of the node in the fence configuration.
    pub node: String,
    /// Level the device belongs to, counted from 1.
    pub level: u32,
    /// Name of the device in the configuration.
    pub device: String,
    /// What is asked of it.
    pub action: FenceAction,
}

/// What a device answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FenceObserved {
    /// When.
    pub at: Timestamp,
    /// `at` of the intent.
    pub request: Timestamp,
    /// Name of the node in the fence configuration.
    pub node: String,
    /// The call and its answer.
    pub evidence: Evidence,
}

/// Bytes that are no line: a program was killed while it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TornLine {
    /// When they were found.
    pub at: Timestamp,
    /// How many there are between the last whole line and this one.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A token was made known without fencing: requests with an older one are refused from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeenToken {
    /// When.
    pub at: Timestamp,
    /// The node that is protected by it.
    pub node: String,
    /// The token.
    pub token: Token,
    /// Who made it known.
    pub by: String,
}

/// One line of the fence history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HistoryLine {
    /// Written before acting.
    Intent(FenceIntent),
    /// Written before each call that changes something.
    Attempt(FenceAttempt),
    /// Written after each call.
    Observed(FenceObserved),
    /// Written at the end; called an outcome in version 1.
    #[serde(alias = "outcome")]
    Verdict(FenceReport),
    /// What a killed program left behind.
    Torn(TornLine),
    /// A token without a fence.
    Token(SeenToken),
}

impl HistoryLine {
    /// The node that the line is about, if it is about one.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Intent(FenceIntent { node, .. })
            | Self::Attempt(FenceAttempt { node, .. })
            | Self::Observed(FenceObserved { node, .. })
            | Self::Verdict(FenceReport { node, .. })
            | Self::Token(SeenToken { node, .. }) => Some(node),
            Self::Torn(_) => None,
        }
    }
}
