//! A base backup begins with a checkpoint, and by default that one takes its time: minutes, with nothing to be seen.

use std::process::Stdio;

use super::{diverge, set, site, streams};

#[test]
fn p09_a_copy_asks_for_a_checkpoint_that_does_not_take_its_time() {
    let Some(site) = site() else { return };
    diverge(&site);
    for setting in ["log_checkpoints = on", "checkpoint_timeout = '1d'", "checkpoint_completion_target = 0.9"] {
        set(&site, "pg2", setting);
    }
    site.sql("pg2", "CHECKPOINT");
    let dirty = || site.sql("pg2", "INSERT INTO rows (t) SELECT repeat('x', 500) FROM generate_series(1, 10000)");
    let begun = |from: usize| {
        let log = site.log("pg2");
        log[from..].lines().filter(|line| line.contains("checkpoint starting:")).map(str::to_owned).collect::<Vec<_>>()
    };
    dirty();
    let before = site.log("pg2").len();
    site.expect(0, &["rejoin", "pg1", "--yes"]);
    let asked = begun(before);
    // 18 calls it fast, the others immediate.
    let first = asked.first().expect("a base backup begins with one");
    assert!(first.contains("force") && (first.contains("immediate") || first.contains("fast")), "{asked:?}");
    assert!(site.log("pg2")[before..].contains("checkpoint complete:"), "it was over before the copy was");
    streams(&site, "pg2", "pg1");

    // That the log tells them apart: one that takes its time, which is what pg_basebackup asks for by itself.
    if site.sql("pg2", "SHOW server_version_num").parse::<u32>().expect("a number") < 150_000 {
        return;
    }
    dirty();
    let before = site.log("pg2").len();
    let backup = site.psql("pg2", "SELECT pg_backup_start('control', false)").stdout(Stdio::null()).spawn();
    let mut backup = backup.expect("psql starts");
    let mut asked = Vec::new();
    for _ in 0..300 {
        asked = begun(before);
        if !asked.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(asked.first().is_some_and(|line| line.ends_with("checkpoint starting: force wait")), "{asked:?}");
    assert!(backup.try_wait().expect("a child").is_none(), "it takes its time");
    site.sql("pg2", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%control%' AND pid <> pg_backend_pid()");
    backup.wait().expect("reaped");
}
