//! The verbs of the command line, from configuration to report.

use std::path::Path;
use std::thread;
use std::time::Duration;

use bc_model::exit::Exit;
use bc_model::fencing::{CheckReport, DeviceCheck, FenceAction, FenceIntent, FenceReport, HistoryLine, NodeState};
use jiff::Timestamp;

use crate::agent::{Action, Answer, Call};
use crate::cli::Act;
use crate::clock::{Clock, SystemClock, timestamp};
use crate::config::{Config, Device, users_of};
use crate::error::Error;
use crate::levels::{Means, Need, Node, Outcome, SETTLE, carry_out};
use crate::order::Order;
use crate::render::{self, PlannedCall, say, warn};
use crate::stop::Stop;
use crate::{caller, history, lock};

/// `fence off` and `fence on`.
///
/// # Errors
/// Before anything is touched: unknown node, lock held, history not writable.
pub(crate) fn act(config: &Config, action: FenceAction, act: &Act, stop: &Stop) -> Result<Exit, Error> {
    let node = config.node(&act.node)?;
    config.warnings.iter().for_each(|warning| warn(warning));
    if act.dry_run {
        let calls = plan(&node, action);
        render::print(&if act.json { render::json(&calls)? } else { render::plan(node.name, action, &calls) })?;
        return Ok(Exit::Done);
    }
    let able = action == FenceAction::Off || node.levels.iter().flatten().any(|device| device.agent.turns_on());
    let order = Order { require: act.require, ..Order::new(&act.node, action, &act.reason) };
    let report = carry(config, &order, stop)?;
    tell(&report, act.json, able);
    Ok(exit_of(&report))
}

/// Shows a report; that it cannot be shown changes nothing of what was done.
pub(crate) fn tell(report: &FenceReport, json: bool, able: bool) {
    if let Err(error) = render_report(report, json, able) {
        render::complain(&error);
    }
}

/// What a report means to the caller of the program.
pub(crate) fn exit_of(report: &FenceReport) -> Exit {
    match (report.confirmed, report.action) {
        (true, _) => Exit::Done,
        (false, FenceAction::Off) => Exit::NotFenced,
        (false, FenceAction::On | FenceAction::Status) => Exit::Failed,
    }
}

/// Carries out an order, and writes it down; every caller of `fence` comes through here.
///
/// # Errors
/// Before anything is touched: unknown node, lock held, history not writable.
pub(crate) fn carry(config: &Config, order: &Order, stop: &Stop) -> Result<FenceReport, Error> {
    let Order { action, reason, by, require, .. } = order;
    let mut node = config.node(&order.node)?;
    if let Some(require) = *require {
        node.need = Need { silent: node.need.silent.max(require), answering: node.need.answering.max(require) };
    }
    let clock = SystemClock::new(stop.clone());
    let busy =
        |holder: &str| say(&format!("{}: another request is running ({holder}); waiting for it to end", node.name));
    let _lock = lock::take(&config.history, node.name, budget(&node), (&clock, stop), &busy)?;
    let intent = FenceIntent {
        schema: FenceReport::SCHEMA,
        at: timestamp(),
        node: node.name.to_owned(),
        action: *action,
        reason: reason.clone(),
        by: by.clone(),
    };
    history::append(&config.history, &HistoryLine::Intent(intent.clone())).map_err(Error::Intent)?;
    let outcome = carry_out(*action, &node, &Means { clock: &clock, waiting: &say, answered: &say, stop });
    let mut report = report(intent.at, &node, *action, intent.reason, intent.by, outcome);
    report.token.clone_from(&order.token);
    // What was done is done: neither a full disk nor a closed terminal may turn it into another answer.
    if let Err(error) = history::append(&config.history, &HistoryLine::Outcome(report.clone())) {
        warn(&format!("the outcome is not in the history: {error}"));
    }
    Ok(report)
}

fn render_report(report: &FenceReport, json: bool, able: bool) -> Result<(), Error> {
    if !report.confirmed {
        render::unconfirmed(report, able);
    }
    if json {
        render::print(&render::json(report)?)
    } else if report.confirmed {
        render::print(&render::report(report))
    } else {
        Ok(())
    }
}

/// The longest that a request for this node can take, and so the longest that another one waits for it.
fn budget(node: &Node<'_>) -> Duration {
    node.levels.iter().map(|level| level.iter().map(|device| device.timeout).sum::<Duration>() + SETTLE).sum()
}

fn plan(node: &Node<'_>, action: FenceAction) -> Vec<PlannedCall> {
    let mut calls = Vec::new();
    for (level, devices) in (1..).zip(&node.levels) {
        for device in devices.iter().filter(|device| action == FenceAction::Off || device.agent.turns_on()) {
            for action in [action, FenceAction::Status] {
                calls.push(PlannedCall {
                    level,
                    device: device.name.to_owned(),
                    action,
                    timeout_ms: device.timeout.as_millis(),
                    preview: device.agent.preview(Action::from(action), node.name),
                });
            }
        }
    }
    calls
}

fn report(
    at: Timestamp,
    node: &Node<'_>,
    action: FenceAction,
    reason: String,
    by: String,
    outcome: Outcome,
) -> FenceReport {
    let Outcome { state, confirmed, grade, required, contradictions, evidence } = outcome;
    FenceReport {
        schema: FenceReport::SCHEMA,
        at,
        node: node.name.to_owned(),
        action,
        reason,
        by,
        state,
        confirmed,
        grade,
        required,
        contradictions,
        token: None,
        merged: false,
        evidence,
    }
}

/// `fence status`: all nodes at the same time, so that one dead device does not keep the others waiting.
///
/// # Errors
/// Unknown node, or output that cannot be written.
pub(crate) fn status(config: &Config, node: Option<&str>, json: bool, stop: &Stop) -> Result<Exit, Error> {
    let reports = ask(config, node, stop)?;
    let text = match (json, node, &reports[..]) {
        (true, Some(_), [one]) => render::json(one)?,
        (true, ..) => render::json(&reports)?,
        (false, ..) => reports.iter().map(render::report).collect(),
    };
    render::print(&text)?;
    Ok(if reports.iter().all(|report| report.confirmed) { Exit::Done } else { Exit::Failed })
}

/// The status of one node, or of all of them at the same time.
///
/// # Errors
/// Unknown node.
pub(crate) fn ask(config: &Config, node: Option<&str>, stop: &Stop) -> Result<Vec<FenceReport>, Error> {
    let names: Vec<&str> = node.map_or_else(|| config.nodes.keys().map(String::as_str).collect(), |node| vec![node]);
    let nodes = names.into_iter().map(|name| config.node(name)).collect::<Result<Vec<_>, _>>()?;
    let by = caller::name();
    let ask = |node: &Node<'_>| {
        let clock = SystemClock::new(stop.clone());
        let at = timestamp();
        let outcome =
            carry_out(FenceAction::Status, node, &Means { clock: &clock, waiting: &say, answered: &|_| {}, stop });
        report(at, node, FenceAction::Status, String::new(), by.clone(), outcome)
    };
    Ok(at_once(&nodes, ask))
}

/// `fence check`: `monitor`, then `status`, of every device at the same time.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn check(config: &Config, json: bool, stop: &Stop) -> Result<Exit, Error> {
    config.warnings.iter().for_each(|warning| warn(warning));
    let devices = check_devices(config, None, stop);
    let healthy = devices.iter().all(|device| device.healthy);
    let report = CheckReport { schema: FenceReport::SCHEMA, healthy, warnings: config.warnings.clone(), devices };
    render::print(&if json { render::json(&report)? } else { render::check(&report) })?;
    Ok(if healthy { Exit::Done } else { Exit::Failed })
}

/// Every device, or those of one node, at the same time.
pub(crate) fn check_devices(config: &Config, node: Option<&str>, stop: &Stop) -> Vec<DeviceCheck> {
    let devices: Vec<(&String, &Device)> = config
        .devices
        .iter()
        .filter(|(name, _)| node.is_none_or(|node| users_of(name, &config.nodes).contains(&node)))
        .collect();
    at_once(&devices, |(name, device)| check_device(config, name, device, stop))
}

fn check_device(config: &Config, name: &str, device: &Device, stop: &Stop) -> DeviceCheck {
    let clock = SystemClock::new(stop.clone());
    let nodes = users_of(name, &config.nodes);
    let node = nodes.first().copied().unwrap_or(name);
    let ask = |action: Action| {
        let waiting = |elapsed: Duration| say(&format!("{name}: {}: {} s", action.as_str(), elapsed.as_secs()));
        device.agent.call(&Call { action, node, limit: device.timeout, waiting: &waiting, stop })
    };
    let monitor = ask(Action::Monitor);
    let answer =
        if monitor.obeyed { ask(Action::Status) } else { Answer::unknown(format!("monitor: {}", monitor.detail)) };
    DeviceCheck {
        device: name.to_owned(),
        nodes: nodes.into_iter().map(str::to_owned).collect(),
        healthy: answer.state != NodeState::Unknown,
        state: answer.state,
        detail: answer.detail,
        took_ms: u64::try_from(clock.now().as_millis()).unwrap_or(u64::MAX),
    }
}

/// `fence history`.
///
/// # Errors
/// When the history cannot be read; a node that is no longer configured is found in it all the same.
pub(crate) fn show_history(file: &Path, node: Option<&str>, last: Option<usize>, json: bool) -> Result<Exit, Error> {
    let mut history = history::read(file).map_err(Error::History)?;
    for number in &history.unreadable {
        warn(&format!(
            "{}:{number}: not readable, skipped; a program killed while it wrote leaves such a line",
            file.display()
        ));
    }
    let of = |line: &HistoryLine| match line {
        HistoryLine::Intent(intent) => node.is_none_or(|node| node == intent.node),
        HistoryLine::Outcome(report) => node.is_none_or(|node| node == report.node),
    };
    history.lines.retain(of);
    let text = if json {
        let lines = history.lines.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
        lines.map_err(|error| Error::Output(error.into()))?.iter().map(|line| format!("{line}\n")).collect()
    } else {
        render::history(&history)
    };
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(last.unwrap_or(usize::MAX))..];
    render::print(&shown.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(Exit::Done)
}

/// Does `work` for every item in a thread of its own; answers in the order of the items.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
