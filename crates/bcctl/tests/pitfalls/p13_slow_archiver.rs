//! A slow archiver holds the shutdown up; whoever loses patience and stops at once loses the clean end.

use super::site;

#[test]
fn a_stop_that_takes_too_long_is_never_hurried_and_the_old_primary_serves_again() {
    let Some(site) = site() else { return };
    let text = std::fs::read_to_string(site.path("bc.toml")).expect("a file");
    let text = text.replace("postgresql-stop = \"30s\"", "postgresql-stop = \"3s\"");
    std::fs::write(site.path("bc.toml"), text).expect("a file");
    site.sql("pg1", "ALTER SYSTEM SET archive_mode = on");
    site.sql("pg1", "ALTER SYSTEM SET archive_command = 'sleep 3'");
    site.service("pg1", "stop");
    site.service("pg1", "start");
    site.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "pg1", "1");
    // Three segments that wait for the archiver.
    for _ in 0..3 {
        site.sql("pg1", "INSERT INTO rows (t) VALUES ('x'); SELECT pg_switch_wal()");
    }
    let output = site.bcctl(&["switchover", "--yes"]).output().expect("bcctl starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = std::fs::read_to_string(site.path("pg1.log")).unwrap_or_default();
    assert!(!log.contains("immediate shutdown request"), "{log}");
    match output.status.code() {
        // It was refused beforehand because of the backlog, or put back, or is still on its way down: never promoted.
        Some(1 | 3) => {}
        Some(4) => {
            site.wait("SELECT 1", "pg2", "1");
            site.service("pg1", "stop");
            site.expect(0, &["resume", "--yes"]);
            return;
        }
        other => panic!("{other:?}: {said}"),
    }
    assert_eq!(site.sql("pg2", "SELECT pg_is_in_recovery()"), "t", "{said}");
    site.wait("SELECT pg_is_in_recovery()", "pg1", "f");
}
