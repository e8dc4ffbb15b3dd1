//! Hosts, boot and fencing.

use bc_model::fencing::NodeState;
use bc_model::inventory::{Inventory, Service};
use bc_model::journal::Intent;

use super::Site;
use crate::finding::kinds::{
    BROKE_OFF, CLOCK, FENCE_DEVICE, FENCE_UNUSABLE, NO_GATE, NOT_ALLOWED, NOT_ROOT, OFF, POWER_UNKNOWN, UNIT_ENABLED,
    UNIT_MISSING, UNREACHABLE,
};
use crate::finding::{ALL, Finding, PLANNED};
use crate::hosts::Unreached;
use crate::observe::{FenceTrouble, Host, ServiceFacts};
use crate::place::Place;
use crate::sudo::{self, Missing};

pub(super) fn findings(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for place in Place::BOTH {
        for host in place.hosts(site.inventory) {
            findings.push(reached(site, place, &host));
            findings.extend(power(site, &host));
        }
        findings.extend(boot(site, place));
    }
    findings.push(match &site.seen.fence_check {
        None => Finding::ok("fence", "every device answers"),
        Some(FenceTrouble::Unusable(words)) => {
            Finding::of(&FENCE_UNUSABLE, "fence", format!("does not work here: {words}"))
                .hint("`fence check` on this machine; [fencing] in the inventory names its configuration")
        }
        Some(FenceTrouble::Devices(words)) => {
            Finding::of(&FENCE_DEVICE, "fence", format!("a device does not work: {words}"))
                .hint("`fence check` lists them")
        }
    });
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
    let off = site.seen.power(host) == NodeState::Off;
    let refuses: &[Intent] = match (place == site.serving, off) {
        // The failover is for exactly this.
        (true, _) => PLANNED,
        // The failback turns it on.
        (false, true) => &[Intent::Switchover, Intent::Failover],
        (false, false) => ALL,
    };
    match site.seen.hosts.get(host) {
        Some(Host::Unseen { reason: reason @ Unreached::Sudo, words }) => {
            Finding::of(&NOT_ROOT, host, format!("lets us in, and sudo does not let us on: {words}"))
                .refuses(refuses)
                .hint(reason.hint())
        }
        Some(Host::Unseen { reason, .. }) if off => {
            Finding::of(&OFF, host, "is turned off").refuses(refuses).hint(reason.hint())
        }
        Some(Host::Unseen { reason, words }) => {
            Finding::of(&UNREACHABLE, host, format!("cannot be reached: {words}")).refuses(refuses).hint(reason.hint())
        }
        Some(Host::Seen(facts)) if facts.unwritable.is_some() && facts.complete => {
            let directory = facts.unwritable.as_deref().unwrap_or_default();
            let login = sudo::login(site.inventory, host).unwrap_or("the login");
            let journals = &site.inventory.journal_directory;
            Finding::of(
                &NOT_ROOT,
                host,
                format!("{login} may not write {directory}, where the lock and the copies of the journals go"),
            )
            .refuses(if place == site.serving { PLANNED } else { ALL })
            .hint(format!("on {host}, as root: install -d -m 0700 -o {login} {journals}"))
        }
        Some(Host::Seen(_)) if missing(site, host).is_some() => {
            let missing = missing(site, host).unwrap_or(Ok(Vec::new()));
            not_allowed(site.inventory, host, missing).refuses(if place == site.serving { PLANNED } else { ALL })
        }
        Some(Host::Seen(facts)) if facts.uid.is_some_and(|uid| uid != 0) && !sudo::by_command(site.inventory, host) => {
            Finding::of(&NOT_ROOT, host, format!("answers as user {}, not as root", facts.uid.unwrap_or_default()))
                .refuses(if place == site.serving { PLANNED } else { ALL })
                .hint(format!("log in as root, or set `sudo = true` or `sudo = \"commands\"` in [hosts.{host}]"))
        }
        Some(Host::Seen(facts)) if facts.complete => Finding::ok(host, "answers"),
        _ => Finding::of(&BROKE_OFF, host, "answers, but the look at it broke off")
            .refuses(PLANNED)
            .hint("run `bcctl check` again"),
    }
}

/// What sudo does not allow, if there is something.
fn missing(site: &Site<'_>, host: &str) -> Option<Result<Vec<Missing>, String>> {
    let missing = sudo::missing(site.inventory, site.seen, host);
    let nothing = missing.as_ref().map_or(!sudo::by_command(site.inventory, host), Vec::is_empty);
    (!nothing).then_some(missing)
}

/// Commands that sudo does not allow on a host, and the lines that would.
pub(super) fn not_allowed(inventory: &Inventory, host: &str, missing: Result<Vec<Missing>, String>) -> Finding {
    let login = sudo::login(inventory, host).unwrap_or("LOGIN");
    let missing = match missing {
        Ok(missing) => missing,
        Err(why) => {
            return Finding::of(&NOT_ALLOWED, host, format!("no sudo rules can be made for it: {why}"))
                .hint("write `commands` in the inventory as `runuser -u USER -- /path/to/program …`, or use a unit");
        }
    };
    let words: Vec<String> = missing.iter().map(|missing| missing.rule.words()).collect();
    let lines: Vec<String> = missing.iter().map(|missing| missing.rule.line(login, &missing.path)).collect();
    let hint = match lines.as_slice() {
        [] | [_, _, _, ..] => format!("`bcctl sudoers {host}` prints the rules"),
        few => format!("its sudoers need `{}`; `bcctl sudoers {host}` prints all rules", few.join("` and `")),
    };
    Finding::of(&NOT_ALLOWED, host, format!("sudo does not allow {login} to run {}", words.join("; nor "))).hint(hint)
}

fn power(site: &Site<'_>, host: &str) -> Option<Finding> {
    let power = site.seen.fence.get(host)?;
    (power.state == NodeState::Unknown).then(|| {
        Finding::of(&POWER_UNKNOWN, host, format!("its power state is not known: {}", power.words))
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
            Finding::of(&UNIT_MISSING, host, format!("has no unit {unit}"))
                .hint("correct `service` in the inventory, or install the package"),
        );
    }
    if facts.enabled {
        return Some(
            Finding::of(
                &UNIT_ENABLED,
                host,
                format!(
                    "{what} would start at boot ({unit} is enabled): power that returns would start a stale primary"
                ),
            )
            .hint(format!("on {host}: systemctl disable {unit} (Debian's clusters: also `manual` in start.conf)")),
        );
    }
    (!facts.gated).then(|| {
        Finding::of(&NO_GATE, host, format!("{what} could be started here although the host was fenced"))
            .hint(format!("`bcctl setup` gives {unit} a drop-in with ExecCondition=fence gate"))
    })
}

/// Seconds that a clock may be off before anybody has to know.
const CLOCK_TOLERANCE: f64 = 2.0;

fn clocks(site: &Site<'_>) -> Vec<Finding> {
    let off = |host: &String| Some((host.clone(), site.seen.host(host)?.clock_off?));
    site.seen
        .hosts
        .keys()
        .filter_map(off)
        .filter(|(_, off)| off.abs() > CLOCK_TOLERANCE)
        .map(|(host, off)| {
            let side = if off > 0.0 { "ahead of" } else { "behind" };
            Finding::of(&CLOCK, &host, format!("its clock is {:.0} s {side} this machine's", off.abs()))
                .hint(format!("on {host}: timedatectl; is time synchronisation running there, and here?"))
        })
        .collect()
}
