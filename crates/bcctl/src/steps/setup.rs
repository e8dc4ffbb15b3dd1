//! The steps of `bcctl setup`. Each looks first and is skipped when it is so already; nothing here needs a way back: a file is kept
//! beside the new one, and what was there before a base backup is kept beside the copy.

use bc_model::inventory::{Inventory, Service};
use bc_model::journal::Intent;

use super::{Step, Undo, rejoin};
use crate::command::{gocd, postgresql, setup as command, vip};
use crate::plan::{Decision, Reseed};
use crate::setup::edit::{Edit, Ours};
use crate::setup::{Role, Setup};

/// The steps, in order.
pub(crate) fn steps(inventory: &Inventory, setup: &Setup) -> Vec<Step> {
    match setup.role {
        Role::Primary => primary(inventory, setup),
        Role::Standby => standby(inventory, setup),
        Role::GocdStandby => gocd_standby(inventory, setup),
    }
}

fn stays(words: &str) -> Undo {
    Undo::Unneeded(words.to_owned())
}

fn write(inventory: &Inventory, setup: &Setup, edit: &Edit) -> Step {
    Step::change(
        edit.id,
        &edit.host,
        format!("write {}{}", edit.path, if edit.old.is_some() { ", and keep the old one beside it" } else { "" }),
        vec![edit.done()],
        vec![edit.write(&setup.operation)],
        inventory.timeouts.vip,
        stays("the old file is beside the new one"),
    )
}

/// Before a host that was switched on by mistake starts what it must not start.
fn boot(inventory: &Inventory, host: &str, service: &Service<'_>) -> Option<Step> {
    Some(Step::change(
        "setup-boot",
        host,
        "see that the service does not start with the machine".to_owned(),
        vec![command::disabled(service, host)?],
        vec![command::disable(service, host)?],
        inventory.timeouts.vip,
        stays("nothing was stopped"),
    ))
}

fn files(inventory: &Inventory, setup: &Setup) -> Vec<Step> {
    setup.edits.iter().map(|edit| write(inventory, setup, edit)).collect()
}

/// The settings that the files of this setup hold.
fn settings(setup: &Setup) -> Vec<String> {
    let settings = setup.edits.iter().find(|edit| edit.id == "setup-settings");
    match settings.map(|edit| &edit.ours) {
        Some(Ours::Bottom(lines)) => lines.clone(),
        _ => Vec::new(),
    }
}

/// The running server takes over what the files say.
fn apply(inventory: &Inventory, setup: &Setup, host: &str) -> Vec<Step> {
    let settings = settings(setup);
    vec![
        Step::change(
            "setup-reload",
            host,
            format!("make PostgreSQL on {host} read its files again"),
            vec![command::uses(inventory, host, &settings, false)],
            vec![command::reload(inventory, host)],
            inventory.timeouts.vip,
            stays("the settings are in the files"),
        )
        .requiring(command::files_are_good(inventory, host))
        .always(),
        Step::change(
            "setup-restart",
            host,
            format!("restart PostgreSQL on {host}, if a setting needs that: it does not answer for some seconds"),
            vec![command::uses(inventory, host, &settings, true)],
            vec![postgresql::stop(inventory, host), postgresql::start(inventory, host)],
            inventory.timeouts.postgresql_start,
            stays("the settings are in the files"),
        )
        .requiring(command::files_are_good(inventory, host)),
    ]
}

fn primary(inventory: &Inventory, setup: &Setup) -> Vec<Step> {
    let host = setup.host(inventory);
    let peer = setup.serving.other().postgresql(inventory);
    let mut steps = files(inventory, setup);
    if let Some(first) = steps.first_mut() {
        first.require.extend(command::archive_writable(inventory, host));
    }
    steps.extend(boot(inventory, host, &inventory.server(host).service));
    steps.extend(apply(inventory, setup, host));
    steps.push(
        Step::change(
            "setup-role",
            host,
            format!(
                "make the role {} on {host}; its password comes from ~{}/.pgpass there",
                inventory.postgresql.replication_user, inventory.postgresql.os_user
            ),
            vec![command::has_role(inventory, host)],
            vec![command::role(inventory, host)],
            inventory.timeouts.vip,
            stays("a role harms nobody"),
        )
        .requiring(vec![command::has_password(inventory, host)]),
    );
    steps.push(Step::change(
        "setup-slot",
        host,
        format!("keep a slot on {host} for {peer}; it keeps no WAL before {peer} has connected"),
        vec![postgresql::has_slot(inventory, host, peer)],
        vec![postgresql::create_slot(inventory, host, peer, false)],
        inventory.timeouts.vip,
        stays("the slot is what the standby needs"),
    ));
    steps
}

fn standby(inventory: &Inventory, setup: &Setup) -> Vec<Step> {
    let (host, place) = (setup.host(inventory), setup.serving.other());
    let mut steps: Vec<Step> = Vec::new();
    let after_copy = |edit: &Edit| edit.path.starts_with(inventory.server(host).data_directory);
    let (inside, outside): (Vec<&Edit>, Vec<&Edit>) = setup.edits.iter().partition(|edit| after_copy(edit));
    steps.extend(outside.into_iter().map(|edit| write(inventory, setup, edit)));
    if let Some(first) = steps.first_mut() {
        first.require.extend(command::archive_writable(inventory, host));
    }
    steps.extend(boot(inventory, host, &inventory.server(host).service));
    let Some(copy) = &setup.copy else {
        steps.extend(inside.into_iter().map(|edit| write(inventory, setup, edit)));
        steps.extend(apply(inventory, setup, host));
        return steps;
    };
    // What makes an old primary a standby again makes a new one too.
    let decision = Decision {
        operation: copy.operation.clone(),
        intent: Intent::Failback,
        to: place,
        timeline: 0,
        system_identifier: None,
        fence: Vec::new(),
        fence_together: false,
        power_on: Vec::new(),
        reseed: Some(Reseed { needed: copy.needed, rewind: false }),
        salvage_first: false,
        publish: false,
        quarantine: true,
    };
    let mut copy = rejoin::steps(inventory, &decision);
    if let Some(first) = copy.first_mut() {
        first.require.push(command::has_password(inventory, host));
    }
    for step in copy {
        let start = step.id == "rejoin-start";
        if start {
            steps.extend(inside.iter().map(|edit| write(inventory, setup, edit)));
        }
        // The data that was here, and the copy, are both kept when a setup stops: it is run again.
        steps.push(Step { undo: stays("what was here before is kept"), superseded_by: None, ..step });
    }
    steps
}

fn gocd_standby(inventory: &Inventory, setup: &Setup) -> Vec<Step> {
    let host = setup.host(inventory);
    let serving = setup.serving.gocd(inventory);
    let mut steps = files(inventory, setup);
    steps.extend(boot(inventory, host, &inventory.gocd_server(host).service));
    steps.push(
        Step::change(
            "setup-pull",
            host,
            format!("copy GoCD's configuration from {serving} to {host}, compared by hash"),
            vec![gocd::same_files(inventory, serving, host)],
            vec![gocd::pull(inventory, host)],
            inventory.timeouts.sync,
            stays("a standby's copy is meant to be fresh"),
        )
        .requiring(vec![gocd::stopped(inventory, host), vip::absent(inventory, host)]),
    );
    if setup.timer {
        steps.push(Step::change(
            "setup-timer",
            host,
            format!("copy it again every minute, as long as GoCD does not run on {host}"),
            vec![command::pulls(host)],
            vec![command::pull_every_minute(host)],
            inventory.timeouts.vip,
            stays("a standby's copy is meant to be fresh"),
        ));
    }
    steps
}
