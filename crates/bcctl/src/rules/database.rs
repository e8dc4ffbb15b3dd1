//! The two servers: versions, files, identity, roles.

use super::{Site, archive, lineage, replication, room};
use crate::command::standby::marker_file;
use crate::finding::Finding;
use crate::finding::kinds::{
    ARMED_PRIMARY, KEPT, LEFTOVER, NOT_A_STANDBY, OTHER_CLUSTER, PRIMARY_DOWN, PROGRAMS_MISSING, VERSION,
    VERSIONS_DIFFER,
};
use crate::observe::{PostgresqlFacts, SqlFacts};
use crate::place::Place;

pub(super) fn findings(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for place in Place::BOTH {
        if let Some(server) = site.seen.postgresql(site.inventory, place) {
            findings.extend(version(site, place, server));
            findings.extend(files(site, place, server));
        }
    }
    let primary = site.seen.sql(site.inventory, site.serving).filter(|sql| !sql.in_recovery);
    let standby = site.seen.sql(site.inventory, site.other()).filter(|sql| sql.in_recovery);
    findings.extend(identity(site));
    findings.push(role_of_serving(site, primary));
    findings.push(role_of_other(site, standby));
    if let (Some(primary), Some(standby)) = (primary, standby) {
        findings.extend(lineage::finding(site, primary, standby));
    } else if let Some(standby) = standby {
        findings.extend(lineage::alone(site, standby));
    }
    findings.extend(replication::findings(site, primary, standby));
    findings.extend(archive::findings(site, primary, standby));
    if let Some(primary) = primary {
        findings.extend(room::findings(site, primary));
    }
    findings
}

fn version(site: &Site<'_>, place: Place, server: &PostgresqlFacts) -> Vec<Finding> {
    let host = site.pg(place);
    let expected = site.inventory.postgresql.version;
    let mut findings = Vec::new();
    if let Some(version) = server.version().filter(|version| *version != expected) {
        findings.push(
            Finding::of(&VERSION, host, format!("has PostgreSQL {version}; the inventory says {expected}"))
                .hint("correct `version` in the inventory: every command is built for it"),
        );
    }
    if server.program.is_none() {
        findings.push(
            Finding::of(
                &PROGRAMS_MISSING,
                host,
                format!("has no {}/postgres", site.inventory.server(host).bin_directory),
            )
            .hint("correct `bin-directory` in the inventory, or install PostgreSQL"),
        );
    }
    findings
}

fn files(site: &Site<'_>, place: Place, server: &PostgresqlFacts) -> Vec<Finding> {
    let host = site.pg(place);
    let data = site.inventory.server(host).data_directory;
    let marker = marker_file(site.inventory.postgresql.version.marker());
    let running_primary = server.sql.as_ref().is_some_and(|sql| !sql.in_recovery);
    let mut findings: Vec<Finding> = server
        .files
        .iter()
        .filter_map(|file| match file.as_str() {
            "backup_label" => None,
            file if file == marker && running_primary => Some(
                Finding::of(
                    &ARMED_PRIMARY,
                    host,
                    format!("is a primary, and {data}/{marker} would make it a standby at its next start"),
                )
                .hint(format!("`bcctl resume` if an operation stopped half-way; else on {host}: rm {data}/{marker}")),
            ),
            file if file == marker => None,
            file => Some(
                Finding::of(
                    &LEFTOVER,
                    host,
                    format!(
                        "{data} holds {file}, left over from another recovery: it would decide what the server becomes"
                    ),
                )
                .hint(format!("on {host}: move it away after you know why it is there")),
            ),
        })
        .collect();
    findings.extend(server.kept.iter().map(|kept| {
        Finding::of(&KEPT, host, format!("keeps the data from before a re-seed: {kept}"))
            .hint("remove it when nobody will ask for it any more")
    }));
    findings
}

fn identity(site: &Site<'_>) -> Vec<Finding> {
    let of = |place: Place| {
        let server = site.seen.postgresql(site.inventory, place)?;
        let identifier = server
            .sql
            .as_ref()
            .map(|sql| sql.system_identifier.clone())
            .or_else(|| server.control.as_ref().map(|control| control.system_identifier.clone()))
            .filter(|identifier| !identifier.is_empty());
        Some((identifier, server.version()))
    };
    let (Some(serving), Some(other)) = (of(site.serving), of(site.other())) else { return Vec::new() };
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let mut findings = Vec::new();
    match (serving.0, other.0) {
        (Some(a), Some(b)) if a == b => findings.push(Finding::ok(two, "holds the same cluster (system identifier)")),
        (Some(a), Some(b)) => findings.push(
            Finding::of(
                &OTHER_CLUSTER,
                two,
                format!("holds another cluster: its system identifier is {b}, that of {one} is {a}"),
            )
            .hint(
                "check `data-directory` in the inventory; a standby has to be made from a base backup of its primary",
            ),
        ),
        _ => {}
    }
    match (serving.1, other.1) {
        (Some(a), Some(b)) if a != b => findings.push(
            Finding::of(&VERSIONS_DIFFER, two, format!("has PostgreSQL {b}, {one} has {a}"))
                .hint("physical replication needs the same major version on both hosts"),
        ),
        _ => {}
    }
    findings
}

fn role_of_serving(site: &Site<'_>, primary: Option<&SqlFacts>) -> Finding {
    let host = site.pg(site.serving);
    match primary {
        Some(primary) => Finding::ok(host, format!("is the primary, on timeline {}", primary.timeline)),
        None => Finding::of(
            &PRIMARY_DOWN,
            host,
            format!("was the primary, and does not answer{}", because(site, site.serving)),
        )
        .hint("`bcctl failover` if it cannot be started"),
    }
}

fn role_of_other(site: &Site<'_>, standby: Option<&SqlFacts>) -> Finding {
    let host = site.pg(site.other());
    match standby {
        Some(standby) => Finding::ok(host, format!("is a standby, on timeline {}", standby.timeline)),
        None => Finding::of(
            &NOT_A_STANDBY,
            host,
            format!("is not a standby of {}{}", site.pg(site.serving), because(site, site.other())),
        )
        .hint(if site.serving == Place::Away {
            "`bcctl failback` makes it one"
        } else {
            "start it if it is stopped; `bcctl setup standby` makes a new one"
        }),
    }
}

/// Why a server does not answer.
fn because(site: &Site<'_>, place: Place) -> String {
    let Some(server) = site.seen.postgresql(site.inventory, place) else { return String::new() };
    if server.sql.is_some() {
        return String::new();
    }
    let state = match (&server.control, server.service.active) {
        (None, _) => "there is no cluster in its data directory".to_owned(),
        (Some(control), false) => format!("it is stopped, {}", control.state),
        (Some(control), true) => format!("its service runs, {}", control.state),
    };
    let words = if server.service.active && !server.sql_error.is_empty() {
        format!(": {}", server.sql_error)
    } else {
        String::new()
    };
    format!(" ({state}{words})")
}
