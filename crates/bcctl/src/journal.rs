//! Journals on disk: one file per operation, one lock per site.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use bc_model::journal::{Entry, Event, Intent, Journal, JournalError};
use jiff::Timestamp;
use thiserror::Error;

/// Why the journals of a site cannot be used.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// Another `bcctl` works on the same site.
    #[error("another bcctl works on this site: it holds {}", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no journal.
    #[error("{}: {source}", .path.display())]
    Journal {
        /// Which.
        path: PathBuf,
        /// Why.
        source: JournalError,
    },
}

impl StoreError {
    /// What to do about it.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "wait for it; the lock goes with the process that holds it",
            Self::File { .. } => "run bcctl as a user who may write there, or name another place: --state-directory",
            Self::Journal { .. } => "it was written by another version, or damaged: look at it before you move it away",
        }
    }
}

/// The journals of one site. Operations are one at a time: holding a [`Lock`] is the right to write.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

/// The right to write journals of a site; it ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

/// A journal that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its file.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) journal: Journal,
}

impl Store {
    /// The journals of `site` below `state`.
    pub(crate) fn new(state: &Path, site: &str) -> Self {
        Self { directory: state.join(site) }
    }

    fn file_error(path: &Path) -> impl Fn(io::Error) -> StoreError + '_ {
        move |source| StoreError::File { path: path.to_owned(), source }
    }

    /// Takes the lock of the site, or says that somebody has it.
    ///
    /// # Errors
    /// When another process has it, or the directory cannot be written.
    pub(crate) fn lock(&self) -> Result<Lock, StoreError> {
        std::fs::create_dir_all(&self.directory).map_err(Self::file_error(&self.directory))?;
        let path = self.directory.join("lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(Self::file_error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
        }
    }

    /// The id of a new operation: later than every other one, also within one second or after the clock was set back, for
    /// the newest has to be the last by name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn new_id(&self, now: Timestamp, intent: Intent) -> Result<String, StoreError> {
        let newest = self.paths()?.last().and_then(|path| stamp(path.file_stem()?.to_str()?));
        let next = newest.and_then(|newest| newest.checked_add(jiff::SignedDuration::from_secs(1)).ok());
        Ok(operation_id(next.map_or(now, |next| next.max(now)), intent))
    }

    /// The journals, oldest first.
    fn paths(&self) -> Result<Vec<PathBuf>, StoreError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Self::file_error(&self.directory))?,
        };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// The newest operation, finished or not.
    ///
    /// # Errors
    /// When the directory cannot be read, or the newest file is no journal. A file whose very first line was torn off is an
    /// operation that never began, and is passed over.
    pub(crate) fn newest(&self) -> Result<Option<Found>, StoreError> {
        for path in self.paths()?.into_iter().rev() {
            let text = read(&path).map_err(Self::file_error(&path))?;
            match Journal::parse(&text) {
                Ok(journal) => return Ok(Some(Found { path, journal })),
                Err(JournalError::NoPlan) if !text.contains('\n') => {}
                Err(source) => return Err(StoreError::Journal { path, source }),
            }
        }
        Ok(None)
    }

    /// The operation that is not over, if there is one. Only the newest can be: a new one is refused until then.
    ///
    /// # Errors
    /// As [`Store::newest`].
    pub(crate) fn unfinished(&self) -> Result<Option<Found>, StoreError> {
        Ok(self.newest()?.filter(|found| found.journal.outcome().is_none()))
    }

    /// Every operation whose journal can be read, oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<Found>, StoreError> {
        let found = |path: PathBuf| {
            let journal = Journal::parse(&read(&path).ok()?).ok()?;
            Some(Found { path, journal })
        };
        Ok(self.paths()?.into_iter().filter_map(found).collect())
    }

    /// Makes a journal that was found on a host our own; it replaces a shorter one of the same operation.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn adopt(&self, operation: &str, text: &str, _lock: &Lock) -> Result<(), StoreError> {
        let path = self.directory.join(format!("{operation}.jsonl"));
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(Self::file_error(&path))
    }

    /// Begins the journal of `operation`.
    ///
    /// # Errors
    /// When the file exists or cannot be made.
    pub(crate) fn create(&self, operation: &str, _lock: &Lock) -> Result<Writer, StoreError> {
        let path = self.directory.join(format!("{operation}.jsonl"));
        let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(Self::file_error(&path))?;
        // The name of the file has to survive as well.
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(Self::file_error(&self.directory))?;
        Ok(Writer { file, broken: false })
    }

    /// Goes on with a journal; a torn last line is cut off first.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn reopen(found: &Found, _lock: &Lock) -> Result<Writer, StoreError> {
        let path = found.path.clone();
        let open = || {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(u64::try_from(found.journal.whole).unwrap_or(u64::MAX))?;
            file.seek(io::SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(Self::file_error(&path))?;
        Ok(Writer { file, broken: false })
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    // A torn line may end in the middle of a character; whole lines are JSON, hence UTF-8.
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            String::from_utf8_lossy(&error.into_bytes()[..valid]).into_owned()
        }
    })
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    /// Whether a line could not be written. Half of it may be there, and a line after it would make the journal unreadable.
    broken: bool,
}

impl Writer {
    /// Writes one event, and returns its line; it is on disk then.
    ///
    /// # Errors
    /// When it cannot be written, or an earlier one could not.
    pub(crate) fn write(&mut self, at: Timestamp, event: Event) -> io::Result<String> {
        let line = Entry { at, event }.to_line().map_err(io::Error::other)?;
        if self.broken {
            return Err(io::Error::other("an earlier line could not be written"));
        }
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        self.broken = written.is_err();
        written.map(|()| line)
    }
}

/// The id of an operation: sorts by time, and says what it is.
fn operation_id(at: Timestamp, intent: Intent) -> String {
    format!("{}-{intent}", at.strftime(STAMP))
}

/// How the time is written in an id.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// The time in an id, or in the name of a journal.
pub(crate) fn stamp(id: &str) -> Option<Timestamp> {
    let (stamp, _) = id.split_once('-')?;
    jiff::civil::DateTime::strptime(STAMP, stamp)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned() -> Event {
        Event::Planned {
            schema: bc_model::journal::SCHEMA,
            operation: "20261121T203000Z-failover".into(),
            site: "gocd".into(),
            intent: Intent::Failover,
            by: "root@operator".into(),
            steps: Vec::new(),
            decision: serde_json::Value::Null,
            notes: vec![],
            overrides: vec![],
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).expect("in range")
    }

    #[test]
    fn two_bcctls_do_not_interleave() {
        let state = tempfile::tempdir().expect("a directory");
        let store = Store::new(state.path(), "gocd");
        let lock = store.lock().expect("free");
        assert!(matches!(store.lock(), Err(StoreError::Locked { .. })));
        drop(lock);
        store.lock().expect("free again");
    }

    #[test]
    fn a_journal_with_a_torn_tail_is_continued_after_its_last_whole_line() {
        let state = tempfile::tempdir().expect("a directory");
        let store = Store::new(state.path(), "gocd");
        let lock = store.lock().expect("free");
        let mut writer = store.create("20261121T203000Z-failover", &lock).expect("made");
        writer.write(at(0), planned()).expect("written");
        writer.write(at(1), Event::Begin { step: "fence-gocd".into() }).expect("written");
        writer
            .file
            .write_all(b"{\"at\":\"1970-01-01T00:00:00.002Z\",\"event\":\"done\",\"evidence\":\"\xc3")
            .expect("written");
        drop(writer);

        let found = store.unfinished().expect("readable").expect("not over");
        assert_eq!(found.journal.entries.len(), 2);
        let mut writer = Store::reopen(&found, &lock).expect("opened");
        writer.write(at(3), Event::Resumed { by: "root@operator".into() }).expect("written");
        let words = "over".to_owned();
        writer.write(at(4), Event::Finished { outcome: bc_model::journal::Outcome::Done, words }).expect("written");
        assert!(store.unfinished().expect("readable").is_none());
        assert_eq!(store.newest().expect("readable").expect("there").journal.entries.len(), 4);
    }

    #[test]
    fn after_a_line_that_could_not_be_written_nothing_more_is() {
        let state = tempfile::tempdir().expect("a directory");
        let store = Store::new(state.path(), "gocd");
        let lock = store.lock().expect("free");
        let mut writer = store.create("20261121T203000Z-failover", &lock).expect("made");
        writer.write(at(0), planned()).expect("written");
        let path = store.newest().expect("readable").expect("there").path;
        // The disk is full in the middle of one line, and has room again for the line of another step.
        let good = std::mem::replace(&mut writer.file, File::open(&path).expect("read only"));
        writer.write(at(1), Event::Begin { step: "fence-gocd".into() }).expect_err("no room");
        writer.file = good;
        writer.write(at(2), Event::Begin { step: "fence-postgresql".into() }).expect_err("for ever");
        assert_eq!(store.newest().expect("readable").expect("there").journal.entries.len(), 1);
    }

    #[test]
    fn an_operation_whose_plan_was_torn_off_never_began() {
        let state = tempfile::tempdir().expect("a directory");
        let store = Store::new(state.path(), "gocd");
        let lock = store.lock().expect("free");
        let mut writer = store.create("20261121T203000Z-failover", &lock).expect("made");
        writer.file.write_all(b"{\"at\":\"1970").expect("written");
        assert!(store.newest().expect("readable").is_none());
    }

    #[test]
    fn ids_sort_by_time_also_within_a_second_and_after_the_clock_was_set_back() {
        let state = tempfile::tempdir().expect("a directory");
        let store = Store::new(state.path(), "gocd");
        let lock = store.lock().expect("free");
        let now = 1_795_293_000_900;
        let first = store.new_id(at(now), Intent::Failover).expect("an id");
        assert_eq!(first, "20261121T203000Z-failover");
        store.create(&first, &lock).expect("made");
        let second = store.new_id(at(now), Intent::Failback).expect("an id");
        assert_eq!(second, "20261121T203001Z-failback");
        store.create(&second, &lock).expect("made");
        assert_eq!(store.new_id(at(0), Intent::Failback).expect("an id"), "20261121T203002Z-failback");
        assert_eq!(store.new_id(at(now + 60_000), Intent::Switchover).expect("an id"), "20261121T203100Z-switchover");
    }
}
