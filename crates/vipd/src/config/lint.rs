//! What is legal and probably not meant.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Config;
use super::instance::{Instance, LeaseSetting, PeerSet, Vrrp};

/// Warnings about a configuration, in sentences. Pure.
#[must_use]
pub fn lint(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for instance in config.instances.values() {
        let name = &instance.name;
        for address in instance.held().map(|net| net.addr()).filter(is_class_e) {
            let why = "is reserved (240.0.0.0/4): Linux takes it, but many routers and other systems drop its packets";
            warnings.push(format!("instance {name}: {address} {why}"));
        }
        if let Some(vrrp) = instance.vrrp() {
            warnings.extend(of_vrrp(instance, vrrp));
        }
    }
    let used: BTreeSet<_> = config
        .instances
        .values()
        .filter_map(Instance::vrrp)
        .flat_map(|vrrp| vrrp.checks.iter().map(|check| &check.what))
        .collect();
    for name in config.checks.keys().filter(|name| !used.contains(name)) {
        warnings.push(format!("check {name} is named by no instance: it will not be run"));
    }
    for group in config.sync_groups.values() {
        let members = || group.instances.iter().filter_map(|name| config.instances.get(name)?.vrrp());
        let preempts: BTreeSet<_> = members().map(|vrrp| format!("{:?}", vrrp.preempt)).collect();
        if preempts.len() > 1 {
            let name = &group.name;
            warnings
                .push(format!("sync group {name}: its instances preempt differently, and the most patient decides"));
        }
    }
    warnings
}

fn is_class_e(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] >= 240)
}

fn of_vrrp(instance: &Instance, vrrp: &Vrrp) -> Vec<String> {
    let name = &instance.name;
    let mut warnings = Vec::new();
    if instance.lease == LeaseSetting::Off && !vrrp.priority.is_owner() {
        let why = "if vipd is killed or hangs, this host goes on answering while a peer takes over";
        warnings.push(format!("instance {name}: without a lease, {why}"));
    }
    if vrrp.interval.duration() < Duration::from_millis(100) && instance.lease != LeaseSetting::Off {
        let why = "a scheduling delay of a few tens of milliseconds on either host is a take-over";
        warnings.push(format!("instance {name}: with an advertisement interval of {}, {why}", vrrp.interval));
    }
    match &vrrp.peers {
        PeerSet::Unicast(unicast) if unicast.minimum_ttl < 255 => warnings.push(format!(
            "instance {name}: minimum-ttl = {} lets advertisements in from up to {} hops away",
            unicast.minimum_ttl,
            255 - unicast.minimum_ttl
        )),
        PeerSet::Unicast(_) | PeerSet::Multicast => {}
    }
    if vrrp.virtual_mac && matches!(vrrp.peers, PeerSet::Unicast(_)) {
        let why = "with unicast peers no advertisement tells the switches where it is, only the announcements do";
        warnings.push(format!("instance {name}: virtual-mac = true: {why}"));
    }
    warnings
}
