//! Artifacts of runs that the promoted database has lost are moved out of GoCD's way before it starts (decision 0102).

use bc_model::inventory::Inventory;

use super::{Step, Undo};
use crate::command::{At, Command, artifacts, gocd};
use crate::judge::Check;
use crate::plan::Decision;

pub(super) fn steps(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    if !decision.quarantine {
        return Vec::new();
    }
    let (host, primary) = (decision.to.gocd(inventory), decision.to.postgresql(inventory));
    let operation = decision.operation.as_str();
    let steps = vec![
        Step::wait(
            "counters",
            At::Host(host.to_owned()),
            format!("compare the artifacts on {host} with the runs that {primary} knows"),
            vec![artifacts::compared(inventory, host, primary)],
            inventory.timeouts.sync,
        )
        .once()
        .superseded_by("start-gocd"),
        Step::change(
            "quarantine",
            host,
            format!("move artifacts of runs that {primary} does not know aside on {host}"),
            vec![artifacts::quarantined(inventory, host, operation)],
            vec![artifacts::quarantine(inventory, host, operation)],
            inventory.timeouts.sync,
            Undo::Unneeded("only forward from here".to_owned()),
        )
        .requiring(vec![gocd::stopped(inventory, host)])
        .superseded_by("start-gocd"),
    ];
    if inventory.policy.quarantine_artifacts { steps } else { steps.into_iter().map(left_out).collect() }
}

/// A step that a person has switched off since it was planned: the journal knows it by its id and words, and it does nothing.
fn left_out(step: Step) -> Step {
    let words = Command::here("echo 'left out: policy.quarantine-artifacts is false'");
    Step { require: Vec::new(), run: Vec::new(), checks: vec![Check::succeeds(words)], ..step }
}
