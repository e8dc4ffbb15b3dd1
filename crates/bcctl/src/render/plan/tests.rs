use bc_model::journal::Intent;

use super::dry_run_text;
use crate::observe::tests::inventory;
use crate::place::Place;
use crate::plan::{Decision, Reseed};
use crate::steps::table;

fn text(intent: Intent, to: Place) -> String {
    let inventory = inventory();
    let decision = Decision {
        operation: "20261121T203000Z-test".to_owned(),
        intent,
        to,
        timeline: 1,
        fence: if intent == Intent::Failover { to.other().hosts(&inventory) } else { Vec::new() },
        power_on: if intent == Intent::Failback { to.hosts(&inventory) } else { Vec::new() },
        reseed: (intent == Intent::Failback).then_some(Reseed { needed: 1 << 30 }),
    };
    let steps = table(&inventory, &decision);
    dry_run_text(&inventory, &decision, &["a note".to_owned()], &steps)
}

#[test]
fn the_dry_run_of_a_failover_shows_every_command_host_by_host() {
    insta::assert_snapshot!(text(Intent::Failover, Place::Away));
}

#[test]
fn the_dry_run_of_a_failback_shows_the_copy_and_the_way_home() {
    insta::assert_snapshot!(text(Intent::Failback, Place::Home));
}

#[test]
fn a_dry_run_is_a_script_that_a_shell_reads() {
    for (intent, to) in
        [(Intent::Failover, Place::Away), (Intent::Switchover, Place::Away), (Intent::Failback, Place::Home)]
    {
        let output =
            std::process::Command::new("sh").args(["-n", "-c", &text(intent, to)]).output().expect("sh starts");
        assert!(output.status.success(), "{intent}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
