//! What has to be true of every table, whatever the decision.

use std::collections::BTreeSet;

use bc_model::journal::Intent;

use super::{Step, Undo, When, table};
use crate::command::Command;
use crate::observe::tests::inventory;
use crate::place::Place;
use crate::plan::{Decision, Reseed};

/// Tables of every kind of decision, with and without a synchronous pair.
fn tables() -> Vec<(Intent, Vec<Step>)> {
    let mut tables = Vec::new();
    for synchronous in [false, true] {
        let mut inventory = inventory();
        inventory.postgresql.synchronous = synchronous;
        for (intent, to) in [
            (Intent::Switchover, Place::Away),
            (Intent::Switchover, Place::Home),
            (Intent::Failover, Place::Away),
            (Intent::Failback, Place::Home),
        ] {
            let hosts = |wanted: bool, place: Place| if wanted { place.hosts(&inventory) } else { Vec::new() };
            let decision = Decision {
                operation: "20261121T203000Z-test".to_owned(),
                intent,
                to,
                timeline: 1,
                system_identifier: None,
                fence: hosts(intent == Intent::Failover, to.other()),
                power_on: hosts(intent == Intent::Failback, to),
                reseed: (intent == Intent::Failback).then_some(Reseed { needed: 1, rewind: false }),
            };
            tables.push((intent, table(&inventory, &decision)));
        }
    }
    tables
}

fn commands(step: &Step) -> Vec<&Command> {
    let checks = step.checks.iter().chain(&step.require).flat_map(|check| &check.commands);
    let undo: &[Command] = if let Undo::Run { run, .. } = &step.undo { run } else { &[] };
    step.run.iter().chain(checks).chain(undo).collect()
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
        system_identifier: None,
        fence: Vec::new(),
        power_on: Vec::new(),
        reseed: None,
    };
    let steps = table(&inventory, &decision);
    assert_eq!(steps[0].id, "catch-up");
    assert!(steps[0].run.is_empty(), "it only looks");
}
