//! From drafts to the configuration: what must hold within one instance. What must hold between them is in `relations`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use vrrp::{AdverInterval, Family, Preempt, Priority, Version};

use super::draft::{CheckDraft, Document, InstanceDraft, ModeName, UnicastDraft};
use super::instance::{Effect, Instance, LeaseSetting, Mode, OnConflict, PeerSet, Tracked, Unicast, Vrrp};
use super::name::{InterfaceName, Name};
use super::problem::{More, Problems};
use super::relations;
use super::section::At;
use super::service::{Check, SyncGroup};
use super::{Config, Host};
use crate::address::{AddressError, check_host_part};
use crate::lease::Enforcement;

/// The configuration; `None` if something was reported that leaves a hole in it.
pub(super) fn config(document: &Document<'_>, problems: &Problems<'_>, host: &dyn Host) -> Option<Config> {
    relations::check(document);
    let instances: Vec<_> = document.instances.iter().map(|draft| instance(draft, document)).collect();
    let checks: Vec<_> = document.checks.iter().map(|draft| check(draft, host)).collect();
    let groups = document.sync_groups.iter().map(|group| {
        let name = group.name.as_ref()?.get_ref().clone();
        let instances = group.instances.as_ref()?.get_ref().iter().map(|name| name.get_ref().clone()).collect();
        Some((name.clone(), SyncGroup { name, instances }))
    });
    if document.instances.is_empty() && problems.is_empty() {
        // A file that was cut off or never written would let go of every address.
        let message = "found no [[instance]], expected at least one".to_owned();
        problems.report(0..0, String::new(), message, More::default());
    }
    let named = |instance: Option<Instance>| instance.map(|instance| (instance.name.clone(), instance));
    Some(Config {
        instances: instances.into_iter().map(named).collect::<Option<_>>()?,
        checks: checks
            .into_iter()
            .map(|check| check.map(|check| (check.name.clone(), check)))
            .collect::<Option<_>>()?,
        sync_groups: groups.collect::<Option<_>>()?,
        hook: document.hook.clone(),
        control: document.control.clone(),
        metrics: document.metrics,
    })
}

fn check(draft: &CheckDraft<'_>, host: &dyn Host) -> Option<Check> {
    if let Some(user) = &draft.user
        && let Err(why) = host.may_run_as(user.get_ref())
    {
        let message = format!("found {:?}, expected a user that the check can be run as: {why}", user.get_ref());
        let hint = "what vipd may do is settled when it starts: see `user` in docs/vipd-config.md, and restart it";
        draft.section.report_with_hint(user.span(), "user", message, hint.to_owned());
    }
    Some(Check {
        name: draft.name.as_ref()?.get_ref().clone(),
        command: draft.command.clone()?,
        interval: draft.interval,
        timeout: draft.timeout.unwrap_or(draft.interval),
        rise: draft.rise,
        fall: draft.fall,
        effect: draft.effect,
        user: inner(&draft.user),
    })
}

fn instance(draft: &InstanceDraft<'_>, document: &Document<'_>) -> Option<Instance> {
    let family = addresses(draft);
    let mode = match draft.mode.as_ref()?.get_ref() {
        ModeName::Managed => {
            nothing_of_vrrp(draft);
            Some(Mode::Managed)
        }
        ModeName::Vrrp => vrrp(draft, document, family).map(Mode::Vrrp),
    };
    let lease = draft.lease.as_ref().or(document.lease.as_ref());
    let instance = Instance {
        name: inner(&draft.name)?,
        interface: inner(&draft.interface)?,
        addresses: nets(&draft.addresses),
        mode: mode?,
        lease: lease.map_or(LeaseSetting::Automatic, |lease| *lease.get_ref()),
        on_conflict: inner(&draft.on_conflict).unwrap_or(OnConflict::Defend),
        restore_limit: inner(&draft.restore_limit).unwrap_or(5),
    };
    if let Some(at) = lease {
        fits(&instance, at, draft);
    }
    if let (Some(accept), LeaseSetting::Off) =
        (draft.accept.as_ref().filter(|accept| !accept.get_ref()), instance.lease)
        && instance.vrrp().is_some_and(|vrrp| !vrrp.priority.is_owner())
    {
        let message =
            "found false with lease = false; expected a lease, whose switch in the kernel also keeps packets out";
        draft.section.report(accept.span(), "accept", message.to_owned());
    }
    Some(instance)
}

/// A lease that the configuration names: longer than it can be renewed, shorter than the peers wait.
fn fits(instance: &Instance, at: &At<LeaseSetting>, draft: &InstanceDraft<'_>) {
    let (LeaseSetting::Fixed(length), Some(vrrp)) = (instance.lease, instance.vrrp()) else { return };
    let (interval, patience) = (vrrp.interval.duration(), vrrp.peers_patience());
    if length > patience {
        let message = format!("found {length:?}, expected at most {patience:?}, three advertisement intervals");
        let hint = "a peer may take over after that, and the kernel must have let go before; `lease = true` sees to it";
        draft.section.report_with_hint(at.span(), "lease", message, hint.to_owned());
    } else if instance.lease_plan(Enforcement::DeadMan).is_err() {
        let message = format!("found {length:?}, expected more than two advertisement intervals of {interval:?}");
        let hint = "it is renewed with each advertisement, and must outlast a late one; `lease = true` sees to it";
        draft.section.report_with_hint(at.span(), "lease", message, hint.to_owned());
    }
}

/// The one family of the addresses, if there is one.
fn addresses(draft: &InstanceDraft<'_>) -> Option<Family> {
    let section = &draft.section;
    let Some(list) = &draft.addresses else {
        if !section.has("addresses") {
            section.report(section.span(), "", "`addresses` is missing".to_owned());
        }
        return None;
    };
    let family = list.get_ref().first().map(|first| Family::of(first.get_ref().addr()));
    if list.get_ref().is_empty() {
        // An element that was wrong has been reported; then the list is not empty in the file.
        if section.is_empty_list("addresses") {
            section.report(list.span(), "addresses", "found no address, expected at least one".to_owned());
        }
        return None;
    }
    for (key, list) in [("addresses", &draft.addresses), ("unadvertised-addresses", &draft.unadvertised)] {
        for address in list.iter().flat_map(At::get_ref) {
            let own = Family::of(address.get_ref().addr());
            if Some(own) != family {
                let (found, expected) = if own == Family::V6 { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
                let message =
                    format!("found {} ({found}), expected {expected} like the first address", address.get_ref());
                let hint = "an instance has one family; give the other one an instance of its own, and join them in a \
                            [[sync-group]]";
                section.report_with_hint(address.span(), key, message, hint.to_owned());
            }
        }
    }
    family
}

/// A managed instance has no election, so what tunes one means nothing.
fn nothing_of_vrrp(draft: &InstanceDraft<'_>) {
    let keys = [
        ("unadvertised-addresses", span(&draft.unadvertised)),
        ("virtual-router-id", span(&draft.vrid)),
        ("priority", span(&draft.priority)),
        ("version", span(&draft.version)),
        ("advertisement-interval-ms", span(&draft.interval)),
        ("checksum", span(&draft.checksum)),
        ("preempt", span(&draft.preempt)),
        ("preempt-delay", span(&draft.preempt_delay)),
        ("startup-delay", span(&draft.startup_delay)),
        ("accept", span(&draft.accept)),
        ("virtual-mac", span(&draft.virtual_mac)),
        ("unicast", draft.unicast.as_ref().map(|unicast| unicast.section.span())),
        ("track-interfaces", span(&draft.interfaces)),
        ("checks", span(&draft.checks)),
    ];
    for (key, span) in keys {
        if let Some(span) = span {
            let message = "has no meaning with mode = \"managed\": a person or a program decides, not an election";
            draft.section.report(span, key, message.to_owned());
        }
    }
}

fn vrrp(draft: &InstanceDraft<'_>, document: &Document<'_>, family: Option<Family>) -> Option<Vrrp> {
    let section = &draft.section;
    if !section.has("virtual-router-id") {
        section.report(section.span(), "", "`virtual-router-id` is missing; expected 1 to 255".to_owned());
    }
    let version = inner(&draft.version).unwrap_or(Version::V3);
    if let (Some(at), Version::V2, Some(Family::V6)) = (&draft.version, version, family) {
        let message = "found 2, which carries IPv4 only (RFC 3768); expected 3, since the addresses are IPv6";
        section.report(at.span(), "version", message.to_owned());
    }
    advertised(draft, family);
    let interval = interval(draft, version);
    if let (Some(at), true) = (&draft.checksum, version == Version::V2 || family == Some(Family::V6)) {
        let message = "has no meaning here: only version 3 over IPv4 has two forms";
        section.report(at.span(), "checksum", message.to_owned());
    }
    let peers = match &draft.unicast {
        None => Some(PeerSet::Multicast),
        Some(unicast) => unicast_peers(unicast, family, &nets(&draft.addresses)).map(PeerSet::Unicast),
    };
    let tracking = tracking(draft, document);
    let priority = inner(&draft.priority).unwrap_or(Priority::DEFAULT);
    if priority.is_owner() {
        owner(draft, &tracking);
    }
    let plain = |tracked: &At<Tracked<InterfaceName>>| tracked.get_ref().clone();
    Some(Vrrp {
        vrid: inner(&draft.vrid)?,
        priority,
        interval: interval?,
        checksum: inner(&draft.checksum).unwrap_or_default(),
        preempt: preempt(draft),
        startup_delay: inner(&draft.startup_delay).unwrap_or_default(),
        accept: inner(&draft.accept).unwrap_or(true),
        virtual_mac: inner(&draft.virtual_mac).unwrap_or(false),
        in_sync_group: tracking.in_sync_group,
        peers: peers?,
        unadvertised: nets(&draft.unadvertised),
        interfaces: tracking.interfaces.iter().map(plain).collect(),
        checks: tracking.checks.iter().map(|tracked| tracked.get_ref().clone()).collect(),
    })
}

fn interval(draft: &InstanceDraft<'_>, version: Version) -> Option<AdverInterval> {
    let millis = draft.interval.as_ref().map_or(1000, |at| *at.get_ref());
    match AdverInterval::from_millis(version, millis) {
        Ok(interval) => Some(interval),
        Err(error) => {
            let span = span(&draft.interval).unwrap_or_else(|| draft.section.span());
            draft.section.report(span, "advertisement-interval-ms", error.to_string());
            None
        }
    }
}

/// How many addresses an advertisement carries: as many as its count can say (RFC 9568 §5.2.5), and no more than a packet
/// of 1500 bytes has room for, 40 of it IPv6's header and 8 its own: a fragment, or a longer frame, may not arrive.
pub(crate) const fn carried(family: Family) -> usize {
    match family {
        Family::V4 => 255,
        Family::V6 => (1500 - 40 - 8) / 16,
    }
}

/// What an advertisement can carry, and what comes first (RFC 9568 §5.2.9).
fn advertised(draft: &InstanceDraft<'_>, family: Option<Family>) {
    let Some(list) = &draft.addresses else { return };
    let (section, addresses) = (&draft.section, list.get_ref());
    let most = carried(family.unwrap_or(Family::V4));
    if addresses.len() > most {
        let message =
            format!("found {} addresses, expected at most {most}: an advertisement carries no more", addresses.len());
        let hint = "put the others into `unadvertised-addresses`; on every router of this instance alike";
        section.report_with_hint(list.span(), "addresses", message, hint.to_owned());
    }
    if let (Some(Family::V6), Some(first)) = (family, addresses.first())
        && !crate::address::is_link_local_v6(first.get_ref().addr())
    {
        let net = first.get_ref();
        let message = format!("found {net} first, expected a link-local address first (RFC 9568 §5.2.9)");
        let vrid = draft.vrid.as_ref().map_or(1, |vrid| vrid.get_ref().get());
        let hint =
            format!("put one before it, such as \"fe80::{vrid:x}/64\"; the same on every router of this instance");
        section.report_with_hint(first.span(), "addresses", message, hint);
    }
}

fn preempt(draft: &InstanceDraft<'_>) -> Preempt {
    match (inner(&draft.preempt).unwrap_or(true), &draft.preempt_delay) {
        (true, None) => Preempt::Immediately,
        (true, Some(delay)) if delay.get_ref().is_zero() => Preempt::Immediately,
        (true, Some(delay)) => Preempt::After(*delay.get_ref()),
        (false, None) => Preempt::Never,
        (false, Some(delay)) => {
            let message = "has no meaning with preempt = false; remove one of the two";
            draft.section.report(delay.span(), "preempt-delay", message.to_owned());
            Preempt::Never
        }
    }
}

fn unicast_peers(draft: &UnicastDraft<'_>, family: Option<Family>, virtual_nets: &[IpNet]) -> Option<Unicast> {
    let section = &draft.section;
    let Some(list) = &draft.peers else {
        if !section.has("peers") {
            section.report(
                section.span(),
                "",
                "`peers` is missing; expected the addresses of the other routers".to_owned(),
            );
        }
        return None;
    };
    if section.is_empty_list("peers") {
        section.report(list.span(), "peers", "found no address, expected at least one".to_owned());
    }
    let family_name = |family| if family == Family::V4 { "IPv4" } else { "IPv6" };
    let named = list.get_ref().iter().map(|peer| ("peers", peer)).chain(draft.source.iter().map(|at| ("source", at)));
    for (key, at) in named {
        let (own, address) = (Family::of(*at.get_ref()), at.get_ref());
        if let Some(family) = family.filter(|family| *family != own) {
            let (found, expected) = (family_name(own), family_name(family));
            let message = format!("found {address} ({found}), expected {expected} like the virtual addresses");
            section.report(at.span(), key, message);
        }
        for what in virtual_nets.iter().filter_map(|net| reserved(*address, net)).take(1) {
            section.report(at.span(), key, format!("found {address}, {what}; expected a router's own address"));
        }
    }
    for (index, peer) in list.get_ref().iter().enumerate() {
        let address = peer.get_ref();
        if draft.source.as_ref().is_some_and(|source| source.get_ref() == address) {
            let message =
                format!("found {address}, which is our own address (`source`); expected the other routers only");
            section.report(peer.span(), "peers", message);
        } else if list.get_ref()[..index].iter().any(|earlier| earlier.get_ref() == address) {
            section.report(peer.span(), "peers", format!("found {address} twice"));
        }
    }
    Some(Unicast {
        peers: list.get_ref().iter().map(|peer| *peer.get_ref()).collect(),
        source: inner(&draft.source),
        minimum_ttl: inner(&draft.minimum_ttl).unwrap_or(255),
    })
}

/// What `address` is in `net`, if it is no host's.
fn reserved(address: IpAddr, net: &IpNet) -> Option<&'static str> {
    match check_host_part(address, net) {
        Err(AddressError::Reserved { what, .. }) => Some(what),
        Err(_) | Ok(()) => None,
    }
}

struct Tracking {
    in_sync_group: bool,
    interfaces: Vec<At<Tracked<InterfaceName>>>,
    checks: Vec<At<Tracked<Name>>>,
}

/// What the instance depends on: its own, and what its sync group depends on.
fn tracking(draft: &InstanceDraft<'_>, document: &Document<'_>) -> Tracking {
    let group = draft.name.as_ref().and_then(|name| relations::group_of(name.get_ref(), document));
    let groups_interfaces = group.and_then(|group| group.interfaces.as_ref());
    let groups_checks = group.and_then(|group| group.checks.as_ref());
    let defaults: BTreeMap<&Name, Effect> =
        document.checks.iter().filter_map(|check| Some((check.name.as_ref()?.get_ref(), check.effect))).collect();
    let interfaces = draft.interfaces.iter().chain(groups_interfaces).flat_map(At::get_ref);
    let checks = draft.checks.iter().chain(groups_checks).flat_map(At::get_ref);
    Tracking {
        in_sync_group: group.is_some(),
        interfaces: interfaces.map(|at| resolved(at, |_| Effect::Fault)).collect(),
        checks: checks.map(|at| resolved(at, |name| defaults.get(name).copied().unwrap_or(Effect::Fault))).collect(),
    }
}

fn resolved<T: Clone>(at: &At<Tracked<T, Option<Effect>>>, default: impl Fn(&T) -> Effect) -> At<Tracked<T>> {
    let Tracked { what, effect } = at.get_ref();
    At::new(at.span(), Tracked { what: what.clone(), effect: effect.unwrap_or_else(|| default(what)) })
}

/// The address owner is always preferred, never waits and never yields (RFC 9568 §6.1, §6.4.1).
fn owner(draft: &InstanceDraft<'_>, tracking: &Tracking) {
    let section = &draft.section;
    let forbid = |span, key, why: &str| {
        section.report(span, key, format!("has no meaning with priority 255, the owner of the addresses: {why}"));
    };
    if let Some(preempt) = draft.preempt.as_ref().filter(|preempt| !preempt.get_ref()) {
        forbid(preempt.span(), "preempt", "it always preempts");
    }
    if let Some(delay) = draft.preempt_delay.as_ref().filter(|delay| !delay.get_ref().is_zero()) {
        forbid(delay.span(), "preempt-delay", "it preempts at once");
    }
    if let Some(delay) = draft.startup_delay.as_ref().filter(|delay| !delay.get_ref().is_zero()) {
        forbid(delay.span(), "startup-delay", "it starts as Active");
    }
    if let Some(accept) = draft.accept.as_ref().filter(|accept| !accept.get_ref()) {
        forbid(accept.span(), "accept", "it always accepts packets to them");
    }
    if let Some(virtual_mac) = draft.virtual_mac.as_ref().filter(|virtual_mac| *virtual_mac.get_ref()) {
        forbid(virtual_mac.span(), "virtual-mac", "they are the interface's own, and have its MAC address");
    }
    if let Some(lease) = draft.lease.as_ref().filter(|lease| *lease.get_ref() != LeaseSetting::Off) {
        forbid(lease.span(), "lease", "they are the interface's own, and never leased");
    }
    let weighs = |effect: Effect| matches!(effect, Effect::Weight(_));
    for at in tracking.interfaces.iter().filter(|at| weighs(at.get_ref().effect)) {
        forbid(at.span(), "track-interfaces", "no weight moves its priority; set weight = 0, or a lower priority");
    }
    for at in tracking.checks.iter().filter(|at| weighs(at.get_ref().effect)) {
        forbid(at.span(), "checks", "no weight moves its priority; set weight = 0, or a lower priority");
    }
}

fn inner<T: Clone>(at: &Option<At<T>>) -> Option<T> {
    at.as_ref().map(|at| at.get_ref().clone())
}

fn span<T>(at: &Option<At<T>>) -> Option<std::ops::Range<usize>> {
    at.as_ref().map(At::span)
}

fn nets(list: &Option<At<Vec<At<IpNet>>>>) -> Vec<IpNet> {
    list.iter().flat_map(At::get_ref).map(|at| *at.get_ref()).collect()
}
