//! Runs `bcctl` and kills it with SIGKILL when its journal says that a step has begun.
//!
//! In the box and not from outside, so that nothing but a look at a file lies between the line and the kill.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bc_model::journal::{Entry, Event};

use crate::clock;

/// Exit code when the program was killed; when it ended by itself, its own is handed on.
pub(crate) const KILLED: u8 = 137;

/// Runs `argv`, and kills it when a journal under `journals` gets a line that says `step` has begun.
///
/// Lines that were there before are not looked at.
///
/// # Errors
/// If the program cannot be started, or not be waited for.
pub(crate) fn run(journals: &Path, step: &str, argv: &[String]) -> Result<u8> {
    let before = count_begins(journals, step);
    let (program, arguments) = argv.split_first().context("there is no program to run")?;
    let mut child = Command::new(program).args(arguments).spawn().with_context(|| format!("cannot run {program}"))?;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for it")? {
            anstream::eprintln!("{step} never began; {program} ended by itself: {status}");
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
        if count_begins(journals, step) > before {
            child.kill().context("cannot kill it")?;
            child.wait().context("cannot wait for it")?;
            return Ok(KILLED);
        }
        clock::pause_thread(Duration::from_millis(2));
    }
}

/// How many lines of all journals under `directory` say that `step` has begun.
fn count_begins(directory: &Path, step: &str) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let counts = entries.map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return count_begins(&path, step);
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |newline| newline + 1)];
        let entries = whole.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        entries.filter(|entry| matches!(&entry.event, Event::Begin { step: begun } if begun == step)).count()
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"at":"2026-11-21T20:30:00.000Z","event":"begin","step":"promote"}"#;

    #[test]
    fn only_whole_lines_that_begin_the_step_count() {
        let directory = tempfile::tempdir().expect("directory");
        let site = directory.path().join("gocd");
        std::fs::create_dir(&site).expect("directory");
        let done = BEGIN.replace("begin", "skipped").replace('}', r#","evidence":"x"}"#);
        let other = BEGIN.replace("promote", "fence-gocd");
        let journal = format!("{BEGIN}\n{done}\n{other}\n{BEGIN}");
        std::fs::write(site.join("a.jsonl"), journal).expect("journal");
        assert_eq!(count_begins(directory.path(), "promote"), 1, "the second line is torn");
        assert_eq!(count_begins(directory.path(), "fence-gocd"), 1);
        assert_eq!(count_begins(directory.path(), "verify"), 0);
    }

    #[test]
    fn the_program_is_killed_when_the_step_begins() {
        let directory = tempfile::tempdir().expect("directory");
        let journal = directory.path().join("x.jsonl");
        std::fs::write(&journal, format!("{BEGIN}\n")).expect("an earlier operation");
        let script = format!("echo '{BEGIN}' >>{}; exec sleep 60", journal.display());
        let code = run(directory.path(), "promote", &["/bin/sh".into(), "-c".into(), script]).expect("ran");
        assert_eq!(code, KILLED);
    }

    #[test]
    fn a_step_that_never_begins_kills_nobody() {
        let directory = tempfile::tempdir().expect("directory");
        let code = run(directory.path(), "promote", &["/bin/sh".into(), "-c".into(), "exit 3".into()]).expect("ran");
        assert_eq!(code, 3, "its own code");
    }
}
