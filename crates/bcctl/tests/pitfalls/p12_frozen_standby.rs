//! A frozen standby: the fast stop gives up on it, reports a clean end, and the standby lacks that end.

use super::site::until;
use super::{site, streams, timeline};

#[test]
fn p12_a_standby_that_lacks_the_end_is_not_promoted_and_the_old_primary_serves_again() {
    let Some(site) = site() else { return };
    site.sql("pg1", "INSERT INTO rows (t) SELECT 'before' FROM generate_series(1, 100)");
    site.wait("SELECT count(*) FROM rows", "pg2", "100");
    site.sql("pg1", "ALTER SYSTEM SET wal_sender_timeout = '1s'");
    site.sql("pg1", "SELECT pg_reload_conf()");
    std::fs::write(site.path("bc.toml"), site.patient_about_nothing()).expect("a file");
    let mut bcctl = site.hold_at("stop-postgresql", &["switchover", "--yes"]);
    // What receives stands still; the server answers as ever. It may just have been started anew: a second is soon over.
    let receiver = until("a walreceiver that stands still", || {
        let pid = site.sql("pg2", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'");
        let receiver = nix::unistd::Pid::from_raw(pid.parse().map_err(|_| "no walreceiver".to_owned())?);
        nix::sys::signal::kill(receiver, nix::sys::signal::Signal::SIGSTOP)
            .map_err(|error| format!("{pid}: {error}"))?;
        Ok(receiver)
    });
    site.let_go();
    assert_eq!(bcctl.wait().expect("a child").code(), Some(1), "failed and put back");
    let journal = site.journals().pop().expect("a journal");
    assert!(journal.contains("\"event\":\"done\",\"step\":\"stop-postgresql\""), "it reported a clean stop: {journal}");
    assert!(journal.contains("\"event\":\"failed\",\"step\":\"replay\""), "{journal}");
    assert!(
        !journal.contains("\"event\":\"begin\",\"step\":\"promote\"") && journal.ends_with("put back\"}\n"),
        "{journal}"
    );
    assert!(site.log("pg1").contains("database system is shut down"), "{}", site.log("pg1"));
    nix::sys::signal::kill(receiver, nix::sys::signal::Signal::SIGCONT).ok();
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]));
    streams(&site, "pg1", "pg2");
    assert_eq!(timeline(&site, "pg1"), "00000001", "nothing was promoted");
    site.expect(0, &["check"]);
}
