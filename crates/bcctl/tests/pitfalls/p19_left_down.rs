//! A switchover fails after it has stopped the primary, and leaves it down.

use super::{site, streams, timeline};

#[test]
fn p19_a_switchover_that_fails_after_the_stop_starts_the_primary_again() {
    let Some(site) = site() else { return };
    std::fs::write(site.path("bc.toml"), site.patient_about_nothing()).expect("a file");
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('before')");
    site.wait("SELECT count(*) FROM rows", "pg2", "1");
    // The standby receives to the very end, so the primary stops cleanly; but it replays nothing of that.
    let startup = site.sql("pg2", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
    let startup = nix::unistd::Pid::from_raw(startup.parse().expect("a pid"));
    nix::sys::signal::kill(startup, nix::sys::signal::Signal::SIGSTOP).expect("it runs");
    site.expect(1, &["switchover", "--yes"]);
    nix::sys::signal::kill(startup, nix::sys::signal::Signal::SIGCONT).expect("it is there");
    let journal = site.journals().pop().expect("a journal");
    assert!(journal.contains("\"event\":\"done\",\"step\":\"stop-postgresql\""), "it was down: {journal}");
    assert!(
        journal.contains("\"event\":\"failed\",\"step\":\"replay\"") && journal.ends_with("put back\"}\n"),
        "{journal}"
    );
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]), "GoCD and the VIP are back");
    assert_eq!(
        (site.sql("pg1", "SELECT pg_is_in_recovery()").as_str(), timeline(&site, "pg1").as_str()),
        ("f", "00000001")
    );
    assert!(!site.path("pg1/standby.signal").exists(), "and it would come up as a primary again");
    streams(&site, "pg1", "pg2");
    site.expect(0, &["check"]);
}
