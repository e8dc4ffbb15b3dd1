//! DRBD's `fence-peer` handler. The environment says whom; the exit code says what DRBD may believe.
//!
//! 3 the peer's disk is already inconsistent or outdated · 4 the peer was outdated now · 5 the peer cannot be reached and is
//! dead · 6 the peer is primary, outdate yourself · 7 the peer was fenced (only with resource-and-stonith) · anything else: the
//! handler failed, and I/O stays frozen. Numbers 3, 4 and 6 take an answer of the peer, which nobody has who needs this
//! handler; 5 is not said of a peer that merely does not answer. So the verdict is 7 or 5 with proof, and 1 without.

use std::collections::BTreeMap;
use std::env;
use std::process::Command;
use std::time::Duration;

use bc_model::fencing::Grade;
use clap::{Args, ValueEnum};

use super::{Caller, NOT_FENCED, Problem};
use crate::child::{self, Ended};
use crate::render::{say, unconfirmed};

/// What is configured in DRBD.
#[derive(Args, Debug)]
pub(crate) struct FencePeer {
    /// The value of `fencing` in DRBD's configuration
    #[arg(long, value_enum, default_value = "resource-and-stonith")]
    fencing: Fencing,
    /// The cluster under [clusters]; not needed where there is only one
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fencing {
    ResourceOnly,
    ResourceAndStonith,
}

impl Fencing {
    const fn proven(self) -> u8 {
        match self {
            Self::ResourceOnly => 5,
            Self::ResourceAndStonith => 7,
        }
    }
}

pub(super) fn answer(caller: &Caller, peer: &FencePeer) -> Result<u8, Problem> {
    let environment: BTreeMap<String, String> = env::vars().filter(|(name, _)| relevant(name)).collect();
    let resource = environment.get("DRBD_RESOURCE").ok_or_else(|| Problem::said("DRBD_RESOURCE is not set"))?;
    let up_to_date = match own_disk(&environment) {
        Some(known) => known,
        None => ask_drbdadm(caller, resource)?,
    };
    if !up_to_date {
        return Err(Problem::said(format!(
            "the disk of {resource} here is not UpToDate: this host must not go on alone"
        )));
    }
    let (name, cluster) = caller.cluster(peer.cluster.as_deref())?;
    let here = &caller.local()?.node;
    let named = peers(&environment);
    let node = named.iter().find_map(|peer| cluster.node(peer)).ok_or_else(|| {
        Problem::said(format!("DRBD's peer {} is none of ours: add it under [clusters.{name}.names]", named.join(", ")))
    })?;
    if node == here {
        return Err(Problem::said("DRBD's peer is this host, by the names in the configuration"));
    }
    // The peer's DRBD goes on in the kernel when its services are stopped: only its end or its isolation counts.
    let report = caller.fence(node, &format!("DRBD lost the peer of resource {resource}"), None, Some(Grade::B))?;
    if !report.confirmed || report.grade < Grade::B {
        unconfirmed(&report, true);
        return Ok(NOT_FENCED);
    }
    say(&format!("{node} is fenced: {}", report.grade.meaning()));
    Ok(peer.fencing.proven())
}

fn relevant(name: &str) -> bool {
    name.starts_with("DRBD_") || name == "UP_TO_DATE_NODES"
}

/// DRBD 9 says whose disks are UpToDate, as a hexadecimal mask of node ids; DRBD 8 does not.
fn own_disk(environment: &BTreeMap<String, String>) -> Option<bool> {
    let mask = environment.get("UP_TO_DATE_NODES")?;
    let mask = u64::from_str_radix(mask.trim_start_matches("0x"), 16).ok()?;
    let own: u32 = environment.get("DRBD_MY_NODE_ID")?.parse().ok()?;
    Some(mask.checked_shr(own)? & 1 == 1)
}

/// By what names the peer may be known, the most exact first.
fn peers(environment: &BTreeMap<String, String>) -> Vec<String> {
    let value = |name: &str| environment.get(name).cloned();
    let by_id = value("DRBD_PEER_NODE_ID").and_then(|id| value(&format!("DRBD_NODE_ID_{id}")));
    // With several peers DRBD_PEERS does not say which one was lost.
    let only = value("DRBD_PEERS").filter(|peers| peers.split_whitespace().count() == 1);
    [by_id, value("DRBD_PEER_ADDRESS"), only, value("DRBD_PEER")].into_iter().flatten().collect()
}

fn ask_drbdadm(caller: &Caller, resource: &str) -> Result<bool, Problem> {
    let mut command = Command::new("drbdadm");
    command.args(["dstate", resource]);
    let finished = child::run(&mut command, Vec::new(), Duration::from_secs(5), &|_| {}, &caller.stop);
    let finished = finished.map_err(|error| Problem::said(format!("cannot ask drbdadm about {resource}: {error}")))?;
    Ok(finished.ended == Ended::Exited(0) && own_state(&finished.stdout) == "UpToDate")
}

/// `UpToDate/DUnknown`: the disk here stands first.
fn own_state(dstate: &str) -> &str {
    dstate.trim().split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_peer_is_the_one_that_drbd_means() {
        let nine = environment(&[
            ("DRBD_PEER_NODE_ID", "1"),
            ("DRBD_NODE_ID_0", "pg2"),
            ("DRBD_NODE_ID_1", "pg1"),
            ("DRBD_PEERS", "pg1 pg3"),
        ]);
        assert_eq!(peers(&nine), ["pg1"]);
        let eight = environment(&[("DRBD_PEER_ADDRESS", "198.18.5.11"), ("DRBD_PEERS", "pg1")]);
        assert_eq!(peers(&eight), ["198.18.5.11", "pg1"]);
        assert!(peers(&environment(&[("DRBD_PEERS", "pg1 pg3")])).is_empty());
    }

    #[test]
    fn the_disk_here_must_be_up_to_date() {
        let of =
            |mask: &str, own: &str| own_disk(&environment(&[("UP_TO_DATE_NODES", mask), ("DRBD_MY_NODE_ID", own)]));
        assert_eq!((of("0x3", "0"), of("0x2", "0"), of("0x00000001", "0")), (Some(true), Some(false), Some(true)));
        assert_eq!((of("", "0"), of("0x1", "x"), own_disk(&environment(&[]))), (None, None, None));
        assert_eq!((own_state("UpToDate/DUnknown\n"), own_state("Outdated/DUnknown")), ("UpToDate", "Outdated"));
    }

    #[test]
    fn seven_is_said_only_with_stonith() {
        assert_eq!((Fencing::ResourceAndStonith.proven(), Fencing::ResourceOnly.proven()), (7, 5));
    }
}
