//! The pitfalls of moving a PostgreSQL primary that people have met, each set up for real, and what bcctl makes of it. The numbers are
//! those of `docs/pitfalls.md`, which says where the others are tested.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says where it stops, and that it was skipped")]
#![expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod p01_one_timeline;
mod p02_rewind_before_checkpoint;
mod p03_interrupted_rewind;
mod p05_pending_promotion;
mod p07_no_hints;
mod p08_started_by_init;
mod p10_wal_senders;
mod p11_inherited_synchronous;
mod p13_slow_archiver;
mod p15_trigger_file;
mod p17_stale_pid;
mod p18_slots;
#[path = "../site/mod.rs"]
mod site;

use site::Site;

/// A site, or nothing (said aloud) where there can be none; with CI=true that is a failure.
fn site() -> Option<Site> {
    match site::missing() {
        None => Some(Site::new()),
        Some(reason) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{reason}"),
        Some(reason) => {
            eprintln!("SKIPPED: {reason}");
            None
        }
    }
}

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

fn timeline(site: &Site, host: &str) -> String {
    site.sql(host, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
}
