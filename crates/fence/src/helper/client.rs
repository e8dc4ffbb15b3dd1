//! The caller's side of the helper's socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bc_model::exit::Exit;
use bc_model::fencing::{FenceAction, FenceReport};

use super::HelperError;
use super::request::{Outcome, Request, Response, SCHEMA};
use crate::cli::Command;
use crate::error::Error;
use crate::order::Order;
use crate::stop::Stop;
use crate::verbs;

/// Where the helper listens, unless `--via` or `FENCE_SOCKET` says otherwise.
pub(crate) const SOCKET: &str = "/run/fence/fence.sock";
/// How often a wish to stop is noticed.
const TICK: Duration = Duration::from_millis(100);
/// A report with all its evidence is far shorter.
const LONGEST_ANSWER: usize = 8 << 20;

/// The helper's socket, if this process needs one and there is one: root does its own work.
pub(crate) fn socket() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    let path = std::env::var_os("FENCE_SOCKET").map_or_else(|| PathBuf::from(SOCKET), PathBuf::from);
    path.exists().then_some(path)
}

/// `off`, `on` and `status` with `--via`.
///
/// # Errors
/// As [`carry`], and when the token cannot be read.
pub(crate) fn ask(socket: &Path, command: &Command) -> Result<Exit, Error> {
    let (order, json) = match command {
        Command::Off(off) => (verbs::off(off)?, off.act.json),
        Command::On(act) => (verbs::on(act)?, act.json),
        Command::Status { node: Some(node), json, require, .. } => {
            let order = Order::new(node, FenceAction::Status, "asked through the helper");
            (Order { require: *require, ..order }, *json)
        }
        // Nothing else has the option.
        _ => return Ok(Exit::Usage),
    };
    let stop = Stop::on_signals().map_err(Error::Signals)?;
    let report = carry(socket, &order, &stop)?;
    verbs::tell(&report, json, true);
    Ok(verbs::exit_of(&report))
}

/// Has the helper carry out `order`; waits for as long as it takes, or until somebody wants to stop.
///
/// When this process ends the helper notices, and ends the fence: whoever lost the right to fence does not fence.
///
/// # Errors
/// When there is no helper, when it refuses, and when its answer is not understood.
pub(crate) fn carry(socket: &Path, order: &Order, stop: &Stop) -> Result<FenceReport, HelperError> {
    let io = |source| HelperError::Socket { socket: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(io)?;
    stream.set_read_timeout(Some(TICK)).map_err(io)?;
    stream.write_all(&line(order)?).map_err(io)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(io(error)),
        }
        if stop.requested() {
            return Err(HelperError::Stopped);
        }
        if answer.len() > LONGEST_ANSWER {
            return Err(HelperError::Answer("it does not end".to_owned()));
        }
    }
    let response: Response = serde_json::from_slice(&answer).map_err(|error| HelperError::Answer(error.to_string()))?;
    match response {
        Response { schema: SCHEMA, outcome: Outcome::Report(report) } => checked(*report, order),
        Response { schema: SCHEMA, outcome: Outcome::Refused(why) } => Err(HelperError::Refused(why)),
        Response { schema, .. } => Err(HelperError::Answer(format!("schema {schema} is not known"))),
    }
}

/// The answer must be about what was asked.
fn checked(report: FenceReport, order: &Order) -> Result<FenceReport, HelperError> {
    if (report.node.as_str(), report.action) == (order.node.as_str(), order.action) {
        return Ok(report);
    }
    Err(HelperError::Answer(format!("it is about {} of {}", report.action, report.node)))
}

fn line(order: &Order) -> Result<Vec<u8>, HelperError> {
    let Order { node, action, reason, token, require, .. } = order;
    let request = Request {
        schema: SCHEMA,
        action: *action,
        node: node.clone(),
        reason: reason.clone(),
        token: token.clone(),
        require: *require,
    };
    let mut line = serde_json::to_vec(&request).map_err(|error| HelperError::Answer(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}
