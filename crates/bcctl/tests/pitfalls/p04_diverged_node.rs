//! An old primary that wrote on after the other one was promoted, put into standby mode by hand: it looks healthy, and as a synchronous
//! standby it acknowledges commits that it does not have.
//!
//! ```text
//! timeline 1 ────┬──────────────▶ flushed up to here: a number, and the primary compares numbers
//!                └─ 2 ──▶ commit here
//! ```
//!
//! It asks for timeline 1 from the begin of the segment, gets it up to the fork, and does so again and again. Between the end of that and
//! the next time the primary takes it for a standby that streams. If it reports its positions then, which it does once per
//! `wal_receiver_status_interval` (10 s by default) when they do not change, every commit up to its flush position is acknowledged.

use super::{check, diverged, set, site};

#[test]
fn p04_a_diverged_node_that_acknowledges_commits_is_never_called_healthy_nor_synchronous() {
    let Some(site) = site() else { return };
    site.sql("pg1", "INSERT INTO rows (t) SELECT 'both' FROM generate_series(1, 100)");
    site.wait("SELECT count(*) FROM rows", "pg2", "100");
    site.sql("pg2", "SELECT pg_promote()");
    site.sql("pg2", "SELECT pg_create_physical_replication_slot('pg1', true)");
    // Far more than the new primary will have written, and in the same segment.
    site.sql("pg1", "INSERT INTO rows (t) SELECT 'only on pg1' FROM generate_series(1, 20000)");
    let [_, away] = site.ports();
    set(&site, "pg1", &format!("primary_conninfo = 'host=127.0.0.1 port={away} user=replicator application_name=pg1'"));
    set(&site, "pg1", "primary_slot_name = 'pg1'");
    set(&site, "pg1", "wal_receiver_status_interval = '1s'");
    site.service("pg1", "stop");
    std::fs::write(site.path("pg1/standby.signal"), "").expect("a file");
    site.service("pg1", "start");
    // GoCD and the VIP went along, so that nothing else is wrong.
    for kind in ["gocd", "vip"] {
        std::fs::rename(site.path(kind).join("go1"), site.path(kind).join("go2")).expect("a file");
    }
    set(&site, "pg2", "synchronous_standby_names = 'pg1'");

    // The false acknowledgement.
    let mut commit = site.psql("pg2", "INSERT INTO rows (t) VALUES ('canary')").spawn().expect("psql starts");
    let acknowledged = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        commit.try_wait().expect("a child").is_some_and(|status| status.success())
    });
    if !acknowledged {
        let seen =
            site.sql("pg2", "SELECT state, sync_state, flush_lsn, pg_current_wal_lsn() FROM pg_stat_replication");
        site.sql("pg2", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        panic!("not acknowledged within 60 s; last seen: {seen}\n{}", site.log("pg1"));
    }
    let flushed =
        "SELECT bool_or(flush_lsn > pg_current_wal_lsn()) FROM pg_stat_replication WHERE application_name = 'pg1'";
    site.wait(flushed, "pg2", "t");
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows WHERE t = 'canary'"), "0", "it has never seen the row");

    diverged(&site, "pg1", "");
    let screen = site.expect(0, &["status"]);
    assert!(screen.contains("DIVERGED: not a copy of the primary"), "{screen}");
    assert!(screen.contains("refused: BC210 pg1"), "{screen}");
    let json: serde_json::Value = serde_json::from_str(&site.expect(0, &["status", "--json"])).expect("JSON");
    assert_eq!(json["failover"]["loss"]["synchronous"], false, "{json:#}");
    for verb in ["switchover", "failover"] {
        let said = site.expect(3, &[verb, "--yes"]);
        assert!(said.contains("BC210 pg1"), "{said}");
    }

    // The primary goes on, past the number at which the other one stopped: now only the history says it.
    site.sql(
        "pg2",
        "SET synchronous_commit = local; INSERT INTO rows (t) SELECT 'more' FROM generate_series(1, 60000)",
    );
    let looks = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn > pg_current_wal_lsn()";
    site.wait(looks, "pg2", "0");
    diverged(&site, "pg1", "left it at");

    // And when the primary is gone, the diverged node still must not take over.
    site.service("pg2", "stop");
    let (exit, found) = check(&site);
    assert_eq!(exit, Some(3));
    assert!(found.iter().any(|finding| finding["code"] == "BC210"), "{found:#?}");
    let said = site.expect(3, &["failover", "--yes"]);
    assert!(said.contains("BC210 pg1"), "{said}");

    // It streams, and yet a rejoin does not say that there is nothing to do. Nobody but a person named it synchronous.
    site.service("pg2", "start");
    assert_eq!(site.sql("pg2", "SHOW synchronous_standby_names"), "pg1");
    set(&site, "pg2", "synchronous_standby_names = ''");
    site.expect(0, &["rejoin", "pg1", "--yes"]);
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows WHERE t = 'canary'"), "1");
    let (exit, found) = check(&site);
    assert_eq!((exit, found.len(), &found[0]["code"]), (Some(0), 1, &"BC415".into()), "only the kept data: {found:#?}");
}
