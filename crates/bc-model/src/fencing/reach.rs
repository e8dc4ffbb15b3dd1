//! What the configuration of `fence` says, without asking a device: how well each node could be proven off, and what was decided
//! about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Grade, Token};

/// The answer of `fence nodes --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReachReport {
    /// Version of this format, [`super::FenceReport::SCHEMA`]; readers refuse what they do not know.
    pub schema: u32,
    /// Every node of the configuration, ordered by name.
    pub nodes: Vec<NodeReach>,
}

/// How well one node could be proven off if every device did what it is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeReach {
    /// Its name.
    pub node: String,
    /// Whether some level could prove it off as well as is required.
    pub enough: bool,
    /// Its levels, in the order in which they are tried.
    pub levels: Vec<LevelReach>,
}

/// How well one level could prove its node off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LevelReach {
    /// Counted from 1.
    pub level: u32,
    /// That of its weakest device.
    pub grade: Grade,
    /// What counts as off in this level, by policy and request: less may do for a node whose own host answers.
    pub required: Grade,
    /// Its devices, in order.
    pub devices: Vec<DeviceReach>,
}

/// What one device could prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceReach {
    /// Its name.
    pub device: String,
    /// What its off proves, at most.
    pub grade: Grade,
}

/// The answer of `fence token --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenReport {
    /// Version of this format, [`super::FenceReport::SCHEMA`]; readers refuse what they do not know.
    pub schema: u32,
    /// The highest token that was seen for each node; a node for which none was seen is not in it.
    pub tokens: BTreeMap<String, Token>,
}

impl TokenReport {
    /// The highest token of this cluster, of whichever node: what a request of the cluster is measured against.
    #[must_use]
    pub fn highest(&self, system_identifier: u64) -> Option<&Token> {
        let of_cluster = |token: &&Token| token.system_identifier == system_identifier;
        self.tokens.values().filter(of_cluster).max_by_key(|token| token.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_token_is_that_of_the_cluster_whichever_node_has_it() {
        let text = r#"{"schema":2,"tokens":{
            "pg1":{"system-identifier":"7","timeline":4,"epoch":17,"id":"a","expires":"2026-11-21T20:35:00Z"},
            "pg2":{"system-identifier":"7","timeline":5,"epoch":3,"id":"b","expires":"2026-11-21T20:35:00Z"},
            "other":{"system-identifier":"8","timeline":9,"epoch":9,"id":"c","expires":"2026-11-21T20:35:00Z"}}}"#;
        let report: TokenReport = serde_json::from_str(text).unwrap();
        assert_eq!(report.highest(7).map(Token::rank), Some((5, 3)));
        assert_eq!(report.highest(9), None);
    }
}
