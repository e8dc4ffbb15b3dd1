//! The agent `sbd`: a poison pill on a disk that the node's own sbd reads (storage-based death), written natively.
//!
//! The node kills itself when it reads the pill, and its watchdog kills it when it cannot read. So the proof is: the pill is on
//! the disk (read back by us), `msgwait` has gone by since, and it is on record that the watchdog was armed. That is grade C;
//! without the record it is X: a node whose sbd does not run, or runs without a watchdog, takes no notice.

mod disk;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bc_model::fencing::{Grade, NodeState};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::agent::{Action, Agent, Answer, Call, Preview, Rehearsal, ending, seconds};
use crate::child::{self, Ended};
use crate::clock::{instant, timestamp};
use crate::config::{Keys, Problem};
use crate::secret::{Options, clean};
use crate::watchdog::record;
use disk::{Disk, Message};

const TICK: Duration = Duration::from_millis(50);
/// How long the record may take to be read.
const PROOF: Duration = Duration::from_secs(1);
/// Beside msgwait: for writing, and for the kernel's coarse timers.
const MARGIN: Duration = Duration::from_millis(500);

/// One node's slot on one disk, or on three.
struct Sbd {
    disks: Vec<PathBuf>,
    slot: String,
    armed_record: Option<PathBuf>,
    armed_within: Duration,
    /// Since when the pill is known to be on enough disks: seen by this process, on its own clock.
    poisoned: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SbdKeys {
    disks: Option<Spanned<Vec<Spanned<String>>>>,
    slot: Option<Spanned<String>>,
    armed_record: Option<Spanned<String>>,
    armed_within: Option<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "sbd"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<SbdKeys>()?;
    let list = place.needed("disks", keys.disks, "the disks, such as [\"/dev/disk/by-id/…\"]")?;
    let at = list.span().start;
    let disks = place.items(
        "disks",
        list.into_inner(),
        |text| Path::new(text).is_absolute().then(|| text.into()),
        "an absolute path",
    )?;
    if disks.is_empty() || disks.len() > 3 {
        return Err(Problem::new(at, place.key("disks"), "expected one, two or three disks"));
    }
    let slot = place.needed("slot", keys.slot, "the name under which the node's sbd runs")?;
    if slot.get_ref().is_empty() || slot.get_ref().len() >= 64 {
        return Err(place.wrong("slot", &slot, "a name of 1 to 63 bytes"));
    }
    Ok(Box::new(Sbd {
        disks,
        slot: slot.into_inner(),
        armed_record: place.path("armed-record", keys.armed_record.as_ref())?,
        armed_within: record::age(&place, "armed-within", keys.armed_within)?,
        poisoned: Mutex::new(None),
    }))
}

/// What one disk said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    message: Message,
    msgwait: Duration,
    watchdog: Duration,
}

impl Sbd {
    /// How many disks a pill must be on: the node reads all, and acts when most of them say so.
    fn enough(&self) -> usize {
        self.disks.len() / 2 + 1
    }

    /// Asks every disk at once, each through a process of its own: the kernel may hold it for as long as a disk does not answer, and
    /// a thread held so would keep this program from ending.
    fn each(&self, call: &Call<'_>, until: Instant, verb: &str) -> Vec<Result<Look, String>> {
        let limit = until.saturating_duration_since(instant());
        let ask = |path: &PathBuf| {
            let mut command = Command::new("/proc/self/exe");
            command.arg("disk").arg(verb).arg(path).arg(&self.slot).current_dir("/");
            let done = child::run(&mut command, Vec::new(), limit, &|_| {}, call.stop).map_err(|e| e.to_string())?;
            match done.ended {
                Ended::Exited(0) => serde_json::from_str(&done.stdout).map_err(|error| error.to_string()),
                Ended::Exited(1) => Err(clean(&done.stderr, &Options::new())),
                ended => Err(ending(ended, limit)),
            }
        };
        thread::scope(|scope| {
            let asked: Vec<_> = self.disks.iter().map(|path| scope.spawn(move || ask(path))).collect();
            asked.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }

    fn words(&self, found: &[Result<Look, String>]) -> String {
        let one = |(path, look): (&PathBuf, &Result<Look, String>)| match look {
            Ok(look) => format!("{}: {}", path.display(), look.message.as_str()),
            Err(problem) => format!("{}: {problem}", path.display()),
        };
        self.disks.iter().zip(found).map(one).collect::<Vec<_>>().join("; ")
    }

    fn off(&self, call: &Call<'_>, until: Instant) -> Answer {
        // First a look: whether the time suffices, before anything is written.
        let looks = self.each(call, until, "look");
        let msgwait = looks.iter().flatten().map(|look| look.msgwait).max();
        let Some(msgwait) = msgwait.filter(|_| looks.iter().flatten().count() >= self.enough()) else {
            return Answer::unknown(self.words(&looks));
        };
        let wait = msgwait + MARGIN;
        if instant() + wait >= until {
            return Answer::unknown(format!(
                "nothing was written: msgwait is {}, and this call has {}; give the device a timeout of twice that",
                seconds(msgwait),
                seconds(call.limit)
            ));
        }
        let sent = self.each(call, until, "poison");
        let words = self.words(&sent);
        if sent.iter().flatten().count() < self.enough() {
            return Answer::unknown(format!("the pill is not on enough disks: {words}"));
        }
        let since = instant();
        if !self.wait(call, since + wait) {
            return Answer::unknown("interrupted while msgwait went by");
        }
        *self.poisoned.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(since);
        let detail = format!("{words}; waited {}", seconds(wait));
        Answer { state: NodeState::Off, obeyed: true, at_most: None, detail }
    }

    fn wait(&self, call: &Call<'_>, until: Instant) -> bool {
        let begun = instant();
        let mut told = 0;
        let (_open, nobody) = mpsc::channel::<()>();
        while instant() < until {
            if call.stop.requested() {
                return false;
            }
            let _ = nobody.recv_timeout(TICK.min(until.saturating_duration_since(instant())));
            tell(call, begun, &mut told);
        }
        true
    }

    fn on(&self, call: &Call<'_>, until: Instant) -> Answer {
        let sent = self.each(call, until, "clear");
        let words = self.words(&sent);
        *self.poisoned.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        if sent.iter().all(Result::is_ok) {
            let detail = format!("{words}; the node may start, power is not switched");
            Answer { state: NodeState::On, obeyed: true, at_most: None, detail }
        } else {
            Answer::unknown(words)
        }
    }

    fn status(&self, call: &Call<'_>, until: Instant) -> Answer {
        let looks = self.each(call, until, "look");
        let words = self.words(&looks);
        let good: Vec<&Look> = looks.iter().flatten().collect();
        let pills = good.iter().filter(|look| matches!(look.message, Message::Off | Message::Reset)).count();
        let msgwait = good.iter().map(|look| look.msgwait).max().unwrap_or_default();
        let watchdog = good.iter().map(|look| look.watchdog).min().unwrap_or_default();
        if pills == 0 && good.len() >= self.enough() {
            let detail = format!("{words}; no pill");
            return Answer { state: NodeState::On, obeyed: true, at_most: None, detail };
        }
        if pills < self.enough() {
            return Answer::unknown(words);
        }
        let since = *self.poisoned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(elapsed) = since.map(|since| instant().saturating_duration_since(since)) else {
            return Answer::unknown(format!(
                "{words}; since when is not known here, `off` waits for {}",
                seconds(msgwait)
            ));
        };
        if elapsed < msgwait {
            return Answer::unknown(format!("{words}; msgwait has not gone by"));
        }
        let (at_most, proof) = match self.proof(call, watchdog) {
            Ok(proof) => (None, proof),
            Err(problem) => (Some(Grade::X), format!("no proof that the watchdog was armed: {problem}")),
        };
        let detail = format!("{words}; msgwait of {} has gone by; {proof}", seconds(msgwait));
        Answer { state: NodeState::Off, obeyed: true, at_most, detail }
    }

    /// Whether it is on record that the node's watchdog was armed, and fires in the time that the disk promises.
    fn proof(&self, call: &Call<'_>, watchdog: Duration) -> Result<String, String> {
        let file = self.armed_record.as_ref().ok_or("no armed-record is configured")?;
        let record = record::read_within(file, PROOF, call.stop)?;
        record.proves_armed(call.node, timestamp(), self.armed_within)?;
        if record.timeout() > watchdog {
            return Err(format!(
                "it fires after {}, the disk promises {}",
                seconds(record.timeout()),
                seconds(watchdog)
            ));
        }
        Ok(record.words())
    }
}

fn tell(call: &Call<'_>, begun: Instant, told: &mut u64) {
    let elapsed = instant().saturating_duration_since(begun);
    if elapsed.as_secs() > *told {
        *told = elapsed.as_secs();
        (call.waiting)(elapsed);
    }
}

/// One question to one disk, by a process of its own: `look`, `writable`, `poison`, `clear`.
///
/// # Errors
/// In words.
pub(crate) fn ask_disk(verb: &str, path: &Path, slot: &str) -> Result<Look, String> {
    let disk = Disk::open(path, verb != "look")?;
    let slot = disk.slot(slot)?;
    let message = match verb {
        "poison" => Message::Off,
        "clear" => Message::Clear,
        _ => disk.message(slot)?,
    };
    if matches!(verb, "poison" | "clear") {
        disk.send(slot, message, "fence")?;
    }
    Ok(Look { message, msgwait: disk.header.msgwait, watchdog: disk.header.watchdog })
}

impl Agent for Sbd {
    fn call(&self, call: &Call<'_>) -> Answer {
        let until = instant() + call.limit;
        match call.action {
            Action::Off => self.off(call, until),
            Action::On => self.on(call, until),
            Action::Status => self.status(call, until),
            Action::Monitor => {
                let looks = self.each(call, until, "look");
                let obeyed = looks.iter().flatten().count() >= self.enough();
                Answer { state: NodeState::Unknown, obeyed, at_most: None, detail: self.words(&looks) }
            }
        }
    }

    fn preview(&self, action: Action, _node: &str) -> Preview {
        let what = match action {
            Action::Off => "write \"off\" into the mailbox of",
            Action::On => "write \"clear\" into the mailbox of",
            Action::Status | Action::Monitor => "read the mailbox of",
        };
        let disks: Vec<String> = self.disks.iter().map(|disk| disk.display().to_string()).collect();
        Preview { command: vec![format!("{what} {}", self.slot)], stdin: disks }
    }

    fn turns_on(&self) -> bool {
        true
    }

    fn grade(&self) -> Grade {
        Grade::C
    }

    fn rehearse(&self, call: &Call<'_>) -> Rehearsal {
        let until = instant() + call.limit;
        // Opened for writing, and not written.
        let looks = self.each(call, until, "writable");
        let words = self.words(&looks);
        let good: Vec<&Look> = looks.iter().flatten().collect();
        if good.len() < self.enough() {
            return Rehearsal { answer: Answer::unknown(words), at_most: Grade::X, missing: vec![] };
        }
        let msgwait = good.iter().map(|look| look.msgwait).max().unwrap_or_default();
        let watchdog = good.iter().map(|look| look.watchdog).min().unwrap_or_default();
        let mut missing: Vec<String> = self.proof(call, watchdog).err().into_iter().collect();
        if call.limit * 2 / 3 <= msgwait + MARGIN {
            missing.push(format!("a timeout of twice the msgwait of {}", seconds(msgwait)));
        }
        let at_most = if missing.is_empty() { Grade::C } else { Grade::X };
        let pill = good.iter().any(|look| look.message != Message::Clear);
        let state = if pill { NodeState::Unknown } else { NodeState::On };
        Rehearsal { answer: Answer { state, obeyed: true, at_most: None, detail: words }, at_most, missing }
    }
}
