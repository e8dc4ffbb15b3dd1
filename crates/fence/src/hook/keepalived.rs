//! keepalived: `notify` (last four arguments `TYPE NAME STATE PRIORITY`) and the lines of `vrrp_notify_fifo`.
//!
//! keepalived waits for nobody and ignores exit codes, so what must happen after the fence is run by the hook itself: `--then`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use super::{Caller, FENCED, NOT_FENCED, Problem};
use crate::render::{say, warn};

/// What keepalived appends.
#[derive(Args, Debug)]
pub(crate) struct Notify {
    /// The cluster under [clusters]; not needed where there is only one
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Act on this instance or group only
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// A program to run when the others are fenced; it is given TYPE NAME STATE PRIORITY
    #[arg(long, value_name = "PROGRAM")]
    then: Option<PathBuf>,
    /// Read lines from the FIFO that keepalived names, until it is closed
    #[arg(long)]
    fifo: bool,
    /// TYPE NAME STATE PRIORITY, or with --fifo its path
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    kind: String,
    name: String,
    state: String,
    priority: String,
}

impl Change {
    fn from_words(words: &[String]) -> Option<Self> {
        let start = words.len().checked_sub(4)?;
        let [kind, name, state, priority] = &words[start..] else { return None };
        let known = matches!(kind.as_str(), "INSTANCE" | "GROUP");
        known.then(|| Self { kind: kind.clone(), name: name.clone(), state: state.clone(), priority: priority.clone() })
    }

    /// `INSTANCE "VI_1" MASTER 100`; a line that is cut short is none.
    fn from_line(line: &str) -> Option<Self> {
        let (kind, rest) = line.trim_end_matches('\n').split_once(" \"")?;
        let (name, rest) = rest.rsplit_once("\" ")?;
        let (state, priority) = rest.split_once(' ')?;
        Self::from_words(&[kind, name, state, priority].map(str::to_owned))
    }
}

pub(super) fn answer(caller: &Caller, notify: &Notify) -> Result<u8, Problem> {
    match (&notify.fifo, &notify.words[..]) {
        (true, [path]) => follow(caller, notify, Path::new(path)),
        (true, _) => Err(Problem::said("with --fifo the last argument is its path, and there is no other")),
        (false, words) => {
            let change = Change::from_words(words);
            let change =
                change.ok_or_else(|| Problem::said("expected INSTANCE|GROUP NAME STATE PRIORITY at the end"))?;
            changed(caller, notify, &change)
        }
    }
}

fn follow(caller: &Caller, notify: &Notify, path: &Path) -> Result<u8, Problem> {
    let problem = |error: std::io::Error| Problem::said(format!("{}: {error}", path.display()));
    for line in BufReader::new(File::open(path).map_err(problem)?).split(b'\n') {
        let line = line.map_err(problem)?;
        match Change::from_line(&String::from_utf8_lossy(&line)) {
            // One change that fails does not end the watch.
            Some(change) => match changed(caller, notify, &change) {
                Ok(_) => {}
                Err(Problem::Fence(error)) => crate::render::complain(&error),
                Err(Problem::Said(words)) => say(&format!("error: {words}")),
            },
            None => warn("a line of the FIFO is not understood"),
        }
    }
    Ok(FENCED)
}

fn changed(caller: &Caller, notify: &Notify, change: &Change) -> Result<u8, Problem> {
    let Change { kind, name, state, priority } = change;
    if notify.only.as_ref().is_some_and(|only| only != name) {
        return Ok(FENCED);
    }
    if state != "MASTER" {
        say(&format!("{kind} {name} is {state}: nothing to fence"));
        return Ok(FENCED);
    }
    let reason = format!("keepalived: {kind} {name} became MASTER here");
    if caller.fence_suspects(notify.cluster.as_deref(), &reason)? != FENCED {
        return Ok(NOT_FENCED);
    }
    let Some(program) = &notify.then else { return Ok(FENCED) };
    let status = Command::new(program).args([kind, name, state, priority]).status();
    let status = status.map_err(|error| Problem::said(format!("cannot run {}: {error}", program.display())))?;
    Ok(if status.success() { FENCED } else { NOT_FENCED })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_last_four_words_count() {
        let change = Change::from_words(&words("configured words INSTANCE VI_1 MASTER 100")).unwrap();
        assert_eq!((change.name.as_str(), change.state.as_str()), ("VI_1", "MASTER"));
        for text in ["INSTANCE VI_1 MASTER", "VI_1 MASTER 100 x", ""] {
            assert_eq!(Change::from_words(&words(text)), None, "{text}");
        }
    }

    #[test]
    fn a_line_of_the_fifo_has_the_name_in_quotes() {
        let change = Change::from_line("GROUP \"my \"group\"\" BACKUP 50\n").unwrap();
        assert_eq!(
            (change.kind.as_str(), change.name.as_str(), change.priority.as_str()),
            ("GROUP", "my \"group\"", "50")
        );
        for line in ["", "INSTANCE \"VI_1\" MAS", "INSTANCE VI_1 MASTER 100", "FIFO \"x\" MASTER 1"] {
            assert_eq!(Change::from_line(line), None, "{line}");
        }
    }
}
