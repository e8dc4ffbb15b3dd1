//! A slow archiver holds the shutdown up; whoever loses patience and stops at once loses the clean end.

use super::{site, timeline};

#[test]
fn p13_a_stop_that_takes_too_long_is_never_hurried_and_the_old_primary_serves_again() {
    let Some(site) = site() else { return };
    let text = std::fs::read_to_string(site.path("bc.toml")).expect("a file");
    let text = text.replace("postgresql-stop = \"30s\"", "postgresql-stop = \"3s\"");
    std::fs::write(site.path("bc.toml"), text).expect("a file");
    // As slow as it is told to be; a segment waits for it whenever the server is stopped.
    let slow = site.path("slow");
    site.sql("pg1", "ALTER SYSTEM SET archive_mode = on");
    let command = format!("while [ -e {} ]; do sleep 0.1; done", slow.display());
    site.sql("pg1", &format!("ALTER SYSTEM SET archive_command = '{command}'"));
    site.service("pg1", "stop");
    site.service("pg1", "start");
    site.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "pg1", "1");
    std::fs::write(&slow, "").expect("a file");
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('x'); SELECT pg_switch_wal()");

    let mut bcctl = site.start_until("stop-postgresql", &["switchover", "--yes"]);
    let failed = "\"event\":\"failed\",\"step\":\"stop-postgresql\"";
    let journal = || site.journals().pop().expect("a journal");
    assert!(
        (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            journal().contains(failed)
        }),
        "the stop has a bound: {}",
        journal()
    );
    assert!(site.path("pg1/postmaster.pid").exists(), "and is not hurried: the server is still on its way down");
    // The way back waits for it, too.
    std::fs::remove_file(&slow).expect("a file");
    let ended = bcctl.wait().expect("a child").code();
    assert_eq!(ended, Some(1), "{}\n{}", journal(), site.log("pg1"));
    assert!(!site.log("pg1").contains("immediate shutdown request"), "{}", site.log("pg1"));
    assert!(!journal().contains("\"event\":\"begin\",\"step\":\"promote\""), "{}", journal());
    assert_eq!(timeline(&site, "pg1"), "00000001");
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('after')");
    site.wait("SELECT count(*) FROM rows", "pg2", "2");
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]));
}
