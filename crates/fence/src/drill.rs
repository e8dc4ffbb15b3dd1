//! `fence drill`: a fence without its act. The devices are the real ones; nothing is switched.

use std::thread;
use std::time::Duration;

use bc_model::exit::Exit;
use bc_model::fencing::{DeviceDrill, DrillReport, FenceAction, Grade, NodeState};

use crate::agent::{Call, Rehearsal, seconds};
use crate::cli::Drill;
use crate::clock::{Clock, SystemClock, timestamp};
use crate::config::Config;
use crate::error::Error;
use crate::levels::{Device, Node};
use crate::order::Order;
use crate::render::{self, say};
use crate::stop::Stop;
use crate::verbs;

/// Rehearses a fence of one node, and for real where the node is an emulated one.
///
/// # Errors
/// Unknown node; `--for-real` for a node that is not marked; output that cannot be written.
pub(crate) fn run(config: &Config, drill: &Drill, stop: &Stop) -> Result<Exit, Error> {
    let node = config.node(&drill.node)?;
    if drill.for_real && !config.nodes.get(&drill.node).is_some_and(|node| node.emulated) {
        return Err(Error::NotEmulated(drill.node.clone()));
    }
    let mut report = rehearse(&node, stop);
    if drill.for_real {
        for action in [FenceAction::Off, FenceAction::On] {
            let done = verbs::carry(config, &Order::new(&drill.node, action, "drill for real"), stop)?;
            report.ready &= done.confirmed;
            report.real.push(done);
        }
    }
    render::print(&if drill.json { render::json(&report)? } else { words(&report) })?;
    Ok(if report.ready { Exit::Done } else { Exit::Failed })
}

/// Asks every device of every level at the same time.
fn rehearse(node: &Node<'_>, stop: &Stop) -> DrillReport {
    let at = timestamp();
    let devices: Vec<(u32, &Device<'_>)> =
        (1..).zip(&node.levels).flat_map(|(number, level)| level.iter().map(move |device| (number, device))).collect();
    let devices: Vec<DeviceDrill> = thread::scope(|scope| {
        let asked: Vec<_> =
            devices.iter().map(|(level, device)| scope.spawn(|| ask(*level, device, node.name, stop))).collect();
        asked.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let (level, grade, required) = expected(node, &devices);
    DrillReport {
        schema: DrillReport::SCHEMA,
        at,
        node: node.name.to_owned(),
        ready: level.is_some(),
        grade,
        required,
        level,
        devices,
        real: vec![],
    }
}

fn ask(level: u32, device: &Device<'_>, node: &str, stop: &Stop) -> DeviceDrill {
    let clock = SystemClock::new(stop.clone());
    let waiting = |elapsed: Duration| say(&format!("{node}: {}: {} s", device.name, elapsed.as_secs()));
    // Any action will do: the agent asks what it has to.
    let call = Call { action: crate::agent::Action::Monitor, node, limit: device.timeout, waiting: &waiting, stop };
    let Rehearsal { answer, at_most, missing } = device.agent.rehearse(&call);
    let works = answer.state != NodeState::Unknown;
    DeviceDrill {
        level,
        device: device.name.to_owned(),
        works,
        state: answer.state,
        grade: if works { device.grade.min(at_most) } else { Grade::X },
        detail: answer.detail,
        missing,
        took_ms: u64::try_from(clock.now().as_millis()).unwrap_or(u64::MAX),
    }
}

/// The level that a real fence would end with, what it would prove, and what is required of it.
fn expected(node: &Node<'_>, devices: &[DeviceDrill]) -> (Option<u32>, Grade, Grade) {
    let mut best = (None, Grade::X, node.need.silent);
    for (number, level) in (1..).zip(&node.levels) {
        let found = || devices.iter().filter(|device| device.level == number);
        let grade = found().map(|device| device.grade).min().unwrap_or(Grade::X);
        let required = node.need.of(level.iter().any(|device| device.agent.needs_the_host()));
        if found().all(|device| device.works) && grade >= required {
            return (Some(number), grade, required);
        }
        if grade > best.1 {
            best = (None, grade, required);
        }
    }
    best
}

fn words(report: &DrillReport) -> String {
    let mut lines = Vec::new();
    for device in &report.devices {
        lines.push(format!(
            "level {}: {} {}: {} ({}), would prove {}: {}",
            device.level,
            if device.works { "ok    " } else { "FAILED" },
            device.device,
            device.state,
            seconds(Duration::from_millis(device.took_ms)),
            device.grade,
            device.detail,
        ));
        lines.extend(device.missing.iter().map(|missing| format!("         missing: {missing}")));
    }
    for real in &report.real {
        let took = real.evidence.iter().map(|evidence| evidence.took_ms).sum();
        let verdict = if real.confirmed { "confirmed" } else { "NOT CONFIRMED" };
        let took = seconds(Duration::from_millis(took));
        lines.push(format!("for real: {} {verdict}, grade {}, {took} in calls", real.action, real.grade));
    }
    let DrillReport { node, grade, required, .. } = report;
    lines.push(match report.level {
        Some(level) if report.ready => {
            format!(
                "{node} would be fenced by level {level} with grade {grade} ({}); {required} is required",
                grade.meaning()
            )
        }
        _ => format!(
            "{node} would NOT be fenced: the best is grade {grade} ({}); {required} is required",
            grade.meaning()
        ),
    });
    lines.join("\n") + "\n"
}
