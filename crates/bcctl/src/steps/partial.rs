//! Half an operation: rejoin, promote only, VIP only.

use bc_model::inventory::Inventory;

use super::failover::{fence, promote_what_is_there};
use super::switchover::{asynchronous, synchronous};
use super::{Step, Undo, rejoin, together};
use crate::command::{At, postgresql, standby, vip};
use crate::plan::Decision;

/// The old primary becomes a standby, and nothing more.
pub(super) fn rejoin(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let mut steps = rejoin::steps(inventory, decision);
    // Only the database host is turned on, so GoCD cannot come back with it.
    steps.retain(|step| step.id != "rejoin-quiet");
    if inventory.postgresql.synchronous {
        steps.push(synchronous(inventory, decision.from().postgresql(inventory), decision.to.postgresql(inventory)));
    }
    steps
}

/// The standby becomes the primary, and nothing more.
pub(super) fn promote(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let (from, to) = (decision.from().postgresql(inventory), decision.to.postgresql(inventory));
    let times = &inventory.timeouts;
    let mut steps = Vec::new();
    if !decision.fence.is_empty() {
        steps.extend(decision.fence.iter().map(|node| fence(inventory, decision, node)));
        steps.extend(promote_what_is_there(inventory, decision));
    } else {
        steps.push(Step::wait(
            "stop-postgresql",
            At::Host(from.to_owned()),
            format!("see that PostgreSQL on {from} is shut down cleanly"),
            vec![postgresql::shut_down(inventory, from)],
            times.vip,
        ));
        steps.extend(together([
            Step::change(
                "arm",
                from,
                format!("make {from} a standby of {to} from its next start on"),
                vec![standby::armed(inventory, from, to)],
                vec![standby::arm_stopped(inventory, from, to)],
                times.vip,
                Undo::Run {
                    words: format!("make {from} a primary again from its next start on"),
                    unless: vec![postgresql::primary(inventory, to)],
                    run: vec![standby::disarm(inventory, from)],
                    checks: vec![standby::disarmed(inventory, from)],
                    timeout: times.vip,
                },
            ),
            asynchronous(inventory, to),
        ]));
        steps.extend([
            Step::wait(
                "replay",
                At::Host(to.to_owned()),
                format!("wait until {to} has replayed past {from}'s shutdown checkpoint"),
                vec![postgresql::replayed_checkpoint(inventory, to)],
                times.replay,
            )
            .superseded_by("promote"),
            super::promotion(inventory, decision, "checkpoint")
                .requiring(vec![postgresql::still_shut_down(inventory, from)]),
        ]);
    }
    steps.push(super::switchover::settle(inventory, decision, decision.fence.is_empty()));
    steps.extend(super::switchover::publish(inventory, decision));
    steps
}

/// The VIP moves, and nothing more.
pub(super) fn vip(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let (from, to) = (decision.from().gocd(inventory), decision.to.gocd(inventory));
    let (address, times) = (inventory.vip.address.addr(), &inventory.timeouts);
    let fenced = decision.fence.first().map(String::as_str);
    let mut steps: Vec<Step> = decision.fence.iter().map(|node| fence(inventory, decision, node)).collect();
    if fenced.is_none() {
        steps.push(Step::change(
            "unassign-vip",
            from,
            format!("take {address} from {from}"),
            vec![vip::absent(inventory, from)],
            vec![vip::unassign(inventory, from)],
            times.vip,
            Undo::Run {
                words: format!("give {address} back to {from}"),
                unless: vec![],
                run: vec![vip::assign(inventory, from, None)],
                checks: vec![vip::held(inventory, from)],
                timeout: times.vip,
            },
        ));
    }
    steps.push(Step::change(
        "assign-vip",
        to,
        format!("give {address} to {to}"),
        vec![vip::held(inventory, to)],
        vec![vip::assign(inventory, to, fenced)],
        times.vip,
        Undo::Run {
            words: format!("take {address} from {to}"),
            unless: vec![],
            run: vec![vip::unassign(inventory, to)],
            checks: vec![vip::absent(inventory, to)],
            timeout: times.vip,
        },
    ));
    let mut checks = vec![vip::held(inventory, to)];
    if fenced.is_none() {
        checks.push(vip::absent(inventory, from));
    }
    let words = format!("look again: only {to} holds {address}");
    steps.push(Step::wait("verify", At::Host(to.to_owned()), words, checks, times.vip));
    steps
}
