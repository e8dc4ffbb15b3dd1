//! The operator's own `ssh`, so that jump hosts, agents, aliases and known_hosts work as they always do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command as Process;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bc_model::inventory::{Host, Inventory, Sudo};
use tempfile::TempDir;

use super::copies::{self, Copies};
use super::session::{Lost, Session};
use super::{Ended, Hosts, Output, Unreached, Work, Worked, beside, one_by_one, process};
use crate::clock::{Clock as _, SystemClock};
use crate::command::{At, Command, outlives, quote};
use crate::sudo;

/// The hosts of an inventory, over `ssh` with one connection per host, or on this machine.
///
/// The sockets of the connections live in a directory of this process, so that no connection outlives a host that has
/// hung since an earlier call.
pub(crate) struct SystemHosts<'a> {
    inventory: &'a Inventory,
    sockets: TempDir,
    /// Open shells that nobody uses, by host.
    idle: Mutex<BTreeMap<String, Vec<Session>>>,
    /// Who holds the locks, once they are wanted.
    owner: OnceLock<String>,
    /// For each host, the shell that holds its lock.
    locks: BTreeMap<String, Mutex<Option<Session>>>,
    /// The copies of the journal, once there is one.
    copies: Mutex<Option<Copies>>,
    /// Held while lines go to all hosts at once.
    flushing: Mutex<()>,
    /// Hosts that did not answer, when that was seen, and how.
    unreached: Mutex<BTreeMap<String, (Duration, Output)>>,
    clock: SystemClock,
}

/// For so long a host that did not answer is not asked again: several parts of one look would each wait for it.
const DEAF: Duration = Duration::from_secs(2);

/// Another operator works on the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The host whose lock it has.
    pub(crate) host: String,
    /// Who, and since when.
    pub(crate) by: String,
}

/// How long writing a copy, or asking for one, may take.
const COPY: Duration = Duration::from_secs(10);

impl<'a> SystemHosts<'a> {
    /// # Errors
    /// When the directory for the sockets cannot be made.
    pub(crate) fn new(inventory: &'a Inventory) -> std::io::Result<Self> {
        sweep(&std::env::temp_dir());
        let prefix = format!("{SOCKETS}{}-", std::process::id());
        let sockets = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        Ok(Self {
            inventory,
            sockets,
            idle: Mutex::default(),
            owner: OnceLock::new(),
            locks: inventory.hosts.keys().map(|name| (name.clone(), Mutex::default())).collect(),
            copies: Mutex::default(),
            flushing: Mutex::default(),
            unreached: Mutex::default(),
            clock: SystemClock::new(),
        })
    }

    /// `ssh` with its options, up to the destination.
    fn ssh(&self, host: &Host, more: &[&str]) -> Process {
        let mut ssh = Process::new("ssh");
        ssh.args(options(self.inventory.timeouts.connect, self.sockets.path())).args(&host.ssh_options).args(more);
        ssh.arg("--").arg(host.ssh.as_deref().unwrap_or_default()).env("LC_ALL", "C");
        ssh
    }

    /// A shell on a host that reads its standard input.
    fn shell(&self, name: &str) -> Process {
        let Some(host) = self.inventory.hosts.get(name) else { return Process::new("sh") };
        if host.ssh.is_some() {
            let mut ssh = self.ssh(host, &[]);
            ssh.arg(if host.sudo == Sudo::Shell { "exec sudo -n sh" } else { "exec sh" });
            ssh
        } else if host.sudo == Sudo::Shell {
            let mut sudo = Process::new("sudo");
            sudo.args(["-n", "sh"]);
            sudo
        } else {
            Process::new("sh")
        }
    }

    /// Whether a shell on `name` comes through `ssh`.
    fn is_remote(&self, name: &str) -> bool {
        self.inventory.hosts.get(name).is_some_and(|host| host.ssh.is_some())
    }

    /// An open shell on a host: one that nobody uses, or a new one over the same connection.
    fn session(&self, name: &str) -> Result<Session, Output> {
        let take = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name)?.pop();
        while let Some(mut session) = take() {
            if session.lives() {
                return Ok(session);
            }
        }
        let seen = self.unreached.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match seen {
            Some((at, output)) if self.clock.now() < at + DEAF => Err(output),
            _ => self.open(name),
        }
    }

    /// A new shell on a host; it is known to who comes after us, if the locks are wanted. A host that did not answer when they were
    /// taken, or was off and on again since, is locked now.
    fn open(&self, name: &str) -> Result<Session, Output> {
        let mut session = self.connect(name)?;
        let (Some(owner), Some(lock)) = (self.owner.get(), self.locks.get(name)) else { return Ok(session) };
        let mut lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !lock.as_mut().is_some_and(Session::lives) {
            *lock = match self.lock_host(name, owner)? {
                Locked::Ours(session) => Some(session),
                Locked::Held(by) => return Err(taken_over(name, &by)),
                Locked::Never => None,
            };
        }
        if lock.is_some() {
            let (directory, site) = (&self.inventory.journal_directory, &self.inventory.site);
            session.first(&copies::join(directory, site, name, &self.name()));
        }
        Ok(session)
    }

    fn connect(&self, name: &str) -> Result<Session, Output> {
        let prelude = if sudo::by_command(self.inventory, name) { sudo::PRELUDE } else { "" };
        Session::open(self.shell(name), prelude)
    }

    /// Tells this process from every other one, on whatever machine.
    fn name(&self) -> String {
        self.sockets.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Remembers that a host did not answer, and lets no new shell use the old connection to it: it may be to a machine that
    /// is gone.
    fn unreached(&self, name: &str, output: &mut Output) {
        if output.end == Ended::Exit(255) {
            output.end = Ended::Unreached(classify(&output.stderr));
        }
        if output.is_unknown() {
            let seen = (self.clock.now(), output.clone());
            self.unreached.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), seen);
            self.forget(name);
        }
    }

    /// Takes the lock of each host that answers, and keeps it until the end of this process, however that comes.
    ///
    /// # Errors
    /// When another `bcctl` has one of them, or a command that it has left behind is still at work.
    pub(crate) fn lock(&self, owner: &str) -> Result<(), Held> {
        let owner = self.owner.get_or_init(|| owner.to_owned());
        let take = |host: String| match self.lock_host(&host, owner) {
            Ok(Locked::Ours(session)) => {
                if let Some(lock) = self.locks.get(&host) {
                    *lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
                }
                Ok(Some(host))
            }
            Ok(Locked::Held(by)) => Err(Held { host, by }),
            Ok(Locked::Never) | Err(_) => Ok(None),
        };
        let (ours, refused) = apart(beside(self.locks.keys().cloned().collect(), take));
        let Some(first) = refused.first() else { return Ok(()) };
        // Two that begin at the same time may each have some. Who has the first by name tries again; the other one lets go.
        let again = if ours.first().is_some_and(|ours| *ours < first.host) {
            apart(beside(refused.iter().map(|other| other.host.clone()).collect(), take)).1
        } else {
            refused
        };
        match again.into_iter().next() {
            None => Ok(()),
            Some(other) => {
                self.unlock();
                Err(other)
            }
        }
    }

    /// Takes the lock of a host with a shell of its own.
    ///
    /// # Errors
    /// When the host does not answer.
    fn lock_host(&self, host: &str, owner: &str) -> Result<Locked, Output> {
        let (directory, site) = (&self.inventory.journal_directory, &self.inventory.site);
        let line = copies::lock(directory, site, host, owner, &self.name());
        let mut session = self.connect(host)?;
        let limit = self.inventory.timeouts.connect + COPY + Duration::from_secs(copies::LEFT_BEHIND);
        match session.keep(&line, limit) {
            Ok(output) if output.stdout.trim() == "t" => Ok(Locked::Ours(session)),
            Ok(output) if output.succeeded() => Ok(Locked::Held(output.stdout.trim().to_owned())),
            // Another login may have what this one cannot open.
            Ok(output) if sudo::by_command(self.inventory, host) => {
                Ok(Locked::Held(format!("who has it cannot be seen ({})", output.complaint())))
            }
            // A host that cannot be locked cannot be worked on by the other one either.
            Ok(_) => Ok(Locked::Never),
            Err(Lost { mut outputs }) => {
                let mut last = outputs.pop().unwrap_or_else(Output::nothing);
                if self.is_remote(host) {
                    self.unreached(host, &mut last);
                }
                Err(last)
            }
        }
    }

    fn unlock(&self) {
        for lock in self.locks.values() {
            *lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// The newest journal of each host: name of the file, and text.
    pub(crate) fn journals(&self) -> Vec<(String, String)> {
        let (directory, site) = (&self.inventory.journal_directory, &self.inventory.site);
        let ask = |name: String| {
            let command = Command::on(&name, copies::newest(directory, site, &name));
            let output = self.run(&command, self.inventory.timeouts.connect + COPY);
            let (file, text) = output.stdout.split_once('\n')?;
            output.succeeded().then(|| (file.trim_end_matches(".jsonl").to_owned(), text.to_owned()))
        };
        beside(self.inventory.hosts.keys().cloned().collect(), ask).into_iter().flatten().collect()
    }

    /// Begins copies of the journal of `operation`, which says `text` so far, on every host that answers. Returns those that
    /// cannot keep one.
    pub(crate) fn keep(&self, operation: &str, text: &str) -> Vec<(String, String)> {
        let (directory, site) = (&self.inventory.journal_directory, &self.inventory.site);
        // A host that has not answered yet would only be waited for.
        let answering = self.idle.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect::<Vec<_>>();
        let mut copies = Copies::new(directory, site, operation, text, answering.into_iter());
        let seed = |name: String| {
            let output = self.run(&Command::on(&name, copies.seed(&name)), COPY);
            (!output.succeeded()).then(|| (name, output.complaint()))
        };
        let failed: Vec<_> = beside(copies.hosts(), seed).into_iter().flatten().collect();
        for (name, _) in &failed {
            copies.drop_host(name);
        }
        *self.copies.lock().unwrap_or_else(PoisonError::into_inner) = Some(copies);
        failed
    }

    /// A line that every copy shall have; it goes to a host with the next thing that is done there.
    pub(crate) fn copy(&self, line: &str) {
        if let Some(copies) = self.copies.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            copies.add(line);
        }
    }

    /// Writes to every host what it does not have yet.
    pub(crate) fn flush(&self) {
        // One after the other: the lines of a later flush must not overtake those of an earlier one.
        let _turn = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let pending: Vec<(String, String)> = {
            let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(copies) = copies.as_mut() else { return };
            copies.hosts().into_iter().filter_map(|host| Some((host.clone(), copies.take(&host)?))).collect()
        };
        beside(pending, |(host, script)| {
            // Not `run`, which would put what was recorded since in front of it.
            let work = Work::deed(&Command::on(&host, script));
            if !self.work_on(&host, &work, COPY).deeds.last().is_some_and(Output::succeeded) {
                self.no_copy(&host);
            }
        });
    }

    /// A copy with a hole is worse than a short one, so this host gets no more.
    fn no_copy(&self, host: &str) {
        if let Some(copies) = self.copies.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            copies.drop_host(host);
        }
    }

    /// Work on a host; what its copy of the journal lacks is written first if something is to be changed.
    fn on(&self, name: &str, work: &Work, limit: Duration) -> Worked {
        let lines = if work.deeds.is_empty() {
            None
        } else {
            self.copies.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|copies| copies.take(name))
        };
        let Some(lines) = lines else { return self.work_on(name, work, limit) };
        if work.meanwhile {
            // Only one deed can be watched, so the lines go first by themselves.
            let only = Work { deeds: vec![lines], looks: Vec::new(), meanwhile: false, ..work.clone() };
            let worked = self.work_on(name, &only, limit);
            if !worked.deeds.last().is_some_and(Output::succeeded) {
                self.no_copy(name);
                return worked;
            }
            return self.work_on(name, work, limit);
        }
        let mut more = work.clone();
        more.deeds.insert(0, lines);
        let mut worked = self.work_on(name, &more, limit);
        if worked.deeds.first().is_some_and(Output::succeeded) {
            worked.deeds.remove(0);
        } else {
            self.no_copy(name);
        }
        worked
    }

    fn work_on(&self, name: &str, work: &Work, limit: Duration) -> Worked {
        let mut session = match self.session(name) {
            Ok(session) => session,
            Err(output) => return broken(work, vec![output]),
        };
        match session.work(work, limit) {
            Ok(worked) => {
                if !work.deeds.iter().any(|deed| outlives(deed)) {
                    let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                    idle.entry(name.to_owned()).or_default().push(session);
                }
                worked
            }
            Err(Lost { mut outputs }) => {
                drop(session);
                if let (true, Some(last)) = (self.is_remote(name), outputs.last_mut()) {
                    self.unreached(name, last);
                }
                broken(work, outputs)
            }
        }
    }

    fn forget(&self, name: &str) {
        if let Some(host) = self.inventory.hosts.get(name) {
            process::run(self.ssh(host, &["-O", "stop"]), Duration::from_secs(1));
        }
    }
}

/// What came of taking the lock of a host.
enum Locked {
    /// It is held as long as this shell lives.
    Ours(Session),
    /// Somebody else has it: who, and since when.
    Held(String),
    /// There can be no lock there.
    Never,
}

/// The hosts whose locks are ours, and those that are not, by name.
fn apart(answers: Vec<Result<Option<String>, Held>>) -> (Vec<String>, Vec<Held>) {
    let (mut ours, mut refused) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(host) => ours.extend(host),
            Err(other) => refused.push(other),
        }
    }
    (ours, refused)
}

/// What is known of a host that is another one's by now.
fn taken_over(host: &str, by: &str) -> Output {
    let stderr = format!("another bcctl works on {host}: {by}");
    Output { end: Ended::Exit(1), stdout: String::new(), stderr }
}

/// What is known of work whose shell broke off; the last output says how.
fn broken(work: &Work, mut outputs: Vec<Output>) -> Worked {
    let looks = if outputs.len() > work.deeds.len() { outputs.split_off(work.deeds.len()) } else { Vec::new() };
    Worked { deeds: outputs, looks }
}

/// How the directories of sockets are named, before the process id.
const SOCKETS: &str = "bcctl-ssh-";

/// Removes the sockets of processes that were killed. Other people's directories are not ours to remove, and stay.
fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(SOCKETS).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Never ask, never wait for long, notice a peer that hangs, and reuse one connection per host.
fn options(connect: Duration, sockets: &Path) -> Vec<String> {
    let option = |text: String| ["-o".to_owned(), text];
    [
        "BatchMode=yes".to_owned(),
        format!("ConnectTimeout={}", connect.as_secs().max(1)),
        "ServerAliveInterval=5".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        "ControlMaster=auto".to_owned(),
        format!("ControlPath={}/%C", sockets.display()),
        "ControlPersist=30".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ]
    .into_iter()
    .flat_map(option)
    .collect()
}

/// How a person reaches a host by hand; for the dry run.
pub(crate) fn by_hand(host: &Host) -> String {
    match &host.ssh {
        None => "this machine".to_owned(),
        Some(destination) => {
            let words: Vec<String> = host.ssh_options.iter().chain([destination]).map(|word| quote(word)).collect();
            let sudo = match host.sudo {
                Sudo::No => "",
                Sudo::Shell => ", then sudo",
                Sudo::Commands => ", sudo by command",
            };
            format!("ssh {}{sudo}", words.join(" "))
        }
    }
}

impl Hosts for SystemHosts<'_> {
    fn run(&self, command: &Command, limit: Duration) -> Output {
        match &command.at {
            At::Operator => {
                let mut shell = Process::new("sh");
                shell.args(["-c", &format!("cd /; export LC_ALL=C; {}", command.script)]);
                process::run(shell, limit)
            }
            At::Host(name) => {
                let work = Work::deed(command);
                self.on(name, &work, limit).deeds.pop().unwrap_or_else(Output::nothing)
            }
        }
    }

    fn work(&self, work: &Work, limit: Duration) -> Worked {
        match &work.at {
            At::Host(name) => self.on(name, work, limit),
            At::Operator => {
                if !work.deeds.is_empty() {
                    self.flush();
                }
                one_by_one(self, work, limit)
            }
        }
    }
}

impl Drop for SystemHosts<'_> {
    /// Ends the connections; without this they would linger for `ControlPersist`.
    fn drop(&mut self) {
        self.flush();
        self.unlock();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let Ok(sockets) = std::fs::read_dir(self.sockets.path()) else { return };
        for socket in sockets.flatten() {
            let mut ssh = Process::new("ssh");
            ssh.arg("-o").arg(format!("ControlPath={}", socket.path().display())).args(["-O", "exit", "bcctl"]);
            process::run(ssh, Duration::from_secs(1));
        }
    }
}

/// What `ssh` means with exit status 255.
fn classify(stderr: &str) -> Unreached {
    let says = |text: &str| stderr.contains(text);
    if says("Host key verification failed") || says("IDENTIFICATION HAS CHANGED") || says("host key is known") {
        Unreached::HostKey
    } else if says("Permission denied") || says("Too many authentication failures") {
        Unreached::KeyRefused
    } else if says("Could not resolve hostname") {
        Unreached::Name
    } else {
        Unreached::NoAnswer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_opened_without_asking_and_with_the_options_of_the_host() {
        let text = include_str!("../../../../packaging/bc.toml").replacen(
            "ssh = \"root@198.18.5.11\"",
            "ssh = \"ops@jump\"\nssh-options = [\"-p\", \"2222\"]\nsudo = true",
            1,
        );
        let inventory = Inventory::parse("bc.toml", &text).expect("the example parses");
        let hosts = SystemHosts::new(&inventory).expect("a directory");
        let words = |process: Process| -> Vec<String> {
            std::iter::once(process.get_program())
                .chain(process.get_args())
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let ssh = words(hosts.shell("pg1"));
        assert_eq!((ssh[0].as_str(), ssh.contains(&"BatchMode=yes".to_owned())), ("ssh", true));
        assert_eq!(ssh[ssh.len() - 5..], ["-p", "2222", "--", "ops@jump", "exec sudo -n sh"]);
    }

    #[test]
    fn sockets_of_the_dead_are_swept_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let alive = format!("bcctl-ssh-{}-a", std::process::id());
        // Process ids end at 2^22 on Linux.
        for name in ["bcctl-ssh-4194305-x", &alive, "bcctl-ssh-x", "bcctl-site-4194305-x"] {
            std::fs::create_dir(directory.path().join(name)).expect("made");
        }
        sweep(directory.path());
        let left = std::fs::read_dir(directory.path()).expect("a directory").count();
        assert_eq!((left, directory.path().join("bcctl-ssh-4194305-x").exists()), (3, false));
    }

    #[test]
    fn the_reasons_of_ssh_are_told_apart() {
        for (stderr, reason) in [
            ("root@198.18.5.11: Permission denied (publickey).", Unreached::KeyRefused),
            ("Host key verification failed.", Unreached::HostKey),
            ("No ED25519 host key is known for pg1 and you have requested strict checking.", Unreached::HostKey),
            ("ssh: Could not resolve hostname pg9: Name or service not known", Unreached::Name),
            ("ssh: connect to host 198.18.5.11 port 22: Connection timed out", Unreached::NoAnswer),
            ("ssh: connect to host 198.18.5.11 port 22: Connection refused", Unreached::NoAnswer),
        ] {
            assert_eq!(classify(stderr), reason, "{stderr}");
        }
    }
}
