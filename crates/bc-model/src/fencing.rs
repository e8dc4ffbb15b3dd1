//! What `fence off|on|status --json` says, and each line of the fence history.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// Whether the request is fulfilled: the state read back is the state asked for (any exact state for `status`).
    pub confirmed: bool,
    /// Every call that was made.
    pub evidence: Vec<Evidence>,
}

impl FenceReport {
    /// The version written by this code.
    pub const SCHEMA: u32 = 1;
}
