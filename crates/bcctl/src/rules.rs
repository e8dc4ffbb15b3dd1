//! Every precondition of every operation, as findings. Pure: an observation in, findings out.
//!
//! *Serving* is the place whose PostgreSQL is the primary (or was, when only the standby answers); *other* is where an
//! operation would go. Each rule says which operations it forbids; `bcctl check` shows them all.

mod application;
mod archive;
mod database;
pub(crate) mod fencing;
mod lineage;
pub(crate) mod loss;
mod machine;
mod replication;
mod room;
mod vip;

use bc_model::inventory::Inventory;
use bc_model::journal::Intent;

use crate::finding::kinds::{NO_SERVER, TWO_PRIMARIES, TWO_STANDBYS};
use crate::finding::{Finding, by_cause};
use crate::observe::Observation;
use crate::place::Place;
use crate::steps::Step;
use crate::sudo;
pub(crate) use lineage::{diverged, follows};

/// What a rule looks at.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) seen: &'a Observation,
    pub(crate) serving: Place,
}

impl<'a> Site<'a> {
    const fn other(&self) -> Place {
        self.serving.other()
    }

    fn pg(&self, place: Place) -> &'a str {
        place.postgresql(self.inventory)
    }

    fn go(&self, place: Place) -> &'a str {
        place.gocd(self.inventory)
    }
}

/// The place that serves, or why that cannot be said.
pub(crate) fn serving(inventory: &Inventory, seen: &Observation) -> Result<Place, Finding> {
    let is = |standby: bool| {
        Place::BOTH
            .into_iter()
            .filter(move |place| seen.sql(inventory, *place).is_some_and(|sql| sql.in_recovery == standby))
    };
    let [home, away] = Place::BOTH.map(|place| place.postgresql(inventory));
    match (is(false).collect::<Vec<_>>().as_slice(), is(true).collect::<Vec<_>>().as_slice()) {
        ([place], _) => Ok(*place),
        ([], [standby]) => Ok(standby.other()),
        ([_, ..], _) => Err(Finding::of(&TWO_PRIMARIES, "site", format!("{home} and {away} are both primaries: rows written to one of them will be lost"))
            .hint("stop GoCD, find out which one holds the rows you need, and stop the other one's PostgreSQL before anything else")),
        ([], []) => Err(Finding::of(&NO_SERVER, "site", format!("PostgreSQL answers neither on {home} nor on {away}"))
            .hint(format!("`bcctl status` says why; if both hosts are well, start the one that was the primary (`{home}` on a normal day)"))),
        ([], _) => Err(Finding::of(&TWO_STANDBYS, "site", format!("{home} and {away} are both standbys: none of them takes writes"))
            .hint("an operation may have stopped half-way: `bcctl resume`; or remove standby.signal on the right one and restart it")),
    }
}

/// Everything that was looked at, for the serving place as it is; causes before what follows from them.
pub(crate) fn findings(inventory: &Inventory, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let serving = match serving(inventory, seen) {
        Ok(place) => {
            findings.push(Finding::ok("site", format!("{place} serves")));
            place
        }
        Err(finding) => {
            findings.push(finding);
            Place::Home
        }
    };
    let site = Site { inventory, seen, serving };
    findings.extend(machine::findings(&site));
    findings.extend(fencing::findings(&site));
    findings.extend(database::findings(&site));
    findings.extend(application::findings(&site));
    findings.extend(vip::findings(&site));
    findings.extend(loss::finding(&site));
    by_cause(findings)
}

/// The hosts that could not be looked at, whoever serves.
pub(crate) fn unseen(inventory: &Inventory, seen: &Observation) -> Vec<Finding> {
    machine::unseen(&Site { inventory, seen, serving: Place::Home })
}

/// The commands of these steps that sudo does not allow.
pub(crate) fn not_allowed(inventory: &Inventory, seen: &Observation, steps: &[Step]) -> Vec<Finding> {
    let missing = sudo::missing_for(inventory, seen, steps);
    missing.into_iter().map(|(host, missing)| machine::not_allowed(inventory, &host, missing)).collect()
}

/// What forbids `intent`.
pub(crate) fn refusals(findings: &[Finding], intent: Intent) -> Vec<Finding> {
    findings.iter().filter(|finding| finding.refuses.contains(&intent)).cloned().collect()
}

/// Whether the serving place does all it should: database, application and address.
pub(crate) fn serves_well(site: &Site<'_>) -> bool {
    let primary = site.seen.sql(site.inventory, site.serving).is_some_and(|sql| !sql.in_recovery);
    let ready =
        site.seen.gocd(site.inventory, site.serving).is_some_and(|gocd| gocd.service.active && gocd.health == 200);
    primary && ready && site.seen.holds_vip(site.inventory, site.serving) == Some(true)
}

#[cfg(test)]
mod tests;
