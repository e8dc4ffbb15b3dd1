//! Whom to fence before a standby is promoted: every node that may still be a primary. Pure.
//!
//! No cluster manager says who was the primary. In a pair it can only be the other node. Among more, it is whoever a callback
//! wrote down last, and whoever this host's PostgreSQL followed last: both, if they differ. A node too many is an outage of a
//! standby; a node too few is two primaries. When nothing is known the promotion is refused.

use crate::config::Cluster;

/// Why nobody can be named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSuspect {
    /// This host is not one of the cluster's nodes.
    #[error("this host is {here:?}, which is not a node of cluster {cluster:?}")]
    Stranger {
        /// This host.
        here: String,
        /// The cluster.
        cluster: String,
    },
    /// More than one node could be the old primary, and nothing says which.
    #[error(
        "cluster {cluster:?} has more than one other node, and neither a record nor PostgreSQL says who was the primary"
    )]
    Unknown {
        /// The cluster.
        cluster: String,
    },
}

/// What is known about the old primary; names as they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// What a callback wrote down last.
    pub(crate) recorded: Option<String>,
    /// Whom the PostgreSQL of this host followed last, by each of the names that it may have.
    pub(crate) followed: Vec<String>,
}

/// The nodes to fence, in the order of the configuration.
///
/// # Errors
/// When this host does not belong to the cluster, and when nobody can be named.
pub(crate) fn suspects((name, cluster): (&str, &Cluster), here: &str, signs: &Signs) -> Result<Vec<String>, NoSuspect> {
    if !cluster.nodes.iter().any(|node| node == here) {
        return Err(NoSuspect::Stranger { here: here.to_owned(), cluster: name.to_owned() });
    }
    let others: Vec<&String> = cluster.nodes.iter().filter(|node| *node != here).collect();
    if let [only] = others[..] {
        // Even if the record says that this host was the primary: the record may be older than the other's promotion.
        return Ok(vec![only.clone()]);
    }
    let named: Vec<&str> = signs.recorded.iter().chain(&signs.followed).filter_map(|name| cluster.node(name)).collect();
    let suspects: Vec<String> = others.into_iter().filter(|node| named.contains(&node.as_str())).cloned().collect();
    if suspects.is_empty() {
        return Err(NoSuspect::Unknown { cluster: name.to_owned() });
    }
    Ok(suspects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn cluster(nodes: &[&str]) -> Cluster {
        Cluster {
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            names: BTreeMap::from([("198.18.5.11:5432".to_owned(), "pg1".to_owned())]),
        }
    }

    fn ask(nodes: &[&str], here: &str, recorded: Option<&str>, followed: &[&str]) -> Result<Vec<String>, NoSuspect> {
        let signs = Signs {
            recorded: recorded.map(str::to_owned),
            followed: followed.iter().map(|name| (*name).to_owned()).collect(),
        };
        suspects(("main", &cluster(nodes)), here, &signs)
    }

    #[test]
    fn in_a_pair_it_is_the_other_node_whatever_is_written_down() {
        for recorded in [None, Some("pg1"), Some("pg2"), Some("somebody")] {
            assert_eq!(ask(&["pg1", "pg2"], "pg2", recorded, &[]).unwrap(), ["pg1"]);
        }
    }

    #[test]
    fn among_three_everybody_named_is_a_suspect_and_nobody_is_guessed() {
        let three = ["pg1", "pg2", "pg3"];
        assert_eq!(ask(&three, "pg2", Some("pg1"), &[]).unwrap(), ["pg1"]);
        assert_eq!(ask(&three, "pg2", Some("pg3"), &["198.18.5.11:5432", "198.18.5.11"]).unwrap(), ["pg1", "pg3"]);
        for (recorded, followed) in [(None, &[][..]), (Some("pg2"), &[]), (Some("pg9"), &["198.18.5.99"])] {
            let answer = ask(&three, "pg2", recorded, followed);
            assert_eq!(answer, Err(NoSuspect::Unknown { cluster: "main".into() }), "{recorded:?} {followed:?}");
        }
    }

    #[test]
    fn a_host_outside_the_cluster_fences_nobody() {
        assert!(matches!(ask(&["pg1", "pg2"], "go1", Some("pg1"), &[]), Err(NoSuspect::Stranger { .. })));
    }
}
