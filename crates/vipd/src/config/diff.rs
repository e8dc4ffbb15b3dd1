//! What a reload changes, and nothing else.
//!
//! The list is one transaction: the daemon takes all of it or none. An address that both configurations hold on the same
//! interface is in no list, whichever instance it moves to, so nothing tells anybody to drop it for an instant.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::Config;
use super::instance::{Instance, Mode, Vrrp};
use super::name::{InterfaceName, Name};
use super::service::{Check, Control, Hook, SyncGroup};

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The interface.
    pub interface: InterfaceName,
    /// The address with its prefix length.
    pub address: IpNet,
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another hook, or none.
    Hook(Option<Hook>),
    /// Another socket, or other users of it.
    Control(Control),
    /// Metrics elsewhere, or nowhere.
    Metrics(Option<SocketAddr>),
    /// A check is new or runs differently.
    SetCheck(Check),
    /// An instance is gone.
    Stop {
        /// Its name.
        name: Name,
        /// Addresses of it that nothing holds any more.
        removed: Vec<Held>,
    },
    /// An instance is different.
    Instance(Box<InstanceChange>),
    /// An instance is new.
    Start(Box<Instance>),
    /// A sync group is new or has other members.
    SetSyncGroup(SyncGroup),
    /// A sync group is gone.
    RemoveSyncGroup(Name),
    /// A check is gone, and no instance names it any more.
    RemoveCheck(Name),
}

/// How an instance becomes what it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceChange {
    /// Its name until now.
    pub from: Name,
    /// What it shall be.
    pub to: Instance,
    /// Whether it goes on or begins anew.
    pub how: How,
    /// The keys that differ, as the file writes them.
    pub keys: Vec<&'static str>,
    /// Addresses that nothing held before. Added before others are removed.
    pub added: Vec<Held>,
    /// Addresses of it that nothing holds any more.
    pub removed: Vec<Held>,
}

/// Whether a changed instance goes on or begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It keeps its state: an Active router stays Active.
    InPlace,
    /// It is another virtual router to its peers, or lives on another interface: it begins in Initialize.
    Restart,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hook(_) => f.write_str("the hook"),
            Self::Control(_) => f.write_str("the control socket"),
            Self::Metrics(_) => f.write_str("the metrics"),
            Self::SetCheck(check) => write!(f, "check {}", check.name),
            Self::Stop { name, .. } => write!(f, "instance {name} is gone"),
            Self::Instance(change) => {
                let InstanceChange { from, to, how, keys, .. } = &**change;
                let anew = if *how == How::Restart { ", which begins anew" } else { "" };
                write!(f, "instance {from}{}{}{anew}", if keys.is_empty() { "" } else { ": " }, keys.join(", "))?;
                if *from == to.name { Ok(()) } else { write!(f, "; it is {} now", to.name) }
            }
            Self::Start(instance) => write!(f, "instance {} is new", instance.name),
            Self::SetSyncGroup(group) => write!(f, "sync group {}", group.name),
            Self::RemoveSyncGroup(name) => write!(f, "sync group {name} is gone"),
            Self::RemoveCheck(name) => write!(f, "check {name} is gone"),
        }
    }
}

/// What a reload has done, in one line.
#[must_use]
pub fn describe(changes: &[Change]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<_> = changes.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = changes.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match changes.len() {
        0 => "nothing has changed".to_owned(),
        1 => format!("reloaded, 1 change: {}", shown.join("")),
        count => format!("reloaded, {count} changes: {}{more}", shown.join("; ")),
    }
}

/// What leads from `old` to `new`, in the order in which it is to be done. Empty if they are equal. Pure.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let pairs = pairs(old, new);
    let held_before = held(old);
    let held_after = held(new);
    let mut changes = Vec::new();
    if old.hook != new.hook {
        changes.push(Change::Hook(new.hook.clone()));
    }
    if old.control != new.control {
        changes.push(Change::Control(new.control.clone()));
    }
    if old.metrics != new.metrics {
        changes.push(Change::Metrics(new.metrics));
    }
    let is_new = |check: &&Check| old.checks.get(&check.name) != Some(check);
    changes.extend(new.checks.values().filter(is_new).cloned().map(Change::SetCheck));
    for before in old.instances.values().filter(|before| !pairs.iter().any(|(paired, _)| paired.name == before.name)) {
        changes.push(Change::Stop { name: before.name.clone(), removed: gone(before, &held_after) });
    }
    for (before, after) in pairs.iter().filter(|(before, after)| before != after) {
        changes.push(Change::Instance(Box::new(InstanceChange {
            from: before.name.clone(),
            to: (*after).clone(),
            how: how(before, after),
            keys: differing_keys(before, after),
            added: gone(after, &held_before),
            removed: gone(before, &held_after),
        })));
    }
    let starts = new.instances.values().filter(|after| !pairs.iter().any(|(_, paired)| paired.name == after.name));
    changes.extend(starts.cloned().map(Box::new).map(Change::Start));
    let is_new = |group: &&SyncGroup| old.sync_groups.get(&group.name) != Some(group);
    changes.extend(new.sync_groups.values().filter(is_new).cloned().map(Change::SetSyncGroup));
    let is_gone = |name: &&Name| !new.sync_groups.contains_key(*name);
    changes.extend(old.sync_groups.keys().filter(is_gone).cloned().map(Change::RemoveSyncGroup));
    let is_gone = |name: &&Name| !new.checks.contains_key(*name);
    changes.extend(old.checks.keys().filter(is_gone).cloned().map(Change::RemoveCheck));
    changes
}

/// `config` after `changes`: what the daemon then runs with. Pure.
#[must_use]
pub fn apply(mut config: Config, changes: &[Change]) -> Config {
    // A name may pass from one instance to another, so all of the old ones go before any of the new ones comes.
    for change in changes {
        match change {
            Change::Stop { name, .. } => drop(config.instances.remove(name)),
            Change::Instance(change) => drop(config.instances.remove(&change.from)),
            Change::RemoveSyncGroup(name) => drop(config.sync_groups.remove(name)),
            Change::RemoveCheck(name) => drop(config.checks.remove(name)),
            Change::Hook(hook) => config.hook.clone_from(hook),
            Change::Control(control) => config.control.clone_from(control),
            Change::Metrics(listen) => config.metrics = *listen,
            Change::SetCheck(_) | Change::Start(_) | Change::SetSyncGroup(_) => {}
        }
    }
    for change in changes {
        match change {
            Change::SetCheck(check) => drop(config.checks.insert(check.name.clone(), check.clone())),
            Change::Instance(change) => drop(config.instances.insert(change.to.name.clone(), change.to.clone())),
            Change::Start(instance) => drop(config.instances.insert(instance.name.clone(), (**instance).clone())),
            Change::SetSyncGroup(group) => drop(config.sync_groups.insert(group.name.clone(), group.clone())),
            Change::Hook(_)
            | Change::Control(_)
            | Change::Metrics(_)
            | Change::Stop { .. }
            | Change::RemoveSyncGroup(_)
            | Change::RemoveCheck(_) => {}
        }
    }
    config
}

/// Which old instance becomes which new one: by name, and where a name is gone, by what the peers know it by.
fn pairs<'c>(old: &'c Config, new: &'c Config) -> Vec<(&'c Instance, &'c Instance)> {
    let mut pairs: Vec<_> =
        old.instances.values().filter_map(|before| Some((before, new.instances.get(&before.name)?))).collect();
    let renamed: Vec<&Instance> =
        new.instances.values().filter(|after| !old.instances.contains_key(&after.name)).collect();
    for before in old.instances.values().filter(|before| !new.instances.contains_key(&before.name)) {
        let free = |after: &&&Instance| !pairs.iter().any(|(_, paired)| paired.name == after.name);
        if let Some(after) = renamed.iter().filter(free).find(|after| is_renamed(before, after)) {
            pairs.push((before, after));
        }
    }
    pairs
}

fn is_renamed(before: &Instance, after: &Instance) -> bool {
    match (&before.mode, &after.mode) {
        (Mode::Vrrp(_), Mode::Vrrp(_)) => how(before, after) == How::InPlace,
        (Mode::Managed, Mode::Managed) => {
            before.interface == after.interface && before.held().any(|net| after.held().any(|other| other == net))
        }
        (Mode::Vrrp(_), Mode::Managed) | (Mode::Managed, Mode::Vrrp(_)) => false,
    }
}

fn how(before: &Instance, after: &Instance) -> How {
    let same_place = before.interface == after.interface && before.family() == after.family();
    let same_router = match (&before.mode, &after.mode) {
        (Mode::Managed, Mode::Managed) => true,
        (Mode::Vrrp(before), Mode::Vrrp(after)) => {
            before.vrid == after.vrid
                && before.interval.version() == after.interval.version()
                && before.virtual_mac == after.virtual_mac
        }
        (Mode::Vrrp(_), Mode::Managed) | (Mode::Managed, Mode::Vrrp(_)) => false,
    };
    if same_place && same_router { How::InPlace } else { How::Restart }
}

fn held(config: &Config) -> BTreeSet<Held> {
    config.instances.values().flat_map(held_by).collect()
}

fn held_by(instance: &Instance) -> impl Iterator<Item = Held> + '_ {
    instance.held().map(|address| Held { interface: instance.interface.clone(), address })
}

fn gone(instance: &Instance, elsewhere: &BTreeSet<Held>) -> Vec<Held> {
    held_by(instance).filter(|held| !elsewhere.contains(held)).collect()
}

fn differing_keys(before: &Instance, after: &Instance) -> Vec<&'static str> {
    // Taken apart in full, so that a key that is added later cannot be forgotten here.
    let Instance { name, interface, addresses, mode, lease, on_conflict, restore_limit } = before;
    let mut keys = vec![
        ("name", *name != after.name),
        ("interface", *interface != after.interface),
        ("addresses", *addresses != after.addresses),
        ("lease", *lease != after.lease),
        ("on-conflict", *on_conflict != after.on_conflict),
        ("restore-limit", *restore_limit != after.restore_limit),
    ];
    match (mode, &after.mode) {
        (Mode::Managed, Mode::Managed) => {}
        (Mode::Vrrp(before), Mode::Vrrp(after)) => keys.extend(differing_vrrp_keys(before, after)),
        (Mode::Vrrp(_), Mode::Managed) | (Mode::Managed, Mode::Vrrp(_)) => keys.push(("mode", true)),
    }
    keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn differing_vrrp_keys(before: &Vrrp, after: &Vrrp) -> [(&'static str, bool); 14] {
    let Vrrp {
        vrid,
        priority,
        interval,
        checksum,
        preempt,
        startup_delay,
        accept,
        virtual_mac,
        in_sync_group,
        peers,
        unadvertised,
        interfaces,
        checks,
    } = before;
    [
        ("virtual-router-id", *vrid != after.vrid),
        ("priority", *priority != after.priority),
        ("version", interval.version() != after.interval.version()),
        ("advertisement-interval-ms", interval.duration() != after.interval.duration()),
        ("checksum", *checksum != after.checksum),
        ("preempt", *preempt != after.preempt),
        ("startup-delay", *startup_delay != after.startup_delay),
        ("accept", *accept != after.accept),
        ("virtual-mac", *virtual_mac != after.virtual_mac),
        ("sync-group", *in_sync_group != after.in_sync_group),
        ("unicast", *peers != after.peers),
        ("unadvertised-addresses", *unadvertised != after.unadvertised),
        ("track-interfaces", *interfaces != after.interfaces),
        ("checks", *checks != after.checks),
    ]
}
