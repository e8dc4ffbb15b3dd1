//! What the old primary has on its disk and the standby lacks, saved before the promotion where that disk can be read.

use bc_model::inventory::Inventory;

use super::{Step, Undo};
use crate::command::{fencing, postgresql, salvage};
use crate::plan::Decision;

/// Nothing without a shared drive. `fenced` is whether the old primary's host was turned off before: then it is read only
/// if the proof was a look at the host itself.
pub(super) fn salvage(inventory: &Inventory, decision: &Decision, fenced: bool) -> Option<Step> {
    let archive = inventory.postgresql.archive.as_ref()?;
    let (from, to) = (decision.from().postgresql(inventory), decision.to.postgresql(inventory));
    // A host without power is not asked, because that takes until the connection times out. That no server runs is seen again by
    // the command that reads.
    let require = if fenced {
        vec![fencing::is_stopped(inventory, from)]
    } else {
        vec![postgresql::stopped(inventory, from), postgresql::in_recovery(inventory, to)]
    };
    let step = Step::change(
        "salvage",
        from,
        format!("bring {to} the WAL that only {from} has, if its disk can be read"),
        vec![salvage::carried(inventory, archive, decision)],
        salvage::carry(inventory, archive, decision),
        inventory.timeouts.salvage,
        Undo::Unneeded("a standby may have more WAL than it was sent".to_owned()),
    );
    Some(step.requiring(require).best_effort().superseded_by("promote"))
}
