//! The old primary comes back with its host, and init starts it: it takes writes on the old timeline.

use super::{site, timeline};

#[test]
fn p08_two_primaries_are_named_and_nothing_is_done_until_one_is_stopped() {
    let Some(site) = site() else { return };
    site.unplug("pg1");
    site.unplug("go1");
    site.expect(0, &["failover", "--yes"]);
    site.plug_in("pg1");
    site.plug_in("go1");
    site.service("pg1", "start");
    assert_eq!((timeline(&site, "pg1").as_str(), timeline(&site, "pg2").as_str()), ("00000001", "00000002"));
    for verb in
        [&["switchover", "--yes"][..], &["failback", "--yes"], &["promote-only", "--yes"], &["rejoin", "pg1", "--yes"]]
    {
        let said = site.expect(3, verb);
        assert!(said.contains("pg1 and pg2 are both primaries"), "{verb:?}: {said}");
    }
    site.service("pg1", "stop");
    site.expect(0, &["failback", "--yes"]);
}

#[test]
fn p08_after_a_switchover_that_stopped_half_way_init_starts_a_standby() {
    let Some(site) = site() else { return };
    site.kill_at("promote", &["switchover", "--yes"]);
    site.service("pg1", "start");
    assert_eq!(site.sql("pg1", "SELECT pg_is_in_recovery()"), "t", "it was armed before it was stopped");
    site.try_sql("pg1", "INSERT INTO rows (t) VALUES ('x')").expect_err("a standby takes no writes");
    // Its host starts it, and the operation has to see it stopped once more before anything is promoted.
    site.service("pg1", "stop");
}
