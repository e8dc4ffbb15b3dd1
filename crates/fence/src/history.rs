//! The history: one JSON line before acting and one after, each on the disk before the program goes on.
//!
//! A program that is killed while it writes leaves a torn last line. Writers begin a new line after it, and readers
//! skip it and say so; no other line is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bc_model::fencing::HistoryLine;

/// Why the history cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("history {}: {source}", file.display())]
pub(crate) struct HistoryError {
    file: PathBuf,
    #[source]
    source: io::Error,
}

/// Appends `line` to `file` and waits until the disk has it; creates the file and its directory.
///
/// # Errors
/// When it cannot be written; an intent that was not written must not be acted upon.
pub(crate) fn append(file: &Path, line: &HistoryLine) -> Result<(), HistoryError> {
    write(file, line).map_err(|source| HistoryError { file: file.to_owned(), source })
}

fn write(path: &Path, line: &HistoryLine) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    // Two requests for two nodes may end at the same moment.
    file.lock()?;
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    if ends_torn(&mut file)? {
        bytes.insert(0, b'\n');
    }
    file.write_all(&bytes)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// What a history holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The lines, oldest first.
    pub(crate) lines: Vec<HistoryLine>,
    /// The numbers of the lines that cannot be read, counted from 1.
    pub(crate) unreadable: Vec<usize>,
}

/// Reads the whole history; a history that does not exist yet is empty.
///
/// # Errors
/// When the file cannot be read. Lines that cannot be understood are listed, not refused.
pub(crate) fn read(file: &Path) -> Result<History, HistoryError> {
    match fs::read(file) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(History::default()),
        Err(source) => Err(HistoryError { file: file.to_owned(), source }),
    }
}

fn parse(bytes: &[u8]) -> History {
    let mut history = History::default();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(line) => history.lines.push(line),
            Err(_) => history.unreadable.push(number),
        }
    }
    history
}

#[cfg(test)]
mod tests {
    use super::*;
    use bc_model::fencing::{FenceAction, FenceIntent};
    use jiff::Timestamp;

    fn intent(node: &str) -> HistoryLine {
        HistoryLine::Intent(FenceIntent {
            schema: 1,
            at: Timestamp::UNIX_EPOCH,
            node: node.into(),
            action: FenceAction::Off,
            reason: "two\nlines".into(),
            by: "root@operator".into(),
        })
    }

    #[test]
    fn a_line_torn_anywhere_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/history.jsonl");
        append(&file, &intent("pg1")).unwrap();
        append(&file, &intent("pg2")).unwrap();
        let whole = fs::read(&file).unwrap();
        let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in second + 1..whole.len() - 1 {
            fs::write(&file, &whole[..end]).unwrap();
            assert_eq!(read(&file).unwrap(), History { lines: vec![intent("pg1")], unreadable: vec![2] });
            append(&file, &intent("go1")).unwrap();
            assert_eq!(
                read(&file).unwrap(),
                History { lines: vec![intent("pg1"), intent("go1")], unreadable: vec![2] }
            );
        }
    }

    #[test]
    fn a_whole_last_line_without_its_newline_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history.jsonl");
        append(&file, &intent("pg1")).unwrap();
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        append(&file, &intent("pg2")).unwrap();
        assert_eq!(read(&file).unwrap(), History { lines: vec![intent("pg1"), intent("pg2")], unreadable: vec![] });
    }

    #[test]
    fn bytes_that_are_no_text_are_tolerated() {
        assert_eq!(parse(b"\xff\xfe\n{}\n"), History { lines: vec![], unreadable: vec![1, 2] });
    }
}
