//! What `fence drill --json` says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FenceReport, Grade, NodeState};

/// The rehearsal of a fence, and what a real one is expected to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DrillReport {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// When the drill began.
    pub at: Timestamp,
    /// Name of the node in the fence configuration.
    pub node: String,
    /// Whether a real fence is expected to reach the grade that is required.
    pub ready: bool,
    /// The grade that a real fence is expected to reach.
    pub grade: Grade,
    /// The grade that is required, for the level that would be used.
    pub required: Grade,
    /// The level that would be used, from 1; absent if none would do.
    pub level: Option<u32>,
    /// Every device of every level, in order.
    pub devices: Vec<DeviceDrill>,
    /// With `--for-real`: off, then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub real: Vec<FenceReport>,
}

/// How one device did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceDrill {
    /// Level the device belongs to, counted from 1.
    pub level: u32,
    /// Name of the device in the configuration.
    pub device: String,
    /// Whether it could be asked, let us in, and named an exact state.
    pub works: bool,
    /// The state that it read back.
    pub state: NodeState,
    /// What its off would prove.
    pub grade: Grade,
    /// Its own words, or the error: one line, secrets removed.
    pub detail: String,
    /// What stands between it and its full grade, in words.
    pub missing: Vec<String>,
    /// How long it took.
    pub took_ms: u64,
}

impl DrillReport {
    /// The version written by this code.
    pub const SCHEMA: u32 = 1;
}
