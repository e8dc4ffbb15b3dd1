//! What must hold between the parts of a configuration: nothing twice, and no name that names nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::net::IpAddr;

use vrrp::Family;

use super::draft::{Document, GroupDraft, InstanceDraft, ModeName};
use super::instance::{Effect, Tracked};
use super::name::Name;
use super::section::{At, Section, suggest};

/// Reports whatever does not hold.
pub(super) fn check(document: &Document<'_>) {
    let instances = document.instances.iter().map(|draft| (&draft.section, draft.name.as_ref()));
    once("instance", instances);
    once("check", document.checks.iter().map(|draft| (&draft.section, draft.name.as_ref())));
    once("sync group", document.sync_groups.iter().map(|draft| (&draft.section, draft.name.as_ref())));
    virtual_routers_once(&document.instances);
    addresses_once(&document.instances);
    hosts_are_not_virtual(&document.instances);
    for draft in &document.instances {
        tracked_well(draft, document);
    }
    for (index, group) in document.sync_groups.iter().enumerate() {
        members(group, &document.sync_groups[..index], document);
        let checks: Vec<_> = group.checks.iter().flat_map(At::get_ref).collect();
        let interfaces: Vec<_> = group.interfaces.iter().flat_map(At::get_ref).collect();
        tracked_once(&group.section, "checks", &checks, Vec::new());
        tracked_once(&group.section, "track-interfaces", &interfaces, Vec::new());
        for check in checks {
            known_check(&group.section, check, document);
        }
    }
}

/// The sync group that names this instance.
pub(super) fn group_of<'d, 'a>(instance: &Name, document: &'d Document<'a>) -> Option<&'d GroupDraft<'a>> {
    let names = |group: &&GroupDraft<'_>| {
        group.instances.iter().flat_map(At::get_ref).any(|member| member.get_ref() == instance)
    };
    document.sync_groups.iter().find(names)
}

fn once<'d, 'a: 'd>(what: &str, named: impl Iterator<Item = (&'d Section<'a>, Option<&'d At<Name>>)>) {
    let mut seen = BTreeMap::new();
    for (section, name) in named {
        let Some(name) = name else { continue };
        if let Some(earlier) = seen.insert(name.get_ref(), name.span()) {
            let message =
                format!("found \"{}\", expected a name of its own: another {what} has it already", name.get_ref());
            section.report_clash(name.span(), "name", message, earlier);
        }
    }
}

/// Two virtual routers of one number on one link would be one to every other host (RFC 9568 §5.2.3).
fn virtual_routers_once(instances: &[InstanceDraft<'_>]) {
    let mut seen: Vec<(&InstanceDraft<'_>, Family)> = Vec::new();
    for draft in instances {
        let (Some(vrid), Some(interface), Some(family)) = (&draft.vrid, &draft.interface, family(draft)) else {
            continue;
        };
        let same = |other: &(&InstanceDraft<'_>, Family)| {
            other.1 == family
                && other.0.interface.as_ref().is_some_and(|other| other.get_ref() == interface.get_ref())
                && other.0.vrid.as_ref().is_some_and(|other| other.get_ref() == vrid.get_ref())
        };
        if let Some((other, _)) = seen.iter().find(|other| same(other)) {
            let family = if family == Family::V4 { "IPv4" } else { "IPv6" };
            let message = format!(
                "found {}, expected a number of its own: on {} ({family}) it is {} already",
                vrid.get_ref(),
                interface.get_ref(),
                other.section.title(),
            );
            let earlier = other.vrid.as_ref().map_or_else(|| other.section.span(), At::span);
            draft.section.report_clash(vrid.span(), "virtual-router-id", message, earlier);
        } else {
            seen.push((draft, family));
        }
    }
}

fn family(draft: &InstanceDraft<'_>) -> Option<Family> {
    let first = draft.addresses.as_ref()?.get_ref().first()?;
    Some(Family::of(first.get_ref().addr()))
}

/// An address is unique on the host; an IPv6 link-local one on its interface.
fn addresses_once(instances: &[InstanceDraft<'_>]) {
    let mut seen = BTreeMap::new();
    for draft in instances {
        let lists = [("addresses", &draft.addresses), ("unadvertised-addresses", &draft.unadvertised)];
        for (key, address) in lists
            .into_iter()
            .flat_map(|(key, list)| list.iter().flat_map(At::get_ref).map(move |address| (key, address)))
        {
            let ip = address.get_ref().addr();
            let interface = draft.interface.as_ref().map(|interface| interface.get_ref().as_str());
            let scope = interface.filter(|_| crate::address::is_link_local_v6(ip));
            match seen.entry((ip, scope)) {
                Entry::Vacant(free) => {
                    free.insert((draft.section.title(), address.span()));
                }
                Entry::Occupied(taken) => {
                    let (owner, earlier) = taken.get().clone();
                    let message = format!("found {ip}, expected it once: {owner} has it already");
                    draft.section.report_clash(address.span(), key, message, earlier);
                }
            }
        }
    }
}

/// Routers speak from addresses that stay where they are.
fn hosts_are_not_virtual(instances: &[InstanceDraft<'_>]) {
    let is_virtual = |ip: &IpAddr| {
        let lists = instances.iter().flat_map(|draft| [&draft.addresses, &draft.unadvertised]);
        lists.flatten().flat_map(At::get_ref).any(|net| net.get_ref().addr() == *ip)
    };
    for unicast in instances.iter().filter_map(|draft| draft.unicast.as_ref()) {
        let peers = unicast.peers.iter().flat_map(At::get_ref).map(|peer| ("peers", peer));
        for (key, at) in peers.chain(unicast.source.iter().map(|source| ("source", source))) {
            if is_virtual(at.get_ref()) {
                let message = format!("found {}, a virtual address; expected a router's own address", at.get_ref());
                unicast.section.report(at.span(), key, message);
            }
        }
    }
}

fn tracked_well(draft: &InstanceDraft<'_>, document: &Document<'_>) {
    let section = &draft.section;
    let group = draft.name.as_ref().and_then(|name| group_of(name.get_ref(), document));
    let interfaces: Vec<_> = draft.interfaces.iter().flat_map(At::get_ref).collect();
    let groups_interfaces = group.iter().flat_map(|group| group.interfaces.iter().flat_map(At::get_ref)).collect();
    tracked_once(section, "track-interfaces", &interfaces, groups_interfaces);
    for at in &interfaces {
        let name = &at.get_ref().what;
        if draft.interface.as_ref().is_some_and(|own| own.get_ref() == name) {
            let message = format!("found \"{name}\", the instance's own interface, which is watched in any case");
            section.report(at.span(), "track-interfaces", message);
        }
    }
    let checks: Vec<_> = draft.checks.iter().flat_map(At::get_ref).collect();
    let groups_checks = group.iter().flat_map(|group| group.checks.iter().flat_map(At::get_ref)).collect();
    tracked_once(section, "checks", &checks, groups_checks);
    for at in &checks {
        known_check(section, at, document);
    }
    if let Some(group) = group {
        let default = |check: &Name| {
            let named =
                |draft: &&super::draft::CheckDraft<'_>| draft.name.as_ref().is_some_and(|name| name.get_ref() == check);
            document.checks.iter().find(named).map(|draft| draft.effect)
        };
        let effect =
            |at: &At<Tracked<Name, Option<Effect>>>| at.get_ref().effect.or_else(|| default(&at.get_ref().what));
        let interfaces = interfaces.iter().map(|at| ("track-interfaces", at.span(), at.get_ref().effect));
        let checks = checks.iter().map(|at| ("checks", at.span(), effect(at)));
        for (key, span, effect) in interfaces.chain(checks) {
            if matches!(effect, Some(Effect::Weight(_))) {
                let message =
                    "found a weight, expected none: it would rank the instances of the sync group differently";
                let hint = format!("set weight = 0 here, or move it to {}", group.section.title());
                section.report_with_hint(span, key, message.to_owned(), hint);
            }
        }
    }
}

fn tracked_once<T: PartialEq + Display>(
    section: &Section<'_>,
    key: &str,
    own: &[&At<Tracked<T, Option<Effect>>>],
    groups: Vec<&At<Tracked<T, Option<Effect>>>>,
) {
    for (index, at) in own.iter().enumerate() {
        let what = &at.get_ref().what;
        if own[..index].iter().any(|earlier| earlier.get_ref().what == *what) {
            section.report(at.span(), key, format!("found \"{what}\" twice"));
        } else if groups.iter().any(|other| other.get_ref().what == *what) {
            section.report(at.span(), key, format!("found \"{what}\", which the sync group has already"));
        }
    }
}

fn known_check(section: &Section<'_>, at: &At<Tracked<Name, Option<Effect>>>, document: &Document<'_>) {
    let known: Vec<&str> =
        document.checks.iter().filter_map(|check| Some(check.name.as_ref()?.get_ref().as_str())).collect();
    let name = at.get_ref().what.as_str();
    if !known.contains(&name) {
        section.report(
            at.span(),
            "checks",
            format!("found {name:?}, but no [[check]] has this name; {}", suggest(name, &known)),
        );
    }
}

fn members(group: &GroupDraft<'_>, earlier: &[GroupDraft<'_>], document: &Document<'_>) {
    let section = &group.section;
    let Some(list) = &group.instances else {
        if !section.has("instances") {
            section.report(section.span(), "", "`instances` is missing; expected the names of at least two".to_owned());
        }
        return;
    };
    let report = |span, message| section.report(span, "instances", message);
    let names = list.get_ref();
    if names.len() < 2 {
        report(list.span(), format!("found {}, expected at least two instances", names.len()));
    }
    let known: Vec<&str> =
        document.instances.iter().filter_map(|draft| Some(draft.name.as_ref()?.get_ref().as_str())).collect();
    for (index, at) in names.iter().enumerate() {
        let name = at.get_ref();
        let draft =
            document.instances.iter().find(|draft| draft.name.as_ref().is_some_and(|own| own.get_ref() == name));
        let other = earlier
            .iter()
            .find(|other| other.instances.iter().flat_map(At::get_ref).any(|member| member.get_ref() == name));
        if names[..index].iter().any(|earlier| earlier.get_ref() == name) {
            report(at.span(), format!("found \"{name}\" twice"));
        } else if let Some(other) = other {
            report(
                at.span(),
                format!("found \"{name}\", which is in {} already; expected it in one", other.section.title()),
            );
        }
        match draft {
            None => {
                let suggestion = suggest(name.as_str(), &known);
                report(at.span(), format!("found \"{name}\", but no [[instance]] has this name; {suggestion}"));
            }
            Some(draft) if draft.mode.as_ref().is_some_and(|mode| *mode.get_ref() == ModeName::Managed) => {
                report(at.span(), format!("found \"{name}\", whose mode is \"managed\"; expected \"vrrp\""));
            }
            Some(_) => {}
        }
    }
}
