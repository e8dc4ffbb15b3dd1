//! The state of a site: kept and put back as files, and described, so that two ends can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::site::Site;

/// What is not part of the state.
const TOOLS: [&str; 6] = ["bin", "sockets", "gate", "saved", "bc.toml", "state"];

fn parts(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.path(".")).expect("a directory").flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_none_or(|name| !TOOLS.iter().any(|tool| name == *tool)))
        .collect()
}

fn copy(paths: &[PathBuf], to: PathBuf) {
    let status = Command::new("cp").arg("-a").args(paths).arg(to).status().expect("cp starts");
    assert!(status.success(), "{paths:?}");
}

fn runs(site: &Site, host: &str) -> bool {
    site.try_sql(host, "SELECT 1").is_ok()
}

/// Keeps the state of the site, with its servers stopped cleanly, the primary first; they stay down.
pub(crate) fn save(site: &Site) {
    let up: Vec<&str> = ["pg1", "pg2"].into_iter().filter(|host| runs(site, host)).collect();
    let standby = |host: &&str| site.sql(host, "SELECT pg_is_in_recovery()") == "t";
    let (standbys, primaries): (Vec<&str>, Vec<&str>) = up.iter().partition(|host| standby(host));
    for host in primaries.iter().chain(&standbys) {
        site.service(host, "stop");
    }
    let saved = site.path("saved");
    let _ = fs::remove_dir_all(&saved);
    fs::create_dir(&saved).expect("a directory");
    copy(&parts(site), saved.clone());
    fs::write(site.path("gate/up"), up.join("\n")).expect("a file");
}

/// Puts the state back, journals on the hosts included. No operator has any.
pub(crate) fn restore(site: &Site) {
    for host in ["pg1", "pg2"] {
        if runs(site, host) {
            site.kill_server(host);
        }
    }
    for part in parts(site).into_iter().chain([site.path("state")]) {
        let _ = if part.is_dir() { fs::remove_dir_all(part) } else { fs::remove_file(part) };
    }
    let saved: Vec<PathBuf> =
        fs::read_dir(site.path("saved")).expect("saved").flatten().map(|entry| entry.path()).collect();
    copy(&saved, site.path("."));
    let up = fs::read_to_string(site.path("gate/up")).expect("saved");
    for host in up.lines() {
        site.service(host, "start");
    }
    if up.lines().count() == 2 {
        for host in up.lines().filter(|host| site.sql(host, "SELECT pg_is_in_recovery()") == "f") {
            site.wait(
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sent_lsn = replay_lsn",
                host,
                "1",
            );
        }
    }
}

/// One row that says all of a server.
const SERVER: &str = "SELECT concat_ws(' | ', \
    CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END, \
    'timeline ' || CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver) \
        ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END, \
    'rows ' || (SELECT count(*) FROM rows), \
    'slots ' || (SELECT string_agg(slot_name || CASE WHEN active THEN ' in use' ELSE ' idle' END || CASE WHEN restart_lsn IS NULL THEN ', empty' ELSE '' END, ', ' ORDER BY slot_name) FROM pg_replication_slots), \
    'waits for ' || nullif(current_setting('synchronous_standby_names'), ''), \
    'sends to ' || (SELECT string_agg(concat_ws(' ', application_name, state, sync_state), ', ' ORDER BY application_name) FROM pg_stat_replication), \
    'read only ' || nullif(current_setting('default_transaction_read_only'), 'off'))";

/// Everything that the end of an operation is about, one line each, and how often each effect was had.
pub(crate) fn describe(site: &Site) -> Vec<String> {
    let mut lines = Vec::new();
    let (vip, gocd) = site.serving();
    lines.push(format!("vip on {vip:?}, gocd on {gocd:?}"));
    let text = |name: &str| fs::read_to_string(site.path(name)).unwrap_or_default();
    for host in ["pg1", "pg2", "go1", "go2"] {
        lines.push(format!("power of {host} {}", text(&format!("power/{host}")).trim()));
    }
    for host in ["go1", "go2"] {
        lines.push(format!("files of {host} {}", text(&format!("files/{host}")).trim()));
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for line in text("effects").lines() {
        *times.entry(line.to_owned()).or_default() += 1;
    }
    for host in ["pg1", "pg2"] {
        let state = site.try_sql(host, SERVER).unwrap_or_else(|_| "down".to_owned());
        lines.push(format!("{host}: {state}"));
        let log = text(&format!("{host}.log"));
        for (words, effect) in [
            ("received promote request", "promotion"),
            ("starting PostgreSQL", "start"),
            ("received fast shutdown request", "fast stop"),
        ] {
            times.insert(format!("{effect} of {host}"), log.lines().filter(|line| line.contains(words)).count());
        }
        lines.push(format!("{host}: standby.signal {}", site.path(host).join("standby.signal").exists()));
    }
    for path in parts(site) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.contains(".old-") || name.contains(".bcctl-") || name.contains(".rewind-") {
            lines.push(format!("beside: {}", name.replace(|c: char| c.is_ascii_digit(), "N")));
        }
    }
    lines.extend(times.into_iter().map(|(effect, times)| format!("{times} x {effect}")));
    lines.sort();
    lines
}

/// Whether a line counts an effect; the others are what is so in the end.
pub(crate) fn is_effect(line: &str) -> bool {
    line.split_once(" x ").is_some_and(|(times, _)| times.parse::<usize>().is_ok())
}

/// Waits until the site is as `wanted`, in what `counts`, and says what differs if it is not.
#[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
pub(crate) fn becomes(site: &Site, wanted: &[String], counts: fn(&str) -> bool) -> Result<(), String> {
    let but = |lines: &[String], others: &[String]| -> String {
        let lines = lines.iter().filter(|line| counts(line) && !others.contains(line));
        lines.map(|line| format!("\n      {line}")).collect()
    };
    let (mut missing, mut more) = (String::new(), String::new());
    for _ in 0..100 {
        let seen = describe(site);
        (missing, more) = (but(wanted, &seen), but(&seen, wanted));
        if missing.is_empty() && more.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("\n    wanted:{missing}\n    seen:{more}"))
}

/// The state when it has come to rest: the same in several looks.
#[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
pub(crate) fn settled(site: &Site) -> Vec<String> {
    let (mut last, mut same) = (describe(site), 0);
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(100));
        let now = describe(site);
        same = if now == last { same + 1 } else { 0 };
        if same == 5 {
            return now;
        }
        last = now;
    }
    panic!("the site does not come to rest: {last:?}");
}
