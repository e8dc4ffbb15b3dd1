use bc_model::inventory::Inventory;
use bc_model::journal::Intent;
use bc_model::version::Version;

use super::dry_run_text;
use crate::observe::tests::inventory;
use crate::place::Place;
use crate::plan::{Decision, Reseed};
use crate::steps::table;

fn text(intent: Intent, to: Place) -> String {
    text_for(&inventory(), intent, to)
}

fn text_for(inventory: &Inventory, intent: Intent, to: Place) -> String {
    let decision = Decision {
        operation: "20261121T203000Z-test".to_owned(),
        intent,
        to,
        timeline: 1,
        system_identifier: Some("7300000000000000001".to_owned()),
        fence: if intent == Intent::Failover { to.other().hosts(inventory) } else { Vec::new() },
        fence_together: intent == Intent::Failover,
        power_on: if intent == Intent::Failback { to.hosts(inventory) } else { Vec::new() },
        reseed: (intent == Intent::Failback).then_some(Reseed { needed: 1 << 30, rewind: false }),
        salvage_first: false,
        publish: true,
        quarantine: true,
    };
    let steps = table(inventory, &decision);
    dry_run_text(inventory, &decision, &["a note".to_owned()], &steps)
}

/// The plan of every version, those that differ only in the version's number together; each that is different is a snapshot to
/// be reviewed.
fn by_version(intent: Intent, to: Place) {
    let mut groups: Vec<(Vec<Version>, String)> = Vec::new();
    for version in Version::ALL {
        let number = version.to_string();
        let example = include_str!("../../../../../packaging/bc.toml");
        // The archive belongs to the plan, because a standby before 12 reads it from the file that makes it one.
        let toml = example.replacen("version = \"15\"", &format!("version = \"{version}\""), 1)
            + "\n[postgresql.archive]\ndirectory = \"/srv/wal-archive\"\n";
        let inventory = Inventory::parse("bc.toml", &toml).expect("a site");
        let text = text_for(&inventory, intent, to)
            .replace(&format!("postgresql/{number}/"), "postgresql/V/")
            .replace(&format!("postgresql@{number}-"), "postgresql@V-");
        match groups.last_mut() {
            Some((versions, same)) if *same == text => versions.push(version),
            _ => groups.push((vec![version], text)),
        }
    }
    for (versions, text) in groups {
        let span = [versions.first(), versions.last()].map(|version| version.expect("not empty").to_string());
        insta::assert_snapshot!(format!("{intent}_{}_to_{}", span[0], span[1]), text);
    }
}

#[test]
fn the_plan_of_a_switchover_for_every_version() {
    by_version(Intent::Switchover, Place::Away);
}

#[test]
fn the_plan_of_a_failover_for_every_version() {
    by_version(Intent::Failover, Place::Away);
}

#[test]
fn the_plan_of_a_failback_for_every_version() {
    by_version(Intent::Failback, Place::Home);
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
