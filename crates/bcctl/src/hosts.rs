//! The world's edge: running a command on a machine of the site, within a time.

mod copies;
mod process;
mod session;
mod ssh;

use std::time::Duration;

pub(crate) use ssh::{SystemHosts, by_hand};

use crate::command::{At, Command};

/// Runs commands. One production implementation, and a recording model of a site in the tests.
pub(crate) trait Hosts: Sync {
    /// Runs `command` and waits for its end, at most `limit`.
    fn run(&self, command: &Command, limit: Duration) -> Output;

    /// Does a piece of work, at most `limit`; in one round trip where that is possible.
    fn work(&self, work: &Work, limit: Duration) -> Worked {
        one_by_one(self, work, limit)
    }
}

/// A piece of work, command by command.
fn one_by_one(hosts: &(impl Hosts + ?Sized), work: &Work, limit: Duration) -> Worked {
    let mut worked = Worked::default();
    let at = |script: &str| Command { at: work.at.clone(), script: script.to_owned() };
    for deed in &work.deeds {
        let output = hosts.run(&at(deed), limit);
        let succeeded = output.succeeded();
        worked.deeds.push(output);
        if !succeeded {
            return worked;
        }
    }
    for look in &work.looks {
        let output = hosts.run(&at(&look.script), limit);
        let holds = look.until.holds(&output);
        worked.looks.push(output);
        if !holds {
            break;
        }
    }
    worked
}

/// Does something with each, at the same time if there are several; what came of it, in the same order.
pub(crate) fn beside<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What is done on one machine without coming back in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Where.
    pub(crate) at: At,
    /// Scripts that change something, one after the other until one fails.
    pub(crate) deeds: Vec<String>,
    /// Scripts that look; then all are run again and again until each holds or the patience is over.
    pub(crate) looks: Vec<Look>,
    /// How long it is looked again; whole seconds, none for one look.
    pub(crate) patience: Duration,
    /// Whether it is looked while the (only) deed is at work, and over as soon as the looks hold.
    pub(crate) meanwhile: bool,
}

impl Work {
    /// One command that changes something.
    pub(crate) fn deed(command: &Command) -> Self {
        let deeds = vec![command.script.clone()];
        Self { at: command.at.clone(), deeds, looks: Vec::new(), patience: Duration::ZERO, meanwhile: false }
    }
}

/// A script that looks, and when it has seen enough. What it has seen is judged afterwards, here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The script.
    pub(crate) script: String,
    /// When it has seen enough.
    pub(crate) until: Until,
}

/// When a look has seen enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Exit status 0.
    Success,
    /// Exit status 0, and `t` as the first line.
    True,
}

impl Until {
    /// Whether this is enough.
    pub(crate) fn holds(self, output: &Output) -> bool {
        output.succeeded() && (self == Self::Success || output.stdout.lines().next().map(str::trim) == Some("t"))
    }
}

/// What came of a piece of work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Worked {
    /// Of each script that was run: all succeeded but perhaps the last.
    pub(crate) deeds: Vec<Output>,
    /// The last time round, of each that was looked at: all hold but perhaps the last.
    pub(crate) looks: Vec<Output>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) end: Ended,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an exit status.
    Exit(i32),
    /// It did not end in time. It may still be running there.
    TimedOut,
    /// The host could not be reached, so nothing is known about it.
    Unreached(Unreached),
}

/// Why a host could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unreached {
    /// It answers, and refuses our key.
    KeyRefused,
    /// It answers with a host key that is not the known one.
    HostKey,
    /// It lets us in, and `sudo` does not let us on.
    Sudo,
    /// Its name cannot be resolved.
    Name,
    /// It does not answer, or not in time.
    NoAnswer,
    /// The program (`ssh`, `fence`) could not be started on this machine.
    NotStarted,
}

impl Unreached {
    /// What to do about it.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::KeyRefused => {
                "put the operator's public key into authorized_keys there, or name the key in ~/.ssh/config"
            }
            Self::HostKey => {
                "compare the fingerprint at the console; if the host was reinstalled, `ssh-keygen -R HOST` and accept the new key"
            }
            Self::Sudo => "the shell on the host is `sudo -n sh`: sudoers has to allow that without a password",
            Self::Name => "correct `ssh` in the inventory, or the name service",
            Self::NoAnswer => "is it powered on, and is its network up? `fence status HOST` asks its power switch",
            Self::NotStarted => "install it on this machine, or correct PATH",
        }
    }
}

impl Unreached {
    /// The line of `ssh`'s many that says it.
    fn of_many(self, stderr: &str) -> String {
        let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
        let telling = match self {
            Self::HostKey => {
                lines().find(|line| line.contains("has changed and") || line.contains("host key is known"))
            }
            _ => None,
        };
        telling.or_else(|| lines().next_back()).unwrap_or("not reached").to_owned()
    }
}

impl Output {
    /// Nothing came back.
    pub(crate) const fn nothing() -> Self {
        Self { end: Ended::TimedOut, stdout: String::new(), stderr: String::new() }
    }

    /// Whether it ended with status 0.
    pub(crate) const fn succeeded(&self) -> bool {
        matches!(self.end, Ended::Exit(0))
    }

    /// Whether nothing is known about what the command did.
    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self.end, Ended::TimedOut | Ended::Unreached(_))
    }

    /// In one line, what it said about its failure.
    pub(crate) fn complaint(&self) -> String {
        if let Ended::Unreached(reason) = self.end {
            return reason.of_many(&self.stderr);
        }
        let said = [&self.stderr, &self.stdout].into_iter().find(|text| !text.trim().is_empty());
        let said = said.map(|text| one_line(text)).unwrap_or_default();
        match (self.end, said.is_empty()) {
            (Ended::TimedOut, true) => "no answer in time".to_owned(),
            (Ended::TimedOut, false) => format!("no answer in time: {said}"),
            (Ended::Exit(status), true) => format!("exit status {status}"),
            (Ended::Exit(_) | Ended::Unreached(_), _) => said,
        }
    }
}

/// The last lines of a text, joined, at most about 300 characters.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = lines[lines.len().saturating_sub(4)..].join("; ");
    if joined.chars().count() <= 300 { joined } else { joined.chars().take(300).chain("…".chars()).collect() }
}
