//! The boot gate: a fenced host does not start PostgreSQL or GoCD until somebody with a token says that it may.
//!
//! The gate of a node is the file `NODE.json` in the gate directory. Whatever ends in `.json` there keeps the host closed, also a
//! file that nobody can read: the device `ssh` writes `{"node":"pg1"}` from afar, `fence gate set` says more. The file `cleared`
//! keeps the highest token that ever opened the gate, so that a delayed request to close it, older than that, is refused.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bc_model::exit::Exit;
use bc_model::fencing::Token;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{self, RealDisk};
use crate::error::Error;
use crate::render::{self, json, say};
use crate::{caller, clock};

/// Where the gate is, unless `--directory` or `FENCE_GATE` says otherwise; the device `ssh` sets it there.
pub(crate) const DIRECTORY: &str = "/var/lib/fence/gate";

const EXAMPLES: &str = "\
Examples:
  ExecCondition=/usr/bin/fence gate --unit %n      in a drop-in of postgresql@.service or go-server.service
  fence gate                                       may this host start its services? who closed it, when and why?
  fence gate set --reason \"pg2 was promoted\" --token 7012345678901234567/4/1763760000/failover-7/2026-11-22T04:00:00Z
  fence gate clear --token 7012345678901234567/5/1763763600/failback-7/2026-11-22T05:00:00Z

A token is SYSTEM-IDENTIFIER/TIMELINE/EPOCH/ID/EXPIRES; `pg_controldata` prints the first two, the epoch is the present time in seconds.

Exit codes: 0 open, set or cleared; 1 closed, or it cannot be told; 3 refused: the token is too old";

/// `fence gate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub(crate) struct Gate {
    /// The gate directory
    #[arg(long, global = true, value_name = "DIR", env = "FENCE_GATE", default_value = DIRECTORY)]
    directory: PathBuf,
    /// The unit that wants to start; only repeated in what is said
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// Print what closes the gate as JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Close the gate: services that ask it are not started any more
    Set {
        /// Why; shown to whoever finds the services not started
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The right to close it; without one any valid token opens it again
        #[arg(long, value_name = "TOKEN")]
        token: Option<Token>,
        /// The node; this host's name without it
        #[arg(long, value_name = "NODE", value_parser = node_name)]
        node: Option<String>,
    },
    /// Open the gate, with a token at least as high as the one that closed it; nothing is started
    Clear {
        /// The right to open it
        #[arg(long, value_name = "TOKEN")]
        token: Token,
    },
}

/// What a gate file says. Everything but the node may be missing: another program may have written it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Closed {
    /// The node that was fenced.
    pub(crate) node: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// With what right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Token>,
}

/// Why the gate was not changed, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    /// The disk.
    #[error("{}: {source}", file.display())]
    Io {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file that says something else.
    #[error("{}: not understood ({source}); the gate stays closed: look at the file, then remove it by hand", file.display())]
    NotUnderstood {
        file: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// The token.
    #[error("{0}")]
    Stale(#[from] bc_model::fencing::Stale),
}

impl GateError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Stale(_) => Exit::Refused,
            Self::Io { .. } | Self::NotUnderstood { .. } => Exit::Failed,
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::Stale(_))
            .then_some("ask whoever runs the present primary; a newer token has its timeline and the present time")
    }
}

/// Carries out `fence gate`.
///
/// # Errors
/// When the gate cannot be read or changed; it is then as it was.
pub(crate) fn run(gate: &Gate) -> Result<Exit, Error> {
    let Gate { directory, unit, json, change } = gate;
    match change {
        None => look(directory, unit.as_deref(), *json),
        Some(Change::Set { reason, token, node }) => {
            let closed = Closed {
                node: node.clone().unwrap_or_else(host),
                at: Some(clock::timestamp()),
                by: Some(caller::name()),
                reason: Some(reason.clone()),
                token: token.clone(),
            };
            set(directory, &closed, clock::timestamp())?;
            say(&format!("the gate of {} is closed", closed.node));
            Ok(Exit::Done)
        }
        Some(Change::Clear { token }) => {
            let cleared = clear(directory, token, clock::timestamp())?;
            match &cleared[..] {
                [] => say("the gate was open"),
                nodes => say(&format!("the gate of {} is open; nothing was started", nodes.join(" and "))),
            }
            Ok(Exit::Done)
        }
    }
}

fn look(directory: &Path, unit: Option<&str>, json: bool) -> Result<Exit, Error> {
    let found = files(directory)?;
    let read: Vec<Result<Closed, GateError>> = found.iter().map(|file| read(file)).collect();
    if json {
        let closed: Vec<&Closed> = read.iter().filter_map(|closed| closed.as_ref().ok()).collect();
        render::print(&self::json(&closed)?)?;
    }
    for closed in &read {
        let unit = unit.map_or_else(String::new, |unit| format!("{unit} is not started: "));
        match closed {
            Ok(closed) => say(&format!("{unit}{}", words(closed))),
            Err(problem) => say(&format!("{unit}{problem}")),
        }
    }
    Ok(if read.is_empty() { Exit::Done } else { Exit::Failed })
}

fn words(closed: &Closed) -> String {
    let Closed { node, at, by, reason, token } = closed;
    let mut words = format!("{node} was fenced");
    for (name, value) in [
        ("", at.map(|at| format!("{at:.0}"))),
        ("by ", by.clone()),
        ("because: ", reason.clone()),
        ("with the token ", token.as_ref().map(Token::to_string)),
    ] {
        if let Some(value) = value {
            words.push_str(&format!(", {name}{value}"));
        }
    }
    words.push_str("; when it may run again: fence gate clear --token TOKEN");
    words
}

/// Closes the gate. A gate that a later token closed stays as it is: closed is closed.
///
/// # Errors
/// When the token is too old, or the disk does not take it.
pub(crate) fn set(directory: &Path, closed: &Closed, now: Timestamp) -> Result<(), GateError> {
    let _lock = lock(directory)?;
    let file = directory.join(format!("{}.json", closed.node));
    if let Some(token) = &closed.token {
        token.check(read_cleared(directory)?.as_ref(), now)?;
        if let Ok(Closed { token: Some(before), .. }) = read(&file)
            && token.check(Some(&before), now).is_err()
        {
            return Ok(());
        }
    } else if let Ok(Closed { token: Some(_), .. }) = read(&file) {
        // A request without a token must not make a gate easier to open.
        return Ok(());
    }
    write(&file, closed)
}

/// Opens the gate, of whatever nodes: a host has one.
///
/// # Errors
/// When the token is too old for any of them, or a file is not understood; nothing is opened then.
fn clear(directory: &Path, token: &Token, now: Timestamp) -> Result<Vec<String>, GateError> {
    let _lock = lock(directory)?;
    token.check(read_cleared(directory)?.as_ref(), now)?;
    let found = files(directory)?;
    let closed = found.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    for closed in &closed {
        token.check(closed.token.as_ref(), now)?;
    }
    // The highest token first: were it lost, an older request could close what a later one has opened.
    write(&directory.join(CLEARED), token)?;
    for file in &found {
        disk::remove(&RealDisk, file).map_err(|source| GateError::Io { file: file.clone(), source })?;
    }
    Ok(closed.into_iter().map(|closed| closed.node).collect())
}

const CLEARED: &str = "cleared";

fn read_cleared(directory: &Path) -> Result<Option<Token>, GateError> {
    let file = directory.join(CLEARED);
    match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(GateError::Io { file, source }),
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| GateError::NotUnderstood { file, source })
        }
    }
}

fn read(file: &Path) -> Result<Closed, GateError> {
    let bytes = fs::read(file).map_err(|source| GateError::Io { file: file.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| GateError::NotUnderstood { file: file.to_owned(), source })
}

fn write(file: &Path, value: &impl Serialize) -> Result<(), GateError> {
    let problem = |source| GateError::Io { file: file.to_owned(), source };
    let mut bytes = serde_json::to_vec(value).map_err(|error| problem(error.into()))?;
    bytes.push(b'\n');
    disk::replace(&RealDisk, file, &bytes, 0o644).map_err(problem)
}

/// Everything that closes the gate. A directory that was never made is an open gate; one that cannot be read is none.
fn files(directory: &Path) -> Result<Vec<PathBuf>, GateError> {
    let problem = |source| GateError::Io { file: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(problem)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(problem)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn lock(directory: &Path) -> Result<File, GateError> {
    let problem = |source| GateError::Io { file: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(problem)?;
    let file = File::create(directory.join(".lock")).map_err(problem)?;
    file.lock().map_err(problem)?;
    Ok(file)
}

fn host() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| node_name(name).is_ok()).unwrap_or_else(|| "this-host".to_owned())
}

/// A name that may be a file's.
fn node_name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(legal) && text.len() <= 64 {
        return Ok(text.to_owned());
    }
    Err("expected the name of a node".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(timeline: u32, epoch: u64) -> Token {
        format!("7/{timeline}/{epoch}/drill/2026-11-22T04:00:00Z").parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-22T03:00:00Z".parse().unwrap()
    }

    fn closed(token: Option<Token>) -> Closed {
        Closed { node: "pg1".into(), at: Some(now()), by: None, reason: Some("drill".into()), token }
    }

    #[test]
    fn a_gate_opens_only_with_a_token_at_least_as_high_as_the_one_that_closed_it() {
        let place = tempfile::tempdir().unwrap();
        let gate = place.path().join("gate");
        assert_eq!(files(&gate).unwrap(), Vec::<PathBuf>::new(), "a gate that was never closed is open");
        set(&gate, &closed(Some(token(4, 10))), now()).unwrap();
        assert!(matches!(clear(&gate, &token(4, 9), now()), Err(GateError::Stale(_))));
        assert!(matches!(clear(&gate, &token(3, 99), now()), Err(GateError::Stale(_))));
        assert!(matches!(clear(&gate, &token(5, 0), token(5, 0).expires), Err(GateError::Stale(_))), "expired");
        assert_eq!(files(&gate).unwrap().len(), 1);
        assert_eq!(clear(&gate, &token(4, 10), now()).unwrap(), ["pg1"]);
        assert!(files(&gate).unwrap().is_empty());
        assert!(matches!(set(&gate, &closed(Some(token(4, 9))), now()), Err(GateError::Stale(_))), "a delayed request");
        set(&gate, &closed(Some(token(5, 0))), now()).unwrap();
        assert_eq!(files(&gate).unwrap().len(), 1);
    }

    #[test]
    fn a_closed_gate_never_becomes_easier_to_open() {
        let place = tempfile::tempdir().unwrap();
        set(place.path(), &closed(Some(token(5, 1))), now()).unwrap();
        set(place.path(), &closed(Some(token(4, 9))), now()).unwrap();
        set(place.path(), &closed(None), now()).unwrap();
        assert!(matches!(clear(place.path(), &token(4, 9), now()), Err(GateError::Stale(_))));
        assert!(clear(place.path(), &token(5, 1), now()).is_ok());
    }

    #[test]
    fn a_gate_set_from_afar_is_understood_and_one_that_is_damaged_stays_closed() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("pg1.json"), "{\"node\":\"pg1\"}\n").unwrap();
        assert_eq!(clear(place.path(), &token(1, 0), now()).unwrap(), ["pg1"]);
        fs::write(place.path().join("pg1.json"), "").unwrap();
        assert_eq!(look(place.path(), None, false).unwrap(), Exit::Failed);
        assert!(matches!(clear(place.path(), &token(9, 0), now()), Err(GateError::NotUnderstood { .. })));
        assert_eq!(files(place.path()).unwrap().len(), 1);
    }
}
