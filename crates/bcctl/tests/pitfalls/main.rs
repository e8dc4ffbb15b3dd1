//! The pitfalls of moving a PostgreSQL primary that people have met, each set up for real, and what bcctl makes of it. The numbers are
//! those of `docs/pitfalls.md`; the twentieth is vipd's.
#![expect(clippy::expect_used, reason = "a test says where it stops")]
#![expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod p01_one_timeline;
mod p02_rewind_before_checkpoint;
mod p03_interrupted_rewind;
mod p04_diverged_node;
mod p05_pending_promotion;
mod p06_missing_wal;
mod p07_no_hints;
mod p08_started_by_init;
mod p09_spread_checkpoint;
mod p10_wal_senders;
mod p11_inherited_synchronous;
mod p12_frozen_standby;
mod p13_slow_archiver;
mod p14_archived_twice;
mod p15_trigger_file;
mod p16_configuration;
mod p17_stale_pid;
mod p18_slots;
mod p19_left_down;
#[path = "../site/mod.rs"]
mod site;

use site::{Site, site};

/// pg1 dies with a row that nobody else has, and pg2 is promoted by hand, without a checkpoint. pg1's host is there.
fn diverge(site: &Site) {
    site.sql("pg2", "SELECT 1");
    site.service("pg2", "stop");
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('only here')");
    site.kill_server("pg1");
    std::fs::remove_file(site.path("gocd/go1")).expect("it runs");
    site.service("pg2", "start");
    site.sql("pg2", "SELECT pg_promote()");
    site.sql("pg2", "INSERT INTO rows (t) SELECT 'new' FROM generate_series(1, 100)");
}

/// The standby streams and gets what is written.
fn streams(site: &Site, primary: &str, standby: &str) {
    let row = format!(
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{standby}' AND state = 'streaming'"
    );
    site.wait(&row, primary, "1");
    site.sql(primary, "INSERT INTO rows (t) VALUES ('canary')");
    let count = site.sql(primary, "SELECT count(*) FROM rows");
    site.wait("SELECT count(*) FROM rows", standby, &count);
}

/// What pg_rewind needs of the role that the standby logs in as.
const REWIND_RIGHTS: &str = "GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), \
                             pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO replicator";

/// What `check` says: exit status, and the findings that are not ok.
fn check(site: &Site) -> (Option<i32>, Vec<serde_json::Value>) {
    let output = site.bcctl(&["check", "--json"]).output().expect("bcctl starts");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().expect("findings").clone();
    (output.status.code(), findings.into_iter().filter(|finding| finding["level"] != "ok").collect())
}

/// Waits until the first finding is that `host` has diverged, in these words, and every other one follows from it.
fn diverged(site: &Site, host: &str, words: &str) {
    let mut last = (None, Vec::new());
    for _ in 0..40 {
        let (exit, found) = check(site);
        let root = |finding: &serde_json::Value| finding["because-of"].is_null() && finding["level"] == "error";
        if found.first().is_some_and(|first| {
            first["code"] == "BC210"
                && first["subject"] == host
                && first["words"].as_str().is_some_and(|said| said.contains(words))
        }) && found.iter().filter(|finding| root(finding)).count() == 1
        {
            assert_eq!(exit, Some(3));
            return;
        }
        last = (exit, found);
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    panic!("expected BC210 on {host} ({words}) first; last seen: {last:#?}");
}

fn set(site: &Site, host: &str, setting: &str) {
    site.sql(host, &format!("ALTER SYSTEM SET {setting}"));
    site.sql(host, "SELECT pg_reload_conf()");
}

fn timeline(site: &Site, host: &str) -> String {
    site.sql(host, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
}
