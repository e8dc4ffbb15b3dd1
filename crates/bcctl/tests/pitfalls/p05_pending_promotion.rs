//! A promotion whose wait is over is not called off: it comes true later.

use super::{site, streams};

#[test]
fn a_promotion_that_takes_too_long_is_pending_and_resume_waits_for_it() {
    let Some(site) = site() else { return };
    let text = std::fs::read_to_string(site.path("bc.toml")).expect("a file");
    std::fs::write(site.path("bc.toml"), text.replace("[timeouts]\n", "[timeouts]\npromote = \"2s\"\n"))
        .expect("a file");
    let startup = site.sql("pg2", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
    let startup = nix::unistd::Pid::from_raw(startup.parse().expect("a pid"));
    let mut bcctl = site.start_until("promote", &["switchover", "--yes"]);
    nix::sys::signal::kill(startup, nix::sys::signal::Signal::SIGSTOP).expect("it runs");
    let stopped_in_time = bcctl.wait().expect("a child").code() == Some(4);
    nix::sys::signal::kill(startup, nix::sys::signal::Signal::SIGCONT).ok();
    if stopped_in_time {
        let journal = site.journals().pop().expect("a journal");
        assert!(journal.contains("pending after 2 s, not failed"), "{journal}");
        assert!(!journal.contains("\"event\":\"undone\""), "nothing is put back after that: {journal}");
        let said = site.expect(3, &["abort", "--yes"]);
        assert!(said.contains("only forward"), "{said}");
        site.expect(0, &["resume", "--yes"]);
    }
    streams(&site, "pg2", "pg1");
    assert!(stopped_in_time, "the startup process was stopped too late: the promotion was through");
}
