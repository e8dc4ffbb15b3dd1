//! What an instance depends on: interfaces, checks, the other members of its sync group. Pure.

use std::collections::BTreeMap;

use vrrp::Priority;

use super::check::Verdict;
use super::effect::Input;
use super::place;
use crate::config::{Config, Effect, Instance, Name, Vrrp};
use crate::kernel::Observed;
use crate::raw;

/// How a member of a sync group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It cannot run.
    Out,
    /// It hears an Active router that it bears with.
    Bearing,
    /// It waits whether there is an Active router.
    Waiting,
    /// There is none that it bears with.
    Ready,
    /// It is Active.
    Active,
}

/// What brings a sync group of these members together: what whom of them is to be told. Nobody becomes Active as long as one
/// of them hears an Active router that it must bear with: that one would be robbed of its addresses.
#[must_use]
pub fn bring_together(members: &[Standing]) -> Option<(Standing, Input<'static>)> {
    use Standing::{Active, Bearing, Out, Ready};
    let any = |standing| members.contains(&standing);
    if any(Active) && (any(Bearing) || any(Out)) {
        Some((Active, Input::StepDown))
    } else if any(Ready) && members.iter().all(|member| matches!(member, Ready | Active)) {
        Some((Ready, Input::TakeOver))
    } else {
        None
    }
}

/// What is down and must not be, and the priority after all weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// In words.
    pub faults: Vec<String>,
    /// Within 1 to 254, or the owner's.
    pub priority: Priority,
}

/// Which instance is the virtual router of a link, by link, VRID and family: the first of those that say so. Two of them would
/// be one to every other host (RFC 9568 §5.2.3), and that an interface goes by two names only the host knows.
pub type Routers = BTreeMap<(u32, u8, bool), Name>;

/// The virtual routers of `config`.
#[must_use]
pub fn routers(config: &Config, observed: &Observed) -> Routers {
    let mut routers = Routers::new();
    for instance in config.instances.values() {
        if let Some(key) = router(instance, observed) {
            routers.entry(key).or_insert_with(|| instance.name.clone());
        }
    }
    routers
}

fn router(instance: &Instance, observed: &Observed) -> Option<(u32, u8, bool)> {
    let link = observed.link(instance.interface.as_str())?.index;
    Some((link, instance.vrrp()?.vrid.get(), raw::is_v6(instance.family())))
}

/// What `instance`, which `holds` its addresses or not, depends on now.
#[must_use]
pub fn judge(
    instance: &Instance,
    vrrp: &Vrrp,
    config: &Config,
    routers: &Routers,
    checks: &BTreeMap<Name, Verdict>,
    observed: &Observed,
    holds: bool,
) -> Dependencies {
    let faults_of = |one: &Instance, vrrp: &Vrrp| {
        let first = router(one, observed).and_then(|key| routers.get(&key)).filter(|first| **first != one.name);
        let vrid = vrrp.vrid;
        let taken = first.map(|first| format!("{first} is virtual router {vrid} on this interface already"));
        taken.into_iter().chain(own_faults(vrrp, checks, observed, holds)).collect::<Vec<_>>()
    };
    let mut faults = faults_of(instance, vrrp);
    for member in fellows(instance, config) {
        let name = &member.name;
        if let Err(unready) = place::find(member, observed) {
            faults.push(format!("{name} of the sync group: {unready}"));
        }
        let theirs = member.vrrp().map(|vrrp| faults_of(member, vrrp)).unwrap_or_default();
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

fn weights(
    vrrp: &Vrrp,
    checks: &BTreeMap<Name, Verdict>,
    observed: &Observed,
) -> impl Iterator<Item = (crate::config::Weight, bool)> {
    weighing(vrrp, |name| checks.get(name).and_then(|verdict| verdict.up), observed)
        .into_iter()
        .map(|(_, weight, up)| (weight, up))
}

/// What weighs in on the priority: what it is, its weight, and whether it is up.
pub fn weighing(
    vrrp: &Vrrp,
    is_up: impl Fn(&Name) -> Option<bool>,
    observed: &Observed,
) -> Vec<(String, crate::config::Weight, bool)> {
    let weight = |effect| if let Effect::Weight(weight) = effect { Some(weight) } else { None };
    let interfaces = vrrp.interfaces.iter().filter_map(|at| {
        Some((format!("interface {}", at.what), weight(at.effect)?, place::is_up(at.what.as_str(), observed)))
    });
    // A check that has not spoken weighs nothing.
    let checks =
        vrrp.checks.iter().filter_map(|at| Some((format!("check {}", at.what), weight(at.effect)?, is_up(&at.what)?)));
    interfaces.chain(checks).collect()
}

#[cfg(test)]
mod tests {
    use super::Standing::{Active, Bearing, Out, Ready, Waiting};
    use super::*;

    #[test]
    fn a_sync_group_becomes_active_when_all_of_it_can_and_steps_down_when_one_cannot() {
        let (take, step) = (Some((Ready, "TakeOver")), Some((Active, "StepDown")));
        for (members, told) in [
            ([Ready, Ready, Ready], take),
            ([Active, Ready, Active], take),
            ([Ready, Ready, Waiting], None),
            ([Ready, Ready, Bearing], None),
            ([Ready, Ready, Out], None),
            ([Active, Active, Active], None),
            // It has begun anew, or has just been asked to step down.
            ([Active, Active, Waiting], None),
            ([Active, Ready, Bearing], step),
            ([Active, Active, Out], step),
            ([Out, Bearing, Waiting], None),
        ] {
            let found = bring_together(&members).map(|(whom, input)| (whom, format!("{input:?}")));
            assert_eq!(found, told.map(|(whom, input)| (whom, input.to_owned())), "{members:?}");
        }
    }
}
