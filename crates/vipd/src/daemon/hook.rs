//! The hook: one run per event, one after the other, the event as JSON on its standard input.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::check::Group;
use super::event::Event;
use crate::config::Hook;

/// Events that may wait for their turn.
const WAITING: usize = 1024;

/// A run that did not do its work.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The event that it was run for.
    pub seq: u64,
    /// What happened.
    pub error: String,
}

/// Runs the hook, one event after the other, also across a change of the hook itself.
pub struct Runner {
    events: mpsc::Sender<Event>,
    hook: watch::Sender<Option<Hook>>,
    task: tokio::task::JoinHandle<()>,
}

impl Runner {
    /// Runs nothing until it is told what.
    #[must_use]
    pub fn start(failures: mpsc::Sender<Failed>) -> Self {
        let (events, mut waiting) = mpsc::channel::<Event>(WAITING);
        let (hook, current) = watch::channel::<Option<Hook>>(None);
        let task = tokio::spawn(async move {
            while let Some(event) = waiting.recv().await {
                let Some(hook) = current.borrow().clone() else { continue };
                if let Err(error) = run(&hook, &event).await {
                    // The loop has ended: nobody is left to tell.
                    let _ = failures.send(Failed { seq: event.seq, error }).await;
                }
            }
        });
        Self { events, hook, task }
    }

    /// Runs this from the next event on.
    pub fn set(&self, hook: Option<Hook>) {
        self.hook.send_replace(hook);
    }

    /// Runs the hook for `event` when its turn comes.
    ///
    /// # Errors
    /// Too many events wait already.
    pub fn push(&self, event: Event) -> Result<(), Failed> {
        if self.hook.borrow().is_none() {
            return Ok(());
        }
        let seq = event.seq;
        let full = |_| Failed { seq, error: format!("{WAITING} events wait for the hook already") };
        self.events.try_send(event).map_err(full)
    }

    /// Returns when every event has had its turn.
    pub async fn finish(self) {
        drop(self.events);
        let _ = self.task.await;
    }
}

async fn run(hook: &Hook, event: &Event) -> Result<(), String> {
    let Some((program, arguments)) = hook.command.split_first() else { return Ok(()) };
    let mut input = serde_json::to_vec(event).map_err(|error| error.to_string())?;
    input.push(b'\n');
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut child = Group::spawn(&mut command).map_err(|error| format!("{program}: {error}"))?;
    let stdin = child.0.stdin.take();
    let work = async {
        if let Some(mut stdin) = stdin {
            // A hook need not read.
            let _ = stdin.write_all(&input).await;
        }
        child.0.wait().await
    };
    match timeout(hook.timeout, work).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program}: {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} took longer than {:?} and was killed", hook.timeout)),
    }
}
