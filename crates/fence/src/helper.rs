//! `fence serve`: the root helper behind a socket, for callers that may not read the passwords of a BMC.
//!
//! systemd accepts each connection and starts one `fence serve` for it, with the connection as standard input and output
//! (`fence.socket`, `Accept=yes`). The kernel says who asks (`SO_PEERCRED`), the policy says what they may ask for.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bc_model::exit::Exit;
use bc_model::fencing::{FenceAction, FenceReport};
use jiff::Timestamp;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::Serialize;

use crate::caller;
use crate::clock::{instant, timestamp};
use crate::config::{self, Allow};
use crate::error::Error;
use crate::order::Order;
use crate::render::say;
use crate::stop::Stop;
use crate::verbs;
use request::{LONGEST, Outcome, Request, Response, SCHEMA};

pub(crate) mod client;
pub mod request;

/// How long a caller may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the record of refusals may become; whoever fills it must not fill the disk.
const LONGEST_RECORD: u64 = 4 << 20;

/// Why the helper could not be asked, or did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    /// There is nobody.
    #[error("the helper at {}: {source}", socket.display())]
    Socket {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It said no; nothing was touched.
    #[error("the helper refuses: {0}")]
    Refused(String),
    /// It said something else.
    #[error("the helper's answer is not understood: {0}")]
    Answer(String),
    /// Somebody wanted us to stop.
    #[error("stopped; the helper ends the fence as well")]
    Stopped,
    /// `fence serve` was started by hand.
    #[error("standard input is no connection ({0}): `fence serve` is started by fence.socket")]
    NotASocket(nix::Error),
}

impl HelperError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) | Self::Socket { .. } => Exit::Refused,
            Self::NotASocket(_) => Exit::Usage,
            // What the helper did before the answer was lost is in its history.
            Self::Answer(_) | Self::Stopped => Exit::NotFenced,
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::Socket { .. }).then_some("systemctl enable --now fence.socket, or run this as root")
    }
}

/// One request from standard input, one answer to it.
///
/// # Errors
/// When there is no connection. What is wrong with the request is told to the caller.
pub(crate) fn serve(file: &Path) -> Result<Exit, Error> {
    let peer = getsockopt(&io::stdin(), PeerCredentials).map_err(HelperError::NotASocket)?.uid();
    let output = |source| Error::Output(source);
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(output)?);
    let stop = Stop::on_signals().map_err(Error::Signals)?;
    let (outcome, exit) = match answer(file, &stream, peer, &stop) {
        Ok(report) => {
            let exit = verbs::exit_of(&report);
            (Outcome::Report(Box::new(report)), exit)
        }
        Err(why) => {
            say(&format!("uid {peer}: refused: {why}"));
            (Outcome::Refused(why), Exit::Refused)
        }
    };
    let mut line = serde_json::to_vec(&Response { schema: SCHEMA, outcome }).map_err(|error| output(error.into()))?;
    line.push(b'\n');
    // What was done is in the history, whether or not the caller still listens.
    if let Err(error) = (&stream).write_all(&line) {
        say(&format!("uid {peer}: the answer was not heard: {error}"));
    }
    Ok(exit)
}

fn answer(file: &Path, stream: &UnixStream, peer: u32, stop: &Stop) -> Result<FenceReport, String> {
    let line = read_line(stream, PATIENCE)?;
    let request = Request::decode(&line).map_err(|error| error.to_string())?;
    let config = config::load(file).map_err(|error| {
        // The words may repeat what stands in the file, and the caller may not be allowed to read it.
        say(&format!("{error}"));
        "the helper's configuration cannot be used; its journal says why".to_owned()
    })?;
    let user = caller::login_of(peer).unwrap_or_else(|| format!("uid {peer}"));
    if !may(&config.site.allow, peer, &user, &request) {
        let denied = Denied { at: timestamp(), user: user.clone(), action: request.action, node: &request.node };
        if let Err(error) = denied.append(&config.history) {
            say(&format!("the refusal is not written down: {error}"));
        }
        return Err(format!("{user} may not ask for {} of {}; see [[allow]]", request.action, request.node));
    }
    end_with_the_caller(stream, stop).map_err(|error| error.to_string())?;
    let Request { action, node, reason, token, require, .. } = request;
    let by = format!("{user}@{} (through fence serve)", caller::host());
    let order = Order { by, token, require, ..Order::new(&node, action, &reason) };
    let report = match action {
        FenceAction::Status => {
            verbs::ask_for(&config, Some(&node), order.require, stop).map(|mut reports| reports.swap_remove(0))
        }
        FenceAction::Off | FenceAction::On => verbs::carry(&config, &order, stop),
    };
    report.map_err(|error| error.to_string())
}

/// Whether the policy lets this caller ask for this; root may everything.
fn may(allow: &[Allow], uid: u32, user: &str, request: &Request) -> bool {
    let allowed = |allow: &Allow| {
        (allow.user == user || allow.user == uid.to_string())
            && allow.nodes.contains(&request.node)
            && allow.actions.contains(&request.action)
    };
    uid == 0 || allow.iter().any(allowed)
}

/// Reads up to the first newline, for at most `patience` in all.
fn read_line(mut stream: &UnixStream, patience: Duration) -> Result<Vec<u8>, String> {
    let until = instant() + patience;
    let mut line = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let left = until.saturating_duration_since(instant());
        if left.is_zero() {
            return Err(format!("no request within {} s", patience.as_secs()));
        }
        stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err("the connection ended before the request".to_owned()),
            Ok(length) => line.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error.to_string()),
        }
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            if end + 1 != line.len() || end > LONGEST {
                return Err("one request, one line".to_owned());
            }
            line.truncate(end);
            return Ok(line);
        }
        if line.len() > LONGEST {
            return Err(format!("the request is longer than {LONGEST} bytes"));
        }
    }
}

/// Stops everything when the caller goes away: Patroni kills a hook whose lock is lost.
fn end_with_the_caller(stream: &UnixStream, stop: &Stop) -> io::Result<()> {
    let stream = stream.try_clone()?;
    stream.set_read_timeout(None)?;
    let stop = stop.clone();
    thread::Builder::new().name("caller".into()).spawn(move || {
        // Nothing more is expected: whatever comes, the end among it, ends the fence.
        while let Err(error) = (&stream).read(&mut [0]) {
            if error.kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
        stop.request();
    })?;
    Ok(())
}

/// A request that the policy refused.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Denied<'a> {
    at: Timestamp,
    user: String,
    action: FenceAction,
    node: &'a str,
}

impl Denied<'_> {
    /// Appends a line to the record beside the history, and waits until the disk has it.
    fn append(&self, history: &Path) -> io::Result<()> {
        let path = history.with_extension("denied.jsonl");
        let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        if file.metadata()?.len() > LONGEST_RECORD {
            return Err(io::Error::other("the record of refusals is full; move it away"));
        }
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: &str, node: &str) -> Request {
        Request::decode(format!(r#"{{"schema":1,"action":"{action}","node":"{node}","reason":"x"}}"#).as_bytes())
            .unwrap()
    }

    #[test]
    fn a_caller_may_ask_for_what_the_policy_names_and_nothing_else() {
        let allow = [Allow {
            user: "postgres".into(),
            nodes: vec!["pg1".into()],
            actions: vec![FenceAction::Off, FenceAction::Status],
        }];
        assert!(may(&allow, 109, "postgres", &request("off", "pg1")));
        for (uid, user, action, node) in
            [(109, "postgres", "on", "pg1"), (109, "postgres", "off", "pg2"), (33, "www-data", "off", "pg1")]
        {
            assert!(!may(&allow, uid, user, &request(action, node)), "{user} {action} {node}");
        }
        assert!(may(&[], 0, "root", &request("on", "pg2")));
        assert!(!may(&[], 109, "root", &request("off", "pg1")), "the kernel's number counts, not a name");
    }

    #[test]
    fn a_request_must_come_whole_short_and_soon() {
        let say = |bytes: &'static [u8]| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(bytes).unwrap();
            (read_line(&ours, Duration::from_secs(2)), theirs)
        };
        assert_eq!(say(b"{}\n").0.unwrap(), b"{}");
        assert!(say(b"{}\n{}\n").0.is_err());
        assert!(say(b"{").0.unwrap_err().contains("no request within"));
        let long: &'static [u8] = vec![b'x'; LONGEST + 600].leak();
        assert!(say(long).0.unwrap_err().contains("longer than"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(read_line(&ours, PATIENCE).unwrap_err().contains("ended"));
    }
}
