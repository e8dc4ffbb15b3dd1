//! Looking at the whole site at once, without changing anything: one script per host, all hosts at the same time.

mod facts;
mod script;

use std::collections::BTreeMap;
use std::time::Duration;

use bc_model::fencing::{FenceReport, NodeReach, NodeState, ReachReport};
use bc_model::inventory::Inventory;
use serde::Serialize;

pub(crate) use facts::{GocdFacts, History, HostFacts, Peer, PostgresqlFacts, Replication, ServiceFacts, SqlFacts};
pub(crate) use script::look as look_command;

use crate::clock::time_of_day;
use crate::command::fencing;
use crate::hosts::{Ended, Hosts, Output, Unreached};
use crate::place::Place;
use crate::sudo;

/// What was seen of the site at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Observation {
    /// Every host of the two pairs.
    pub(crate) hosts: BTreeMap<String, Host>,
    /// The power state of the same hosts, as the fence devices answer it.
    pub(crate) fence: BTreeMap<String, Power>,
    /// What `fence check` complains about.
    pub(crate) fence_check: Option<FenceTrouble>,
    /// How well each node could be proven off, by the configuration of `fence`; nothing if `fence` cannot say.
    pub(crate) reach: Option<Vec<NodeReach>>,
}

/// What is wrong with fencing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FenceTrouble {
    /// `fence` itself, or its configuration.
    Unusable(String),
    /// One or more devices.
    Devices(String),
}

/// One host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Host {
    /// It answered.
    Seen(Box<HostFacts>),
    /// It could not be looked at.
    Unseen {
        /// Why.
        reason: Unreached,
        /// In the words of `ssh`.
        words: String,
    },
}

/// What the fence devices say about one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Power {
    /// On, off, or not known.
    pub(crate) state: NodeState,
    /// Why it is not known.
    pub(crate) words: String,
}

impl Observation {
    /// What `host` answered, if it did.
    pub(crate) fn host(&self, name: &str) -> Option<&HostFacts> {
        match self.hosts.get(name) {
            Some(Host::Seen(facts)) => Some(facts),
            _ => None,
        }
    }

    /// The PostgreSQL server of a place, if its host answered.
    pub(crate) fn postgresql(&self, inventory: &Inventory, place: Place) -> Option<&PostgresqlFacts> {
        self.host(place.postgresql(inventory)).and_then(|host| host.postgresql.as_ref())
    }

    /// The running PostgreSQL server of a place, if it answered.
    pub(crate) fn sql(&self, inventory: &Inventory, place: Place) -> Option<&SqlFacts> {
        self.postgresql(inventory, place).and_then(|server| server.sql.as_ref())
    }

    /// The identity of the cluster, if any server told it.
    pub(crate) fn system_identifier(&self, inventory: &Inventory) -> Option<String> {
        let told = Place::BOTH.into_iter().find_map(|place| self.sql(inventory, place));
        told.map(|sql| sql.system_identifier.clone())
    }

    /// The GoCD server of a place, if its host answered.
    pub(crate) fn gocd(&self, inventory: &Inventory, place: Place) -> Option<&GocdFacts> {
        self.host(place.gocd(inventory)).and_then(|host| host.gocd.as_ref())
    }

    /// Whether the GoCD host of a place holds the VIP; nothing if that is not known.
    pub(crate) fn holds_vip(&self, inventory: &Inventory, place: Place) -> Option<bool> {
        let status = self.gocd(inventory, place)?.vip.as_ref().ok()?;
        Some(status.holds(inventory.vip.address.addr()))
    }

    /// The power state of a host.
    pub(crate) fn power(&self, host: &str) -> NodeState {
        self.fence.get(host).map_or(NodeState::Unknown, |power| power.state)
    }
}

/// How much is asked of the fence devices. They may be slow, and in a failover nothing is decided by their answers: what
/// counts there is that they turn the host off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fences {
    /// Nothing.
    Unasked,
    /// The power state of each host.
    States,
    /// Also whether each device works.
    Devices,
}

/// Looks at every host and, as far as `fences` says, every fence device, all at the same time.
pub(crate) fn observe(inventory: &Inventory, hosts: &dyn Hosts, fences: Fences) -> Observation {
    let mut names: Vec<String> = Place::BOTH.iter().flat_map(|place| place.hosts(inventory)).collect();
    names.sort();
    names.dedup();
    let limit = inventory.timeouts.observe;
    std::thread::scope(|scope| {
        let looks: Vec<_> = names
            .iter()
            .map(|name| {
                let host = scope.spawn(move || look(inventory, hosts, name, limit));
                let power =
                    (fences >= Fences::States).then(|| scope.spawn(move || power(inventory, hosts, name, limit)));
                (name, host, power)
            })
            .collect();
        let check = (fences >= Fences::Devices).then(|| {
            scope.spawn(move || {
                let output = hosts.run(&fencing::check(inventory), limit);
                match output.end {
                    Ended::Exit(0) => None,
                    Ended::Exit(1) => Some(FenceTrouble::Devices(output.complaint())),
                    _ => Some(FenceTrouble::Unusable(output.complaint())),
                }
            })
        });
        let reach = scope.spawn(|| reach(inventory, hosts, limit));
        let mut seen = Observation { hosts: BTreeMap::new(), fence: BTreeMap::new(), fence_check: None, reach: None };
        for (name, host, power) in looks {
            // A thread that panicked has seen nothing.
            let lost = || Host::Unseen { reason: Unreached::NotStarted, words: "the look broke off".to_owned() };
            seen.hosts.insert(name.clone(), host.join().unwrap_or_else(|_| lost()));
            if let Some(power) = power {
                let unknown = |_| Power { state: NodeState::Unknown, words: "the look broke off".to_owned() };
                seen.fence.insert(name.clone(), power.join().unwrap_or_else(unknown));
            }
        }
        if let Some(check) = check {
            seen.fence_check =
                check.join().unwrap_or_else(|_| Some(FenceTrouble::Unusable("the look broke off".to_owned())));
        }
        seen.reach = reach.join().unwrap_or_default();
        seen
    })
}

/// What the configuration of `fence` says; no device is asked, so this is quick whatever has failed.
fn reach(inventory: &Inventory, hosts: &dyn Hosts, limit: Duration) -> Option<Vec<NodeReach>> {
    let output = hosts.run(&fencing::nodes(inventory), limit);
    let report: ReachReport = serde_json::from_str(&output.stdout).ok()?;
    (report.schema == FenceReport::SCHEMA).then_some(report.nodes)
}

fn look(inventory: &Inventory, hosts: &dyn Hosts, name: &str, limit: Duration) -> Host {
    let before = time_of_day();
    let output = hosts.run(&script::look_with(inventory, name, sudo::questions(inventory, name)), limit);
    let after = time_of_day();
    match output.end {
        Ended::Exit(status) => {
            let mut facts = facts::parse(&output.stdout);
            if status != 0 && !facts.complete && output.stderr.contains("sudo:") {
                return Host::Unseen { reason: Unreached::Sudo, words: output.complaint() };
            }
            facts.clock_off =
                facts.now.map(|now| clock_off(now, [before, after].map(|at| at.as_duration().as_secs_f64())));
            Host::Seen(Box::new(facts))
        }
        Ended::TimedOut => Host::Unseen { reason: Unreached::NoAnswer, words: output.complaint() },
        Ended::Unreached(reason) => Host::Unseen { reason, words: output.complaint() },
    }
}

/// How far a clock is off at least, when it was read between these two moments of our own; 0 if it may be right.
fn clock_off(now: f64, [before, after]: [f64; 2]) -> f64 {
    now - now.clamp(before, after)
}

fn power(inventory: &Inventory, hosts: &dyn Hosts, name: &str, limit: Duration) -> Power {
    let output: Output = hosts.run(&fencing::status(inventory, name), limit);
    match serde_json::from_str::<FenceReport>(&output.stdout) {
        Ok(report) => {
            let words =
                report.evidence.last().map(|call| format!("{}: {}", call.device, call.detail)).unwrap_or_default();
            Power { state: report.state, words }
        }
        Err(_) => Power { state: NodeState::Unknown, words: output.complaint() },
    }
}

#[cfg(test)]
pub(crate) mod tests;
