//! The record that a watchdog is armed: what a peer reads to know that a silent node has ended.
//!
//! One JSON file that the node renews, in a place that the peer can read: a file system that both mount, or one that is copied
//! while the node is well. It is replaced as a whole, so a reader never sees half of one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::agent::{ending, seconds};
use crate::child::{self, Ended};
use crate::config::{Place, Problem};
use crate::secret::{Options, clean};
use crate::stop::Stop;

/// How old a record may be unless the configuration says otherwise.
const DEFAULT_AGE: Duration = Duration::from_secs(24 * 3600);

/// A watchdog, as the node that it guards sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Record {
    /// Version of this format; readers refuse what they do not know.
    pub(crate) schema: u32,
    /// The node, as the peer's configuration names it.
    pub(crate) node: String,
    /// Whether it counts down now.
    pub(crate) armed: bool,
    /// The watchdog: `/dev/watchdog0`, `watchdog0`.
    pub(crate) device: String,
    /// What it says it is.
    pub(crate) identity: String,
    /// Seconds without a pat after which it fires; read back from the device.
    pub(crate) timeout_s: u32,
    /// Whether nothing can stop it once it is armed; absent if the device does not say.
    pub(crate) nowayout: Option<bool>,
    /// Whether a close without the letter V leaves it armed.
    pub(crate) magic_close: Option<bool>,
    /// Of the running kernel: changes with every boot.
    pub(crate) boot_id: String,
    /// Grows with every renewal.
    pub(crate) sequence: u64,
    /// When it was renewed, by the node's clock.
    pub(crate) at: Timestamp,
}

impl Record {
    /// The version written by this code.
    pub(crate) const SCHEMA: u32 = 1;

    /// How long it waits for a pat.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s.into())
    }

    /// Whether the watchdog of `node` was armed at most `within` before `now`.
    ///
    /// # Errors
    /// In words, why not.
    pub(crate) fn proves_armed(&self, node: &str, now: Timestamp, within: Duration) -> Result<(), String> {
        if self.schema != Self::SCHEMA {
            return Err(format!("the record has the unknown format {}", self.schema));
        }
        if self.node != node {
            return Err(format!("the record is about {:?}", self.node));
        }
        if !self.armed {
            return Err(format!("the record says that {} was disarmed at {}", self.device, self.at));
        }
        if self.timeout_s == 0 {
            return Err("the record names no timeout".to_owned());
        }
        if self.magic_close == Some(false) && self.nowayout != Some(true) {
            return Err("it stops when it is closed: whoever pats it may die and leave it disarmed".to_owned());
        }
        let age = now.duration_since(self.at);
        if age > SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX) {
            return Err(format!("the record is older than {}: of {}", seconds(within), self.at));
        }
        Ok(())
    }

    /// What it says, in one line.
    pub(crate) fn words(&self) -> String {
        let stoppable = match self.nowayout {
            Some(true) => ", nowayout",
            Some(false) | None => "",
        };
        format!("{} of {} armed with {} s{stoppable}, recorded {:.0}", self.device, self.node, self.timeout_s, self.at)
    }
}

/// Reads a record.
///
/// # Errors
/// In words.
pub(crate) fn read(file: &Path) -> Result<Record, String> {
    let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| problem(&error))?;
    serde_json::from_str(&text).map_err(|error| problem(&error))
}

/// Reads a record from a place that may keep the reader for ever: a file system whose server is gone.
///
/// Another process reads it, because a thread that the kernel holds would keep this one from ending.
///
/// # Errors
/// In words, when it is not there within `limit`.
pub(crate) fn read_within(file: &Path, limit: Duration, stop: &Stop) -> Result<Record, String> {
    let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut command = Command::new("cat");
    command.arg("--").arg(file).current_dir("/");
    let read = child::run(&mut command, Vec::new(), limit, &|_| {}, stop).map_err(|error| problem(&error))?;
    match read.ended {
        Ended::Exited(0) => serde_json::from_str(&read.stdout).map_err(|error| problem(&error)),
        Ended::Exited(_) => Err(clean(&read.stderr, &Options::new())),
        ended => Err(problem(&ending(ended, limit))),
    }
}

/// Replaces a record, on the disk when this returns.
///
/// # Errors
/// When it cannot be written; the old one is then still whole.
pub(crate) fn write(file: &Path, record: &Record) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut text = serde_json::to_string(record)?;
    text.push('\n');
    let mut writer = File::create(&new)?;
    writer.write_all(text.as_bytes())?;
    writer.sync_all()?;
    fs::rename(&new, file)?;
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Reads a key that says how old a record may be: a minute to a year.
///
/// # Errors
/// When it is no such duration.
pub(crate) fn age(place: &Place, name: &str, text: Option<Spanned<String>>) -> Result<Duration, Problem> {
    let Some(text) = text else { return Ok(DEFAULT_AGE) };
    let range = Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3600);
    let parsed = text.get_ref().parse::<SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
    parsed
        .filter(|length| range.contains(length))
        .ok_or_else(|| place.wrong(name, &text, "a duration between 1m and a year, such as \"24h\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            schema: Record::SCHEMA,
            node: "pg1".into(),
            armed: true,
            device: "/dev/watchdog0".into(),
            identity: "iTCO_wdt".into(),
            timeout_s: 10,
            nowayout: Some(false),
            magic_close: Some(true),
            boot_id: "b".into(),
            sequence: 1,
            at: Timestamp::from_second(1_000_000).unwrap(),
        }
    }

    #[test]
    fn only_a_fresh_record_of_this_node_with_an_armed_watchdog_is_a_proof() {
        let proves = |change: fn(&mut Record), now: i64| {
            let mut record = record();
            change(&mut record);
            record.proves_armed("pg1", Timestamp::from_second(now).unwrap(), Duration::from_secs(3600))
        };
        assert_eq!(proves(|_| {}, 1_000_010), Ok(()));
        assert_eq!(proves(|r| (r.magic_close, r.nowayout) = (Some(false), Some(true)), 1_000_010), Ok(()));
        type Change = fn(&mut Record);
        let table: [(Change, i64, &str); 6] = [
            (|r| r.node = "pg2".into(), 1_000_010, "about \"pg2\""),
            (|r| r.armed = false, 1_000_010, "disarmed"),
            (|r| r.timeout_s = 0, 1_000_010, "no timeout"),
            (|r| r.schema = 2, 1_000_010, "unknown format"),
            (|r| r.magic_close = Some(false), 1_000_010, "stops when it is closed"),
            (|_| {}, 1_003_601, "older than 3600 s"),
        ];
        for (change, now, words) in table {
            assert!(proves(change, now).unwrap_err().contains(words), "{words}");
        }
    }

    #[test]
    fn a_record_is_written_whole_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pg1.json");
        write(&file, &record()).unwrap();
        assert_eq!(read(&file), Ok(record()));
        assert!(read(&directory.path().join("none")).is_err());
    }
}
