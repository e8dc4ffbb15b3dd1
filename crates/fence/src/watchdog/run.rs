//! `fence watchdog run` and `fence watchdog record`: what runs on the node that is to end itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use bc_model::exit::Exit;

use crate::agent::ending;
use crate::child::{self, Ended};
use crate::clock::{instant, timestamp};
use crate::error::Error;
use crate::render::{say, warn};
use crate::stop::Stop;
use crate::watchdog::Watchdog;
use crate::watchdog::record::{self, Record};

/// What `fence watchdog run` is given.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The watchdog.
    pub(crate) device: PathBuf,
    /// Its timeout, whole seconds.
    pub(crate) timeout: Duration,
    /// The record that is renewed before every pat.
    pub(crate) record: PathBuf,
    /// The node, as the peer's configuration names it.
    pub(crate) node: String,
    /// A program that must exit with 0 before every pat; none if empty.
    pub(crate) check: Vec<String>,
}

/// Arms the watchdog and pats it until somebody asks to stop.
///
/// Four rounds in each timeout: check, renew the record, pat. A round that fails is not patted; one that succeeds again in time saves
/// the machine. A stop disarms it, and says so in the record.
///
/// # Errors
/// When the watchdog cannot be armed or disarmed, or the first record cannot be written.
pub(crate) fn run(guard: &Guard, stop: &Stop) -> Result<Exit, Error> {
    let named = failed(&guard.device);
    // The place of the record first: a watchdog that is armed and never patted ends the machine.
    let mut sequence = record::read(&guard.record).map_or(0, |record| record.sequence);
    let armed = Watchdog::arm(&guard.device, guard.timeout).map_err(&named)?;
    let mut record = Record {
        schema: Record::SCHEMA,
        node: guard.node.clone(),
        armed: true,
        device: guard.device.display().to_string(),
        identity: armed.identity.clone(),
        timeout_s: armed.timeout_s,
        nowayout: armed.nowayout,
        magic_close: Some(armed.magic_close),
        boot_id: boot_id(),
        sequence,
        at: timestamp(),
    };
    say(&record.words());
    let period = Duration::from_secs(armed.timeout_s.into()) / 4;
    let mut last = Ok(());
    while !stop.requested() {
        let begun = instant();
        sequence += 1;
        (record.sequence, record.at) = (sequence, timestamp());
        let round = round(guard, &record, &armed, period, stop);
        if round != last {
            match &round {
                Ok(()) => say("patted again"),
                Err(problem) => warn(&format!("not patted: {problem}")),
            }
        }
        last = round;
        pause(stop, (begun + period).saturating_duration_since(instant()));
    }
    // Only a watchdog that was told so is disarmed, and only then the record may say it.
    armed.disarm().map_err(named)?;
    (record.armed, record.sequence, record.at) = (false, sequence + 1, timestamp());
    record::write(&guard.record, &record).map_err(failed(&guard.record))?;
    say("disarmed");
    Ok(Exit::Done)
}

fn round(guard: &Guard, record: &Record, armed: &Watchdog, limit: Duration, stop: &Stop) -> Result<(), String> {
    if let Some((program, arguments)) = guard.check.split_first() {
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/");
        let finished = child::run(&mut command, Vec::new(), limit, &|_| {}, stop)
            .map_err(|error| format!("{program}: {error}"))?;
        if finished.ended != Ended::Exited(0) {
            return Err(format!("{program}: {}", ending(finished.ended, limit)));
        }
    }
    record::write(&guard.record, record).map_err(|error| format!("{}: {error}", guard.record.display()))?;
    armed.pat().map_err(|error| format!("{}: {error}", guard.device.display()))
}

/// Lets `length` go by, or less if somebody asks to stop.
fn pause(stop: &Stop, length: Duration) {
    let until = instant() + length;
    let (_open, nobody) = mpsc::channel::<()>();
    while !stop.requested() && instant() < until {
        let left = until.saturating_duration_since(instant());
        let _ = nobody.recv_timeout(left.min(Duration::from_millis(50)));
    }
}

/// Records the state of a watchdog that another program pats (sbd, Patroni, systemd), as sysfs tells it.
///
/// # Errors
/// When there is no such watchdog, or the record cannot be written.
pub(crate) fn observe(name: &str, file: &Path, node: &str) -> Result<Exit, Error> {
    let directory = Path::new("/sys/class/watchdog").join(name);
    let read = |item: &str| {
        let path = directory.join(item);
        fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(failed(&path))
    };
    let timeout = read("timeout")?;
    let record = Record {
        schema: Record::SCHEMA,
        node: node.to_owned(),
        armed: read("state")? == "active",
        device: name.to_owned(),
        identity: read("identity")?,
        timeout_s: timeout.parse().map_err(|_| {
            failed(&directory.join("timeout"))(std::io::Error::other(format!("{timeout:?} is no number")))
        })?,
        nowayout: Some(read("nowayout")? == "1"),
        magic_close: None,
        boot_id: boot_id(),
        sequence: record::read(file).map_or(0, |record| record.sequence) + 1,
        at: timestamp(),
    };
    record::write(file, &record).map_err(failed(file))?;
    say(&if record.armed { record.words() } else { format!("{name} is not armed") });
    Ok(if record.armed { Exit::Done } else { Exit::Failed })
}

fn failed(file: &Path) -> impl Fn(std::io::Error) -> Error {
    let file = file.to_owned();
    move |source| Error::Watchdog { file: file.clone(), source }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
