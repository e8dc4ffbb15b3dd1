//! A promotion whose wait is over is not called off: it comes true later.

use super::{site, timeline};

#[test]
fn p05_a_promotion_that_takes_too_long_is_pending_and_resume_waits_for_it() {
    let Some(site) = site() else { return };
    let text = std::fs::read_to_string(site.path("bc.toml")).expect("a file");
    std::fs::write(site.path("bc.toml"), text.replace("[timeouts]\n", "[timeouts]\npromote = \"2s\"\n"))
        .expect("a file");
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('x')");
    site.wait("SELECT count(*) FROM rows", "pg2", "1");
    site.unplug("pg1");
    site.unplug("go1");
    // The process that would carry the promotion out stands still; everything else on that server works.
    let startup = site.sql("pg2", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
    let startup = nix::unistd::Pid::from_raw(startup.parse().expect("a pid"));
    nix::sys::signal::kill(startup, nix::sys::signal::Signal::SIGSTOP).expect("it runs");
    let said = site.expect(4, &["failover", "--yes"]);
    assert!(said.contains("pending after 2 s, not failed"), "{said}");
    let journal = site.journals().pop().expect("a journal");
    assert!(!journal.contains("\"event\":\"undone\""), "nothing is put back after that: {journal}");
    let said = site.expect(3, &["abort", "--yes"]);
    assert!(said.contains("only forward"), "{said}");
    site.expect(4, &["resume", "--yes"]);
    assert_eq!(site.sql("pg2", "SELECT pg_is_in_recovery()"), "t");
    assert_eq!(site.serving().1, [""; 0], "GoCD does not start on a database that takes no writes");

    nix::sys::signal::kill(startup, nix::sys::signal::Signal::SIGCONT).expect("it is there");
    site.expect(0, &["resume", "--yes"]);
    assert_eq!(
        (site.sql("pg2", "SELECT count(*) FROM rows").as_str(), timeline(&site, "pg2").as_str()),
        ("1", "00000002")
    );
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
}
