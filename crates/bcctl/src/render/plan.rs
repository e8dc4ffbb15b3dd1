//! The plan, and the dry run: the same table that would be executed.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use bc_model::inventory::Inventory;
use bc_model::journal::Journal;

use super::{operation, say};
use crate::command::{At, Command};
use crate::execute::uses;
use crate::hosts::by_hand;
use crate::judge::{Check, Expect, Mode};
use crate::plan::Decision;
use crate::steps::{Step, Undo, When};

/// The plan in short, before it is confirmed.
pub(crate) fn plan(decision: &Decision, notes: &[String], steps: &[Step]) {
    say(&format!("{}: from {} to {} ({})", decision.intent, decision.from(), decision.to, decision.operation));
    for (index, step) in steps.iter().enumerate() {
        let mark = if step.point_of_no_return { "   << point of no return" } else { "" };
        say(&format!("{:>4}. {} {:18} {}{mark}", index + 1, bracket(steps, index), step.id, step.words));
    }
    if steps.iter().any(|step| step.beside) {
        say("  (steps behind one line begin together)");
    }
    for note in notes {
        say(&format!("  note: {note}"));
    }
}

/// A line along the steps of a group.
fn bracket(steps: &[Step], index: usize) -> char {
    let beside = |index: usize| steps.get(index).is_some_and(|step| step.beside);
    match (beside(index), beside(index + 1)) {
        (false, false) => ' ',
        (false, true) => '┌',
        (true, true) => '│',
        (true, false) => '└',
    }
}

/// Every command of every step, host by host.
pub(crate) fn dry_run(inventory: &Inventory, decision: &Decision, notes: &[String], steps: &[Step]) -> io::Result<()> {
    anstream::stdout().write_all(dry_run_text(inventory, decision, notes, steps).as_bytes())
}

pub(super) fn dry_run_text(inventory: &Inventory, decision: &Decision, notes: &[String], steps: &[Step]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# {} from {} to {}: {} steps; nothing is run",
        decision.intent,
        decision.from(),
        decision.to,
        steps.len()
    );
    for note in notes {
        let _ = writeln!(text, "# note: {note}");
    }
    text + &steps_text(inventory, steps)
}

/// Every command of some steps.
pub(super) fn steps_text(inventory: &Inventory, steps: &[Step]) -> String {
    let mut text = String::new();
    for (index, step) in steps.iter().enumerate() {
        let mark = if step.point_of_no_return { "; POINT OF NO RETURN" } else { "" };
        let mark = if step.beside { format!("; together with {}", steps[index - 1].id) } else { mark.to_owned() };
        let _ = writeln!(
            text,
            "\n## {}. {}: {} (at most {} s{mark})",
            index + 1,
            step.id,
            step.words,
            step.timeout.as_secs()
        );
        let mut at = None;
        let again = if step.when == When::Always {
            "# run even if it is so already"
        } else {
            "# skipped if this holds already:"
        };
        if step.run.is_empty() {
            checks(&mut text, inventory, &mut at, "# waits until this holds:", &step.checks);
            continue;
        }
        if !step.checks.is_empty() && step.when == When::Needed {
            checks(&mut text, inventory, &mut at, again, &step.checks);
        }
        if !step.require.is_empty() {
            checks(&mut text, inventory, &mut at, "# has to hold right before:", &step.require);
        }
        let _ = writeln!(text, "# run:");
        for command in &step.run {
            line(&mut text, inventory, &mut at, command, "");
        }
        if !step.meter.is_empty() {
            let _ = writeln!(text, "# meanwhile, every few seconds, how far it is:");
            for command in &step.meter {
                line(&mut text, inventory, &mut at, command, "");
            }
        }
        if step.when == When::Always && !step.checks.is_empty() {
            checks(&mut text, inventory, &mut at, "# has to hold afterwards:", &step.checks);
        }
        match &step.undo {
            Undo::Run { words, run, .. } => {
                let _ = writeln!(text, "# the way back: {words}:");
                for command in run {
                    line(&mut text, inventory, &mut at, command, "");
                }
            }
            Undo::Stays(words) => {
                let _ = writeln!(text, "# no way back by itself: {words}");
            }
            Undo::Unneeded(_) => {}
        }
    }
    text
}

/// What `resume --abandon` would run.
pub(crate) fn way_back(inventory: &Inventory, journal: &Journal, steps: &[Step]) -> io::Result<()> {
    let begun = journal.begun();
    let mut text = format!("# giving up {}: the way back; nothing is run\n", operation(journal));
    for step in steps.iter().rev().filter(|step| begun.contains(step.id.as_str())) {
        let mut at = None;
        match &step.undo {
            Undo::Run { words, run, .. } => {
                let _ = writeln!(text, "\n## {}: {words}", step.id);
                for command in run {
                    line(&mut text, inventory, &mut at, command, "");
                }
            }
            Undo::Stays(words) | Undo::Unneeded(words) => {
                let _ = writeln!(text, "\n## {}: {words}", step.id);
            }
        }
    }
    anstream::stdout().write_all(text.as_bytes())
}

fn checks(text: &mut String, inventory: &Inventory, at: &mut Option<At>, heading: &str, checks: &[Check]) {
    let _ = writeln!(text, "{heading}");
    for check in checks {
        let meaning = match &check.expect {
            Expect::Success | Expect::Reached => "",
            Expect::True => "   # says t first",
            Expect::FencedOff => "   # says confirmed, off",
            Expect::FencedStopped => "   # says confirmed, off, grade D",
            Expect::VipHeld(_) => "   # lists the address",
            Expect::VipAbsent(_) => "   # does not list the address",
            Expect::SameFiles => "   # both say the same",
            Expect::Maintenance(Mode::On) => "   # says is_maintenance_mode true",
            Expect::Maintenance(Mode::Quiet) => "   # says is_maintenance_mode true, and no building_jobs",
            Expect::Maintenance(Mode::Off) => "   # says is_maintenance_mode false",
            Expect::Compared => "   # which folders are beyond the counters",
            Expect::TokenPast { .. } => "   # has a token of the new timeline",
        };
        for command in &check.commands {
            line(text, inventory, at, command, meaning);
        }
    }
}

/// One command, after the host if that is another one than before. Facts of earlier steps are variables of that name.
fn line(text: &mut String, inventory: &Inventory, at: &mut Option<At>, command: &Command, meaning: &str) {
    if at.as_ref() != Some(&command.at) {
        let how = match &command.at {
            At::Operator => "this machine".to_owned(),
            At::Host(name) => inventory.hosts.get(name).map(by_hand).unwrap_or_default(),
        };
        let _ = writeln!(text, "# on {}: {how}", command.at);
        *at = Some(command.at.clone());
    }
    for name in uses(&command.script) {
        let _ = writeln!(text, "{name}=…   # what an earlier step has said");
    }
    let _ = writeln!(text, "{}{meaning}", command.script);
}

#[cfg(test)]
mod tests;
