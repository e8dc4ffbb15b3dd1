//! The verbs of the command line, from configuration to report.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use bc_model::exit::Exit;
use bc_model::fencing::{
    CheckReport, DeviceCheck, FenceAction, FenceIntent, FenceReport, Grade, HistoryLine, NodeState, SeenToken, Token,
    TokenError, TokenReport,
};
use jiff::SignedDuration;

use crate::agent::{Action, Answer, Call};
use crate::cli::{Act, Confirm, Off};
use crate::clock::{Clock, SystemClock, timestamp};
use crate::config::{Config, Device, users_of};
use crate::disk::RealDisk;
use crate::error::Error;
use crate::history::{self, Durable, chain};
use crate::levels::{Means, NoLedger, Node, carry_out};
use crate::order::Order;
use crate::render::{self, PlannedCall, say, warn};
use crate::right::{RightError, Tokens};
use crate::stop::Stop;
use crate::{caller, request};

pub(crate) use crate::request::carry;
use crate::request::vouched;

/// More than any token needs.
const LONGEST_TOKEN: u64 = 4096;

/// `fence off` and `fence on`.
///
/// # Errors
/// Before anything is touched: unknown node, lock held, history not writable.
pub(crate) fn act(config: &Config, order: &Order, act: &Act, stop: &Stop) -> Result<Exit, Error> {
    let node = config.node(&act.node)?;
    config.warnings.iter().for_each(|warning| warn(warning));
    if act.dry_run {
        show_plan(config, &act.node, order.action, act.json)?;
        return Ok(Exit::Done);
    }
    let able = order.action == FenceAction::Off || node.levels.iter().flatten().any(|device| device.agent.turns_on());
    let report = carry(config, order, stop)?;
    tell(&report, act.json, able);
    Ok(exit_of(&report))
}

/// What `off` was given, as an order.
///
/// # Errors
/// When the token cannot be read.
pub(crate) fn off(off: &Off) -> Result<Order, Error> {
    Ok(Order {
        require: off.require,
        tolerance: off.tolerance,
        no_delay: off.no_delay,
        override_brake: off.override_brake,
        ..order(FenceAction::Off, &off.act)?
    })
}

/// What `on` was given, as an order.
///
/// # Errors
/// When the token cannot be read.
pub(crate) fn on(act: &Act) -> Result<Order, Error> {
    order(FenceAction::On, act)
}

fn order(action: FenceAction, act: &Act) -> Result<Order, Error> {
    Ok(Order { token: act.token.as_deref().map(token).transpose()?, ..Order::new(&act.node, action, &act.reason) })
}

/// Shows a report; that it cannot be shown changes nothing of what was done.
pub(crate) fn tell(report: &FenceReport, json: bool, able: bool) {
    if let Err(error) = render_report(report, json, able) {
        render::complain(&error);
    }
}

/// Shows what would be run.
///
/// # Errors
/// Unknown node, or output that cannot be written.
pub(crate) fn show_plan(config: &Config, node: &str, action: FenceAction, json: bool) -> Result<(), Error> {
    let node = config.node(node)?;
    let calls = plan(&node, action);
    render::print(&if json { render::json(&calls)? } else { render::plan(node.name, action, &calls) })
}

/// What a report means to the caller of the program.
pub(crate) fn exit_of(report: &FenceReport) -> Exit {
    match (report.confirmed, report.action) {
        (true, _) => Exit::Done,
        (false, FenceAction::Off) => Exit::NotFenced,
        (false, FenceAction::On | FenceAction::Status) => Exit::Failed,
    }
}

/// `fence confirm`: a person vouches for it.
///
/// # Errors
/// Unknown node, stale token, another name typed than the node's, history not writable.
pub(crate) fn confirm(config: &Config, confirm: &Confirm, stop: &Stop) -> Result<Exit, Error> {
    config.node(&confirm.node)?;
    let token = confirm.token.as_deref().map(token).transpose()?;
    if io::stdin().is_terminal() {
        say(&format!(
            "No device will be asked. You vouch that {0} is off and stays off until you say otherwise;\n\
             if it is not, two servers may write at once. Type the name of the node to go on:",
            confirm.node
        ));
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed).map_err(Error::Output)?;
        if typed.trim() != confirm.node {
            return Err(Error::NotTyped);
        }
    }
    let order = Order { token, ..Order::new(&confirm.node, FenceAction::Off, &confirm.reason) };
    let report = request::confirm(config, &order, stop)?;
    render::print(&if confirm.json { render::json(&report)? } else { render::confirmation(&report) })?;
    Ok(Exit::Done)
}

/// `fence token`: what was seen, or one more.
///
/// # Errors
/// Unknown node, stale token, token or history that cannot be read or written.
pub(crate) fn tokens(config: &Config, node: Option<&str>, raise: Option<&str>, json: bool) -> Result<Exit, Error> {
    let tokens = Tokens::beside(&config.history);
    if let (Some(node), Some(raise)) = (node, raise) {
        config.node(node)?;
        let (token, now) = (token(raise)?, timestamp());
        tokens.check(node, &token, now)?;
        if tokens.highest(node)?.is_none_or(|seen| seen.rank() < token.rank()) {
            // The line first: whoever is killed in between says it again, and nothing is known that nobody has said.
            let line = SeenToken { at: now, node: node.to_owned(), token: token.clone(), by: caller::name() };
            let line = HistoryLine::Token(line);
            history::append(&RealDisk, &config.history, &line, now, Durable::Now).map_err(Error::History)?;
            tokens.admit(&RealDisk, node, &token, now)?;
        }
    }
    let nodes = node.map_or_else(|| tokens.nodes(), |node| Ok(vec![node.to_owned()]))?;
    let seen =
        nodes.into_iter().map(|node| Ok((tokens.highest(&node)?, node))).collect::<Result<Vec<_>, RightError>>()?;
    if json {
        let tokens = seen.into_iter().filter_map(|(token, node)| Some((node, token?))).collect();
        return render::print(&render::json(&TokenReport { schema: FenceReport::SCHEMA, tokens })?)
            .map(|()| Exit::Done);
    }
    let line = |(token, node): (Option<Token>, String)| {
        format!("{node} {}\n", token.map_or_else(|| "none".to_owned(), |token| token.to_string()))
    };
    render::print(&seen.into_iter().map(line).collect::<String>())?;
    Ok(Exit::Done)
}

/// Reads what `--token` was given: the text of a token, a file that holds one as text or JSON, or `-` for standard input.
///
/// # Errors
/// When there is none.
pub(crate) fn token(given: &str) -> Result<Token, Error> {
    if let Some(token) = immediate(given) {
        return Ok(token);
    }
    let problem = |problem: String| Error::Token { file: given.to_owned(), problem };
    let mut text = String::new();
    let read = if given == "-" {
        io::stdin().lock().take(LONGEST_TOKEN).read_to_string(&mut text)
    } else {
        File::open(given).and_then(|file| file.take(LONGEST_TOKEN).read_to_string(&mut text))
    };
    read.map_err(|error| problem(error.to_string()))?;
    match text.trim() {
        json if json.starts_with('{') => serde_json::from_str(json).map_err(|error| problem(error.to_string())),
        text => text.parse().map_err(|error: TokenError| problem(error.to_string())),
    }
}

/// A token in full. Instead of the time when it expires, `+DURATION` counts from now: for a caller that starts `fence` itself.
fn immediate(given: &str) -> Option<Token> {
    let Some((rest, length)) = given.rsplit_once("/+") else { return given.parse().ok() };
    let expires = timestamp().checked_add(length.parse::<SignedDuration>().ok()?).ok()?;
    format!("{rest}/{expires}").parse().ok()
}

/// `fence verify-history`.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn verify_history(file: &Path, head: Option<&str>, json: bool) -> Result<Exit, Error> {
    let bytes = history::bytes(file).map_err(Error::History)?;
    let found = chain::verify(&bytes, head);
    let sound = found.flaws.is_empty() && (head.is_none() || found.found.is_some());
    render::print(&if json { render::json(&found)? } else { render::verified(file, &found, head) })?;
    Ok(if sound { Exit::Done } else { Exit::Failed })
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

/// `fence status`: all nodes at the same time, so that one dead device does not keep the others waiting.
///
/// # Errors
/// Unknown node, or output that cannot be written.
pub(crate) fn status(
    config: &Config,
    node: Option<&str>,
    require: Option<Grade>,
    json: bool,
    stop: &Stop,
) -> Result<Exit, Error> {
    let reports = ask_for(config, node, require, stop)?;
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
    ask_for(config, node, None, stop)
}

/// The same, where a grade beyond policy must be reached to count as off.
///
/// # Errors
/// Unknown node.
pub(crate) fn ask_for(
    config: &Config,
    node: Option<&str>,
    require: Option<Grade>,
    stop: &Stop,
) -> Result<Vec<FenceReport>, Error> {
    let names: Vec<&str> = node.map_or_else(|| config.nodes.keys().map(String::as_str).collect(), |node| vec![node]);
    let mut nodes = names.into_iter().map(|name| config.node(name)).collect::<Result<Vec<_>, _>>()?;
    nodes.iter_mut().for_each(|node| node.need = request::raised(node.need, require));
    let by = caller::name();
    let ask = |node: &Node<'_>| {
        let question = FenceIntent {
            schema: FenceReport::SCHEMA,
            at: timestamp(),
            node: node.name.to_owned(),
            action: FenceAction::Status,
            reason: String::new(),
            by: by.clone(),
            token: None,
            require: None,
            continues: None,
        };
        let means = Means {
            clock: &SystemClock::new(stop.clone()),
            waiting: &say,
            answered: &|_| {},
            ledger: &NoLedger,
            look_first: false,
            stop,
        };
        let outcome = carry_out(FenceAction::Status, node, &means);
        // A status is asked while nothing is written: a history that cannot be read takes a person's word away, no more.
        let history = history::read(&config.history).unwrap_or_default();
        let outcome = vouched(&history, node, question.at, outcome);
        FenceReport { ended: Some(timestamp()), ..request::report(&question, outcome) }
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
    let of = |line: &HistoryLine| node.is_none() || line.node() == node;
    history.lines.retain(|(_, line)| of(line));
    let text = if json {
        let lines = history.lines.iter().map(|(_, line)| serde_json::to_string(line)).collect::<Result<Vec<_>, _>>();
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
