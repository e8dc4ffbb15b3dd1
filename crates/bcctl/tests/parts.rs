//! Half an operation on two real servers: rejoin (by copy and by rewind), promote only, VIP only.
#![expect(clippy::expect_used, reason = "a test says where it stops")]

mod site;

use site::{Site, site};

fn streams(site: &Site, primary: &str, standby: &str) {
    let row = format!(
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{standby}' AND state = 'streaming'"
    );
    site.wait(&row, primary, "1");
    site.sql(primary, "INSERT INTO rows (t) VALUES ('canary')");
    let count = site.sql(primary, "SELECT count(*) FROM rows");
    site.wait("SELECT count(*) FROM rows", standby, &count);
}

#[test]
fn promote_only_wants_the_primary_down_and_then_vip_only_moves_the_address() {
    let Some(site) = site() else { return };
    let said = site.expect(3, &["promote-only", "--yes"]);
    assert!(said.contains("pg1 takes writes") && said.contains("two primaries"), "{said}");
    // Somebody has stopped GoCD and the primary by hand, and cleanly.
    std::fs::remove_file(site.path("gocd/go1")).expect("it runs");
    site.service("pg1", "stop");
    site.expect(0, &["promote-only", "--yes"]);
    assert_eq!(site.sql("pg2", "SELECT pg_is_in_recovery()"), "f");
    assert_eq!(site.serving().0, ["go1"], "the VIP is where it was");
    site.expect(0, &["vip-only", "--to", "go2", "--yes"]);
    assert_eq!(site.serving().0, ["go2"]);
    assert!(site.expect(0, &["vip-only", "--to", "go2", "--yes"]).contains("nothing to do"));
    // Started by whoever, the old primary comes up as a standby of the new one.
    site.service("pg1", "start");
    streams(&site, "pg2", "pg1");
    assert!(site.expect(0, &["rejoin", "pg1", "--yes"]).contains("nothing to do"));
    let said = site.expect(3, &["rejoin", "pg2", "--yes"]);
    assert!(said.contains("a primary does not rejoin"), "{said}");
}

#[test]
fn a_diverged_primary_rejoins_by_rewind_or_else_by_copy() {
    let Some(site) = site() else { return };
    // The old primary has a row that nobody else has, and is turned off by the fence.
    site.service("pg2", "stop");
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('only here')");
    site.kill_server("pg1");
    site.service("pg2", "start");
    diverge(&site, "pg1", "pg2");
    site.sql("pg2", "GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO replicator");
    let said = site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert!(said.contains("done  rewound"), "{said}");
    streams(&site, "pg2", "pg1");
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows WHERE t = 'only here'"), "0");

    // Without those rights pg_rewind does not want to, and the copy does it.
    site.service("pg1", "stop");
    site.sql("pg2", "INSERT INTO rows (t) VALUES ('only there')");
    site.kill_server("pg2");
    site.service("pg1", "start");
    diverge(&site, "pg2", "pg1");
    site.sql("pg1", "REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text) FROM replicator");
    site.sql("pg1", "REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) FROM replicator");
    let said = site.expect(0, &["rejoin", "pg2", "--rewind", "--yes"]);
    assert!(said.contains("not rewound, so it is copied: pg_rewind does not want to"), "{said}");
    streams(&site, "pg1", "pg2");
}

/// `old` is gone, `new` is promoted and written to, and `old` comes back with power but without its server.
fn diverge(site: &Site, old: &str, new: &str) {
    site.unplug(old);
    site.expect(0, &["promote-only", "--yes"]);
    site.plug_in(old);
    site.sql(new, "INSERT INTO rows (t) SELECT 'new' FROM generate_series(1, 100)");
}
