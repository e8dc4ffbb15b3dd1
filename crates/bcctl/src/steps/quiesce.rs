//! GoCD comes to rest before it is stopped, starts at rest, and is let go when everything is in place (decision 0100).

use bc_model::inventory::{Inventory, WhenJobsRun};
use bc_model::journal::Intent;

use super::{Step, Undo};
use crate::command::{At, gocd, maintenance, postgresql};
use crate::judge::Mode;
use crate::plan::Decision;

/// Nothing new begins on `host`, and what runs has its time to end.
pub(super) fn quiesce(inventory: &Inventory, host: &str) -> Option<Step> {
    if !maintenance::is_used(inventory) {
        return None;
    }
    let policy = &inventory.policy;
    let (mode, then) = match policy.when_jobs_run {
        WhenJobsRun::GoOn => (Mode::On, "go on"),
        WhenJobsRun::Undo => (Mode::Quiet, "put everything back"),
    };
    let seconds = policy.wait_for_jobs.as_secs();
    Some(
        Step::change(
            "quiesce",
            host,
            format!("put GoCD on {host} into maintenance mode, wait at most {seconds} s for running jobs, then {then}"),
            vec![maintenance::is(inventory, host, mode)],
            vec![maintenance::enable(inventory, host), maintenance::wait_for_jobs(inventory, host)],
            policy.wait_for_jobs + inventory.timeouts.vip,
            Undo::Run {
                words: format!("end maintenance mode on {host}"),
                unless: vec![],
                run: vec![maintenance::disable(inventory, host)],
                checks: vec![maintenance::is(inventory, host, Mode::Off)],
                timeout: inventory.timeouts.vip,
            },
        )
        .always()
        .superseded_by("stop-gocd"),
    )
}

/// GoCD is started, in maintenance mode if that is used.
pub(super) fn start(inventory: &Inventory, decision: &Decision) -> Step {
    let (host, database) = (decision.to.gocd(inventory), decision.to.postgresql(inventory));
    let (words, command) = if maintenance::is_used(inventory) {
        (format!("start GoCD on {host}, in maintenance mode"), maintenance::start(inventory, host))
    } else {
        (format!("start GoCD on {host}"), gocd::start(inventory, host))
    };
    Step::change(
        "start-gocd",
        host,
        words,
        vec![gocd::started(inventory, host)],
        vec![command],
        inventory.timeouts.gocd_ready,
        Undo::Unneeded("only forward from here".to_owned()),
    )
    .requiring(vec![postgresql::primary(inventory, database)])
}

/// GoCD is waited for and, if it is to be at rest, looked at.
pub(super) fn ready(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    let (host, database) = (decision.to.gocd(inventory), decision.to.postgresql(inventory));
    let times = &inventory.timeouts;
    let at = || At::Host(host.to_owned());
    let mut steps = vec![Step::wait(
        "gocd-ready",
        at(),
        format!("wait until GoCD on {host} is ready"),
        vec![gocd::ready(inventory, host)],
        times.gocd_ready,
    )];
    if maintenance::is_used(inventory) {
        steps.push(
            Step::change(
                "gocd-quiet",
                host,
                format!("see that GoCD on {host} is in maintenance mode, or put it there"),
                vec![maintenance::is(inventory, host, Mode::On)],
                vec![maintenance::enable(inventory, host)],
                times.vip,
                Undo::Unneeded("only forward from here".to_owned()),
            )
            .superseded_by("release"),
        );
        steps.push(Step::wait(
            "gocd-loaded",
            at(),
            format!("wait until GoCD on {host} has loaded its dashboard, and see that its database takes writes"),
            vec![maintenance::dashboard_loaded(inventory, host), postgresql::primary(inventory, database)],
            times.gocd_ready,
        ));
    }
    steps
}

/// GoCD works again: timers trigger, jobs are assigned.
pub(super) fn release(inventory: &Inventory, host: &str) -> Option<Step> {
    if !maintenance::is_used(inventory) {
        return None;
    }
    let (mut run, mut checks) = (Vec::new(), Vec::new());
    if let Some((command, check)) = maintenance::forget(inventory, host) {
        run.push(command);
        checks.push(check);
    }
    run.push(maintenance::disable(inventory, host));
    checks.push(maintenance::is(inventory, host, Mode::Off));
    Some(Step::change(
        "release",
        host,
        format!("end maintenance mode on {host}"),
        checks,
        run,
        inventory.timeouts.vip,
        Undo::Unneeded("only forward from here".to_owned()),
    ))
}

/// What the operator has to know about it before saying yes.
pub(crate) fn notes(inventory: &Inventory, intent: Intent, to: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if !maintenance::is_used(inventory) {
        notes.push(
            "GoCD is neither brought to rest before nor started at rest: the inventory has no `gocd.api-token-file`"
                .to_owned(),
        );
        return notes;
    }
    if !maintenance::starts_quiet(inventory, to) {
        notes.push(format!(
            "GoCD on {to} works for a moment before it is put into maintenance mode: its commands have no `start-in-maintenance`"
        ));
    }
    if intent != Intent::Failover && inventory.policy.when_jobs_run == WhenJobsRun::GoOn {
        notes.push(format!(
            "jobs that still run after {} s go on at their agents; one that reports in the middle of the change fails or runs again",
            inventory.policy.wait_for_jobs.as_secs()
        ));
    }
    notes
}
