//! What a person reads: data on stdout, words on stderr.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use bc_model::fencing::{
    CheckReport, Evidence, FenceAction, FenceReport, Grade, HistoryLine, LevelReach, NodeState, ReachReport, SeenToken,
};
use serde::Serialize;

use crate::agent::{Preview, seconds};
use crate::error::Error;
use crate::history::History;
use crate::history::chain::Verified;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// Prints data. A reader that went away early has what it wanted.
///
/// # Errors
/// When the output cannot be written for any other reason.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// One line for the person who waits. That nobody reads it is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

pub(crate) fn warn(line: &str) {
    say(&format!("{WARNING}warning:{WARNING:#} {line}"));
}

pub(crate) fn complain(error: &Error) {
    say(&format!("{ERROR}error:{ERROR:#} {error}"));
    if let Some(hint) = error.hint() {
        say(&format!("  {HINT}hint:{HINT:#} {hint}"));
    }
}

/// `value` as JSON, ending with a newline.
///
/// # Errors
/// When it cannot be represented, which the types of the reports rule out.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
    text.push('\n');
    Ok(text)
}

/// One line: the node, its state, and the last answer of each device.
pub(crate) fn report(report: &FenceReport) -> String {
    let verdict = match (report.action, report.confirmed) {
        (FenceAction::Off, true) => format!("is off: asked again, and answered off; {}", proof(report)),
        (FenceAction::Off, false) => "is not proven off".to_owned(),
        (FenceAction::On, true) => "is on".to_owned(),
        (FenceAction::On, false) => "is not proven on".to_owned(),
        (FenceAction::Status, _) => match report.state {
            NodeState::On => "is on".to_owned(),
            NodeState::Off => format!("is off; {}", proof(report)),
            NodeState::Unknown => "cannot say whether it is on".to_owned(),
        },
    };
    format!("{} {verdict}\n{}", report.node, findings(report))
}

/// `grade A: power off, read back`.
fn proof(report: &FenceReport) -> String {
    let short =
        if report.grade < report.required { format!("; {} is required", report.required) } else { String::new() };
    format!("grade {}: {}{short}", report.grade, report.grade.meaning())
}

/// The last answer of each device, and what does not go together.
fn findings(report: &FenceReport) -> String {
    let mut text = last_answers(&report.evidence);
    for contradiction in &report.contradictions {
        let _ = writeln!(text, "  contradiction: {contradiction}");
    }
    text
}

/// Each device with its last answer to `status`, or its last answer at all.
fn last_answers(evidence: &[Evidence]) -> String {
    let mut text = String::new();
    for (at, answer) in evidence.iter().enumerate() {
        if evidence[at + 1..].iter().any(|later| later.device == answer.device) {
            continue;
        }
        let said = match answer.state {
            NodeState::Unknown => "could not say".to_owned(),
            state => format!("answered {state}"),
        };
        let _ = writeln!(text, "  level {}: {} {said} ({})", answer.level, answer.device, answer.detail);
    }
    text
}

/// Why the node is not proven off or on, device by device, and what to do.
pub(crate) fn unconfirmed(report: &FenceReport, able: bool) {
    let FenceReport { node, action, .. } = report;
    let short = if report.grade > Grade::X { format!(" well enough: {}", proof(report)) } else { String::new() };
    say(&format!("{ERROR}error:{ERROR:#} {node} is not proven {action}{short}"));
    say(findings(report).trim_end_matches('\n'));
    let hint = match action {
        FenceAction::On if !able => "none of its devices can turn it on; start the host by hand".to_owned(),
        FenceAction::On => format!("look at the devices named above, then run `fence on {node}` again: it is safe"),
        FenceAction::Off | FenceAction::Status => format!(
            "do not promote a standby of {node} yet; make a device named above answer, or cut the power by hand, then run `fence off {node}` again: it is safe"
        ),
    };
    say(&format!("  {HINT}hint:{HINT:#} {hint}"));
}

/// One thing that would be run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedCall {
    pub(crate) level: u32,
    pub(crate) device: String,
    pub(crate) action: FenceAction,
    pub(crate) timeout_ms: u128,
    #[serde(flatten)]
    pub(crate) preview: Preview,
}

pub(crate) fn plan(node: &str, action: FenceAction, calls: &[PlannedCall]) -> String {
    let mut text = format!("{node}: {action}; nothing is run\n");
    let mut level = 0;
    for call in calls {
        if call.level != level {
            level = call.level;
            let when = if level == 1 || action == FenceAction::On { "" } else { ", if the level before fails" };
            let _ = writeln!(text, "level {level}{when}:");
        }
        let repeated =
            if call.action == FenceAction::Status { format!(", until it answers {action}") } else { String::new() };
        let limit = seconds(std::time::Duration::from_millis(u64::try_from(call.timeout_ms).unwrap_or(u64::MAX)));
        let _ = writeln!(text, "  {} {}{repeated}, at most {limit}:", call.device, call.action);
        let _ = writeln!(text, "    {}", call.preview.command.join(" ").replace('\n', "\n      "));
        for line in &call.preview.stdin {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

/// Each node, and what its levels could prove.
pub(crate) fn reach(report: &ReachReport) -> String {
    let mut text = String::new();
    for node in &report.nodes {
        let verdict = if node.enough { "could be proven off" } else { "could NOT be proven off well enough" };
        let _ = writeln!(text, "{} {verdict}", node.node);
        for LevelReach { level, grade, required, devices } in &node.levels {
            let devices: Vec<String> =
                devices.iter().map(|device| format!("{} ({})", device.device, device.grade)).collect();
            let short = if grade < required { format!("; {required} is required") } else { String::new() };
            let _ =
                writeln!(text, "  level {level}: {}: grade {grade}, {}{short}", devices.join(", "), grade.meaning());
        }
    }
    text
}

pub(crate) fn check(report: &CheckReport) -> String {
    let mut text = String::new();
    for device in &report.devices {
        let verdict = if device.healthy { "ok    " } else { "FAILED" };
        let nodes = if device.nodes.is_empty() { "no node".to_owned() } else { device.nodes.join(", ") };
        let _ = writeln!(text, "{verdict} {} ({nodes}): {}; {}", device.device, device.state, device.detail);
    }
    text
}

/// A person's word, as it was written down.
pub(crate) fn confirmation(report: &FenceReport) -> String {
    let short = if report.grade < report.required {
        format!("; policy requires {}, so it does not count by itself", report.required)
    } else {
        String::new()
    };
    format!("{} vouches that {} is off: grade {}, not verified{short}\n", report.by, report.node, report.grade)
}

/// What `verify-history` found.
pub(crate) fn verified(file: &std::path::Path, found: &Verified, wanted: Option<&str>) -> String {
    let mut text = String::new();
    for flaw in &found.flaws {
        let _ = writeln!(text, "{}:{}: {}", file.display(), flaw.line, flaw.problem);
    }
    let _ = write!(text, "{} lines in the chain", found.lines);
    if found.before > 0 {
        let _ = write!(text, ", {} before it (the first format)", found.before);
    }
    if found.torn > 0 {
        let _ = write!(text, ", {} torn and accounted for", found.torn);
    }
    if found.unfinished > 0 {
        let _ = write!(text, ", {} bytes torn at the end (the next request accounts for them)", found.unfinished);
    }
    text.push('\n');
    match (wanted, found.found) {
        (Some(_), Some(line)) => {
            let _ = writeln!(text, "the head given is line {line}");
        }
        (Some(wanted), None) => {
            let _ = writeln!(text, "the head given is not in it: {wanted}");
        }
        (None, _) => {}
    }
    let _ = writeln!(text, "head {}", found.head.as_deref().unwrap_or("none"));
    text
}

/// One line for each request, oldest first.
pub(crate) fn history(history: &History) -> String {
    let mut text = String::new();
    let lines: Vec<&HistoryLine> = history.lines.iter().map(|(_, line)| line).collect();
    for (at, line) in lines.iter().enumerate() {
        match line {
            HistoryLine::Verdict(report) if report.is_a_persons_word() => {
                let FenceReport { at, node, by, reason, .. } = report;
                let _ =
                    writeln!(text, "{at:.0} off {node}: a person's word (grade E, not verified); by {by}: {reason}");
            }
            HistoryLine::Verdict(report) => {
                let FenceReport { at, node, action, state, grade, by, reason, .. } = report;
                let verdict = if report.confirmed { "confirmed" } else { "NOT CONFIRMED" };
                let merged = if report.merged { ", by a request that was running" } else { "" };
                let grade = if *grade > Grade::X { format!(", grade {grade}") } else { String::new() };
                let _ = writeln!(text, "{at:.0} {action} {node}: {verdict}, {state}{grade}{merged}; by {by}: {reason}");
            }
            HistoryLine::Intent(intent) => {
                let later = &lines[at..];
                let ended = |line: &&HistoryLine| matches!(line, HistoryLine::Verdict(verdict) if (verdict.at, &verdict.node) == (intent.at, &intent.node));
                let continued = |line: &&HistoryLine| matches!(line, HistoryLine::Intent(next) if (next.continues, &next.node) == (Some(intent.at), &intent.node));
                if !later.iter().any(ended) {
                    let next = if later.iter().any(continued) { "; continued later" } else { ", or it still runs" };
                    let _ = writeln!(
                        text,
                        "{:.0} {} {}: NO VERDICT, it was killed{next}; by {}: {}",
                        intent.at, intent.action, intent.node, intent.by, intent.reason
                    );
                }
            }
            HistoryLine::Token(SeenToken { at, node, token, by }) => {
                let _ = writeln!(text, "{at:.0} token {node}: {token}; by {by}");
            }
            HistoryLine::Attempt(_) | HistoryLine::Observed(_) | HistoryLine::Torn(_) => {}
        }
    }
    text
}
