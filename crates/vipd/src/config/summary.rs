//! What a configuration will do, in numbers: what `vipd check` shows.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use vrrp::{Preempt, Version};

use super::Config;
use super::instance::{Effect, Instance, OnConflict, PeerSet, Vrrp};
use super::name::{InterfaceName, Name};
use crate::lease::Enforcement;

/// What a configuration will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of this format.
    pub schema: u32,
    /// The instances, by name.
    pub instances: Vec<InstanceSummary>,
    /// The names of the checks.
    pub checks: Vec<Name>,
    /// What is legal and probably not meant.
    pub warnings: Vec<String>,
}

/// What one instance will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceSummary {
    /// Its name.
    pub name: Name,
    /// Its interface.
    pub interface: InterfaceName,
    /// Every address that it holds.
    pub addresses: Vec<IpNet>,
    /// Its election; a managed instance has none.
    pub election: Option<Election>,
    /// What the kernel enforces, in words.
    pub lease: String,
    /// `defend` or `release`.
    pub on_conflict: &'static str,
    /// How many times a minute a removed address is put back.
    pub restore_limit: u32,
    /// Its sync group.
    pub sync_group: Option<Name>,
}

/// The numbers of an election.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Election {
    /// Version of VRRP.
    pub version: u8,
    /// Virtual Router Identifier.
    pub virtual_router_id: u8,
    /// Priority before any weight.
    pub priority: u8,
    /// Advertisement_Interval in milliseconds.
    pub advertisement_interval_ms: f64,
    /// Skew_Time in milliseconds: from a priority-0 advertisement to our take-over.
    pub skew_time_ms: f64,
    /// Active_Down_Interval in milliseconds: from the last advertisement to our take-over.
    pub active_down_interval_ms: f64,
    /// In words: whom it advertises to.
    pub peers: String,
    /// In words: when it preempts.
    pub preempt: String,
    /// Whether packets to the addresses are let in.
    pub accept: bool,
    /// Whether the virtual router's MAC address is used.
    pub virtual_mac: bool,
    /// Addresses that are held and not advertised.
    pub unadvertised: usize,
    /// In words: what it depends on, and what follows.
    pub depends_on: Vec<String>,
}

impl Summary {
    /// The version of this format.
    pub const SCHEMA: u32 = 1;

    /// What `config` will do. `lease` says what the kernel enforces for an instance; see [`describe_lease`].
    #[must_use]
    pub fn of(config: &Config, lease: impl Fn(&Instance) -> String) -> Self {
        let instance = |instance: &Instance| InstanceSummary {
            name: instance.name.clone(),
            interface: instance.interface.clone(),
            addresses: instance.held().collect(),
            election: instance.vrrp().map(Election::of),
            lease: lease(instance),
            on_conflict: match instance.on_conflict {
                OnConflict::Defend => "defend",
                OnConflict::Release => "release",
            },
            restore_limit: instance.restore_limit,
            sync_group: config
                .sync_groups
                .values()
                .find(|group| group.instances.contains(&instance.name))
                .map(|group| group.name.clone()),
        };
        Self {
            schema: Self::SCHEMA,
            instances: config.instances.values().map(instance).collect(),
            checks: config.checks.keys().cloned().collect(),
            warnings: super::lint(config),
        }
    }
}

impl Election {
    fn of(vrrp: &Vrrp) -> Self {
        let interfaces = vrrp.interfaces.iter().map(|at| (format!("interface {}", at.what), at.effect));
        let checks = vrrp.checks.iter().map(|at| (format!("check {}", at.what), at.effect));
        Self {
            version: if vrrp.interval.version() == Version::V2 { 2 } else { 3 },
            virtual_router_id: vrrp.vrid.get(),
            priority: vrrp.priority.get(),
            advertisement_interval_ms: milliseconds(vrrp.interval.duration()),
            skew_time_ms: milliseconds(vrrp.interval.skew_time(vrrp.priority)),
            active_down_interval_ms: milliseconds(vrrp.interval.active_down_interval(vrrp.priority)),
            peers: match &vrrp.peers {
                PeerSet::Multicast => "multicast".to_owned(),
                PeerSet::Unicast(unicast) => {
                    let peers: Vec<_> = unicast.peers.iter().map(ToString::to_string).collect();
                    format!("unicast to {}", peers.join(", "))
                }
            },
            preempt: match vrrp.preempt {
                Preempt::Immediately => "at once".to_owned(),
                Preempt::After(delay) => format!("after {delay:?}"),
                Preempt::Never => "never".to_owned(),
            },
            accept: vrrp.accept,
            virtual_mac: vrrp.virtual_mac,
            unadvertised: vrrp.unadvertised.len(),
            depends_on: interfaces.chain(checks).map(|(what, effect)| depends(&what, effect)).collect(),
        }
    }
}

/// What the kernel enforces for an instance where it has these means, in words.
#[must_use]
pub fn describe_lease(instance: &Instance, enforcement: Enforcement) -> String {
    match instance.lease_plan(enforcement) {
        Ok(Some(plan)) => plan.describe(),
        Ok(None) => {
            "none: if vipd is killed, stopped or hangs, this host goes on answering for the addresses".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, instance) in self.instances.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{instance}")?;
        }
        Ok(())
    }
}

impl fmt::Display for InstanceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let Self { name, interface, addresses, election, lease, on_conflict, restore_limit, sync_group } = self;
        match election {
            None => writeln!(f, "instance {name}: managed, on {interface}; held when told to, never at start")?,
            Some(Election { version, virtual_router_id, priority, .. }) => {
                write!(
                    f,
                    "instance {name}: VRRP version {version}, virtual router {virtual_router_id} on {interface}"
                )?;
                writeln!(f, ", priority {priority}")?;
            }
        }
        let mut line = |what: &str, value: &dyn fmt::Display| writeln!(f, "  {what:<22}{value}");
        let list: Vec<_> = addresses.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = addresses.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        line("addresses", &format_args!("{}{more}", list.join(", ")))?;
        if let Some(election) = election {
            if election.unadvertised > 0 {
                line("not advertised", &format_args!("the last {} of them", election.unadvertised))?;
            }
            line("advertises", &format_args!("every {} ms, {}", election.advertisement_interval_ms, election.peers))?;
            line("Skew_Time", &format_args!("{} ms", election.skew_time_ms))?;
            line("Active_Down_Interval", &format_args!("{} ms", election.active_down_interval_ms))?;
            line("preempts", &election.preempt)?;
            if !election.accept {
                line("accepts", &"no packets to its addresses")?;
            }
            if election.virtual_mac {
                line("virtual MAC", &"on a macvlan of its own")?;
            }
            for dependency in &election.depends_on {
                line("depends on", dependency)?;
            }
        }
        if let Some(group) = sync_group {
            line("sync group", group)?;
        }
        line("lease", lease)?;
        line("on conflict", on_conflict)?;
        line("if removed", &format_args!("put back up to {restore_limit} times a minute"))
    }
}

fn depends(what: &str, effect: Effect) -> String {
    match effect {
        Effect::Fault => format!("{what}: cannot hold while it is down"),
        Effect::Weight(weight) if weight.get() > 0 => format!("{what}: priority {:+} while it is up", weight.get()),
        Effect::Weight(weight) => format!("{what}: priority {:+} while it is down", weight.get()),
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
