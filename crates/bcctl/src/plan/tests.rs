//! Every refusal and every way: an observation and an intent in, a plan out.

use bc_model::fencing::Grade;
use bc_model::fencing::NodeState::{Off, On, Unknown};
use bc_model::inventory::Bytes;
use bc_model::journal::Intent::{self, Failback, Failover, Switchover};

use super::{Accepted, Decision, Plan, Reseed, plan};
use crate::lsn::Lsn;
use crate::observe::Observation;
use crate::observe::tests::{healthy, inventory, reaching, serving};
use crate::place::Place;

fn decide(seen: &Observation, intent: Intent) -> Plan {
    plan(&inventory(), seen, intent, Accepted::default(), "OP")
}

#[track_caller]
fn decision(plan: Plan) -> (Decision, String) {
    match plan {
        Plan::Steps { decision, notes } => (decision, notes.join("\n")),
        other => panic!("expected steps, got {other:?}"),
    }
}

/// The reasons of a refusal; empty for anything else.
fn reasons(plan: &Plan) -> Vec<String> {
    match plan {
        Plan::Refused(findings) => {
            findings.iter().map(|finding| format!("{}: {}", finding.subject, finding.words)).collect()
        }
        Plan::Steps { .. } | Plan::Nothing(_) => Vec::new(),
    }
}

/// `seen` forbids exactly `refused`, each for a reason that contains `reason`.
#[track_caller]
fn assert_refuses(seen: &Observation, refused: &[Intent], reason: &str) {
    for intent in [Switchover, Failover, Failback] {
        let plan = decide(seen, intent);
        let named = reasons(&plan).iter().any(|words| words.contains(reason));
        assert_eq!(named, refused.contains(&intent), "{intent} and {reason:?}: {plan:?}");
    }
}

/// Home is lost: both its hosts are silent.
fn home_lost() -> Observation {
    healthy().lost("pg1", On).lost("go1", On)
}

/// After the failover: away serves, home is off.
fn failed_over() -> Observation {
    serving(Place::Away).lost("pg1", Off).lost("go1", Off)
}

/// The site served from away, with the old primary stopped but its host up.
fn home_stopped() -> Observation {
    let mut seen = serving(Place::Away).stopped("pg1");
    seen.answers("pg2").replication.clear();
    seen
}

#[test]
fn a_healthy_site_may_switch_over() {
    let (decision, notes) = decision(decide(&healthy(), Switchover));
    assert_eq!((decision.from(), decision.to, decision.timeline), (Place::Home, Place::Away, 1));
    assert!(decision.fence.is_empty() && decision.reseed.is_none() && decision.power_on.is_empty());
    assert!(notes.contains("nothing is lost"), "{notes}");
}

#[test]
fn a_switchover_goes_home_as_well_as_away() {
    assert_eq!(decision(decide(&serving(Place::Away), Switchover)).0.to, Place::Home);
}

#[test]
fn a_failover_of_a_healthy_site_is_refused_and_names_switchover() {
    let Plan::Refused(findings) = decide(&healthy(), Failover) else { panic!("it is refused") };
    assert!(findings[0].words.contains("everything is well"));
    assert!(findings[0].hint.as_deref().is_some_and(|hint| hint.contains("bcctl switchover")));
    let accepted = Accepted { healthy_primary: true, ..Accepted::default() };
    let (decision, notes) = decision(plan(&inventory(), &healthy(), Failover, accepted, "OP"));
    assert_eq!(decision.fence, ["go1", "pg1"]);
    assert!(notes.contains("up to 0 B may be lost"), "{notes}");
}

#[test]
fn a_lost_home_is_fenced_application_first() {
    let (decision, notes) = decision(decide(&home_lost(), Failover));
    assert_eq!((decision.to, decision.timeline), (Place::Away, 1));
    assert_eq!(decision.fence, ["go1", "pg1"]);
    assert!(
        notes.contains("pg2 has received 0/5000148 and replayed 0/5000148; the last commit it has seen is 1.4 s old"),
        "{notes}"
    );
    assert!(notes.contains("asynchronous") && notes.contains("cannot be known"), "{notes}");
}

#[test]
fn either_half_of_home_may_be_the_lost_one() {
    for seen in [healthy().lost("pg1", On), healthy().lost("go1", Unknown), healthy().stopped("pg1")] {
        assert_eq!(decision(decide(&seen, Failover)).0.fence, ["go1", "pg1"]);
    }
}

#[test]
fn both_hosts_are_fenced_at_once_only_if_nothing_from_there_can_reach_the_standby() {
    let together = |seen: &Observation| decision(decide(seen, Failover)).0.fence_together;
    let deaf = |mut seen: Observation| {
        seen.answers("pg2").receiver = None;
        seen
    };
    assert!(together(&deaf(home_lost())), "neither we nor the standby hear from it");
    assert!(!together(&home_lost()), "only we do not: GoCD's last writes may still arrive");
    assert!(!together(&deaf(healthy().stopped("pg1"))), "its host answers");
    let mut inventory = inventory();
    inventory.fencing.together = false;
    let plan = plan(&inventory, &deaf(home_lost()), Failover, Accepted::default(), "OP");
    assert!(!decision(plan).0.fence_together, "one switch for both");

    // A plan that was shown still stands when the standby notices meanwhile, and not the other way round.
    let (one_by_one, at_once) =
        (decision(decide(&home_lost(), Failover)).0, decision(decide(&deaf(home_lost()), Failover)).0);
    assert!(one_by_one.stands(&one_by_one) && one_by_one.stands(&at_once) && at_once.stands(&at_once));
    assert!(!at_once.stands(&one_by_one));
    assert!(!one_by_one.stands(&Decision { timeline: 2, ..one_by_one.clone() }));

    // A database grows while a person reads; a copy that is not needed any more is another plan.
    let copy = |needed: Option<u64>| Decision {
        reseed: needed.map(|needed| Reseed { needed, rewind: false }),
        ..one_by_one.clone()
    };
    assert!(copy(Some(1)).stands(&copy(Some(2))));
    assert!(!copy(Some(1)).stands(&copy(None)) && !copy(None).stands(&copy(Some(1))));
}

#[test]
fn a_host_that_could_not_be_proven_off_well_enough_is_not_touched() {
    let mut seen = home_lost();
    seen.reach.as_mut().expect("nodes")[2] = reaching("pg1", Grade::D);
    let reasons = reasons(&decide(&seen, Failover));
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("pg1: could not be proven off well enough: level 1 (pg1-power: D)"), "{reasons:?}");
    seen.reach = None;
    let (_, notes) = decision(decide(&seen, Failover));
    assert!(notes.contains("fence cannot be told of the new timeline here"), "{notes}");
}

#[test]
fn every_promotion_is_told_to_fence() {
    for (seen, intent) in [(healthy(), Switchover), (home_lost(), Failover), (home_stopped(), Failback)] {
        assert!(decision(decide(&seen, intent)).0.publish, "{intent}");
    }
}

#[test]
fn two_roles_on_one_host_are_fenced_once() {
    let text = include_str!("../../../../packaging/bc.toml").replace("primary = \"go1\"", "primary = \"pg1\"");
    let inventory = bc_model::inventory::Inventory::parse("bc.toml", &text).expect("one host may have both roles");
    let mut seen = home_lost();
    seen.hosts.remove("go1");
    let Plan::Steps { decision, .. } = plan(&inventory, &seen, Failover, Accepted::default(), "OP") else {
        panic!("steps")
    };
    assert_eq!(decision.fence, ["pg1"]);
}

#[test]
fn the_second_failover_has_nothing_to_do() {
    let Plan::Nothing(words) = decide(&failed_over(), Failover) else { panic!("nothing to do") };
    assert_eq!(words, "nothing to do: away serves: pg2 is the primary, GoCD on go2 answers, and it holds 198.18.5.200");
}

#[test]
fn a_failover_that_is_not_whole_is_not_called_done() {
    let mut seen = failed_over();
    seen.spoil("go2").gocd.as_mut().expect("a GoCD host").health = 503;
    assert!(reasons(&decide(&seen, Failover)).iter().any(|words| words.contains("pg1: is not a standby of pg2")));
}

#[test]
fn failback_when_nothing_has_failed_over_is_refused() {
    assert_eq!(
        reasons(&decide(&healthy(), Failback)),
        ["site: nothing has failed over: home serves, pg1 is the primary"]
    );
}

#[test]
fn failback_turns_the_old_hosts_on_and_copies_the_data() {
    let (decision, notes) = decision(decide(&failed_over(), Failback));
    assert_eq!((decision.to, decision.timeline), (Place::Home, 1));
    assert_eq!(decision.power_on, ["go1", "pg1"]);
    assert_eq!(decision.reseed.expect("a copy").needed, 33_000_000 + (256 << 20));
    assert!(notes.contains("pg1 gets a copy of pg2 (28 MB)"), "{notes}");
}

#[test]
fn failback_copies_a_stopped_primary_and_leaves_a_streaming_standby_alone() {
    let (stopped, _) = decision(decide(&home_stopped(), Failback));
    assert!(stopped.power_on.is_empty() && stopped.reseed.is_some());
    let (streaming, notes) = decision(decide(&serving(Place::Away), Failback));
    assert!(streaming.reseed.is_none() && notes.contains("pg1 streams from pg2 already"), "{notes}");
}

#[test]
fn a_failback_to_a_host_that_is_on_and_silent_is_refused() {
    let seen = failed_over().lost("pg1", On);
    assert!(reasons(&decide(&seen, Failback)).iter().any(|words| words.contains("pg1: cannot be reached")));
    let seen = failed_over().lost("go1", Unknown);
    assert!(reasons(&decide(&seen, Failback)).iter().any(|words| words.contains("go1: cannot be reached")));
}

#[test]
fn two_primaries_forbid_everything() {
    let mut seen = healthy();
    seen.answers("pg2").in_recovery = false;
    assert_refuses(&seen, &[Switchover, Failover, Failback], "pg1 and pg2 are both primaries");
}

#[test]
fn no_primary_and_no_single_standby_forbid_everything() {
    assert_refuses(
        &healthy().stopped("pg1").stopped("pg2"),
        &[Switchover, Failover, Failback],
        "PostgreSQL answers neither on pg1 nor on pg2",
    );
    let mut seen = healthy();
    seen.answers("pg1").in_recovery = true;
    assert_refuses(&seen, &[Switchover, Failover, Failback], "both standbys");
}

#[test]
fn hosts_that_cannot_be_reached_explain_why_nobody_serves() {
    let seen = home_lost().stopped("pg2");
    let reasons = reasons(&decide(&seen, Failover));
    assert!(reasons.iter().any(|words| words.starts_with("pg1: cannot be reached: ssh")), "{reasons:?}");
}

#[test]
fn a_standby_that_is_none_forbids_a_change_of_places() {
    assert_refuses(
        &healthy().stopped("pg2"),
        &[Switchover, Failover],
        "pg2: is not a standby of pg1 (it is stopped, shut down)",
    );
    assert_refuses(&healthy().lost("pg2", On), &[Switchover, Failover], "pg2: cannot be reached");
}

#[test]
fn another_cluster_or_another_major_version_forbids_everything() {
    let mut seen = serving(Place::Away);
    seen.answers("pg1").system_identifier = "7300000000000000002".to_owned();
    assert_refuses(&seen, &[Switchover, Failover, Failback], "holds another cluster");
    let mut seen = serving(Place::Away);
    seen.answers("pg1").version = 140_012;
    assert_refuses(&seen, &[Switchover, Failover, Failback], "has PostgreSQL 14, pg2 has 15");
}

#[test]
fn a_server_of_another_version_than_the_commands_are_built_for_is_refused() {
    let mut seen = serving(Place::Away);
    seen.answers("pg2").version = 110_022;
    seen.answers("pg1").version = 110_022;
    assert_refuses(&seen, &[Switchover, Failover, Failback], "has PostgreSQL 11; the inventory says 15");
}

#[test]
fn units_that_start_at_boot_forbid_everything() {
    let mut seen = serving(Place::Away);
    seen.server("pg1").service.enabled = true;
    assert_refuses(
        &seen,
        &[Switchover, Failover, Failback],
        "PostgreSQL would start at boot (postgresql@15-main.service is enabled)",
    );
    let mut seen = serving(Place::Away);
    seen.spoil("go2").gocd.as_mut().expect("a GoCD host").service.enabled = true;
    assert_refuses(&seen, &[Switchover, Failover, Failback], "GoCD would start at boot");
}

#[test]
fn lag_beyond_the_policy_forbids_a_switchover() {
    let mut seen = healthy();
    seen.answers("pg1").write_lsn = Some(Lsn(0x500_0148 + (17 << 20)));
    assert_refuses(&seen, &[Switchover], "pg2: is 17 MB behind pg1");
    seen.answers("pg1").write_lsn = Some(Lsn(0x500_0148 + (16 << 20)));
    decision(decide(&seen, Switchover));
}

#[test]
fn a_diverged_standby_is_not_mistaken_for_a_good_one() {
    let mut seen = healthy();
    seen.answers("pg1").replication[0].ahead = true;
    assert_refuses(&seen, &[Switchover, Failover], "its history is another one");
    let mut seen = healthy();
    seen.answers("pg2").timeline = 2;
    assert_refuses(&seen, &[Switchover, Failover], "pg2: is on timeline 2, pg1 on 1: it was promoted once");
}

#[test]
fn replay_that_is_paused_or_delayed_is_refused() {
    let mut seen = serving(Place::Away);
    seen.answers("pg1").replay_paused = true;
    assert_refuses(&seen, &[Switchover, Failover, Failback], "has paused its replay");
    let mut seen = serving(Place::Away);
    seen.answers("pg1").settings.insert("recovery_min_apply_delay".to_owned(), "3600000".to_owned());
    assert_refuses(&seen, &[Switchover, Failover, Failback], "delays its replay");
}

#[test]
fn files_that_would_decide_the_role_at_the_next_start_are_refused() {
    for file in ["recovery.conf", "recovery.signal", "/tmp/trigger"] {
        let mut seen = serving(Place::Away);
        seen.server("pg1").files.push(file.to_owned());
        assert_refuses(&seen, &[Switchover, Failover, Failback], &format!("holds {file}"));
    }
    let mut seen = serving(Place::Away);
    seen.server("pg2").files.push("standby.signal".to_owned());
    assert_refuses(&seen, &[Switchover, Failback], "is a primary, and");
}

#[test]
fn what_would_spoil_the_clean_stop_forbids_a_planned_change() {
    let mut seen = serving(Place::Away);
    seen.answers("pg2").archiver_failing = true;
    assert_refuses(&seen, &[Switchover, Failback], "archive_command fails");
    let mut seen = serving(Place::Away);
    seen.answers("pg2").prepared_transactions = 2;
    assert_refuses(&seen, &[Switchover, Failback], "2 prepared transactions");
}

#[test]
fn a_pair_that_could_not_work_the_other_way_round_is_refused() {
    let mut seen = healthy();
    seen.answers("pg2").settings.insert("max_connections".to_owned(), "200".to_owned());
    assert_refuses(&seen, &[Switchover], "pg1: max_connections is 60 and on pg2 200");
    let mut seen = serving(Place::Away);
    seen.answers("pg1").settings.insert("max_wal_senders".to_owned(), "1".to_owned());
    assert_refuses(&seen, &[Switchover, Failover, Failback], "as a primary it could not feed a standby");
    let mut seen = healthy();
    seen.server("pg1").login = Some(false);
    seen.server("pg1").login_words = "password authentication failed".to_owned();
    assert_refuses(
        &seen,
        &[Switchover],
        "could not log in as replicator at pg2, so it could not be its standby: password",
    );
}

#[test]
fn a_copy_that_cannot_be_made_forbids_the_failback_only() {
    let mut seen = home_stopped();
    seen.server("pg1").free = Some(1 << 20);
    assert_refuses(&seen, &[Failback], "has 1024 kB free for the copy");
    let mut seen = home_stopped();
    seen.server("pg1").mount_point = true;
    assert_refuses(&seen, &[Failback], "is a mount point");
    let mut seen = home_stopped();
    seen.answers("pg2").tablespaces = 1;
    assert_refuses(&seen, &[Failback], "1 tablespaces outside");
    let mut seen = home_stopped();
    seen.answers("pg2").settings.insert("max_wal_senders".to_owned(), "1".to_owned());
    assert_refuses(&seen, &[Failback], "a base backup needs two");
    let mut seen = home_stopped();
    seen.server("pg1").login = Some(false);
    assert_refuses(&seen, &[Failback], "pg1: cannot log in as replicator at pg2");
}

#[test]
fn a_vip_in_wrong_hands_is_refused() {
    let both = |seen: &mut Observation, hosts: [bool; 2]| {
        for (host, holds) in ["go1", "go2"].into_iter().zip(hosts) {
            let vip = seen.spoil(host).gocd.as_mut().expect("a GoCD host").vip.as_mut().expect("vipd answers");
            vip.addresses.clear();
            if holds {
                vip.addresses.push(bc_model::vip::HeldAddress {
                    address: "198.18.5.200/24".parse().expect("an address"),
                    interface: "eth0".to_owned(),
                    placed_by_vipd: true,
                    lease_remaining_ms: None,
                    silent: false,
                });
            }
        }
    };
    let mut seen = serving(Place::Away);
    both(&mut seen, [true, true]);
    assert_refuses(&seen, &[Switchover, Failover, Failback], "both hold 198.18.5.200");
    let mut seen = serving(Place::Away);
    both(&mut seen, [true, false]);
    assert_refuses(&seen, &[Switchover, Failback], "go1 holds 198.18.5.200, and go2 serves");
    let mut seen = serving(Place::Away);
    both(&mut seen, [false, false]);
    seen.spoil("go1").gocd.as_mut().expect("a GoCD host").vip_answers = Some("02:42:c6:12:05:99".to_owned());
    assert_refuses(&seen, &[Switchover, Failover, Failback], "198.18.5.200 is in use by 02:42:c6:12:05:99");
    let mut seen = serving(Place::Away);
    seen.spoil("go1").gocd.as_mut().expect("a GoCD host").vip = Err("vipd: not found".to_owned());
    assert_refuses(
        &seen,
        &[Switchover, Failover, Failback],
        "vipd does not say whether the VIP is here: vipd: not found",
    );
}

#[test]
fn gocd_at_both_places_is_refused() {
    let mut seen = serving(Place::Away);
    seen.spoil("go1").gocd.as_mut().expect("a GoCD host").service.active = true;
    assert_refuses(&seen, &[Switchover, Failover, Failback], "GoCD runs here, and this place does not serve");
}

#[test]
fn a_switchover_needs_a_gocd_that_works() {
    let mut seen = serving(Place::Away);
    let gocd = seen.spoil("go2").gocd.as_mut().expect("a GoCD host");
    (gocd.service.active, gocd.health) = (false, 0);
    assert_refuses(&seen, &[Switchover, Failback], "go2: GoCD does not run");
}

#[test]
fn files_that_gocd_cannot_do_without_have_to_be_there() {
    let mut seen = home_lost();
    seen.spoil("go2")
        .gocd
        .as_mut()
        .expect("a GoCD host")
        .manifest
        .as_mut()
        .expect("files")
        .files
        .retain(|file| file.id != "cipher.aes");
    assert_refuses(&seen, &[Failover], "go2: has no cipher.aes");
    let mut seen = healthy();
    seen.spoil("go2").gocd.as_mut().expect("a GoCD host").database = None;
    assert_refuses(&seen, &[Switchover, Failover], "db.properties has no db.url");
}

#[test]
fn an_older_copy_of_the_files_is_used_only_if_that_is_accepted() {
    // PostgreSQL is lost, and the GoCD host still answers, so the difference is known.
    let mut seen = healthy().lost("pg1", On);
    seen.spoil("go2").gocd.as_mut().expect("a GoCD host").manifest.as_mut().expect("files").files[1].sha256 =
        "cc".to_owned();
    assert_refuses(&seen, &[Failover], "go2: its GoCD files are not those of go1: not the same: cruise-config.xml");
    let accepted = Accepted { stale_config: true, ..Accepted::default() };
    decision(plan(&inventory(), &seen, Failover, accepted, "OP"));
    // A switchover copies them itself.
    let mut seen = healthy();
    seen.spoil("go2").gocd.as_mut().expect("a GoCD host").manifest.as_mut().expect("files").files[1].sha256 =
        "cc".to_owned();
    decision(decide(&seen, Switchover));
}

#[test]
fn every_reason_is_given_at_once() {
    let mut seen = healthy();
    seen.server("pg1").service.enabled = true;
    seen.answers("pg1").archiver_failing = true;
    seen.answers("pg2").replay_paused = true;
    assert_eq!(reasons(&decide(&seen, Switchover)).len(), 3);
}

#[test]
fn a_synchronous_pair_is_told_what_that_means() {
    let mut inventory = inventory();
    inventory.postgresql.synchronous = true;
    let Plan::Steps { notes, .. } = plan(&inventory, &home_lost(), Failover, Accepted::default(), "OP") else {
        panic!("steps")
    };
    assert!(notes[0].contains("synchronous standby are all there"), "{notes:?}");
}

#[test]
fn room_for_a_copy_is_the_data_a_tenth_more_and_what_must_be_left() {
    let mut inventory = inventory();
    inventory.policy.minimum_free = Bytes(1000);
    assert_eq!(super::needed(&inventory, Some(100)), 1110);
    assert_eq!(super::needed(&inventory, None), 1000);
}
