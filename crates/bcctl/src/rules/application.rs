//! The GoCD pair, its files, and the VIP.

use bc_model::journal::Intent::Failover;

use super::Site;
use crate::finding::{ALL, Finding, PLANNED};
use crate::judge::{difference, missing};
use crate::observe::GocdFacts;
use crate::place::Place;

pub(super) fn findings(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(serving) = site.seen.gocd(site.inventory, site.serving) {
        findings.push(serves(site.go(site.serving), serving));
    }
    if let Some(other) = site.seen.gocd(site.inventory, site.other()) {
        findings.push(rests(site.go(site.other()), other));
        findings.push(database(site.go(site.other()), other));
    }
    findings.extend(files(site));
    findings.extend(vip(site));
    findings
}

fn serves(host: &str, gocd: &GocdFacts) -> Finding {
    match (gocd.service.active, gocd.health) {
        (true, 200) => {
            let version = gocd.version.as_deref().map(|version| format!(", version {version}")).unwrap_or_default();
            Finding::ok(host, format!("GoCD answers 200{version}"))
        }
        (true, 0) => Finding::fail(host, PLANNED, "GoCD runs, but nobody listens on its port")
            .hint("it may still be starting; see its log"),
        (true, status) => {
            Finding::fail(host, PLANNED, format!("GoCD answers {status}")).hint("it may still be starting; see its log")
        }
        (false, _) => Finding::fail(host, PLANNED, "GoCD does not run")
            .hint("start it, or `bcctl failover` if it cannot be started"),
    }
}

fn rests(host: &str, gocd: &GocdFacts) -> Finding {
    if gocd.service.active || gocd.health != 0 {
        return Finding::fail(
            host,
            ALL,
            "GoCD runs here, and this place does not serve: two servers would share the agents",
        )
        .hint(format!("stop GoCD on {host}"));
    }
    Finding::ok(host, "GoCD is stopped, as it should be")
}

fn database(host: &str, gocd: &GocdFacts) -> Finding {
    match gocd.database.as_deref() {
        Some(url) if url.starts_with("jdbc:postgresql:") => Finding::ok(host, format!("db.properties names {url}")),
        Some(url) => Finding::fail(host, ALL, format!("db.properties names {url}, which is not PostgreSQL"))
            .hint("db.url=jdbc:postgresql://HOST:5432/DATABASE, with the PostgreSQL host of the same place"),
        None => Finding::fail(host, ALL, "db.properties has no db.url: GoCD would start on an empty database of its own")
            .hint("db.url=jdbc:postgresql://HOST:5432/DATABASE, with the PostgreSQL host of the same place; see `config-directory` in the inventory"),
    }
}

fn files(site: &Site<'_>) -> Vec<Finding> {
    let (one, two) = (site.go(site.serving), site.go(site.other()));
    let of = |place| site.seen.gocd(site.inventory, place).map(|gocd| gocd.manifest.as_ref());
    let mut findings = Vec::new();
    let mut serving = None;
    match of(site.serving) {
        Some(Err(words)) => findings.push(
            Finding::fail(one, PLANNED, format!("its GoCD files cannot be listed: {words}"))
                .hint("standbyd has to work on both GoCD hosts"),
        ),
        Some(Ok(manifest)) => match missing(manifest) {
            Some(id) => findings.push(
                Finding::fail(one, PLANNED, format!("has no {id}")).hint("see `config-directory` in standbyd.toml"),
            ),
            None => serving = Some(manifest),
        },
        None => {}
    }
    match of(site.other()) {
        Some(Err(words)) => findings.push(
            Finding::fail(two, ALL, format!("its GoCD files cannot be listed: {words}"))
                .hint("standbyd has to work on both GoCD hosts"),
        ),
        Some(Ok(manifest)) => match (missing(manifest), serving) {
            (Some(id), _) => findings.push(
                Finding::fail(
                    two,
                    &[Failover],
                    format!("has no {id}; without it GoCD would lose the agents and every secret"),
                )
                .hint(format!("on {two}: standbyd pull --once")),
            ),
            (None, None) => findings.push(Finding::ok(two, format!("has {} GoCD files", manifest.files.len()))),
            (None, Some(serving)) => findings.push(match difference(serving, manifest) {
                None => Finding::ok(two, format!("has the same {} GoCD files as {one}", manifest.files.len())),
                Some(words) => {
                    Finding::fail(two, &[Failover], format!("its GoCD files are not those of {one}: {words}")).hint(
                        format!("on {two}: standbyd pull --once; or accept the older copy: --accept-stale-config"),
                    )
                }
            }),
        },
        None => {}
    }
    findings
}

fn vip(site: &Site<'_>) -> Vec<Finding> {
    let address = site.inventory.vip.address.addr();
    let mut findings = Vec::new();
    for place in Place::BOTH {
        if let Some(Err(words)) = site.seen.gocd(site.inventory, place).map(|gocd| gocd.vip.as_ref()) {
            let refuses = if place == site.serving { PLANNED } else { ALL };
            findings.push(
                Finding::fail(site.go(place), refuses, format!("vipd does not say whether the VIP is here: {words}"))
                    .hint("install vipd there; it has to run as root"),
            );
        }
    }
    let (one, two) = (site.go(site.serving), site.go(site.other()));
    let holds = |place| site.seen.holds_vip(site.inventory, place);
    let answers = || site.seen.gocd(site.inventory, site.other()).and_then(|gocd| gocd.vip_answers.as_deref());
    findings.extend(match (holds(site.serving), holds(site.other()), answers()) {
        (Some(true), Some(true), _) => {
            Some(Finding::fail("vip", ALL, format!("{one} and {two} both hold {address}")).hint(format!(
                "on {two}: vipd unassign {} --dev {}",
                site.inventory.vip.address, site.inventory.vip.interface
            )))
        }
        (Some(false), Some(true), _) => Some(
            Finding::fail("vip", PLANNED, format!("{two} holds {address}, and {one} serves"))
                .hint(format!("on {two}: vipd unassign; on {one}: vipd assign")),
        ),
        (Some(false), Some(false), Some(mac)) => Some(
            Finding::fail(
                "vip",
                ALL,
                format!(
                    "{address} is in use by {}, which is neither {one} nor {two}",
                    if mac.is_empty() { "another host" } else { mac }
                ),
            )
            .hint("find that host by its MAC and take the address from it"),
        ),
        (Some(false), Some(false), None) => {
            Some(Finding::fail("vip", &[], format!("nobody holds {address}: the agents find no server")).hint(format!(
                "on {one}: vipd assign {} --dev {}",
                site.inventory.vip.address, site.inventory.vip.interface
            )))
        }
        (Some(true), _, _) => Some(Finding::ok("vip", format!("{one} holds {address}"))),
        (None, Some(true), _) => Some(Finding::warn("vip", format!("{two} holds {address} already"))),
        (None, _, _) | (_, None, _) => None,
    });
    findings
}
