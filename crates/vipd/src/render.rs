//! Reports as words and as JSON. Data goes to stdout, words about it to stderr.

use std::io::{self, Write};

use bc_model::vip::{HeldAddress, InstanceStatus, VipChange, VipOutcome, VipReport, VipStatus};

use crate::daemon::protocol::Answer;
use crate::error::Error;

/// Prints the report of a change, and its warnings and error to `err`.
///
/// # Errors
/// What the stream says.
pub fn report(report: &VipReport, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    for warning in &report.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    if let Some(error) = &report.error {
        writeln!(err, "error: {error}")?;
    }
    if let Some(hint) = &report.hint {
        writeln!(err, "  hint: {hint}")?;
    }
    if json {
        return as_json(report, out);
    }
    if report.changes.is_empty() && report.error.is_none() {
        writeln!(err, "vipd has placed no address here; nothing to do")?;
    }
    report.changes.iter().try_for_each(|change| match report.dry_run {
        true => plan(change, out),
        false => done(change, report.after_fence.as_deref(), out),
    })
}

fn plan(change: &VipChange, out: &mut impl Write) -> io::Result<()> {
    if change.steps.is_empty() {
        return writeln!(out, "{} is not on {}; nothing to do", change.address, change.interface);
    }
    change.steps.iter().try_for_each(|step| writeln!(out, "would {}", step_in_words(step)))
}

/// Commands are "run"; the other steps begin with their own verb.
fn step_in_words(step: &str) -> String {
    let is_command = step.starts_with("ip ") || step.starts_with("sysctl ");
    if is_command { format!("run: {step}") } else { step.to_owned() }
}

fn done(change: &VipChange, after_fence: Option<&str>, out: &mut impl Write) -> io::Result<()> {
    let VipChange { address, interface, announcements, .. } = change;
    let fenced = after_fence.map(|node| format!(", after the fence of {node}")).unwrap_or_default();
    if let Some(instance) = &change.instance {
        let by = format!("{interface}{fenced} by the running vipd, instance {instance}");
        match change.outcome {
            VipOutcome::Assigned => writeln!(out, "{address} assigned to {by}")?,
            VipOutcome::AlreadyHeld => writeln!(out, "{address} is already on {by}; announced again")?,
            VipOutcome::Unassigned => writeln!(out, "{address} unassigned from {by}")?,
            VipOutcome::NotThere | VipOutcome::InUse => {
                writeln!(out, "{address} is not on {interface}; nothing to do")?
            }
        }
        return change.lease.iter().try_for_each(|lease| writeln!(out, "  lease: {lease}"));
    }
    match change.outcome {
        VipOutcome::Assigned => {
            let lease = "no lease: it stays until it is unassigned";
            writeln!(out, "{address} assigned to {interface}{fenced}; {announcements} announcements; {lease}")
        }
        VipOutcome::AlreadyHeld => {
            writeln!(out, "{address} is already on {interface}{fenced}; announced again, {announcements} announcements")
        }
        VipOutcome::Unassigned => writeln!(out, "{address} unassigned from {interface}"),
        VipOutcome::NotThere => writeln!(out, "{address} is not on {interface}; nothing to do"),
        // The error has said it.
        VipOutcome::InUse => Ok(()),
    }
}

/// Prints a status.
///
/// # Errors
/// What the stream says.
pub fn status(status: &VipStatus, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    if json {
        return as_json(status, out);
    }
    for instance in status.instances.iter().flatten() {
        self::instance(instance, out)?;
    }
    if status.addresses.is_empty() {
        return writeln!(err, "no virtual IP on this host");
    }
    for held in &status.addresses {
        let by = if held.placed_by_vipd { "vipd" } else { "other" };
        let lease = held.lease_remaining_ms.map(|ms| format!(" lease {ms} ms")).unwrap_or_default();
        let silent = if held.silent { ", silent: no vipd renews it" } else { "" };
        writeln!(out, "{} dev {} by {by}{lease}{silent}", held.address, held.interface)?;
    }
    match status.addresses.iter().find(|held| held.silent) {
        Some(held) if status.instances.is_none() => writeln!(err, "  hint: {}", how_to_mend(held)),
        _ => Ok(()),
    }
}

/// What to do about an address that a dead daemon left silent.
pub(crate) fn how_to_mend(held: &HeldAddress) -> String {
    if held.placed_by_vipd {
        "vipd does not run: systemctl start vipd, or vipd unassign --all".to_owned()
    } else {
        format!("vipd assign {} --dev {} lets it be heard", held.address, held.interface)
    }
}

fn instance(instance: &InstanceStatus, out: &mut impl Write) -> io::Result<()> {
    let InstanceStatus { name, interface, state, .. } = instance;
    let age = instance.state_age_ms / 1000;
    write!(out, "{name}: {state} on {interface} for {age}s")?;
    circumstances(instance, out)?;
    writeln!(out, "\n  lease: {}", instance.lease)?;
    instance.checks.iter().try_for_each(|check| {
        let why = check.why.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
        let state = match check.up {
            Some(true) => "up",
            Some(false) => "down",
            None => "runs for the first time",
        };
        writeln!(out, "  check {}: {state}{why}", check.name)
    })
}

/// What else there is to say about an instance in a line.
pub(crate) fn circumstances(instance: &InstanceStatus, out: &mut impl Write) -> io::Result<()> {
    if let Some(priority) = instance.priority {
        write!(out, ", priority {priority}")?;
        if let Some(configured) = instance.configured_priority {
            let weights = instance.weights.iter().map(|(what, weight)| format!(", {what} {weight:+}"));
            write!(out, " ({configured}{})", weights.collect::<String>())?;
        }
    }
    if let Some(active) = instance.active {
        write!(out, ", Active is {active}")?;
    }
    for (count, what) in [(instance.conflicts, "conflicts"), (instance.restores, "times put back")] {
        if count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    if let Some(waiting) = &instance.waiting {
        write!(out, "; waiting: {waiting}")?;
    }
    Ok(())
}

/// Prints what the daemon says while it is followed.
///
/// # Errors
/// What the stream says.
pub fn event(answer: &Answer, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    match answer {
        Answer::Event { event } if json => {
            serde_json::to_writer(&mut *out, event)?;
            writeln!(out)?;
            out.flush()
        }
        Answer::Event { event } => {
            let about = event.instance.as_deref().unwrap_or("vipd");
            writeln!(out, "{:.3} {about}: {}", event.at, event.what)?;
            out.flush()
        }
        Answer::Lost { events } => {
            writeln!(err, "warning: {events} events were lost, because they were read too slowly")
        }
        Answer::Done { message } => writeln!(err, "{message}"),
        Answer::Status { .. } | Answer::Metrics { .. } | Answer::Wrong { .. } | Answer::Refused { .. } => Ok(()),
    }
}

fn as_json(value: &impl serde::Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Puts an error into a report.
pub fn fail(report: &mut VipReport, error: &Error) {
    report.error = Some(error.to_string());
    report.hint = error.hint();
}
