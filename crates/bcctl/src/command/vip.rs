//! Commands for the virtual IP.

use bc_model::inventory::Inventory;

use super::{Command, quote};
use crate::judge::{Check, Expect};

/// Gives the VIP to `host`; `fenced` is the node that held it before and was turned off.
pub(crate) fn assign(inventory: &Inventory, host: &str, fenced: Option<&str>) -> Command {
    let fenced = fenced.map(|node| format!(" --after-fence {}", quote(node))).unwrap_or_default();
    let (address, interface) = (inventory.vip.address, quote(&inventory.vip.interface));
    Command::on(host, format!("vipd assign {address} --dev {interface}{fenced}"))
}

/// Takes the VIP from `host`.
pub(crate) fn unassign(inventory: &Inventory, host: &str) -> Command {
    Command::on(host, format!("vipd unassign {} --dev {}", inventory.vip.address, quote(&inventory.vip.interface)))
}

/// The status of the VIP on `host`.
pub(crate) fn status(inventory: &Inventory, host: &str) -> Command {
    Command::on(host, format!("vipd status {} --json", inventory.vip.address.addr()))
}

/// Whether `host` holds the VIP.
pub(crate) fn held(inventory: &Inventory, host: &str) -> Check {
    Check { commands: vec![status(inventory, host)], expect: Expect::VipHeld(inventory.vip.address.addr()) }
}

/// Whether `host` does not hold the VIP.
pub(crate) fn absent(inventory: &Inventory, host: &str) -> Check {
    Check { commands: vec![status(inventory, host)], expect: Expect::VipAbsent(inventory.vip.address.addr()) }
}
