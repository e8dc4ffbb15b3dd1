//! Hosts, boot and fencing.

use bc_model::fencing::NodeState;
use bc_model::inventory::Service;
use bc_model::journal::Intent;

use super::Site;
use crate::finding::{ALL, Finding, PLANNED};
use crate::observe::{Host, ServiceFacts};
use crate::place::Place;

pub(super) fn findings(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for place in Place::BOTH {
        for host in place.hosts(site.inventory) {
            findings.push(reached(site, place, &host));
            findings.extend(power(site, &host));
        }
        findings.extend(boot(site, place));
    }
    if let Some(words) = &site.seen.fence_check {
        findings
            .push(Finding::warn("fence", format!("a device does not work: {words}")).hint("`fence check` lists them"));
    } else {
        findings.push(Finding::ok("fence", "every device answers"));
    }
    findings.extend(clocks(site));
    findings
}

pub(super) fn unseen(site: &Site<'_>) -> Vec<Finding> {
    Place::BOTH
        .into_iter()
        .flat_map(|place| place.hosts(site.inventory).into_iter().map(move |host| (place, host)))
        .filter(|(_, host)| site.seen.host(host).is_none())
        .map(|(place, host)| reached(site, place, &host))
        .collect()
}

fn reached(site: &Site<'_>, place: Place, host: &str) -> Finding {
    let Some(Host::Unseen { reason, words }) = site.seen.hosts.get(host) else {
        return match site.seen.host(host) {
            Some(facts) if facts.complete => Finding::ok(host, "answers"),
            _ => Finding::fail(host, PLANNED, "answers, but the look at it broke off").hint("run `bcctl check` again"),
        };
    };
    let off = site.seen.power(host) == NodeState::Off;
    let refuses: &[Intent] = match (place == site.serving, off) {
        // The failover is for exactly this.
        (true, _) => PLANNED,
        // The failback turns it on.
        (false, true) => &[Intent::Switchover, Intent::Failover],
        (false, false) => ALL,
    };
    let words = if off { "is turned off".to_owned() } else { format!("cannot be reached: {words}") };
    Finding::fail(host, refuses, words).hint(reason.hint())
}

fn power(site: &Site<'_>, host: &str) -> Option<Finding> {
    let power = site.seen.fence.get(host)?;
    (power.state == NodeState::Unknown).then(|| {
        Finding::warn(host, format!("its power state is not known: {}", power.words))
            .hint("a failover is stopped by this unless the host can be proven off; `fence status` and `fence check` say more")
    })
}

fn boot(site: &Site<'_>, place: Place) -> Vec<Finding> {
    let (pg, go) = (site.pg(place), site.go(place));
    let server = site.inventory.server(pg);
    let gocd = site.inventory.gocd_server(go);
    let mut findings = Vec::new();
    if let Some(facts) = site.seen.postgresql(site.inventory, place) {
        findings.extend(unit(pg, "PostgreSQL", &facts.service, &server.service));
    }
    if let Some(facts) = site.seen.gocd(site.inventory, place) {
        findings.extend(unit(go, "GoCD", &facts.service, &gocd.service));
    }
    findings
}

fn unit(host: &str, what: &str, facts: &ServiceFacts, service: &Service<'_>) -> Option<Finding> {
    let Service::Systemd(unit) = service else { return None };
    if facts.missing {
        return Some(
            Finding::fail(host, ALL, format!("has no unit {unit}"))
                .hint("correct `service` in the inventory, or install the package"),
        );
    }
    facts.enabled.then(|| {
        Finding::fail(
            host,
            ALL,
            format!("{what} would start at boot ({unit} is enabled): power that returns would start a stale primary"),
        )
        .hint(format!("on {host}: systemctl disable {unit} (Debian's clusters: also `manual` in start.conf)"))
    })
}

fn clocks(site: &Site<'_>) -> Option<Finding> {
    let times: Vec<f64> = site.seen.hosts.keys().filter_map(|host| site.seen.host(host)?.now).collect();
    let spread = times.iter().copied().fold(f64::MIN, f64::max) - times.iter().copied().fold(f64::MAX, f64::min);
    // The looks themselves begin up to a connection's time apart.
    (times.len() > 1 && spread > 10.0).then(|| {
        Finding::warn("site", format!("the hosts' clocks are about {spread:.0} s apart"))
            .hint("is time synchronisation running everywhere?")
    })
}
