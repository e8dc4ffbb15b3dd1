//! The PostgreSQL pair.

use bc_model::journal::Intent::{Failback, Failover, Switchover};

use super::Site;
use crate::command::postgresql::slot;
use crate::command::standby::marker_file;
use crate::finding::{ALL, Finding, PLANNED};
use crate::observe::{PostgresqlFacts, SqlFacts};
use crate::place::Place;
use crate::plan::needed;

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
    if let Some(standby) = standby {
        findings.extend(replay(site, standby));
    }
    if let Some(primary) = primary {
        findings.extend(shutdown(site, primary));
    }
    if let (Some(primary), Some(standby)) = (primary, standby) {
        findings.push(streaming(site, primary, standby));
        findings.extend(pair(site, primary, standby));
    }
    findings.extend(logins(site, primary.is_some(), standby.is_some()));
    if let Some(primary) = primary {
        findings.extend(copy(site, primary, standby.is_some()));
    }
    findings
}

fn version(site: &Site<'_>, place: Place, server: &PostgresqlFacts) -> Vec<Finding> {
    let host = site.pg(place);
    let expected = site.inventory.postgresql.version;
    let mut findings = Vec::new();
    if let Some(version) = server.version().filter(|version| *version != expected) {
        findings.push(
            Finding::fail(host, ALL, format!("has PostgreSQL {version}; the inventory says {expected}"))
                .hint("correct `version` in the inventory: every command is built for it"),
        );
    }
    if server.program.is_none() {
        findings.push(
            Finding::fail(host, ALL, format!("has no {}/postgres", site.inventory.server(host).bin_directory))
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
                Finding::fail(
                    host,
                    PLANNED,
                    format!("is a primary, and {data}/{marker} would make it a standby at its next start"),
                )
                .hint(format!("`bcctl resume` if an operation stopped half-way; else on {host}: rm {data}/{marker}")),
            ),
            file if file == marker => None,
            file => Some(
                Finding::fail(
                    host,
                    ALL,
                    format!(
                        "{data} holds {file}, left over from another recovery: it would decide what the server becomes"
                    ),
                )
                .hint(format!("on {host}: move it away after you know why it is there")),
            ),
        })
        .collect();
    findings.extend(server.kept.iter().map(|kept| {
        Finding::warn(host, format!("keeps the data from before a re-seed: {kept}"))
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
            Finding::fail(
                two,
                ALL,
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
            Finding::fail(two, ALL, format!("has PostgreSQL {b}, {one} has {a}"))
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
        None => {
            Finding::fail(host, PLANNED, format!("was the primary, and does not answer{}", because(site, site.serving)))
                .hint("`bcctl failover` if it cannot be started")
        }
    }
}

fn role_of_other(site: &Site<'_>, standby: Option<&SqlFacts>) -> Finding {
    let host = site.pg(site.other());
    match standby {
        Some(standby) => Finding::ok(host, format!("is a standby, on timeline {}", standby.timeline)),
        None => Finding::fail(
            host,
            &[Switchover, Failover],
            format!("is not a standby of {}{}", site.pg(site.serving), because(site, site.other())),
        )
        .hint(if site.serving == Place::Away {
            "`bcctl failback` makes it one"
        } else {
            "make it a standby (pg_basebackup) and start it"
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

fn replay(site: &Site<'_>, standby: &SqlFacts) -> Vec<Finding> {
    let host = site.pg(site.other());
    let mut findings = Vec::new();
    if standby.replay_paused {
        findings.push(
            Finding::fail(host, ALL, "has paused its replay").hint(format!("on {host}: SELECT pg_wal_replay_resume()")),
        );
    }
    let delay = standby.text("recovery_min_apply_delay");
    if !matches!(delay, "" | "0") {
        findings.push(
            Finding::fail(host, ALL, format!("delays its replay on purpose (recovery_min_apply_delay = {delay} ms)"))
                .hint("set it to 0 and reload; a delayed standby cannot take over"),
        );
    }
    findings
}

/// What would hold up or spoil the clean stop of the primary.
fn shutdown(site: &Site<'_>, primary: &SqlFacts) -> Vec<Finding> {
    let host = site.pg(site.serving);
    let mut findings = Vec::new();
    if primary.archiver_failing {
        findings.push(
            Finding::fail(
                host,
                PLANNED,
                "its archive_command fails: the shutdown would leave WAL that is in no archive",
            )
            .hint("see pg_stat_archiver and the server's log"),
        );
    } else if primary.archive_ready > 10 {
        findings.push(Finding::warn(
            host,
            format!("{} WAL files wait for the archiver; the shutdown waits for them", primary.archive_ready),
        ));
    }
    if primary.prepared_transactions > 0 {
        findings.push(
            Finding::fail(host, PLANNED, format!("{} prepared transactions are open", primary.prepared_transactions))
                .hint("commit or roll them back: pg_prepared_xacts"),
        );
    }
    let names = primary.text("synchronous_standby_names");
    if !names.is_empty() && !site.inventory.postgresql.synchronous {
        findings.push(
            Finding::warn(
                host,
                format!("synchronous_standby_names is {names}; a promotion clears it, and nothing sets it again"),
            )
            .hint("`synchronous = true` in the inventory makes bcctl set it again"),
        );
    }
    let known = [slot(site.pg(site.other()))];
    findings.extend(
        primary
            .slots
            .iter()
            .filter(|slot| !slot.active && slot.restart_lsn.is_some() && !known.contains(&slot.name))
            .map(|slot| {
                Finding::warn(host, format!("the slot {} keeps WAL and nobody uses it", slot.name))
                    .hint("pg_drop_replication_slot, or the disk fills")
            }),
    );
    findings
}

fn streaming(site: &Site<'_>, primary: &SqlFacts, standby: &SqlFacts) -> Finding {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let Some(row) = primary.replication.iter().find(|row| row.name == two && row.state == "streaming") else {
        let seen: Vec<String> = primary.replication.iter().map(|row| format!("{} ({})", row.name, row.state)).collect();
        let seen = if seen.is_empty() { "nobody".to_owned() } else { seen.join(", ") };
        return Finding::fail(
            two,
            &[Switchover],
            format!("does not stream from {one} under application_name {two}; {seen} does"),
        )
        .hint(format!("see the log of {two}; its primary_conninfo needs host {one} and application_name={two}"));
    };
    if primary.timeline != standby.timeline {
        return Finding::fail(
            two,
            PLANNED,
            format!("is on timeline {}, {one} on {}", standby.timeline, primary.timeline),
        )
        .hint("it may have been promoted once; make it a standby again from a base backup");
    }
    let (Some(write), Some(replay)) = (primary.write_lsn, row.replay_lsn.or(standby.replay_lsn)) else {
        return Finding::fail(two, PLANNED, "says nothing about its replay");
    };
    // The standby was asked a little later than the primary, so it may be a little ahead of the answer; a diverged one is
    // ahead of what the primary's own table says about it.
    if row.replay_lsn.is_some_and(|replay| replay > write)
        && primary.write_lsn.is_some()
        && replay.since(write) > 16 << 20
    {
        return Finding::fail(
            two,
            ALL,
            format!("is ahead of {one} ({replay} after {write}): its history is another one"),
        )
        .hint("make it a standby again from a base backup");
    }
    let lag = write.since(replay);
    if lag > site.inventory.policy.maximum_lag.0 {
        return Finding::fail(two, &[Switchover], format!("is {} behind {one}", bc_model::inventory::Bytes(lag)))
            .hint(format!("wait, or raise policy.maximum-lag (now {})", site.inventory.policy.maximum_lag));
    }
    Finding::ok(two, format!("streams from {one}, {} behind", bc_model::inventory::Bytes(lag)))
}

/// What the pair needs to work the other way round.
fn pair(site: &Site<'_>, primary: &SqlFacts, standby: &SqlFacts) -> Vec<Finding> {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let mut findings: Vec<Finding> = [
        "max_connections",
        "max_worker_processes",
        "max_wal_senders",
        "max_prepared_transactions",
        "max_locks_per_transaction",
    ]
    .into_iter()
    .filter(|name| primary.number(name) < standby.number(name))
    .map(|name| {
        let (a, b) = (primary.number(name), standby.number(name));
        Finding::fail(one, PLANNED, format!("{name} is {a} and on {two} {b}: {one} could not be its standby"))
            .hint(format!("set {name} to the same value on both hosts"))
    })
    .collect();
    if standby.number("max_wal_senders") < 2 || standby.number("max_replication_slots") < 1 {
        findings.push(
            Finding::fail(
                two,
                ALL,
                "as a primary it could not feed a standby (max_wal_senders < 2 or max_replication_slots < 1)",
            )
            .hint("raise them; a base backup needs two senders"),
        );
    }
    if !matches!(primary.text("recovery_target_timeline"), "" | "latest") {
        findings.push(
            Finding::fail(one, PLANNED, "recovery_target_timeline is not latest, so it could not follow the promotion")
                .hint("remove the setting"),
        );
    }
    findings
}

fn logins(site: &Site<'_>, primary: bool, standby: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let server = |place: Place| site.seen.postgresql(site.inventory, place);
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let user = &site.inventory.postgresql.replication_user;
    if standby && server(site.serving).is_some_and(|server| server.login == Some(false)) {
        let words = server(site.serving).map(|server| server.login_words.clone()).unwrap_or_default();
        findings.push(
            Finding::fail(
                one,
                &[Switchover],
                format!("could not log in as {user} at {two}, so it could not be its standby: {words}"),
            )
            .hint(format!("pg_hba.conf on {two}, and ~postgres/.pgpass on {one}")),
        );
    }
    if primary && server(site.other()).is_some_and(|server| server.login == Some(false)) {
        let words = server(site.other()).map(|server| server.login_words.clone()).unwrap_or_default();
        findings.push(
            Finding::fail(two, &[Failback], format!("cannot log in as {user} at {one}: {words}"))
                .hint(format!("pg_hba.conf on {one}, and ~postgres/.pgpass on {two}")),
        );
    }
    findings
}

/// What stands in the way of re-seeding the other server from the serving one.
fn copy(site: &Site<'_>, primary: &SqlFacts, is_standby: bool) -> Vec<Finding> {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let streams = is_standby && primary.replication.iter().any(|row| row.name == two && row.state == "streaming");
    if streams {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if primary.tablespaces > 0 {
        findings.push(
            Finding::fail(one, &[Failback], format!("has {} tablespaces outside the data directory; the re-seed does not move them", primary.tablespaces))
                .hint(format!("re-seed {two} by hand (pg_basebackup --tablespace-mapping), start it as a standby, then `bcctl failback`")),
        );
    }
    let (all, used) = (primary.number("max_wal_senders"), u64::from(primary.wal_senders));
    if all < used + 2 {
        findings.push(
            Finding::fail(
                one,
                &[Failback],
                format!("has {} of {all} WAL senders free; a base backup needs two", all.saturating_sub(used)),
            )
            .hint("raise max_wal_senders and restart it, or disconnect another standby"),
        );
    }
    let Some(server) = site.seen.postgresql(site.inventory, site.other()) else { return findings };
    let by_hand = format!("re-seed {two} by hand, start it as a standby, then `bcctl failback`");
    if server.mount_point {
        findings.push(
            Finding::fail(two, &[Failback], "its data directory is a mount point, so it cannot be renamed")
                .hint(by_hand.as_str()),
        );
    }
    if server.wal_elsewhere {
        findings.push(
            Finding::fail(two, &[Failback], "its pg_wal is a link to another place; the re-seed would not keep that")
                .hint(by_hand),
        );
    }
    let needed = needed(site.inventory, primary.size);
    if let Some(free) = server.free.filter(|free| *free < needed) {
        let bytes = bc_model::inventory::Bytes;
        findings.push(
            Finding::fail(
                two,
                &[Failback],
                format!("has {} free for the copy; it needs {}", bytes(free), bytes(needed)),
            )
            .hint(
                "the old data is kept beside the copy; remove data of earlier re-seeds, or lower policy.minimum-free",
            ),
        );
    }
    findings
}
