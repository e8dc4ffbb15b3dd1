//! Unplanned: the serving place is lost.
//!
//! Nothing is promoted before the old place is proven off. What the standby had received is replayed first; what it had not
//! received is lost, unless the old primary's disk can still be read; the plan has said how much is known about that.

use bc_model::inventory::Inventory;

use super::salvage::salvage;
use super::switchover::{assign, asynchronous, publish, serve, verify};
use super::{Step, Undo, artifacts, promotion, quiesce, together};
use crate::command::{At, fencing, postgresql};
use crate::plan::Decision;

pub(super) fn steps(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let go_from = decision.from().gocd(inventory);
    // A host that is about to lose its power is read before, and any other only when it is proven down.
    let first = decision.salvage_first;
    let mut steps: Vec<Step> = salvage(inventory, decision, false).filter(|_| first).into_iter().collect();
    // GoCD's host first, so that its last writes still reach the standby; unless nothing can reach it any more.
    let fences = decision.fence.iter().map(|node| fence(inventory, decision, node));
    steps.extend(if decision.fence_together { together(fences) } else { fences.collect() });
    steps.extend(salvage(inventory, decision, true).filter(|_| !first));
    steps.extend(promote_what_is_there(inventory, decision));
    steps.extend(artifacts::steps(inventory, decision));
    steps.extend(serve(inventory, decision, true));
    steps.push(assign(inventory, decision, Some(go_from)));
    steps.extend(quiesce::release(inventory, decision.to.gocd(inventory)));
    steps.extend(publish(inventory, decision));
    steps.push(verify(inventory, decision));
    steps
}

/// A node is turned off, and seen off.
pub(super) fn fence(inventory: &Inventory, decision: &Decision, node: &str) -> Step {
    let from = decision.from();
    let go_from = from.gocd(inventory);
    let id = if node == go_from { "fence-gocd" } else { "fence-postgresql" };
    let both = node == go_from && go_from == from.postgresql(inventory);
    let what = if both {
        "GoCD and PostgreSQL"
    } else if node == go_from {
        "GoCD"
    } else {
        "PostgreSQL"
    };
    Step {
        fences: true,
        at: At::Operator,
        ..Step::change(
            id,
            node,
            format!("turn off {node}, the old {what} host, and see that it is off"),
            vec![fencing::is_off(inventory, node)],
            vec![fencing::off(inventory, decision, node)],
            inventory.timeouts.fence,
            Undo::Stays(format!("{node} stays off; `fence on {node}` when it is safe")),
        )
    }
    .always()
}

/// The standby replays what it has received and becomes the primary, with the fenced nodes seen off right before.
pub(super) fn promote_what_is_there(inventory: &Inventory, decision: &Decision) -> [Step; 3] {
    let pg_to = decision.to.postgresql(inventory);
    let off = decision.fence.iter().map(|node| fencing::is_off(inventory, node)).collect();
    [
        Step::wait(
            "replay",
            At::Host(pg_to.to_owned()),
            format!("wait until {pg_to} has replayed all it has received"),
            vec![postgresql::replayed_all(inventory, pg_to)],
            inventory.timeouts.replay,
        )
        .superseded_by("promote"),
        asynchronous(inventory, pg_to),
        promotion(inventory, decision, "replayed").requiring(off),
    ]
}
