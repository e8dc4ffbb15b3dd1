//! Planned: both places healthy, nothing is lost.
//!
//! The application goes down first, then the database; the standby has every byte before it is promoted. The service comes
//! back without waiting for the old primary to become a standby, because that is what people wait for.

use bc_model::inventory::{Inventory, WhenBehind};

use super::{Step, Undo, promotion, quiesce, together};
use crate::command::{At, fencing, gocd, maintenance, postgresql, standby, vip};
use crate::judge::Mode;
use crate::plan::Decision;

pub(super) fn steps(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let (from, to) = (decision.from(), decision.to);
    let (pg_from, pg_to) = (from.postgresql(inventory), to.postgresql(inventory));
    let (go_from, go_to) = (from.gocd(inventory), to.gocd(inventory));
    let times = &inventory.timeouts;
    let address = inventory.vip.address.addr();
    let unneeded = |words: &str| Undo::Unneeded(words.to_owned());

    let policy = &inventory.policy;
    let mut steps = Vec::new();
    if policy.when_behind == WhenBehind::Wait {
        // Everything still serves while the standby comes closer.
        let words = format!("wait until {pg_to} is at most {} behind {pg_from}", policy.maximum_lag);
        let checks = vec![postgresql::within(inventory, pg_from, pg_to, policy.maximum_lag.0)];
        let at = At::Host(pg_from.to_owned());
        steps.push(Step::wait("catch-up", at, words, checks, times.replay).superseded_by("stop-postgresql"));
    }
    // Everything still serves.
    steps.extend(together([
        Step::change(
            "checkpoint",
            pg_from,
            format!("write {pg_from}'s dirty pages, so that it stops quickly"),
            vec![],
            vec![postgresql::checkpoint(inventory, pg_from)],
            times.checkpoint,
            unneeded("a checkpoint changes nothing"),
        )
        .requiring(vec![postgresql::primary(inventory, pg_from), postgresql::in_recovery(inventory, pg_to)])
        .always()
        .superseded_by("stop-postgresql"),
        asynchronous(inventory, pg_to),
    ]));
    steps.extend(quiesce::quiesce(inventory, go_from));
    steps.push(Step::change(
        "stop-gocd",
        go_from,
        format!("stop GoCD on {go_from}"),
        vec![gocd::stopped(inventory, go_from)],
        vec![gocd::stop(inventory, go_from)],
        times.gocd_stop,
        Undo::Run {
            words: format!("start GoCD on {go_from}"),
            unless: vec![],
            run: vec![gocd::start(inventory, go_from)],
            checks: vec![gocd::ready(inventory, go_from)],
            timeout: times.gocd_ready,
        },
    ));
    // Nothing is written any more that the others would miss; each is at a machine of its own.
    steps.extend(together([
        Step::change(
            "unassign-vip",
            go_from,
            format!("take {address} from {go_from}"),
            vec![vip::absent(inventory, go_from)],
            vec![vip::unassign(inventory, go_from)],
            times.vip,
            // Agents lose what they send to a server that is still starting, so the address comes back last.
            Undo::Run {
                words: format!("start GoCD on {go_from}, and give {address} back to it when it is ready"),
                unless: vec![],
                run: vec![
                    gocd::start(inventory, go_from),
                    gocd::wait_ready(inventory, go_from),
                    vip::assign(inventory, go_from, None),
                ],
                checks: vec![vip::held(inventory, go_from)],
                timeout: times.gocd_ready,
            },
        ),
        Step::change(
            "sync-config",
            go_to,
            format!("copy GoCD's configuration from {go_from} to {go_to}, compared by hash"),
            vec![gocd::same_files(inventory, go_from, go_to)],
            vec![gocd::pull(inventory, go_to)],
            times.sync,
            unneeded("a standby's copy is meant to be fresh"),
        )
        .superseded_by("start-gocd"),
        Step::change(
            "arm",
            pg_from,
            format!("make {pg_from} a standby of {pg_to} from its next start on"),
            vec![standby::armed(inventory, pg_from, pg_to)],
            standby::arm(inventory, pg_from, pg_to),
            times.vip,
            Undo::Run {
                words: format!("make {pg_from} a primary again from its next start on"),
                unless: vec![],
                run: vec![standby::disarm(inventory, pg_from)],
                checks: vec![standby::disarmed(inventory, pg_from)],
                timeout: times.vip,
            },
        ),
    ]));
    steps.extend([
        Step::change(
            "stop-postgresql",
            pg_from,
            format!("stop PostgreSQL on {pg_from}, fast and clean"),
            vec![postgresql::shut_down(inventory, pg_from)],
            vec![postgresql::stop(inventory, pg_from)],
            times.postgresql_stop,
            Undo::Run {
                words: format!("start PostgreSQL on {pg_from} as the primary"),
                // Nothing of ours has promoted the standby; if somebody else has, this one stays down.
                unless: vec![postgresql::primary(inventory, pg_to)],
                run: vec![
                    standby::disarm(inventory, pg_from),
                    postgresql::let_it_stop(inventory, pg_from),
                    postgresql::start(inventory, pg_from),
                ],
                checks: vec![postgresql::primary(inventory, pg_from)],
                timeout: times.postgresql_start,
            },
        )
        .always()
        .meanwhile()
        .superseded_by("promote"),
        Step::wait(
            "replay",
            At::Host(pg_to.to_owned()),
            format!("wait until {pg_to} has replayed past {pg_from}'s shutdown checkpoint"),
            vec![postgresql::replayed_checkpoint(inventory, pg_to)],
            times.replay,
        )
        .superseded_by("promote"),
        promotion(inventory, decision, "checkpoint").requiring(vec![postgresql::still_shut_down(inventory, pg_from)]),
    ]);
    steps.extend(serve(inventory, decision, false));
    let follow = Step::change(
        "follow",
        pg_from,
        format!("start PostgreSQL on {pg_from} as the standby of {pg_to}"),
        {
            let mut checks = postgresql::streams(inventory, pg_to, pg_from);
            checks.push(postgresql::no_slot(inventory, pg_from, pg_to));
            checks
        },
        vec![postgresql::start(inventory, pg_from), postgresql::drop_slot(inventory, pg_from, pg_to)],
        times.postgresql_start,
        unneeded("only forward from here"),
    )
    .requiring(vec![standby::armed(inventory, pg_from, pg_to)]);
    // What people wait for does not wait for the standby: the address, and with it that GoCD works.
    let assign = assign(inventory, decision, None);
    match quiesce::release(inventory, go_to) {
        Some(release) => {
            steps.push(assign);
            steps.extend(together([release, follow]));
        }
        None => steps.extend(together([assign, follow])),
    }
    steps.extend(publish(inventory, decision));
    if inventory.postgresql.synchronous {
        steps.push(synchronous(inventory, pg_to, pg_from));
    }
    steps.push(verify(inventory, decision));
    steps
}

/// A primary that waits at every commit for a standby that is down takes no write at all, so the standby must not inherit
/// that. As long as it is a standby, the setting means nothing there.
pub(super) fn asynchronous(inventory: &Inventory, host: &str) -> Step {
    Step::change(
        "asynchronous",
        host,
        format!("let {host} wait for nobody at a commit when it is promoted"),
        vec![postgresql::waits_for_nobody(inventory, host)],
        vec![postgresql::wait_for_nobody(inventory, host)],
        inventory.timeouts.vip,
        Undo::Unneeded("it means nothing on a standby".to_owned()),
    )
    .superseded_by("synchronous")
}

/// The primary waits for its standby at every commit again.
pub(super) fn synchronous(inventory: &Inventory, primary: &str, standby: &str) -> Step {
    Step::change(
        "synchronous",
        primary,
        format!("wait for {standby} at every commit on {primary} again"),
        vec![postgresql::is_synchronous(inventory, primary, standby)],
        vec![postgresql::synchronous(inventory, primary, standby)],
        inventory.timeouts.postgresql_start,
        Undo::Unneeded("only forward from here".to_owned()),
    )
}

/// What a new primary needs before its peer can follow; `reserve` keeps WAL for the peer from now on.
pub(super) fn settle(inventory: &Inventory, decision: &Decision, reserve: bool) -> Step {
    let (pg_from, pg_to) = (decision.from().postgresql(inventory), decision.to.postgresql(inventory));
    Step::change(
        "settle",
        pg_to,
        format!("on {pg_to}: checkpoint, wait for no standby that is down, a slot for {pg_from}"),
        vec![postgresql::settled(inventory, pg_to, pg_from)],
        postgresql::settle(inventory, pg_to, pg_from, reserve),
        inventory.timeouts.checkpoint,
        Undo::Unneeded("only forward from here".to_owned()),
    )
    .superseded_by("synchronous")
}

/// From a promoted PostgreSQL to a GoCD that is ready; `fenced` says that the peer was turned off.
pub(super) fn serve(inventory: &Inventory, decision: &Decision, fenced: bool) -> Vec<Step> {
    // GoCD boots while the checkpoint is written. A peer that was fenced may be gone for weeks: its slot keeps no WAL until it
    // has connected once.
    let mut steps = together([settle(inventory, decision, !fenced), quiesce::start(inventory, decision)]);
    steps.extend(quiesce::ready(inventory, decision));
    steps
}

/// The address goes to the place that serves; `fenced` is the node that held it and was turned off.
pub(super) fn assign(inventory: &Inventory, decision: &Decision, fenced: Option<&str>) -> Step {
    let go_to = decision.to.gocd(inventory);
    Step::change(
        "assign-vip",
        go_to,
        format!("give {} to {go_to}", inventory.vip.address.addr()),
        vec![vip::held(inventory, go_to)],
        vec![vip::assign(inventory, go_to, fenced)],
        inventory.timeouts.vip,
        Undo::Unneeded("only forward from here".to_owned()),
    )
}

/// `fence` learns of the new timeline, if there is a `fence` that can be told. Not before the service is back: what is still on
/// its way can turn off a host, and a disk that is full on this machine would surely keep the service down. Nor is the operation kept
/// from its end: it may be resumed on a machine without `fence`.
pub(super) fn publish(inventory: &Inventory, decision: &Decision) -> Option<Step> {
    let node = decision.to.postgresql(inventory);
    let (raise, known) = fencing::publish(inventory, decision, node)?;
    let words = format!(
        "tell fence of the new timeline of {node}: older requests to turn anything off are refused from now on"
    );
    let forward = Undo::Unneeded("only forward from here".to_owned());
    let step = Step::change("publish-token", node, words, vec![known], vec![raise], inventory.timeouts.vip, forward);
    Some(Step { at: At::Operator, ..step }.best_effort())
}

/// The last look: one holder of the VIP, GoCD answers through it, PostgreSQL takes writes.
pub(super) fn verify(inventory: &Inventory, decision: &Decision) -> Step {
    let go_to = decision.to.gocd(inventory);
    let mut checks = vec![
        vip::held(inventory, go_to),
        gocd::answers_at_vip(inventory, go_to),
        postgresql::primary(inventory, decision.to.postgresql(inventory)),
    ];
    if maintenance::is_used(inventory) {
        checks.push(maintenance::is(inventory, go_to, Mode::Off));
    }
    if decision.fence.is_empty() {
        checks.push(vip::absent(inventory, decision.from().gocd(inventory)));
        checks.push(postgresql::in_recovery(inventory, decision.from().postgresql(inventory)));
    }
    let words = format!("look again: only {go_to} holds the VIP, GoCD answers there, one PostgreSQL takes writes");
    Step::wait("verify", At::Host(go_to.to_owned()), words, checks, inventory.timeouts.vip)
}
