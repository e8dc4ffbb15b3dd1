//! What an instance depends on: interfaces, checks, the other members of its sync group. Pure.

use std::collections::BTreeMap;

use vrrp::Priority;

use super::check::Verdict;
use super::place;
use crate::config::{Config, Effect, Instance, Name, Vrrp};
use crate::kernel::Observed;

/// What is down and must not be, and the priority after all weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// In words.
    pub faults: Vec<String>,
    /// Within 1 to 254, or the owner's.
    pub priority: Priority,
}

/// What `instance`, which `holds` its addresses or not, depends on now.
#[must_use]
pub fn judge(
    instance: &Instance,
    vrrp: &Vrrp,
    config: &Config,
    checks: &BTreeMap<Name, Verdict>,
    observed: &Observed,
    holds: bool,
) -> Dependencies {
    let mut faults = own_faults(vrrp, checks, observed, holds);
    for member in fellows(instance, config) {
        let name = &member.name;
        if let Err(unready) = place::find(member, observed) {
            faults.push(format!("{name} of the sync group: {unready}"));
        }
        let theirs = member.vrrp().map(|vrrp| own_faults(vrrp, checks, observed, holds)).unwrap_or_default();
        faults.extend(theirs.into_iter().map(|fault| format!("{name} of the sync group: {fault}")));
    }
    let weights = weights(vrrp, checks, observed);
    Dependencies { faults, priority: vrrp.weighted(weights) }
}

/// The other members of the sync group of `instance`.
pub fn fellows<'c>(instance: &Instance, config: &'c Config) -> impl Iterator<Item = &'c Instance> {
    let name = instance.name.clone();
    let group = config.sync_groups.values().find(|group| group.instances.contains(&name));
    let members = group.map(|group| group.instances.as_slice()).unwrap_or_default();
    members.iter().filter(move |member| **member != name).filter_map(|member| config.instances.get(member))
}

fn own_faults(vrrp: &Vrrp, checks: &BTreeMap<Name, Verdict>, observed: &Observed, holds: bool) -> Vec<String> {
    let interfaces = vrrp.interfaces.iter().filter(|at| at.effect == Effect::Fault);
    let down = interfaces.filter(|at| !place::is_up(at.what.as_str(), observed));
    let mut faults: Vec<_> = down.map(|at| format!("interface {} is down", at.what)).collect();
    for at in &vrrp.checks {
        match (checks.get(&at.what).and_then(|verdict| verdict.up), at.effect) {
            // A check that comes with a reload does not take away what is held until it has spoken.
            (None, Effect::Fault | Effect::Weight(_)) if holds => {}
            (None, Effect::Fault | Effect::Weight(_)) => {
                faults.push(format!("check {} runs for the first time", at.what))
            }
            (Some(false), Effect::Fault) => faults.push(format!("check {} is down", at.what)),
            (Some(true), _) | (Some(false), Effect::Weight(_)) => {}
        }
    }
    faults
}

fn weights<'a>(
    vrrp: &'a Vrrp,
    checks: &'a BTreeMap<Name, Verdict>,
    observed: &'a Observed,
) -> impl Iterator<Item = (crate::config::Weight, bool)> + 'a {
    let weight = |effect| if let Effect::Weight(weight) = effect { Some(weight) } else { None };
    let interfaces = vrrp
        .interfaces
        .iter()
        .filter_map(move |at| Some((weight(at.effect)?, place::is_up(at.what.as_str(), observed))));
    let checks = vrrp.checks.iter().filter_map(move |at| {
        // A check that has not spoken weighs nothing.
        Some((weight(at.effect)?, checks.get(&at.what).and_then(|verdict| verdict.up)?))
    });
    interfaces.chain(checks)
}
