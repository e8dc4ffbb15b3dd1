//! Check commands: run on time, killed when they take too long, and judged by rise and fall.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::account;
use super::limiter::Limiter;
use crate::clock;
use crate::config::{Check, Name};

/// How often the log is told that a command cannot be run.
const SAID: Duration = Duration::from_secs(60);

/// The end of one run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The check.
    pub name: Name,
    /// Why it did not exit with 0, in time, if it did not.
    pub failed: Option<String>,
}

/// What is known of a check. Pure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// `None` until the first run has ended; that one decides alone.
    pub up: Option<bool>,
    /// How the last run failed, if it is down.
    pub why: Option<String>,
    /// Runs in a row that say otherwise.
    against: u32,
}

impl Verdict {
    /// Takes in a run; true if that changed the verdict.
    pub fn take(&mut self, check: &Check, failed: Option<&str>) -> bool {
        let succeeded = failed.is_none();
        self.against = if self.up == Some(succeeded) { 0 } else { self.against.saturating_add(1) };
        let needed = if succeeded { check.rise } else { check.fall };
        let changes = self.up != Some(succeeded) && (self.up.is_none() || self.against >= needed);
        if changes {
            (self.up, self.against, self.why) = (Some(succeeded), 0, None);
        }
        if self.up == Some(false) && !succeeded {
            self.why = failed.map(str::to_owned);
        }
        changes
    }
}

/// Runs `check` again and again until the handle is told to abort.
pub fn start(check: Check, results: mpsc::Sender<Ran>) -> AbortHandle {
    let task = async move {
        let mut turns = interval(check.interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let fresh = || Limiter::new(1, SAID);
        let mut said = fresh();
        loop {
            turns.tick().await;
            let failed = run(&check).await.err();
            match &failed {
                Some(Failure { began: false, why }) => {
                    if said.admit(clock::now()) {
                        tracing::warn!(check = %check.name, "{why}; said once a minute");
                    }
                }
                Some(Failure { began: true, .. }) | None => said = fresh(),
            }
            let failed = failed.map(|failure| failure.why);
            if results.send(Ran { name: check.name.clone(), failed }).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(task).abort_handle()
}

/// A run that did not exit with 0, in time.
struct Failure {
    /// Whether the command could be run at all.
    began: bool,
    why: String,
}

async fn run(check: &Check) -> Result<(), Failure> {
    let Some((program, arguments)) = check.command.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let spawned = as_user(&mut command, check.user.as_deref()).and_then(|()| Group::spawn(&mut command));
    let mut child =
        spawned.map_err(|error| Failure { began: false, why: format!("cannot be run: {program}: {error}") })?;
    let failed = |why| Err(Failure { began: true, why });
    match timeout(check.timeout, child.0.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => failed(in_words(status)),
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => failed(format!("took longer than {:?}", check.timeout)),
    }
}

fn in_words(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

/// Lets `user` run the command; a number is a user too.
fn as_user(command: &mut Command, user: Option<&str>) -> io::Result<()> {
    let Some(user) = user else { return Ok(()) };
    let found = account::user(user)?;
    command.uid(found.uid).gid(found.gid);
    Ok(())
}

/// A command with all that it started; killed together when dropped.
pub(super) struct Group(pub(super) Child);

impl Group {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        // The daemon's own affair with its service manager: a command must neither speak for it nor pat for it.
        for ours in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(ours);
        }
        command.process_group(0).kill_on_drop(true).spawn().map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // No id: it has ended and has been waited for.
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok())
            && let Err(error) = killpg(Pid::from_raw(id), Signal::SIGKILL)
        {
            tracing::warn!(pid = id, %error, "a command and what it started were not killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Effect;

    #[test]
    fn the_first_run_decides_and_then_rise_and_fall_do() {
        let check = Check {
            name: Name::new("gocd").unwrap(),
            command: vec!["/bin/true".into()],
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            effect: Effect::Fault,
            user: None,
        };
        let mut verdict = Verdict::default();
        let runs = [true, false, false, true, false, false, false, true, false, true, true];
        let changes: Vec<_> = runs
            .into_iter()
            .enumerate()
            .filter(|(_, run)| verdict.take(&check, (!run).then_some("exit status 1")))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(changes, [0, 6, 10]);
        assert_eq!(verdict.up, Some(true));
    }
}
