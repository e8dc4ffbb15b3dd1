//! `fence_bc`: this program as a fence agent (FenceAgentAPI), for Pacemaker and whoever else calls agents.
//!
//! The dialect has its own exit codes: 0 done, or on; 2 off, said by `status` alone; 1 everything else. A usage error must
//! therefore never end with 2.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bc_model::fencing::{FenceAction, FenceReport, NodeState};

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, DEFAULT_FILE};
use crate::error::Error;
use crate::order::Order;
use crate::render::{self, say};
use crate::stop::Stop;
use crate::verbs;
use request::{Action, Request};

mod metadata;
pub mod request;

const HELP: &str = "\
fence_bc: a fence agent for the nodes of a fence.toml; off means seen off.

Usage:
  printf 'action=off\\nplug=pg1\\n' | fence_bc       name=value lines on stdin, as Pacemaker does
  fence_bc --action=status --plug=pg1              options; stdin is then not read
  fence_bc -o metadata                             describes itself in XML

Options: -o, --action  -n, --plug  --nodename  --config FILE  --delay SECONDS  -C, --separator  -v, --verbose  -q, --quiet
Actions: on off reboot status list list-status monitor metadata validate-all; one is required

Exit codes: 0 done, or on; 2 off (status only); 1 everything else
";

/// More than any caller says.
const LONGEST_REQUEST: u64 = 1 << 20;

const DONE: u8 = 0;
const FAILED: u8 = 1;
const IS_OFF: u8 = 2;

/// Whether this program was called by an agent's name.
pub(crate) fn is_called() -> bool {
    let name = env::args_os().next();
    name.as_deref().map(Path::new).and_then(Path::file_name).is_some_and(is_agent)
}

fn is_agent(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"fence_")
}

/// Reads the request, carries it out, and speaks the agent's dialect.
///
/// `config` is the configuration file where the request names none; without it `FENCE_CONFIG`, then the usual place.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>, config: Option<PathBuf>) -> ExitCode {
    let arguments: Vec<String> =
        arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return ended(render::print(HELP).map(|()| DONE));
    }
    if arguments.iter().any(|argument| argument == "--version" || argument == "-V") {
        return ended(render::print(concat!("fence_bc ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| DONE));
    }
    let request = if arguments.is_empty() { from_stdin() } else { Request::from_arguments(arguments) };
    match request {
        Ok(request) => ended(answer(&request, config)),
        Err(problem) => refuse(&problem),
    }
}

fn ended(answer: Result<u8, Error>) -> ExitCode {
    match answer {
        Ok(code) => code.into(),
        Err(error) => {
            render::complain(&error);
            FAILED.into()
        }
    }
}

fn refuse(problem: &str) -> ExitCode {
    say(&format!("Failed: {problem}"));
    FAILED.into()
}

fn from_stdin() -> Result<Request, String> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(LONGEST_REQUEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("the request cannot be read: {error}"))?;
    if bytes.len() as u64 > LONGEST_REQUEST {
        return Err(format!("the request is longer than {LONGEST_REQUEST} bytes"));
    }
    Ok(Request::from_lines(&bytes))
}

fn answer(request: &Request, config: Option<PathBuf>) -> Result<u8, Error> {
    request.warnings.iter().for_each(|warning| render::warn(warning));
    let action = match request.action {
        Ok(Action::Metadata) => return render::print(&metadata::xml()).map(|()| DONE),
        Ok(action) => action,
        Err(problem) => {
            say(&format!("Failed: {problem}"));
            return Ok(FAILED);
        }
    };
    let named = request.config.clone().map(PathBuf::from).or(config);
    let file = named.or_else(|| env::var_os("FENCE_CONFIG").map(PathBuf::from));
    let config = config::load(&file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE)))?;
    let stop = Stop::on_signals().map_err(Error::Signals)?;
    let asked = Asked { request, config: &config, stop: &stop };
    match (action, request.target()) {
        (Action::List, _) => asked.list(),
        (Action::ListStatus, _) => asked.list_status(),
        (Action::Monitor, target) => asked.monitor(target),
        (Action::ValidateAll, None) => Ok(DONE),
        (Action::ValidateAll, Some(target)) => config.node(target).map(|_| DONE).map_err(Error::from),
        (Action::Status, Some(target)) => asked.status(target),
        (Action::Off, Some(target)) => asked.off(target),
        (Action::On, Some(target)) => asked.on(target),
        (Action::Reboot, Some(target)) => asked.reboot(target),
        (Action::Status | Action::Off | Action::On | Action::Reboot, None) => {
            say("Failed: no node is named; say plug=NODE");
            Ok(FAILED)
        }
        // Answered above, without a configuration.
        (Action::Metadata, _) => Ok(DONE),
    }
}

struct Asked<'a> {
    request: &'a Request,
    config: &'a Config,
    stop: &'a Stop,
}

impl Asked<'_> {
    fn list(&self) -> Result<u8, Error> {
        let line = |node: &String| format!("{node}{}\n", self.request.separator);
        render::print(&self.config.nodes.keys().map(line).collect::<String>()).map(|()| DONE)
    }

    fn list_status(&self) -> Result<u8, Error> {
        let between = &self.request.separator;
        let line = |report: &FenceReport| {
            format!("{}{between}{between}{}\n", report.node, report.state.as_str().to_ascii_uppercase())
        };
        let reports = verbs::ask(self.config, None, self.stop)?;
        render::print(&reports.iter().map(line).collect::<String>()).map(|()| DONE)
    }

    fn monitor(&self, target: Option<&str>) -> Result<u8, Error> {
        if let Some(target) = target {
            self.config.node(target)?;
        }
        let devices = verbs::check_devices(self.config, target, self.stop);
        for device in devices.iter().filter(|device| !device.healthy) {
            say(&format!("Failed: {}: {}", device.device, device.detail));
        }
        Ok(if devices.iter().all(|device| device.healthy) { DONE } else { FAILED })
    }

    fn status(&self, target: &str) -> Result<u8, Error> {
        let reports = verbs::ask(self.config, Some(target), self.stop)?;
        // An off that is proven worse than policy wants is none that a cluster manager may build on.
        let state = reports.first().map_or(NodeState::Unknown, |report| match report.state {
            NodeState::Off if !report.is_off() => NodeState::Unknown,
            state => state,
        });
        render::print(&format!("Status: {}\n", state.as_str().to_ascii_uppercase()))?;
        Ok(match state {
            NodeState::On => DONE,
            NodeState::Off => IS_OFF,
            NodeState::Unknown => FAILED,
        })
    }

    fn off(&self, target: &str) -> Result<u8, Error> {
        // A name that is not known is told at once, not after the delay.
        self.config.node(target)?;
        SystemClock::new(self.stop.clone()).pause(self.request.delay);
        if self.stop.requested() {
            say("Failed: stopped during the delay; nothing was done");
            return Ok(FAILED);
        }
        self.act(FenceAction::Off, target)
    }

    fn on(&self, target: &str) -> Result<u8, Error> {
        self.act(FenceAction::On, target)
    }

    /// Off, seen off, then on. The fence is the first half: that the node did not come back is told, and is no failure,
    /// as in the ClusterLabs library.
    fn reboot(&self, target: &str) -> Result<u8, Error> {
        let off = self.off(target)?;
        if off != DONE {
            return Ok(off);
        }
        match self.act(FenceAction::On, target) {
            Ok(DONE) => {}
            Ok(_) => say(&format!("{target} is off, and was not turned on again")),
            Err(error) => render::complain(&error),
        }
        Ok(DONE)
    }

    fn act(&self, action: FenceAction, target: &str) -> Result<u8, Error> {
        let report = verbs::carry(self.config, &Order::new(target, action, &self.reason()), self.stop)?;
        if report.confirmed {
            render::print(&format!("Success: Powered {}\n", action.as_str().to_ascii_uppercase()))?;
            return Ok(DONE);
        }
        render::unconfirmed(&report, true);
        Ok(FAILED)
    }

    /// Who calls, as far as can be told: Pacemaker names itself in the environment.
    fn reason(&self) -> String {
        let service = env::var("PCMK_service").ok().filter(|name| !name.is_empty());
        let caller = service.unwrap_or_else(|| "the caller of the fence agent".to_owned());
        match &self.request.nodename {
            Some(nodename) => format!("{caller} asks, for its node {nodename}"),
            None => format!("{caller} asks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_the_dialect() {
        for (name, agent) in [("fence_bc", true), ("fence_x", true), ("fence", false), ("fenced", false)] {
            assert_eq!(is_agent(OsStr::new(name)), agent, "{name}");
        }
    }
}
