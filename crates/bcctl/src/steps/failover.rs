//! Unplanned: the serving place is lost.
//!
//! Nothing is promoted before the old place is proven off. What the standby had received is replayed first; what it had not
//! received is lost, and the plan has said how much is known about that.

use bc_model::inventory::Inventory;

use super::switchover::{asynchronous, serve, verify};
use super::{Step, Undo};
use crate::command::{At, fencing, postgresql};
use crate::plan::Decision;

pub(super) fn steps(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let (from, to) = (decision.from(), decision.to);
    let (pg_to, go_from) = (to.postgresql(inventory), from.gocd(inventory));
    let times = &inventory.timeouts;
    let reason = format!("bcctl {}", decision.operation);
    let off = || decision.fence.iter().map(|node| fencing::is_off(inventory, node));

    let mut steps: Vec<Step> = decision
        .fence
        .iter()
        .map(|node| {
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
                    vec![fencing::off(inventory, node, &reason)],
                    times.fence,
                    Undo::Stays(format!("{node} stays off; `fence on {node}` when it is safe")),
                )
            }
            .always()
        })
        .collect();
    steps.push(
        Step::wait(
            "replay",
            At::Host(pg_to.to_owned()),
            format!("wait until {pg_to} has replayed all it has received"),
            vec![postgresql::replayed_all(inventory, pg_to)],
            times.replay,
        )
        .superseded_by("promote"),
    );
    steps.push(asynchronous(inventory, pg_to));
    steps.push(
        Step {
            point_of_no_return: true,
            ..Step::change(
                "promote",
                pg_to,
                format!("promote PostgreSQL on {pg_to} to primary"),
                vec![postgresql::promoted(inventory, pg_to, decision.timeline, "replayed")],
                vec![postgresql::promote(inventory, pg_to)],
                times.promote,
                Undo::Unneeded("a promotion cannot be taken back".to_owned()),
            )
        }
        .always()
        .requiring(off().chain([postgresql::in_recovery(inventory, pg_to)]).collect()),
    );
    steps.extend(serve(inventory, decision, Some(go_from)));
    steps.push(verify(inventory, decision));
    steps
}
