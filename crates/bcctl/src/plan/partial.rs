//! Half an operation, for people who have the other half already: rejoin, promote only, VIP only. Pure.

use bc_model::fencing::NodeState;
use bc_model::inventory::{Bytes, Inventory};
use bc_model::journal::Intent;

use super::{Decision, Plan, Reseed, needed, unpublished};
use crate::finding::{ALL, Finding};
use crate::observe::Observation;
use crate::place::Place;
use crate::rules::{self, Site, loss};

/// What is wanted, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The old primary on `host` becomes a standby of the serving one.
    Rejoin {
        /// A PostgreSQL host.
        host: String,
        /// Whether to try `pg_rewind` first.
        rewind: bool,
    },
    /// The standby becomes the primary; nothing else is touched.
    Promote,
    /// The VIP goes to `host`.
    Vip {
        /// A GoCD host.
        host: String,
    },
}

impl Part {
    /// As the journal names it.
    pub(crate) const fn intent(&self) -> Intent {
        match self {
            Self::Rejoin { .. } => Intent::Rejoin,
            Self::Promote => Intent::PromoteOnly,
            Self::Vip { .. } => Intent::VipOnly,
        }
    }
}

/// Decides about a part.
pub(crate) fn plan(inventory: &Inventory, seen: &Observation, part: &Part, operation: &str) -> Plan {
    let decision = |to: Place, timeline: u32| Decision {
        operation: operation.to_owned(),
        intent: part.intent(),
        to,
        timeline,
        system_identifier: seen.system_identifier(inventory),
        fence: Vec::new(),
        fence_together: false,
        power_on: Vec::new(),
        reseed: None,
        salvage_first: false,
        publish: part == &Part::Promote && rules::fencing::knows(seen, to.postgresql(inventory)),
        quarantine: inventory.policy.quarantine_artifacts,
    };
    if let Part::Vip { host } = part {
        return vip(inventory, seen, host, decision);
    }
    let serving = match rules::serving(inventory, seen) {
        Ok(place) => place,
        Err(finding) => return Plan::Refused(vec![finding]),
    };
    let site = Site { inventory, seen, serving };
    match part {
        Part::Rejoin { host, rewind } => rejoin(&site, host, *rewind, decision),
        Part::Promote | Part::Vip { .. } => promote(&site, decision),
    }
}

fn refuse(words: String, hint: &str) -> Plan {
    Plan::Refused(vec![Finding::fail("site", ALL, words).hint(hint)])
}

fn rejoin(site: &Site<'_>, host: &str, rewind: bool, decision: impl Fn(Place, u32) -> Decision) -> Plan {
    let (inventory, seen) = (site.inventory, site.seen);
    let (serving, to) = (site.serving.postgresql(inventory), site.serving.other());
    if host == serving {
        let words = format!("{host} is the primary: a primary does not rejoin");
        return refuse(words, "name the other PostgreSQL host; `bcctl status` shows the roles");
    }
    if host != to.postgresql(inventory) {
        return refuse(
            format!("{host} is no PostgreSQL host of this site"),
            "name the one that shall become a standby",
        );
    }
    let Some(primary) = seen.sql(inventory, site.serving) else {
        return refuse(
            format!("{serving} does not answer, so nothing can be copied from it"),
            "`bcctl status` says why",
        );
    };
    if rules::follows(site) {
        return Plan::Nothing(format!("nothing to do: {host} streams from {serving} already"));
    }
    if seen.host(host).is_none() && seen.power(host) != NodeState::Off {
        return refuse(
            format!("{host} cannot be looked at, and is not known to be off"),
            "make it reachable, or turn it off (`fence off`): then it is turned on first",
        );
    }
    let size = primary.size.map(|size| format!(" ({})", Bytes(size))).unwrap_or_default();
    if rewind && !inventory.postgresql.version.rewinds_crashed() {
        return refuse(
            format!("--rewind needs PostgreSQL 13 or later, and this is {}", inventory.postgresql.version),
            "without it, the data is copied",
        );
    }
    let mut notes = vec![format!(
        "{serving} goes on serving; {host} gets a copy of its data{size}; rows that only {host} has are not in it, but its old data is kept"
    )];
    if rewind {
        notes.push(format!(
            "pg_rewind is tried first, in place; if it does not want to, or breaks off, {host} is copied as without --rewind"
        ));
    }
    let mut decision = decision(to, primary.timeline);
    decision.reseed = Some(Reseed { needed: needed(inventory, primary.size), rewind });
    if seen.host(host).is_none() {
        decision.power_on.push(host.to_owned());
    }
    Plan::Steps { decision, notes }
}

fn promote(site: &Site<'_>, decision: impl Fn(Place, u32) -> Decision) -> Plan {
    let (inventory, seen) = (site.inventory, site.seen);
    let (from, to) = (site.serving, site.serving.other());
    let (old, new) = (from.postgresql(inventory), to.postgresql(inventory));
    if seen.sql(inventory, from).is_some_and(|sql| !sql.in_recovery) {
        return refuse(
            format!("{old} takes writes: with {new} promoted there would be two primaries"),
            "`bcctl switchover` moves everything and loses nothing; or stop it cleanly first, and then promote",
        );
    }
    let Some(standby) = seen.sql(inventory, to).filter(|sql| sql.in_recovery) else {
        return refuse(format!("{new} is no standby that answers"), "`bcctl status` says what it is");
    };
    // What forbids a failover because of the standby itself forbids this as well.
    let mut refusals = rules::refusals(&rules::findings(inventory, seen), Intent::Failover);
    refusals.retain(|finding| finding.subject == new);
    if let Some(why) = loss::of(site).diverged {
        refusals.push(Finding::fail(new, ALL, why).hint("`bcctl check` says more"));
    }
    if !refusals.is_empty() {
        return Plan::Refused(refusals);
    }
    let mut decision = decision(to, standby.timeline);
    let stopped = seen.postgresql(inventory, from).is_some_and(|server| !server.service.active);
    let mut notes: Vec<String> = unpublished(inventory, &decision).into_iter().collect();
    if let Some(finding) = rules::fencing::out_of_reach(seen, old).filter(|_| !stopped) {
        return Plan::Refused(vec![finding]);
    }
    let note = if stopped {
        format!("{old} has to be shut down cleanly, and {new} to have its last byte; else nothing is promoted")
    } else {
        decision.fence.push(old.to_owned());
        loss::of(site).words(inventory)
    };
    notes.extend([note, "GoCD, its files and the VIP are not touched".to_owned()]);
    Plan::Steps { decision, notes }
}

fn vip(inventory: &Inventory, seen: &Observation, host: &str, decision: impl Fn(Place, u32) -> Decision) -> Plan {
    let Some(to) = Place::BOTH.into_iter().find(|place| place.gocd(inventory) == host) else {
        return refuse(format!("{host} is no GoCD host of this site"), "the VIP lives on the GoCD hosts");
    };
    let other = to.other().gocd(inventory);
    let (here, there) = (seen.holds_vip(inventory, to), seen.holds_vip(inventory, to.other()));
    match (here, there) {
        (Some(true), Some(false)) => return Plan::Nothing(format!("nothing to do: {host} holds the VIP")),
        (None, _) => return refuse(format!("{host} cannot be asked about the VIP"), "`bcctl status` says why"),
        _ => {}
    }
    let timelines = Place::BOTH.into_iter().filter_map(|place| seen.sql(inventory, place)).map(|sql| sql.timeline);
    let mut decision = decision(to, timelines.max().unwrap_or(0));
    let mut notes = vec!["PostgreSQL and GoCD are not touched".to_owned()];
    if there.is_none() {
        if let Some(finding) = rules::fencing::out_of_reach(seen, other) {
            return Plan::Refused(vec![finding]);
        }
        decision.fence.push(other.to_owned());
        notes.push(format!("{other} cannot be asked, so it is turned off first: it may hold the VIP"));
    }
    Plan::Steps { decision, notes }
}
