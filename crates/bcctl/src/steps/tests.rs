//! What has to be true of every table, whatever the decision.

use std::collections::BTreeSet;

use bc_model::inventory::{Archive, Inventory};
use bc_model::journal::Intent;

use super::{Step, Undo, When, groups, table, together};
use crate::command::{At, Command, outlives};
use crate::execute::uses;
use crate::observe::tests::inventory;
use crate::place::Place;
use crate::plan::{Decision, Reseed};

/// Tables of every kind of decision, with and without a synchronous pair and an archive.
fn tables() -> Vec<(Intent, Vec<Step>)> {
    let mut tables = Vec::new();
    for synchronous in [false, true] {
        let mut inventory = inventory();
        inventory.postgresql.synchronous = synchronous;
        inventory.postgresql.archive = synchronous.then(|| Archive {
            directory: "/srv/wal-archive".to_owned(),
            program: "/usr/local/lib/bcctl/archive-wal".to_owned(),
            cleanup: false,
        });
        for (intent, to) in [
            (Intent::Switchover, Place::Away),
            (Intent::Switchover, Place::Home),
            (Intent::Failover, Place::Away),
            (Intent::Failback, Place::Home),
            (Intent::PromoteOnly, Place::Away),
        ] {
            let hosts = |wanted: bool, place: Place| if wanted { place.hosts(&inventory) } else { Vec::new() };
            let decision = Decision {
                operation: "20261121T203000Z-test".to_owned(),
                intent,
                to,
                timeline: 1,
                system_identifier: Some("7300000000000000001".to_owned()),
                fence: hosts(intent == Intent::Failover, to.other()),
                fence_together: intent == Intent::Failover,
                power_on: hosts(intent == Intent::Failback, to),
                reseed: (intent == Intent::Failback).then_some(Reseed { needed: 1, rewind: synchronous }),
                salvage_first: false,
                publish: true,
                quarantine: true,
            };
            tables.push((intent, table(&inventory, &decision)));
        }
    }
    tables
}

fn commands(step: &Step) -> Vec<&Command> {
    let checks = step.checks.iter().chain(&step.require).flat_map(|check| &check.commands);
    let undo: &[Command] = if let Undo::Run { run, .. } = &step.undo { run } else { &[] };
    step.run.iter().chain(&step.meter).chain(checks).chain(undo).collect()
}

#[test]
fn only_what_copies_a_database_outlives_its_shell() {
    let mut found = BTreeSet::new();
    for (_, steps) in tables() {
        found.extend(
            steps.into_iter().filter(|step| step.run.iter().any(|run| outlives(&run.script))).map(|step| step.id),
        );
    }
    assert_eq!(found, ["rejoin-copy", "rejoin-rewind"].map(str::to_owned).into());
}

#[test]
fn the_promotion_is_the_only_point_of_no_return() {
    for (intent, steps) in tables() {
        let points: Vec<&str> =
            steps.iter().filter(|step| step.point_of_no_return).map(|step| step.id.as_str()).collect();
        assert_eq!(points, ["promote"], "{intent}");
    }
}

#[test]
fn ids_are_unique_and_documented() {
    let documentation = include_str!("../../../bc-model/src/journal.rs");
    for (intent, steps) in tables() {
        let ids: BTreeSet<&str> = steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids.len(), steps.len(), "{intent}");
        for id in ids {
            let id = if id.starts_with("power-on-") { "power-on-HOST" } else { id };
            assert!(documentation.contains(&format!("`{id}`")), "{id} is not in the table of bc_model::journal");
        }
    }
}

#[test]
fn a_step_is_superseded_by_a_later_one() {
    for (intent, steps) in tables() {
        for (index, step) in steps.iter().enumerate() {
            // `synchronous` is in the table only for a synchronous pair.
            let Some(id) = step.superseded_by.filter(|id| *id != "synchronous") else { continue };
            let later = steps.iter().position(|step| step.id == id);
            assert!(later.is_some_and(|later| later > index), "{intent}: {} is superseded by {id}", step.id);
        }
    }
}

#[test]
fn every_step_can_show_that_it_is_done() {
    for (intent, steps) in tables() {
        for step in steps.iter().filter(|step| step.checks.is_empty()) {
            assert_eq!((step.id.as_str(), step.when), ("checkpoint", When::Always), "{intent}");
        }
    }
}

#[test]
fn nothing_is_promoted_before_the_old_primary_is_proven_down() {
    for (intent, steps) in tables() {
        let promote = steps.iter().find(|step| step.id == "promote").expect("a promotion");
        let required: String =
            promote.require.iter().flat_map(|check| &check.commands).map(|command| command.script.clone()).collect();
        let proof = if intent == Intent::Failover { "fence status pg1" } else { "pg_controldata" };
        assert!(required.contains(proof), "{intent}: {required}");
    }
}

#[test]
fn every_command_is_one_that_a_posix_shell_reads() {
    for (_, steps) in tables() {
        for command in steps.iter().flat_map(commands) {
            let output =
                std::process::Command::new("sh").args(["-n", "-c", &command.script]).output().expect("sh starts");
            assert!(output.status.success(), "{}: {}", command.script, String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn no_shutdown_is_hurried_and_no_data_is_removed() {
    for (_, steps) in tables() {
        for command in steps.iter().flat_map(commands) {
            assert!(!command.script.contains("immediate"), "{}", command.script);
            assert!(!command.script.contains("pg_resetwal"), "{}", command.script);
            for remove in command.script.match_indices("rm -rf").map(|(at, _)| &command.script[at..]) {
                let line = remove.lines().next().unwrap_or_default();
                let only_ours = line.split_whitespace().skip(3).all(|path| path.contains(".bcctl"));
                assert!(line.starts_with("rm -rf --one-file-system ") && only_ours, "{line}");
            }
        }
    }
}

#[test]
fn a_switchover_waits_for_the_standby_before_it_stops_anything_if_the_policy_says_so() {
    let mut inventory = inventory();
    inventory.policy.when_behind = bc_model::inventory::WhenBehind::Wait;
    let decision = Decision {
        operation: "20261121T203000Z-test".to_owned(),
        intent: Intent::Switchover,
        to: Place::Away,
        timeline: 1,
        system_identifier: Some("7300000000000000001".to_owned()),
        fence: Vec::new(),
        fence_together: false,
        power_on: Vec::new(),
        reseed: None,
        salvage_first: false,
        publish: false,
        quarantine: true,
    };
    let steps = table(&inventory, &decision);
    assert_eq!(steps[0].id, "catch-up");
    assert!(steps[0].run.is_empty(), "it only looks");
}

#[test]
fn these_steps_begin_together_and_no_others() {
    for (intent, steps) in tables() {
        let together: Vec<Vec<&str>> = groups(&steps)
            .filter(|group| group.len() > 1)
            .map(|group| group.iter().map(|step| step.id.as_str()).collect())
            .collect();
        let change_of_places: &[&[&str]] = &[
            &["checkpoint", "asynchronous"],
            &["unassign-vip", "sync-config", "arm"],
            &["settle", "start-gocd"],
            &["release", "follow"],
        ];
        let expected = match intent {
            Intent::Switchover => change_of_places.to_vec(),
            Intent::Failback => [&[&["power-on-go1", "power-on-pg1"] as &[&str]], change_of_places].concat(),
            Intent::Failover => vec![&["fence-gocd", "fence-postgresql"] as &[&str], &["settle", "start-gocd"]],
            Intent::PromoteOnly => vec![&["arm", "asynchronous"] as &[&str]],
            Intent::Rejoin | Intent::VipOnly => vec![],
        };
        assert_eq!(together, expected, "{intent}");
    }
}

#[test]
fn a_group_has_what_it_needs_when_it_begins() {
    for (intent, steps) in tables() {
        for group in groups(&steps).filter(|group| group.len() > 1) {
            let mut places = BTreeSet::new();
            for step in group {
                let id = &step.id;
                assert!(!step.point_of_no_return, "{intent}: {id} is never one of several");
                assert_eq!(step.fences, group[0].fences, "{intent}: {id}: what a failure means is the same for all");
                assert!(
                    step.at == At::Operator || places.insert(step.at.to_string()),
                    "{intent}: {id}: two at {}",
                    step.at
                );
                assert_eq!(step.at == At::Operator, group[0].at == At::Operator, "{intent}: {id}");
                // Where it says it is, and nowhere else: a host's copy of the journal is written in one thread.
                assert!(step.run.iter().all(|command| command.at == step.at), "{intent}: {id} works elsewhere as well");
                let inside = |id: &str| group.iter().any(|step| step.id == id);
                assert!(!step.superseded_by.is_some_and(inside), "{intent}: {id} is ended by another of its group");
                let facts: Vec<&str> = commands(step).into_iter().flat_map(|command| uses(&command.script)).collect();
                assert!(facts.is_empty(), "{intent}: {id} uses {facts:?}, which another one may leave");
            }
        }
    }
}

#[test]
fn where_two_roles_share_a_machine_its_steps_come_one_after_the_other() {
    let wait = |id: &str, at: At| Step::wait(id, at, String::new(), vec![], std::time::Duration::ZERO);
    let host = |name: &str| At::Host(name.to_owned());
    let steps = together([
        wait("a", host("box1")),
        wait("b", host("box2")),
        wait("c", host("box1")),
        wait("d", At::Operator),
        wait("e", At::Operator),
    ]);
    let beside: Vec<bool> = steps.iter().map(|step| step.beside).collect();
    assert_eq!(beside, [false, true, false, false, true]);
}

#[test]
fn hosts_that_share_a_switch_are_switched_one_after_the_other() {
    let mut inventory = inventory();
    inventory.fencing.together = false;
    let mut decision = Decision {
        operation: "20261121T203000Z-test".to_owned(),
        intent: Intent::Failback,
        to: Place::Home,
        timeline: 1,
        system_identifier: None,
        fence: Vec::new(),
        fence_together: false,
        power_on: Place::Home.hosts(&inventory),
        reseed: Some(Reseed { needed: 1, rewind: false }),
        salvage_first: false,
        publish: false,
        quarantine: true,
    };
    assert!(!table(&inventory, &decision)[1].beside, "power-on-pg1");
    // Whether a failover may is in its decision, so that a resumed one does the same.
    decision = Decision { intent: Intent::Failover, to: Place::Away, power_on: vec![], reseed: None, ..decision };
    decision.fence = Place::Home.hosts(&inventory);
    assert!(!table(&inventory, &decision)[1].beside, "fence-postgresql");
}

#[test]
fn a_quarantine_that_was_planned_can_be_left_out_later_and_the_table_is_the_same() {
    let mut inventory = inventory();
    let decision = Decision {
        operation: "20261121T203000Z-test".to_owned(),
        intent: Intent::Failover,
        to: Place::Away,
        timeline: 1,
        system_identifier: None,
        fence: Place::Home.hosts(&inventory),
        fence_together: false,
        power_on: Vec::new(),
        reseed: None,
        salvage_first: false,
        publish: false,
        quarantine: true,
    };
    let planned = |inventory: &Inventory| table(inventory, &decision).iter().map(Step::planned).collect::<Vec<_>>();
    let before = planned(&inventory);
    inventory.policy.quarantine_artifacts = false;
    assert_eq!(planned(&inventory), before);
    for id in ["counters", "quarantine"] {
        let steps = table(&inventory, &decision);
        let step = steps.iter().find(|step| step.id == id).expect("it is there");
        assert!(step.commands().all(|command| command.at == At::Operator), "{id}: {step:?}");
    }
    let without = table(&inventory, &Decision { quarantine: false, ..decision.clone() });
    assert!(without.iter().all(|step| step.id != "counters" && step.id != "quarantine"), "nor are they planned");
    // A journal from before knows nothing of it.
    let mut old = serde_json::to_value(&decision).expect("JSON");
    old.as_object_mut().expect("an object").remove("quarantine");
    assert_eq!(serde_json::from_value::<Decision>(old).expect("readable"), decision);
}
