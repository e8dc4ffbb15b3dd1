//! The GoCD pair and its files.

use bc_model::inventory::Inventory;

use super::Site;
use crate::command::maintenance;
use crate::finding::kinds::{
    DB_FOREIGN, DB_MISSING, DB_NAME, FILE_MISSING, FILES_DIFFER, FILES_UNKNOWN, GOCD_DOWN, GOCD_NOT_READY, GOCD_TWICE,
    IN_MAINTENANCE, NO_TOKEN, TOKEN,
};
use crate::finding::{Finding, PLANNED};
use crate::judge::{difference, missing};
use crate::observe::GocdFacts;

pub(super) fn findings(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(serving) = site.seen.gocd(site.inventory, site.serving) {
        findings.push(serves(site.go(site.serving), serving));
    }
    if let Some(other) = site.seen.gocd(site.inventory, site.other()) {
        findings.push(rests(site.go(site.other()), other));
        findings.push(database(site.inventory, site.go(site.other()), other));
    }
    findings.extend(rest(site));
    findings.extend(files(site));
    findings
}

fn serves(host: &str, gocd: &GocdFacts) -> Finding {
    match (gocd.service.active, gocd.health) {
        (true, 200) => {
            let version = gocd.version.as_deref().map(|version| format!(", version {version}")).unwrap_or_default();
            Finding::ok(host, format!("GoCD answers 200{version}"))
        }
        (true, 0) => Finding::of(&GOCD_NOT_READY, host, "GoCD runs, but nobody listens on its port")
            .hint("it may still be starting; see its log"),
        (true, status) => Finding::of(&GOCD_NOT_READY, host, format!("GoCD answers {status}"))
            .hint("it may still be starting; see its log"),
        (false, _) => Finding::of(&GOCD_DOWN, host, "GoCD does not run")
            .hint("start it, or `bcctl failover` if it cannot be started"),
    }
}

fn rests(host: &str, gocd: &GocdFacts) -> Finding {
    if gocd.service.active || gocd.health != 0 {
        return Finding::of(
            &GOCD_TWICE,
            host,
            "GoCD runs here, and this place does not serve: two servers would share the agents",
        )
        .hint(format!("stop GoCD on {host}"));
    }
    Finding::ok(host, "GoCD is stopped, as it should be")
}

/// Whether GoCD can be brought to rest and let go.
fn rest(site: &Site<'_>) -> Vec<Finding> {
    if !maintenance::is_used(site.inventory) {
        let words = "GoCD is neither brought to rest before it is stopped nor started at rest: the inventory names no access token";
        return vec![Finding::of(&NO_TOKEN, "site", words).hint(NO_TOKEN.mend)];
    }
    let mut findings = Vec::new();
    for place in [site.serving, site.other()] {
        let Some(gocd) = site.seen.gocd(site.inventory, place) else { continue };
        let host = site.go(place);
        // A server that is not ready says nothing about the token.
        match (&gocd.token, &gocd.maintenance) {
            (Some(Err(words)), _) => findings.push(Finding::of(&TOKEN, host, words.clone()).hint(TOKEN.mend)),
            (_, Some(Err(words))) if gocd.health == 200 => findings.push(
                Finding::of(&TOKEN, host, format!("GoCD does not take the access token: {words}")).hint(TOKEN.mend),
            ),
            (_, Some(Ok(true))) => findings.push(
                Finding::of(
                    &IN_MAINTENANCE,
                    host,
                    "GoCD is in maintenance mode: nothing is triggered, no job is assigned",
                )
                .hint(IN_MAINTENANCE.mend),
            ),
            (_, Some(Ok(false))) => findings.push(Finding::ok(host, "GoCD is not in maintenance mode")),
            _ => {}
        }
    }
    findings
}

fn database(inventory: &Inventory, host: &str, gocd: &GocdFacts) -> Finding {
    match gocd.database.as_deref() {
        Some(url)
            if url.starts_with("jdbc:postgresql:")
                && inventory.policy.quarantine_artifacts
                && url.rsplit('/').next() != Some(inventory.gocd.database.as_str()) =>
        {
            let words = format!("db.properties names {url}, and the inventory the database {}", inventory.gocd.database);
            Finding::of(&DB_NAME, host, words).hint("correct `gocd.database` in the inventory, or db.properties")
        }
        Some(url) if url.starts_with("jdbc:postgresql:") => Finding::ok(host, format!("db.properties names {url}")),
        Some(url) => Finding::of(&DB_FOREIGN, host, format!("db.properties names {url}, which is not PostgreSQL"))
            .hint("db.url=jdbc:postgresql://HOST:5432/DATABASE, with the PostgreSQL host of the same place"),
        None => Finding::of(&DB_MISSING, host, "db.properties has no db.url: GoCD would start on an empty database of its own")
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
            Finding::of(&FILES_UNKNOWN, one, format!("its GoCD files cannot be listed: {words}"))
                .refuses(PLANNED)
                .hint("standbyd has to work on both GoCD hosts"),
        ),
        Some(Ok(manifest)) => match missing(manifest) {
            Some(id) => findings.push(
                Finding::of(&FILE_MISSING, one, format!("has no {id}"))
                    .refuses(PLANNED)
                    .hint("see `config-directory` in standbyd.toml"),
            ),
            None => serving = Some(manifest),
        },
        None => {}
    }
    match of(site.other()) {
        Some(Err(words)) => findings.push(
            Finding::of(&FILES_UNKNOWN, two, format!("its GoCD files cannot be listed: {words}"))
                .hint("standbyd has to work on both GoCD hosts"),
        ),
        Some(Ok(manifest)) => match (missing(manifest), serving) {
            (Some(id), _) => findings.push(
                Finding::of(
                    &FILE_MISSING,
                    two,
                    format!("has no {id}; without it GoCD would lose the agents and every secret"),
                )
                .refuses(&[bc_model::journal::Intent::Failover])
                .hint(format!("on {two}: standbyd pull --once")),
            ),
            (None, None) => findings.push(Finding::ok(two, format!("has {} GoCD files", manifest.files.len()))),
            (None, Some(serving)) => findings.push(match difference(serving, manifest) {
                None => Finding::ok(two, format!("has the same {} GoCD files as {one}", manifest.files.len())),
                Some(words) => {
                    Finding::of(&FILES_DIFFER, two, format!("its GoCD files are not those of {one}: {words}")).hint(
                        format!("on {two}: standbyd pull --once; or accept the older copy: --accept-stale-config"),
                    )
                }
            }),
        },
        None => {}
    }
    findings
}
