//! Commands for turning hosts off and on; they run on the operator's machine.

use bc_model::inventory::Inventory;

use super::{Command, quote};
use crate::judge::{Check, Expect};

fn fence(inventory: &Inventory, arguments: &str) -> Command {
    Command::here(format!("FENCE_CONFIG={} fence {arguments}", quote(&inventory.fencing.config)))
}

/// Turns `node` off; status 0 only when it was asked again and answered off.
pub(crate) fn off(inventory: &Inventory, node: &str, reason: &str) -> Command {
    fence(inventory, &format!("off {} --reason {} --json", quote(node), quote(reason)))
}

/// Turns `node` on.
pub(crate) fn on(inventory: &Inventory, node: &str, reason: &str) -> Command {
    fence(inventory, &format!("on {} --reason {} --json", quote(node), quote(reason)))
}

/// Asks for the state of `node`.
pub(crate) fn status(inventory: &Inventory, node: &str) -> Command {
    fence(inventory, &format!("status {} --json", quote(node)))
}

/// Asks every device whether it would work.
pub(crate) fn check(inventory: &Inventory) -> Command {
    fence(inventory, "check")
}

/// Whether `node` is off.
pub(crate) fn is_off(inventory: &Inventory, node: &str) -> Check {
    Check { commands: vec![status(inventory, node)], expect: Expect::FencedOff }
}
