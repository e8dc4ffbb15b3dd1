//! The agent `watchdog`: nothing is sent; the node renews a record before every pat, and ends itself when it no longer does.
//!
//! `fence watchdog run` on the node writes the record, and pats only when that succeeded (and its check holds). So a record that does not
//! change shows that the watchdog is not patted. How long it must be watched: a pat may follow its record by at most one timeout, or
//! the watchdog would have fired already, and the node ends one timeout after its last pat. Two timeouts, then, and a margin for coarse timers.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::time::Duration;

use bc_model::fencing::{Grade, NodeState};
use serde::Deserialize;
use toml::Spanned;

use crate::agent::{Action, Agent, Answer, Call, Preview, Rehearsal, seconds};
use crate::clock::{instant, timestamp};
use crate::config::{Keys, Problem};
use crate::watchdog::record::{self, Record};

const MARGIN: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(250);

/// The watchdog of one node, seen from outside.
struct SeenWatchdog {
    record: PathBuf,
    armed_within: Duration,
    /// The renewal that was the last one, and by how much longer than needed it has been: seen by this process.
    ended: Mutex<Option<(String, u64)>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WatchdogKeys {
    record: Option<Spanned<String>>,
    armed_within: Option<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "watchdog"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<WatchdogKeys>()?;
    let record = place.path("record", keys.record.as_ref())?;
    Ok(Box::new(SeenWatchdog {
        record: place.needed("record", record, "the file that `fence watchdog run` renews on the node")?,
        armed_within: record::age(&place, "armed-within", keys.armed_within)?,
        ended: Mutex::new(None),
    }))
}

/// How long a record must stay the same until the node has ended.
fn wait(record: &Record) -> Duration {
    record.timeout() * 2 + MARGIN
}

fn renewal(record: &Record) -> (String, u64) {
    (record.boot_id.clone(), record.sequence)
}

impl SeenWatchdog {
    fn read(&self, call: &Call<'_>, limit: Duration) -> Result<Record, String> {
        let record = record::read_within(&self.record, limit, call.stop)?;
        record.proves_armed(call.node, timestamp(), self.armed_within)?;
        Ok(record)
    }

    /// Watches the record until it is renewed or the node must have ended.
    fn watch(&self, call: &Call<'_>) -> Result<Answer, String> {
        let asked = instant();
        let first = self.read(call, call.limit)?;
        let known = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known == Some(renewal(&first)) {
            return Ok(elapsed(&first));
        }
        let (begun, wait) = (instant(), wait(&first));
        // Never a verdict of off before its time, but a renewal is seen at any time.
        let end = asked + call.limit;
        let until = (begun + wait).min(end);
        let mut told = 0;
        let (_open, nobody) = mpsc::channel::<()>();
        while instant() < until {
            if call.stop.requested() {
                return Err("interrupted".to_owned());
            }
            let _ = nobody.recv_timeout(TICK.min(until.saturating_duration_since(instant())));
            let now = self.read(call, end.saturating_duration_since(instant()).max(TICK))?;
            if renewal(&now) != renewal(&first) {
                let detail = format!("the node lives: it renewed its record at {:.0}", now.at);
                return Ok(Answer { state: NodeState::On, obeyed: true, at_most: None, detail });
            }
            let elapsed = instant().saturating_duration_since(begun);
            if elapsed.as_secs() > told {
                told = elapsed.as_secs();
                (call.waiting)(elapsed);
            }
        }
        if begun + wait > end {
            let (limit, wait) = (seconds(call.limit), seconds(wait));
            return Err(format!(
                "the record was not renewed for {limit}; {wait} are needed: give the device more time"
            ));
        }
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewal(&first));
        Ok(elapsed(&first))
    }
}

fn elapsed(record: &Record) -> Answer {
    let detail = format!("not renewed for {}; {}", seconds(wait(record)), record.words());
    Answer { state: NodeState::Off, obeyed: true, at_most: None, detail }
}

impl Agent for SeenWatchdog {
    fn call(&self, call: &Call<'_>) -> Answer {
        match call.action {
            Action::On => Answer::unknown("a watchdog cannot turn a node on"),
            Action::Off | Action::Status => self.watch(call).unwrap_or_else(Answer::unknown),
            Action::Monitor => match self.read(call, call.limit) {
                Ok(record) => Answer { state: NodeState::Unknown, obeyed: true, at_most: None, detail: record.words() },
                Err(problem) => Answer::unknown(problem),
            },
        }
    }

    fn preview(&self, action: Action, _node: &str) -> Preview {
        let what = match action {
            Action::On => "nothing: a watchdog cannot turn a node on",
            Action::Off | Action::Status => "watch this record until it is renewed, or two timeouts have gone by",
            Action::Monitor => "read this record",
        };
        Preview { command: vec![what.to_owned()], stdin: vec![self.record.display().to_string()] }
    }

    fn turns_on(&self) -> bool {
        false
    }

    fn grade(&self) -> Grade {
        Grade::C
    }

    fn rehearse(&self, call: &Call<'_>) -> Rehearsal {
        match self.read(call, call.limit) {
            Err(problem) => Rehearsal { answer: Answer::unknown(problem), at_most: Grade::X, missing: vec![] },
            Ok(record) => {
                let needed = wait(&record);
                let short = call.limit * 2 / 3 <= needed;
                let missing = short.then(|| format!("a timeout of more than {}", seconds(needed * 3 / 2)));
                let answer = Answer { state: NodeState::On, obeyed: true, at_most: None, detail: record.words() };
                let at_most = if short { Grade::X } else { Grade::C };
                Rehearsal { answer, at_most, missing: missing.into_iter().collect() }
            }
        }
    }
}
