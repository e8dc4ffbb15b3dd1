//! The history file: append-only JSON lines, each chained to the one before ([`chain`]).
//!
//! A program that is killed while it writes leaves a torn last line. Nothing is ever cut off: the next line accounts for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bc_model::fencing::{FenceAction, FenceIntent, FenceReport, HistoryLine};
use jiff::Timestamp;

use crate::disk::Disk;

pub(crate) mod chain;

/// How much of the end of the file is read first, to find where the chain stands.
const LAST_PART: u64 = 64 * 1024;

/// Why the history cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("history {}: {source}", file.display())]
pub(crate) struct HistoryError {
    file: PathBuf,
    #[source]
    source: io::Error,
}

/// Whether the program waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// What follows cannot be undone.
    Now,
    /// The next line that is will do.
    WithTheNext,
}

/// Appends `line` to `file`; creates the file and its directory.
///
/// # Errors
/// When it cannot be written; what was to follow must then not be done.
pub(crate) fn append(
    disk: &dyn Disk,
    file: &Path,
    line: &HistoryLine,
    now: Timestamp,
    durable: Durable,
) -> Result<(), HistoryError> {
    write(disk, file, line, now, durable).map_err(|source| HistoryError { file: file.to_owned(), source })
}

fn write(disk: &dyn Disk, path: &Path, line: &HistoryLine, now: Timestamp, durable: Durable) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    // Requests for two nodes write at the same moment, and each line needs the one before it.
    file.lock()?;
    let length = file.metadata()?.len();
    let (tip, ends_with_newline) = tip(&mut file, length)?;
    disk.append(&mut file, &chain::forge(&tip, ends_with_newline, line, now)?)?;
    if durable == Durable::Now {
        disk.sync(&file)?;
        if length == 0 {
            disk.sync_directory(directory)?;
        }
    }
    Ok(())
}

fn tip(file: &mut File, length: u64) -> io::Result<(chain::Tip, bool)> {
    let mut part = LAST_PART;
    loop {
        let from = length.saturating_sub(part);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if let Some(tip) = chain::tip(&bytes, from == 0) {
            return Ok((tip, bytes.is_empty() || bytes.ends_with(b"\n")));
        }
        part = part.saturating_mul(4);
    }
}

/// What a history holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The lines, oldest first, with where each of them begins.
    pub(crate) lines: Vec<(usize, HistoryLine)>,
    /// The numbers of the lines that cannot be read, counted from 1.
    pub(crate) unreadable: Vec<usize>,
}

/// The bytes of a history; a history that does not exist yet is empty.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>, HistoryError> {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|source| HistoryError { file: file.to_owned(), source }),
    }
}

/// Reads the whole history. Lines that cannot be understood are listed, not refused.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read(file: &Path) -> Result<History, HistoryError> {
    Ok(parse(&bytes(file)?))
}

fn parse(bytes: &[u8]) -> History {
    let mut history = History::default();
    let mut at = 0;
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let start = at;
        at += line.len() + 1;
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(line) => history.lines.push((start, line)),
            Err(_) => history.unreadable.push(number),
        }
    }
    history
}

impl History {
    /// The last request for `node`, if it was killed on the way.
    pub(crate) fn open_intent(&self, node: &str) -> Option<&FenceIntent> {
        let of_node = |line: &&HistoryLine| line.node() == Some(node);
        let last = self.lines.iter().rev().map(|(_, line)| line).filter(of_node).find_map(|line| match line {
            HistoryLine::Intent(intent) => Some(Some(intent)),
            HistoryLine::Verdict(report) if !report.merged => Some(None),
            _ => None,
        });
        last.flatten()
    }

    /// The last word of a person that `node` is off, if it was not turned on since.
    pub(crate) fn confirmation(&self, node: &str) -> Option<&FenceReport> {
        let lines = self.lines.iter().rev().map(|(_, line)| line).filter(|line| line.node() == Some(node));
        let last = lines.into_iter().find_map(|line| match line {
            HistoryLine::Verdict(report) if report.is_a_persons_word() => Some(Some(report)),
            HistoryLine::Intent(intent) if intent.action == FenceAction::On => Some(None),
            _ => None,
        });
        last.flatten()
    }

    /// The last verdict about `node`, if nothing was asked of it since; a line at or after byte `since`.
    pub(crate) fn last_verdict(&self, node: &str, since: usize) -> Option<&FenceReport> {
        let mut lines = self.lines.iter().rev().take_while(|(at, _)| *at >= since).map(|(_, line)| line);
        let last = lines.find_map(|line| match line {
            HistoryLine::Verdict(report) if report.node == node && !report.merged => Some(Some(report)),
            HistoryLine::Intent(intent) if intent.node == node => Some(None),
            _ => None,
        });
        last.flatten()
    }
}

#[cfg(test)]
mod tests;
