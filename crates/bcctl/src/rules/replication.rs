//! Whether the standby gets what the primary writes, applies it, and could change places with it.

use bc_model::inventory::{Bytes, WhenBehind};

use super::Site;
use crate::command::postgresql::slot;
use crate::finding::Finding;
use crate::finding::kinds::{
    BACKUP_RUNS, CANNOT_FEED, CANNOT_LOG_IN, DELAYED, LAG, NO_REWIND, NOT_STREAMING, PAGE_WRITES, PAUSED, PREPARED,
    RETURN_LOGIN, SETTINGS_SMALLER, SLOT_EXPIRES, SLOT_LOST, SLOT_MISSING, SLOT_STALE, SYNC_NOBODY, SYNC_UNMANAGED,
    SYNC_WANTED, TARGET_TIMELINE, WRONG_NAME,
};
use crate::observe::SqlFacts;
use crate::place::Place;

pub(super) fn findings(site: &Site<'_>, primary: Option<&SqlFacts>, standby: Option<&SqlFacts>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(standby) = standby {
        findings.extend(replay(site, standby));
    }
    if let Some(primary) = primary {
        findings.extend(shutdown(site, primary));
        findings.extend(slots(site, primary));
        findings.extend(synchronous(site, primary));
        findings.extend(rewind(site, primary));
    }
    if let (Some(primary), Some(standby)) = (primary, standby) {
        findings.extend(streaming(site, primary, standby));
        findings.extend(pair(site, primary, standby));
    }
    findings.extend(logins(site, primary.is_some(), standby.is_some()));
    findings
}

fn replay(site: &Site<'_>, standby: &SqlFacts) -> Vec<Finding> {
    let host = site.pg(site.other());
    let mut findings = Vec::new();
    if standby.replay_paused {
        findings.push(
            Finding::of(&PAUSED, host, "has paused its replay")
                .hint(format!("on {host}: SELECT {}", site.inventory.postgresql.version.wal().replay_resume)),
        );
    }
    let delay = standby.text("recovery_min_apply_delay");
    if !matches!(delay, "" | "0") {
        findings.push(
            Finding::of(
                &DELAYED,
                host,
                format!("delays its replay on purpose (recovery_min_apply_delay = {delay} ms)"),
            )
            .hint("set it to 0 and reload; a delayed standby cannot take over"),
        );
    }
    findings
}

/// What would hold up or spoil the clean stop of the primary.
fn shutdown(site: &Site<'_>, primary: &SqlFacts) -> Vec<Finding> {
    let host = site.pg(site.serving);
    let mut findings = Vec::new();
    if primary.prepared_transactions > 0 {
        findings.push(
            Finding::of(&PREPARED, host, format!("{} prepared transactions are open", primary.prepared_transactions))
                .hint("commit or roll them back: pg_prepared_xacts"),
        );
    }
    if primary.replication.iter().any(|row| row.state == "backup") {
        findings.push(
            Finding::of(&BACKUP_RUNS, host, "somebody takes a base backup; the shutdown would break it")
                .hint("wait for its end: pg_stat_replication shows it with state backup"),
        );
    }
    findings
}

fn slots(site: &Site<'_>, primary: &SqlFacts) -> Vec<Finding> {
    let (host, two) = (site.pg(site.serving), site.pg(site.other()));
    let own = slot(two);
    let stale = primary.slots.iter().filter(|slot| !slot.active && slot.restart_lsn.is_some() && slot.name != own);
    let mut findings: Vec<Finding> = stale
        .map(|slot| {
            Finding::of(&SLOT_STALE, host, format!("the slot {} keeps WAL and nobody uses it", slot.name))
                .hint(format!("on {host}, if it is nobody's: SELECT pg_drop_replication_slot('{}')", slot.name))
        })
        .collect();
    if primary.slots.iter().any(|slot| slot.name == own && slot.lost) {
        findings.push(
            Finding::of(&SLOT_LOST, two, format!("needs WAL that {host} has removed from its slot"))
                .hint("it catches up from the archive if that has it; else make it anew: `bcctl setup standby`"),
        );
    }
    if !matches!(primary.text("idle_replication_slot_timeout"), "" | "0") {
        findings.push(
            Finding::of(
                &SLOT_EXPIRES,
                host,
                "drops the slot of a standby that is down for long (idle_replication_slot_timeout)",
            )
            .hint(format!("on {host}: ALTER SYSTEM SET idle_replication_slot_timeout = 0, and reload")),
        );
    }
    findings
}

fn synchronous(site: &Site<'_>, primary: &SqlFacts) -> Option<Finding> {
    let (host, two) = (site.pg(site.serving), site.pg(site.other()));
    let names = primary.text("synchronous_standby_names");
    let waits = || !primary.replication.iter().any(|row| matches!(row.sync_state.as_str(), "sync" | "quorum"));
    match (names.is_empty(), site.inventory.postgresql.synchronous) {
        (false, _) if waits() => Some(
            Finding::of(&SYNC_NOBODY, host, format!("its commits wait for {names}, and nobody of that name streams"))
                .hint(format!("bring {two} back; until then on {host}: ALTER SYSTEM SET synchronous_standby_names = '', and reload")),
        ),
        (true, true) => Some(
            Finding::of(&SYNC_WANTED, host, format!("does not wait for {two}, although the inventory says synchronous"))
                .hint(format!("on {host}: ALTER SYSTEM SET synchronous_standby_names = '\"{two}\"', and reload")),
        ),
        (false, false) => Some(
            Finding::of(
                &SYNC_UNMANAGED,
                host,
                format!("synchronous_standby_names is {names}; a promotion clears it, and nothing sets it again"),
            )
            .hint("`synchronous = true` in the inventory makes bcctl set it again"),
        ),
        _ => None,
    }
}

fn rewind(site: &Site<'_>, primary: &SqlFacts) -> Option<Finding> {
    let host = site.pg(site.serving);
    let is = |name: &str, value: &str| primary.text(name) == value;
    if is("full_page_writes", "off") {
        return Some(Finding::of(&PAGE_WRITES, host, "full_page_writes is off").hint("turn it on, and reload"));
    }
    (is("wal_log_hints", "off") && is("data_checksums", "off")).then(|| {
        Finding::of(&NO_REWIND, host, "has neither wal_log_hints nor checksums, so it could not be rewound")
            .hint("a re-seed is the default and does not need them")
    })
}

fn streaming(site: &Site<'_>, primary: &SqlFacts, standby: &SqlFacts) -> Vec<Finding> {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let Some(row) = primary.replication.iter().find(|row| row.name == two && row.state == "streaming") else {
        return not_streaming(site, primary, standby);
    };
    if super::lineage::diverged(site).is_some() {
        // What it says of itself means nothing.
        return Vec::new();
    }
    let (Some(write), Some(replay)) = (primary.write_lsn, row.replay_lsn.or(standby.replay_lsn)) else {
        return vec![Finding::of(&NOT_STREAMING, two, "says nothing about its replay").hint("look again in a moment")];
    };
    let (lag, allowed) = (write.since(replay), site.inventory.policy.maximum_lag);
    if lag <= allowed.0 {
        return vec![Finding::ok(two, format!("streams from {one}, {} behind", Bytes(lag)))];
    }
    let finding = Finding::of(&LAG, two, format!("is {} behind {one}", Bytes(lag)));
    vec![match site.inventory.policy.when_behind {
        WhenBehind::Refuse => finding.hint(format!("wait, or raise policy.maximum-lag (now {allowed})")),
        WhenBehind::Wait => finding.refuses(&[]).hint("a switchover waits for it first (policy.when-behind)"),
    }]
}

/// That it does not stream, after the reasons that can be seen from outside.
fn not_streaming(site: &Site<'_>, primary: &SqlFacts, standby: &SqlFacts) -> Vec<Finding> {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let mut findings = Vec::new();
    let wanted = standby.text("primary_slot_name");
    if !wanted.is_empty() && !primary.slots.iter().any(|slot| slot.name == wanted) {
        findings.push(
            Finding::of(&SLOT_MISSING, two, format!("asks for the slot {wanted}, which {one} does not have"))
                .hint(format!("on {one}: SELECT pg_create_physical_replication_slot('{wanted}', true)")),
        );
    }
    let stranger = primary.replication.iter().find(|row| row.state == "streaming" && row.name != two);
    if let Some(row) = stranger.filter(|_| standby.receiver.as_deref() == Some("streaming")) {
        findings.push(
            Finding::of(&WRONG_NAME, two, format!("streams from {one} as {}, not as {two}", row.name))
                .hint(format!("application_name={two} in primary_conninfo of {two}")),
        );
    }
    let seen: Vec<String> = primary.replication.iter().map(|row| format!("{} ({})", row.name, row.state)).collect();
    let seen = if seen.is_empty() { "nobody".to_owned() } else { seen.join(", ") };
    findings.push(
        Finding::of(
            &NOT_STREAMING,
            two,
            format!("does not stream from {one} under application_name {two}; {seen} does"),
        )
        .hint(format!("see the log of {two}; its primary_conninfo needs host {one} and application_name={two}")),
    );
    findings
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
        Finding::of(&SETTINGS_SMALLER, one, format!("{name} is {a} and on {two} {b}: {one} could not be its standby"))
            .hint(format!("set {name} to the same value on both hosts"))
    })
    .collect();
    if standby.number("max_wal_senders") < 2 || standby.number("max_replication_slots") < 1 {
        findings.push(
            Finding::of(
                &CANNOT_FEED,
                two,
                "as a primary it could not feed a standby (max_wal_senders < 2 or max_replication_slots < 1)",
            )
            .hint("raise them; a base backup needs two senders"),
        );
    }
    if !matches!(primary.text("recovery_target_timeline"), "" | "latest") {
        findings.push(
            Finding::of(
                &TARGET_TIMELINE,
                one,
                "recovery_target_timeline is not latest, so it could not follow the promotion",
            )
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
            Finding::of(
                &RETURN_LOGIN,
                one,
                format!("could not log in as {user} at {two}, so it could not be its standby: {words}"),
            )
            .hint(format!("pg_hba.conf on {two}, and ~postgres/.pgpass on {one}")),
        );
    }
    if primary && server(site.other()).is_some_and(|server| server.login == Some(false)) {
        let words = server(site.other()).map(|server| server.login_words.clone()).unwrap_or_default();
        findings.push(
            Finding::of(&CANNOT_LOG_IN, two, format!("cannot log in as {user} at {one}: {words}"))
                .hint(format!("pg_hba.conf on {one}, and ~postgres/.pgpass on {two}")),
        );
    }
    findings
}
