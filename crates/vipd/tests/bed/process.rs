//! A daemon with all its processes: signalled together, and gone when dropped.

use std::cell::RefCell;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

thread_local! {
    static LAST_WORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the daemons of this thread had printed that were dropped by a panic.
pub fn last_words() -> Vec<String> {
    LAST_WORDS.take()
}

/// A running daemon. Killed when dropped.
pub struct Process {
    child: Child,
    log: std::path::PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `LOG` in `directory`.
    pub fn start(command: &mut Command, directory: &TempDir, log: &str) -> Self {
        let log = directory.path().join(log);
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")), log }
    }

    /// The process and its children, parents first.
    pub fn family(&self) -> Vec<Pid> {
        let mut family = vec![i32::try_from(self.child.id()).unwrap()];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            family.extend(children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()));
            next += 1;
        }
        family.into_iter().map(Pid::from_raw).collect()
    }

    /// Stops all its processes at once, so that none can react to the end of another.
    pub fn freeze(&self) {
        self.family().into_iter().for_each(|pid| kill(pid, Signal::SIGSTOP).unwrap());
    }

    /// Lets them run again.
    pub fn thaw(&self) {
        self.family().into_iter().for_each(|pid| kill(pid, Signal::SIGCONT).unwrap());
    }

    /// Kills all its processes; none gets to do anything any more.
    pub fn kill(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let family = self.family();
            for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
                for pid in &family {
                    let _ = kill(*pid, signal);
                }
            }
            self.child.wait().unwrap();
        }
    }

    /// Asks it to end (SIGTERM). It still runs when this returns.
    pub fn terminate(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still runs {patience:?} after it was told to end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Panics with what it printed if it has ended by itself.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "ended by itself: {ended:?}\n{}", self.log());
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        let mut text = String::new();
        let _ = fs::File::open(&self.log).and_then(|mut file| file.read_to_string(&mut text));
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            println!("{}:\n{log}", self.log.display());
            LAST_WORDS.with_borrow_mut(|words| words.push(log));
        }
    }
}
