use super::super::Site;
use super::diverged;
use crate::observe::tests::{inventory, serving};
use crate::observe::{Observation, Peer};
use crate::place::Place;

fn words(seen: &Observation) -> Option<String> {
    diverged(&Site { inventory: &inventory(), seen, serving: Place::Away })
}

/// Away serves timeline 2, which left timeline 1 at 0/4000000; home was the primary of timeline 1.
fn after_a_failover() -> Observation {
    let mut seen = serving(Place::Away);
    let history = &mut seen.server("pg2").history;
    history.timeline = 2;
    history.ends = vec![(1, "0/4000000".parse().expect("an LSN"))];
    seen.answers("pg2").timeline = 2;
    seen.server("pg1").recovering = Some(1);
    seen
}

fn replayed(seen: &mut Observation, lsn: &str) {
    seen.answers("pg1").replay_lsn = lsn.parse().ok();
}

#[test]
fn a_standby_past_the_end_of_its_timeline_has_diverged_whatever_else_it_shows() {
    let mut seen = after_a_failover();
    replayed(&mut seen, "0/4000001");
    assert!(seen.answers("pg2").replication[0].state == "streaming", "it looks healthy");
    let words = words(&seen).expect("diverged");
    assert!(words.contains("timeline 1 up to 0/4000001, but timeline 2 of pg2 left it at 0/4000000"), "{words}");
}

#[test]
fn a_standby_that_has_not_reached_the_end_may_still_follow() {
    let mut seen = after_a_failover();
    replayed(&mut seen, "0/4000000");
    assert_eq!(words(&seen), None);
}

#[test]
fn a_standby_that_follows_the_new_timeline_is_judged_by_what_it_replays_now() {
    let mut seen = after_a_failover();
    replayed(&mut seen, "0/5000148");
    seen.server("pg1").recovering = Some(2);
    assert_eq!(words(&seen), None, "the control file may still say 1");
    seen.server("pg1").recovering = None;
    seen.answers("pg1").received_timeline = Some(2);
    assert_eq!(words(&seen), None);
    seen.answers("pg1").received_timeline = None;
    assert_eq!(words(&seen), None, "what is not known is not accused");
}

#[test]
fn a_standby_of_another_branch_has_diverged() {
    let mut seen = after_a_failover();
    seen.server("pg2").history.timeline = 4;
    seen.answers("pg2").timeline = 4;
    seen.server("pg1").recovering = Some(3);
    assert!(words(&seen).expect("diverged").contains("not in the history of timeline 4"));
}

#[test]
fn a_standby_that_is_ahead_or_was_promoted_has_diverged() {
    let mut seen = serving(Place::Away);
    seen.answers("pg2").replication[0].ahead = true;
    assert!(words(&seen).expect("diverged").contains("has written only"));
    let mut seen = serving(Place::Away);
    seen.answers("pg1").timeline = 2;
    assert!(words(&seen).expect("diverged").contains("promoted once"));
}

#[test]
fn with_the_primary_gone_its_own_wal_directory_or_the_archive_still_says_it() {
    use bc_model::fencing::NodeState;
    let mut seen = after_a_failover();
    replayed(&mut seen, "0/4000001");
    let history = seen.server("pg2").history.clone();
    let mut gone = seen.clone().lost("pg2", NodeState::Off);
    assert_eq!(words(&gone), None, "nobody who knows is left");
    gone.server("pg1").archive.history = history;
    assert!(words(&gone).is_some());
}

#[test]
fn a_standby_that_had_replayed_more_than_the_primary_wrote_later_has_diverged_on_the_same_timeline_too() {
    let lsn = |text: &str| text.parse().expect("an LSN");
    let mut seen = serving(Place::Away);
    let primary = seen.answers("pg2");
    let (system_identifier, timeline) = (primary.system_identifier.clone(), primary.timeline);
    primary.replication.clear();
    let standby = seen.server("pg1");
    standby.recovering = Some(timeline);
    standby.peer = Some(Peer { system_identifier, timeline, end: lsn("0/5000148"), replayed: lsn("0/5000148") });
    assert_eq!(words(&seen), None);
    seen.server("pg1").peer.as_mut().expect("a peer").replayed = lsn("0/5000150");
    assert!(words(&seen).expect("diverged").contains("both wrote timeline 1, with no promotion between them"));
    seen.server("pg1").peer.as_mut().expect("a peer").system_identifier = "1".to_owned();
    assert_eq!(words(&seen), None, "that is another finding");
}

#[test]
fn a_standby_that_has_stopped_inside_a_record_of_the_primary_has_diverged() {
    let mut seen = serving(Place::Away);
    let mut stopped = |at: &str, skipped: u64, timeline: u32| {
        seen.server("pg1").no_record_at = at.parse().ok().zip(Some(skipped));
        seen.server("pg1").recovering = Some(timeline);
        words(&seen)
    };
    assert!(stopped("0/3003C30", 8, 1).expect("diverged").contains("in the middle of a record of pg2"));
    assert_eq!(stopped("0/4000000", 40, 1), None, "the header of a segment");
    assert_eq!(stopped("0/4002000", 24, 1), None, "the header of a page");
    assert!(stopped("0/4002000", 32, 1).is_some());
    assert_eq!(stopped("0/3003C30", 8, 2), None, "on another timeline the histories tell");
}
