//! From an observation and an intent to a decision, or to the reasons against it. Pure: nothing is asked and nothing is run.

pub(crate) mod partial;

use bc_model::fencing::NodeState;
use bc_model::inventory::{Bytes, Inventory};
use bc_model::journal::Intent;
use serde::{Deserialize, Serialize};

use crate::finding::kinds::{FILES_DIFFER, LOSS};
use crate::finding::{ALL, Finding, Kind};
use crate::observe::Observation;
use crate::place::Place;
use crate::rules::{self, Site, loss};
use crate::steps;

/// All that the table of steps is built from, besides the inventory. It is kept in the journal for `bcctl resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Decision {
    /// Id of the operation.
    pub(crate) operation: String,
    /// What was asked for.
    pub(crate) intent: Intent,
    /// The place that takes over.
    pub(crate) to: Place,
    /// The timeline that the promotion ends.
    pub(crate) timeline: u32,
    /// The identity of the cluster, for the right to fence; unknown if no server answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system_identifier: Option<String>,
    /// Nodes that are turned off first.
    pub(crate) fence: Vec<String>,
    /// Whether they are turned off at the same time: the order of them protects nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fence_together: bool,
    /// Nodes that are turned on first.
    pub(crate) power_on: Vec<String>,
    /// Whether the old primary's data is replaced by a copy.
    pub(crate) reseed: Option<Reseed>,
    /// Whether the old primary's WAL is read before its host is turned off: its server was seen stopped, its host there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) salvage_first: bool,
    /// Whether `fence` can be told of the new timeline: it works on this machine, and knows the new primary.
    #[serde(default)]
    pub(crate) publish: bool,
    /// Whether a failover has the steps for artifacts of lost runs. The inventory may say later that they do nothing, and the table has
    /// to be the same. In a journal from before, it was so unless the inventory said otherwise.
    #[serde(default = "yes")]
    pub(crate) quarantine: bool,
}

const fn yes() -> bool {
    true
}

/// A copy that has to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Reseed {
    /// Bytes that have to be free beside the data directory.
    pub(crate) needed: u64,
    /// Whether `pg_rewind` is tried first.
    #[serde(default)]
    pub(crate) rewind: bool,
}

impl Decision {
    /// The place that is relieved.
    pub(crate) const fn from(&self) -> Place {
        self.to.other()
    }

    /// Whether what was decided is still right when `now` would be decided. A standby that has noticed meanwhile that its
    /// primary is gone is no reason to show another plan: one host after the other is never wrong.
    pub(crate) fn stands(&self, now: &Self) -> bool {
        let fence_together = now.fence_together && self.fence_together;
        // A database that is written to grows.
        let needed = self.reseed.as_ref().map(|shown| shown.needed);
        let reseed = now.reseed.clone().map(|now| Reseed { needed: needed.unwrap_or(now.needed), ..now });
        *self == Self { fence_together, reseed, ..now.clone() }
    }
}

/// What the operator accepts for this one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Fail over although the serving place is well.
    pub(crate) healthy_primary: bool,
    /// Serve with configuration files that are older than the primary's.
    pub(crate) stale_config: bool,
    /// Lose more than the policy allows.
    pub(crate) loss: bool,
}

/// What comes of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It can be done.
    Steps {
        /// What will be done.
        decision: Decision,
        /// What the operator has to know before saying yes.
        notes: Vec<String>,
    },
    /// It is so already.
    Nothing(String),
    /// It must not be done; every reason.
    Refused(Vec<Finding>),
}

/// Bytes that have to be free for a copy of `size` bytes: the data, WAL that is written meanwhile, and what must be left.
pub(crate) fn needed(inventory: &Inventory, size: Option<u64>) -> u64 {
    let size = size.unwrap_or_default();
    size + size / 10 + inventory.policy.minimum_free.0
}

/// Decides what to do about `intent`; `operation` is the id that the operation would get.
pub(crate) fn plan(
    inventory: &Inventory,
    seen: &Observation,
    intent: Intent,
    accepted: Accepted,
    operation: &str,
) -> Plan {
    let serving = match rules::serving(inventory, seen) {
        Ok(place) => place,
        Err(finding) => {
            // Without a serving place the other rules would only guess; hosts that were not seen may explain it.
            let unseen = rules::unseen(inventory, seen);
            return Plan::Refused([finding].into_iter().chain(unseen).collect());
        }
    };
    let site = Site { inventory, seen, serving };
    let findings = rules::findings(inventory, seen);
    let mut refusals = rules::refusals(&findings, intent);
    match intent {
        Intent::Switchover => {}
        // Planned in `partial`.
        Intent::Rejoin | Intent::PromoteOnly | Intent::VipOnly => {}
        Intent::Failover => {
            if let Some(plan) = nothing_to_fail_over(&site, accepted, &mut refusals) {
                return plan;
            }
            let waived = |kind: &Kind| match kind.number {
                number if number == FILES_DIFFER.number => accepted.stale_config,
                number if number == LOSS.number => accepted.loss,
                _ => false,
            };
            refusals.retain(|finding| !finding.kind.is_some_and(waived));
        }
        Intent::Failback if serving == Place::Home => {
            let host = Place::Home.postgresql(inventory);
            return Plan::Refused(vec![
                Finding::fail("site", ALL, format!("nothing has failed over: home serves, {host} is the primary"))
                    .hint("`bcctl status` shows the roles"),
            ]);
        }
        Intent::Failback => {}
    }
    if !refusals.is_empty() {
        return Plan::Refused(refusals);
    }
    let (decision, notes) = decide(&site, intent, operation);
    Plan::Steps { decision, notes }
}

/// A failover that is over, or that nobody needs.
fn nothing_to_fail_over(site: &Site<'_>, accepted: Accepted, refusals: &mut Vec<Finding>) -> Option<Plan> {
    if !rules::serves_well(site) {
        return None;
    }
    let (inventory, place) = (site.inventory, site.serving);
    let state = format!(
        "{place} serves: {} is the primary, GoCD on {} answers, and it holds {}",
        place.postgresql(inventory),
        place.gocd(inventory),
        inventory.vip.address.addr()
    );
    let standby = site.seen.sql(inventory, place.other()).is_some_and(|sql| sql.in_recovery);
    if place == Place::Away && !standby {
        return Some(Plan::Nothing(format!("nothing to do: {state}")));
    }
    if !accepted.healthy_primary {
        refusals.insert(
            0,
            Finding::fail("site", &[Intent::Failover], format!("everything is well: {state}")).hint(
                "`bcctl switchover` changes places without losing anything; --even-if-healthy fails over all the same",
            ),
        );
    }
    None
}

/// What is missing when `fence` cannot be told of the new timeline.
fn unpublished(inventory: &Inventory, decision: &Decision) -> Option<String> {
    let node = decision.to.postgresql(inventory);
    (!decision.publish).then(|| {
        format!("fence cannot be told of the new timeline here (`fence nodes`): a delayed request to turn off {node} would not be refused")
    })
}

fn decide(site: &Site<'_>, intent: Intent, operation: &str) -> (Decision, Vec<String>) {
    let (inventory, seen) = (site.inventory, site.seen);
    let (from, to) = (site.serving, site.serving.other());
    let timeline = [from, to].into_iter().find_map(|place| seen.sql(inventory, place)).map_or(0, |sql| sql.timeline);
    let mut decision = Decision {
        operation: operation.to_owned(),
        intent,
        to,
        timeline,
        system_identifier: seen.system_identifier(inventory),
        fence: Vec::new(),
        fence_together: false,
        power_on: Vec::new(),
        reseed: None,
        salvage_first: false,
        publish: rules::fencing::knows(seen, to.postgresql(inventory)),
        quarantine: inventory.policy.quarantine_artifacts,
    };
    let mut notes = Vec::new();
    notes.extend(unpublished(inventory, &decision));
    match intent {
        Intent::Rejoin | Intent::PromoteOnly | Intent::VipOnly => {}
        Intent::Switchover => {
            notes.push("nothing is lost: the standby has every byte before it is promoted".to_owned())
        }
        Intent::Failover => {
            decision.fence = from.hosts(inventory);
            decision.fence_together = inventory.fencing.together && nothing_arrives(site);
            decision.salvage_first = seen
                .postgresql(inventory, from)
                .is_some_and(|server| server.sql.is_none() && !server.service.active && server.control.is_some());
            notes.push(loss::of(site).words(inventory));
            notes.extend(inventory.postgresql.archive.is_some().then(|| salvage(site, decision.salvage_first)));
        }
        Intent::Failback => {
            let host = to.postgresql(inventory);
            decision.power_on = to
                .hosts(inventory)
                .into_iter()
                .filter(|host| seen.host(host).is_none() && seen.power(host) == NodeState::Off)
                .collect();
            let primary = seen.sql(inventory, from);
            if rules::follows(site) {
                notes.push(format!(
                    "{host} streams from {} already, so it is not copied again",
                    from.postgresql(inventory)
                ));
            } else {
                let size = primary.and_then(|primary| primary.size);
                decision.reseed = Some(Reseed { needed: needed(inventory, size), rewind: false });
                let size = size.map(|size| format!(" ({})", Bytes(size))).unwrap_or_default();
                notes.push(format!(
                    "{host} gets a copy of {}{size} while that goes on serving; rows that only {host} has are not in it, but its old data is kept",
                    from.postgresql(inventory)
                ));
            }
            notes.push("the service stops only for the change of places at the end; nothing is lost by it".to_owned());
        }
    }
    notes.extend(steps::quiesce_notes(inventory, intent, to.gocd(inventory)));
    (decision, notes)
}

/// Whether what the serving PostgreSQL may still write cannot reach the standby: neither we nor the standby hear from it.
///
/// Otherwise GoCD's host is turned off first, and its last writes still arrive; and if that cannot be proven, PostgreSQL's host
/// is not touched.
fn nothing_arrives(site: &Site<'_>) -> bool {
    let (inventory, seen) = (site.inventory, site.seen);
    let standby = seen.sql(inventory, site.serving.other());
    seen.postgresql(inventory, site.serving).is_none()
        && standby.is_some_and(|standby| standby.receiver.as_deref() != Some("streaming"))
}

/// What may yet be saved of the loss.
fn salvage(site: &Site<'_>, first: bool) -> String {
    let [one, two] = [site.serving, site.serving.other()].map(|place| place.postgresql(site.inventory));
    if first {
        format!(
            "the server on {one} is down and its host answers: before anything else, {two} is brought what only that disk has"
        )
    } else {
        format!(
            "what only {one} has on its disk is brought to {two} if {one} is proven off by a look at it (grade D); without power it cannot be read"
        )
    }
}

#[cfg(test)]
mod tests;
