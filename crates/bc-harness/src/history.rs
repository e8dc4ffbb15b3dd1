//! The history of a run: everything that was done to the world and everything that was seen of it, in one order.
//!
//! ```text
//! steps, faults, power switch ─┐
//! ledger, watchers, observer ──┼─► Recorder ─► history.jsonl ─► checkers, figures (pure) ─► report
//! facts read at the phases ────┘
//! ```
//!
//! Nothing is judged here. `bc-harness judge` reads the file again and comes to the same verdicts.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
pub(crate) use crate::event::*;

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Entry {
    /// Microseconds since the run began: when it was over, or was seen.
    pub(crate) at_us: u64,
    /// Microseconds since the run began: when it was started or asked; the same as `at_us` for what has no length.
    pub(crate) began_us: u64,
    /// What.
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// A history that is complete, ordered by `at_us`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History(Vec<Entry>);

impl History {
    /// Orders the entries.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.at_us);
        Self(entries)
    }

    /// Reads `history.jsonl`.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is not an entry: the line is named.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut entries = Vec::new();
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(|| format!("cannot read {}", path.display()))?;
            let entry = serde_json::from_str(&line)
                .with_context(|| format!("{}: line {}: not an entry of a history", path.display(), index + 1))?;
            entries.push(entry);
        }
        Ok(Self::new(entries))
    }

    /// Every entry, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.0.iter()
    }

    /// The first entry for which `pick` finds something.
    pub(crate) fn find_map<'h, T>(&'h self, pick: impl FnMut(&'h Entry) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(pick)
    }

    /// The sheet with the facts of the run.
    pub(crate) fn sheet(&self) -> Option<&Sheet> {
        self.0.iter().find_map(|entry| match &entry.event {
            Event::Began(sheet) => Some(sheet),
            _ => None,
        })
    }
}

/// Takes down what happens. Cheap to clone; every clone writes to the same history.
#[derive(Clone)]
pub(crate) struct Recorder {
    origin: Moment,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    entries: Vec<Entry>,
    file: BufWriter<File>,
}

impl Recorder {
    /// Begins a history in the new file `path`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(crate) fn create(path: &Path, origin: Moment) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let inner = Inner { entries: Vec::new(), file: BufWriter::new(file) };
        Ok(Self { origin, inner: Arc::new(Mutex::new(inner)) })
    }

    /// Takes down what is seen now.
    pub(crate) fn note(&self, event: Event) {
        let now = Moment::now();
        self.span(now, now, event);
    }

    /// Takes down what began at `began` and is over now.
    pub(crate) fn since(&self, began: Moment, event: Event) {
        self.span(began, Moment::now(), event);
    }

    /// Takes down what lasted from `began` to `at`.
    pub(crate) fn span(&self, began: Moment, at: Moment, event: Event) {
        let micros = |moment: Moment| moment.0.saturating_sub(self.origin.0);
        let entry = Entry { at_us: micros(at), began_us: micros(began), event };
        let mut inner = self.lock();
        // A full disk must not stop the drill: the entries are still judged from memory, and `close` reports it.
        if let Ok(line) = serde_json::to_string(&entry) {
            let _ = writeln!(inner.file, "{line}");
        }
        inner.entries.push(entry);
    }

    /// Asks the entries so far, newest first.
    pub(crate) fn newest<T>(&self, pick: impl FnMut(&Entry) -> Option<T>) -> Option<T> {
        self.lock().entries.iter().rev().find_map(pick)
    }

    /// When the run began.
    pub(crate) fn origin(&self) -> Moment {
        self.origin
    }

    /// What was taken down since `moment`, as far as `pick` wants it.
    pub(crate) fn since_moment<T>(&self, moment: Moment, pick: impl FnMut(&Entry) -> Option<T>) -> Vec<T> {
        let from = moment.0.saturating_sub(self.origin.0);
        self.lock().entries.iter().filter(|entry| entry.began_us >= from).filter_map(pick).collect()
    }

    /// Everything taken down so far, in order.
    ///
    /// # Errors
    /// If the file cannot be written; what was taken down is lost to the file but is in the error's context.
    pub(crate) fn close(&self) -> Result<History> {
        let mut inner = self.lock();
        inner.file.flush().context("cannot write history.jsonl")?;
        Ok(History::new(inner.entries.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_as_it_was_taken_down() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("history.jsonl");
        let recorder = Recorder::create(&path, Moment(1_000)).expect("recorder");
        recorder.span(Moment(5_000), Moment(9_000), Event::Thawed { hosts: vec!["pg1".into()] });
        recorder.span(
            Moment(2_000),
            Moment(3_000),
            Event::Power { node: "pg1".into(), asked: Asked::Off, said: "off".into(), running: Some(true) },
        );
        let history = recorder.close().expect("closed");
        assert_eq!(history.iter().map(|entry| entry.at_us).collect::<Vec<_>>(), [2_000, 8_000]);
        assert_eq!(History::load(&path).expect("loaded"), history);
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("history.jsonl");
        std::fs::write(&path, "{\"at-us\":1,\"began-us\":1,\"event\":\"thawed\",\"hosts\":[]}\nnonsense\n")
            .expect("file");
        let error = History::load(&path).expect_err("a broken line");
        assert!(format!("{error:#}").contains("history.jsonl: line 2: not an entry"), "{error:#}");
    }
}
