//! `fence self`: this host makes itself harmless. The gate first, so that nothing comes back; then the virtual IPs, with the daemon that
//! would take them again, because clients must not find a half-dead server; then the services, stopped and seen stopped; then, if it is asked for, the power.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bc_model::exit::Exit;
use bc_model::fencing::{FenceAction, FenceReport, Grade};
use clap::Args;

use crate::child::{self, Ended};
use crate::clock::timestamp;
use crate::config::{Config, Node};
use crate::error::Error;
use crate::gate::{self, Closed};
use crate::levels::Need;
use crate::order::Order;
use crate::render::{complain, say, warn};
use crate::stop::Stop;
use crate::{caller, verbs};

/// The longest that `vipd` or `systemctl` is waited for.
const LIMIT: Duration = Duration::from_secs(20);

/// The unit of the daemon that takes part in elections.
const VIPD: &str = "vipd.service";
/// What `systemctl stop` says of a unit that is not loaded (LSB: program is not installed).
const NO_SUCH_UNIT: i32 = 5;

const EXAMPLES: &str = "\
Examples:
  fence self --reason \"the peer was promoted\" --dry-run
  fence self --reason \"the peer was promoted\"       exit 0 only when the services were seen stopped, and the VIPs dropped
  OnFailure=fence-self@%n.service                   in a unit: systemd calls it when the unit has failed

In fence.toml: [local] node = \"pg1\", stop = [\"pg1-here\"], and a device with agent = \"services\" or \"postgresql\".
To undo it: fence gate clear --token TOKEN, then start the services, and vipd.

Exit codes: 0 seen stopped, 2 not configured, 5 not seen stopped, or a virtual IP may still be here";

/// `fence self`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SelfFence {
    /// Why; kept in the history and in the gate
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Turn the host off afterwards; at once if its services could not be seen stopped
    #[arg(long)]
    pub(crate) power_off: bool,
    /// The gate directory
    #[arg(long, value_name = "DIR", env = "FENCE_GATE", default_value = gate::DIRECTORY)]
    pub(crate) gate_directory: PathBuf,
    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The configuration does not say what this host has to stop.
#[derive(Debug, thiserror::Error)]
#[error("fence self: the configuration does not say {0}")]
pub(crate) struct NotConfigured(&'static str);

/// Carries out `fence self`.
///
/// # Errors
/// Before anything is touched when it is not configured; else when nothing could be written down or stopped at all. The power is
/// turned off also then, if that was asked for.
pub(crate) fn run(mut config: Config, request: &SelfFence, stop: &Stop) -> Result<Exit, Error> {
    let node = only_here(&mut config)?;
    if request.dry_run {
        say(&format!("would close the gate of {node} in {}", request.gate_directory.display()));
        say(&format!("would run: systemctl stop {VIPD}"));
        say("would run: vipd unassign --all");
        verbs::show_plan(&config, &node, FenceAction::Off, request.json)?;
        if request.power_off {
            say("would run: systemctl poweroff");
        }
        return Ok(Exit::Done);
    }
    let closed = Closed {
        node: node.clone(),
        at: Some(timestamp()),
        by: Some(caller::name()),
        reason: Some(request.reason.clone()),
        token: None,
    };
    // What fails here is told, and the next thing is done all the same: each of them helps.
    if let Err(error) = gate::set(&request.gate_directory, &closed, timestamp()) {
        complain(&Error::Gate(error));
    }
    let dropped = drop_addresses(stop);
    let order = Order {
        require: Some(Grade::D),
        // Nobody races against this host for itself, and stopping it harms nobody else.
        no_delay: true,
        override_brake: true,
        may_be_self: true,
        ..Order::new(&node, FenceAction::Off, &request.reason)
    };
    let report = verbs::carry(&config, &order, stop);
    let proven = dropped && report.as_ref().is_ok_and(|report| report.confirmed);
    if let Ok(report) = &report {
        verbs::tell(report, request.json, true);
    }
    if request.power_off {
        power_off(proven, stop);
    }
    report.map(|report: FenceReport| if dropped { verbs::exit_of(&report) } else { Exit::NotFenced })
}

/// Leaves of this host's devices only those that act here: cutting the own power first would leave nobody to prove anything.
fn only_here(config: &mut Config) -> Result<String, NotConfigured> {
    let local = config.site.local.clone().ok_or(NotConfigured("which node this host is: add [local] node = \"…\""))?;
    if local.stop.is_empty() {
        return Err(NotConfigured("what to stop here: add stop = [\"DEVICE\"] under [local]"));
    }
    let levels = vec![local.stop.clone()];
    let need = Need { silent: Grade::D, answering: Grade::D };
    config.nodes.insert(local.node.clone(), Node::here(levels, need));
    Ok(local.node)
}

/// Whether this host lets go of its virtual IPs, and nothing takes them again.
fn drop_addresses(stop: &Stop) -> bool {
    // An election would give it others; a daemon of another unit, or of none, has `vipd unassign` refuse.
    let mut command = Command::new("systemctl");
    command.args(["stop", VIPD]);
    match child::run(&mut command, Vec::new(), LIMIT, &|_| {}, stop) {
        Ok(finished) if matches!(finished.ended, Ended::Exited(0 | NO_SUCH_UNIT)) => {}
        Ok(finished) => warn(&format!("systemctl stop {VIPD}: {:?}: {}", finished.ended, finished.stderr.trim())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => warn(&format!("systemctl: {error}")),
    }
    let mut command = Command::new("vipd");
    command.args(["unassign", "--all"]);
    let why = match child::run(&mut command, Vec::new(), LIMIT, &|_| {}, stop) {
        Ok(finished) if finished.ended == Ended::Exited(0) => {
            say("the virtual IPs are dropped");
            return true;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            say("there is no vipd on this host");
            return true;
        }
        Ok(finished) => format!("{:?}: {}", finished.ended, finished.stderr.trim()),
        Err(error) => error.to_string(),
    };
    warn(&format!("THIS HOST MAY STILL ANSWER FOR A VIRTUAL IP: vipd unassign --all: {why}"));
    false
}

/// In order when all is stopped; else without asking anybody, because something here may still write.
fn power_off(proven: bool, stop: &Stop) {
    let words: &[&str] = if proven { &["poweroff"] } else { &["poweroff", "--force", "--force"] };
    say(&format!("systemctl {}", words.join(" ")));
    let mut command = Command::new("systemctl");
    command.args(words);
    match child::run(&mut command, Vec::new(), LIMIT, &|_| {}, stop) {
        Ok(finished) if finished.ended == Ended::Exited(0) => {}
        Ok(finished) => warn(&format!("systemctl: {:?}: {}", finished.ended, finished.stderr.trim())),
        Err(error) => warn(&format!("systemctl: {error}")),
    }
}
