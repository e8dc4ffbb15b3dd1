//! The first half of a failback: the old primary becomes a standby of the serving one, which goes on serving.
//!
//! The old data is not rewound but replaced: a base backup into a directory beside it, then two renames. Nothing here
//! touches the service, so nothing here has to be put back for the site to go on as it is.

use bc_model::inventory::Inventory;

use super::{Step, Undo, together};
use crate::command::{At, Command, fencing, gocd, postgresql, reseed, rewind, standby, vip};
use crate::judge::{Check, Expect};
use crate::plan::Decision;

pub(super) fn steps(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let (serving, home) = (decision.from().postgresql(inventory), decision.to.postgresql(inventory));
    let operation = decision.operation.as_str();
    let times = &inventory.timeouts;
    let unneeded = |words: &str| Undo::Unneeded(words.to_owned());

    let on = decision.power_on.iter().map(|node| power_on(inventory, decision, node));
    let mut steps: Vec<Step> = if inventory.fencing.together { together(on) } else { on.collect() };
    if !decision.power_on.is_empty() {
        steps.push(quiet(inventory, decision));
    }
    let Some(reseed) = &decision.reseed else { return steps };
    let rewind = if reseed.rewind { rewind_steps(inventory, decision) } else { Vec::new() };
    steps.extend([
        Step::change(
            "rejoin-stop",
            home,
            format!("make sure that no PostgreSQL runs on {home}"),
            vec![postgresql::stopped(inventory, home)],
            vec![postgresql::stop(inventory, home)],
            times.postgresql_stop,
            unneeded("it was no part of the service"),
        )
        .superseded_by("rejoin-start"),
        Step::change(
            "rejoin-slot",
            serving,
            format!("keep WAL on {serving} for {home}"),
            vec![postgresql::has_slot(inventory, serving, home)],
            vec![postgresql::create_slot(inventory, serving, home, true)],
            times.checkpoint,
            unneeded("the slot is what the next attempt needs"),
        )
        .superseded_by("stop-postgresql"),
    ]);
    steps.extend(rewind);
    steps.extend([
        Step::change(
            "rejoin-copy",
            home,
            format!("copy {serving}'s data to {home}, beside the old data, and verify it"),
            vec![reseed::copied(inventory, home, operation)],
            vec![reseed::copy(inventory, home, serving, operation)],
            times.reseed,
            Undo::Run {
                words: format!("stop the copy to {home}, and remove what it has made"),
                unless: vec![],
                run: vec![reseed::remove_copy(inventory, home, operation)],
                checks: vec![reseed::no_copy(inventory, home, operation)],
                timeout: times.postgresql_stop,
            },
        )
        .requiring(vec![reseed::room(inventory, home, operation, reseed.needed)])
        .metered(reseed::meter(inventory, home, serving, operation)),
        Step::change(
            "rejoin-swap",
            home,
            format!("put the copy in place; the old data is kept as {}", reseed::kept(inventory, home, operation)),
            vec![reseed::swapped(inventory, home, operation)],
            vec![reseed::swap(inventory, home, operation)],
            times.vip,
            unneeded("the old data is kept beside the copy"),
        )
        .requiring(vec![postgresql::stopped(inventory, home)]),
        Step::change(
            "rejoin-start",
            home,
            format!("start PostgreSQL on {home} as the standby of {serving}"),
            vec![postgresql::in_recovery(inventory, home)],
            vec![postgresql::start(inventory, home)],
            times.postgresql_start,
            unneeded("a standby is where it should be"),
        )
        .requiring(vec![standby::armed(inventory, home, serving)])
        .superseded_by("promote"),
        Step::wait(
            "rejoin-stream",
            At::Host(home.to_owned()),
            format!("wait until {home} streams from {serving}"),
            postgresql::streams(inventory, serving, home),
            times.postgresql_start,
        )
        .superseded_by("stop-postgresql"),
    ]);
    steps
}

/// The attempt to rewind: what it needs of the serving server, and the attempt itself, which never fails.
fn rewind_steps(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let (serving, home) = (decision.from().postgresql(inventory), decision.to.postgresql(inventory));
    let unneeded = |words: &str| Undo::Unneeded(words.to_owned());
    vec![
        Step::change(
            "rejoin-checkpoint",
            serving,
            format!("write {serving}'s timeline into its control file, where pg_rewind looks for it"),
            vec![postgresql::knows_its_timeline(inventory, serving)],
            vec![postgresql::checkpoint(inventory, serving)],
            inventory.timeouts.checkpoint,
            unneeded("a checkpoint changes nothing"),
        ),
        Step::change(
            "rejoin-rewind",
            home,
            format!("try to rewind {home} to where it can follow {serving}"),
            vec![rewind::attempted(inventory, home, &decision.operation)],
            vec![rewind::attempt(inventory, home, serving, &decision.operation)],
            inventory.timeouts.reseed,
            unneeded("the next attempt copies"),
        )
        .requiring(vec![postgresql::stopped(inventory, home)]),
    ]
}

fn power_on(inventory: &Inventory, decision: &Decision, node: &str) -> Step {
    // Asked for always: looking first would wait for a host that is known to be off.
    Step {
        at: At::Operator,
        ..Step::change(
            &format!("power-on-{node}"),
            node,
            format!("turn on {node}, and wait until it answers"),
            vec![Check { commands: vec![Command::on(node, "true")], expect: Expect::Reached }],
            vec![fencing::on(inventory, decision, node)],
            inventory.timeouts.boot,
            Undo::Unneeded(format!("{node} may stay on: nothing of the site starts by itself there")),
        )
    }
    .always()
}

/// What could not be seen while the hosts were off: nothing of the site may have come back by itself.
fn quiet(inventory: &Inventory, decision: &Decision) -> Step {
    let (pg, go) = (decision.to.postgresql(inventory), decision.to.gocd(inventory));
    let mut checks = vec![gocd::stopped(inventory, go), vip::absent(inventory, go)];
    if decision.reseed.is_some() {
        checks.push(postgresql::stopped(inventory, pg));
    }
    let words = format!("see that neither GoCD nor the VIP nor a second primary came back with {go} and {pg}");
    Step::wait("rejoin-quiet", At::Host(pg.to_owned()), words, checks, inventory.timeouts.vip)
        .superseded_by("rejoin-start")
}
