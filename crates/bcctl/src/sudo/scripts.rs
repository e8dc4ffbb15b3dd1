//! Every script that runs on a host, from the same tables that are executed.

use bc_model::inventory::Inventory;
use bc_model::journal::Intent;

use crate::command::{At, Command};
use crate::observe::look_command;
use crate::place::Place;
use crate::plan::{Decision, Reseed};
use crate::steps::{Step, table};

/// Stands for the name of any operation.
pub(super) const OPERATION: &str = "20000101T000000Z-any";

/// Every decision that a plan can come to, as far as the scripts differ.
fn decisions(inventory: &Inventory) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for intent in
        [Intent::Switchover, Intent::Failover, Intent::Failback, Intent::Rejoin, Intent::PromoteOnly, Intent::VipOnly]
    {
        for to in Place::BOTH {
            for (fences, reseed) in [(false, None), (true, None), (false, Some(false)), (false, Some(true))] {
                decisions.push(Decision {
                    operation: OPERATION.to_owned(),
                    intent,
                    to,
                    timeline: 1,
                    system_identifier: None,
                    fence: if fences { to.other().hosts(inventory) } else { Vec::new() },
                    fence_together: false,
                    power_on: if reseed.is_some() { to.hosts(inventory) } else { Vec::new() },
                    reseed: reseed.map(|rewind| Reseed { needed: 1, rewind }),
                    salvage_first: fences,
                    publish: false,
                    quarantine: true,
                });
            }
        }
    }
    decisions
}

/// Every script that runs on `host` as part of an operation, `check` or `status`.
pub(super) fn of(inventory: &Inventory, host: &str) -> Vec<String> {
    let at = At::Host(host.to_owned());
    let mut scripts = vec![look_command(inventory, host).script];
    for decision in decisions(inventory) {
        let steps = table(inventory, &decision);
        let commands = steps.iter().flat_map(Step::commands).filter(|command| command.at == at);
        scripts.extend(commands.map(|Command { script, .. }| script.clone()));
    }
    scripts.sort();
    scripts.dedup();
    scripts
}
