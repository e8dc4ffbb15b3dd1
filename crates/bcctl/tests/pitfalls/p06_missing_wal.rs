//! pg_rewind needs the old primary's WAL back to the last checkpoint before the servers parted; it may be gone from there.

use super::{REWIND_RIGHTS, set, site, streams};
use crate::site::Site;

/// pg1 and pg2 have parted, and pg1 has removed the WAL of their last common checkpoint; the archive has it.
fn part_and_forget(site: &Site) -> String {
    site.share_an_archive();
    site.sql("pg1", REWIND_RIGHTS);
    for setting in ["wal_keep_size = 0", "min_wal_size = '32MB'", "max_wal_size = '32MB'"] {
        set(site, "pg1", setting);
    }
    site.sql("pg1", "CHECKPOINT");
    let common = site.sql("pg1", "SELECT pg_walfile_name(redo_lsn) FROM pg_control_checkpoint()");
    // pg2 is not to get the rest from the archive.
    site.sql("pg2", "ALTER SYSTEM RESET restore_command");
    site.service("pg2", "stop");
    site.wait("SELECT active FROM pg_replication_slots", "pg1", "f");
    site.sql("pg1", "SELECT pg_drop_replication_slot('pg2')");
    for _ in 0..4 {
        site.sql("pg1", "INSERT INTO rows (t) SELECT 'only on pg1' FROM generate_series(1, 100)");
        site.sql("pg1", "SELECT pg_switch_wal()");
        site.sql("pg1", "CHECKPOINT");
    }
    site.wait("SELECT count(*) FROM pg_ls_dir('pg_wal/archive_status') AS name WHERE name LIKE '%.ready'", "pg1", "0");
    site.sql("pg1", "CHECKPOINT");
    assert!(!site.path("pg1/pg_wal").join(&common).exists(), "{common} is still there");
    assert!(site.path("archive").join(&common).exists(), "{common} is not in the archive");
    site.kill_server("pg1");
    std::fs::remove_file(site.path("gocd/go1")).expect("it runs");
    site.service("pg2", "start");
    site.sql("pg2", "SELECT pg_promote()");
    site.sql("pg2", "INSERT INTO rows (t) SELECT 'new' FROM generate_series(1, 100)");
    common
}

#[test]
fn p06_wal_that_the_rewind_needs_comes_from_the_archive() {
    let Some(site) = site() else { return };
    part_and_forget(&site);
    let said = site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert!(said.contains("done  rewound"), "{said}");
    streams(&site, "pg2", "pg1");
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows WHERE t = 'only on pg1'"), "0");
}

#[test]
fn p06_wal_that_is_nowhere_means_a_copy_and_the_reason_is_said() {
    let Some(site) = site() else { return };
    let common = part_and_forget(&site);
    for entry in std::fs::read_dir(site.path("archive")).expect("a directory").flatten() {
        if *entry.file_name().to_string_lossy() <= *common {
            std::fs::remove_file(entry.path()).expect("a file");
        }
    }
    let said = site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert!(said.contains("not rewound, so it is copied: pg_rewind does not want to"), "{said}");
    streams(&site, "pg2", "pg1");
}
