//! pg_auto_failover has no hook, but its monitor says what it decides: `LISTEN state`. We listen through `psql`.
//!
//! The monitor promotes by its own timers and waits for nobody, so this is advice that comes in time or not; a fence that fails
//! is told and changes nothing there.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{Caller, FENCED, Problem};
use crate::render::{complain, say, unconfirmed, warn};

/// psql shows what it was notified of when it has next been asked something.
const TICK: Duration = Duration::from_secs(1);

/// `fence hook pgaf-watch`
#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// How psql reaches the monitor: a libpq connection string without a password (use ~/.pgpass)
    #[arg(long, value_name = "CONNINFO")]
    monitor: String,
    /// The formation
    #[arg(long, value_name = "NAME", default_value = "default")]
    formation: String,
    /// The cluster under [clusters]; not needed where there is only one
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// What the monitor says of a node; it says more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    formation: String,
    name: String,
    host: String,
    port: u16,
    reported_state: String,
    goal_state: String,
    health: String,
}

impl State {
    /// Reads a line of psql, if it is a notification of this kind; what is wrong with it, if it is not understood.
    fn from_line(line: &str) -> Option<Result<Self, serde_json::Error>> {
        let (_, rest) = line.split_once("Asynchronous notification \"state\" with payload \"")?;
        let (payload, _) = rest.rsplit_once("\" received from server process")?;
        Some(serde_json::from_str(payload))
    }

    /// Whether the monitor gives up a primary that does not answer. One that is well is being switched over, and stops itself;
    /// one that says it is demoted has.
    fn is_lost_primary(&self) -> bool {
        matches!(self.goal_state.as_str(), "draining" | "demote_timeout" | "demoted")
            && self.health == "bad"
            && self.reported_state != "demoted"
    }
}

/// Listens until it is told to stop. A connection that ends is a failure: systemd starts the watch again.
pub(super) fn watch(caller: &Caller, watch: &Watch) -> Result<u8, Problem> {
    let (name, cluster) = caller.cluster(watch.cluster.as_deref())?;
    let here = caller.local()?.node.clone();
    let mut monitor = Monitor::listen(&watch.monitor)?;
    say("listening to the monitor");
    let mut fenced: BTreeSet<String> = BTreeSet::new();
    while !caller.stop.requested() {
        let state = match monitor.next()? {
            None => continue,
            Some(Ok(state)) => state,
            Some(Err(error)) => {
                warn(&format!("a notification of the monitor is not understood: {error}"));
                continue;
            }
        };
        let names = [state.name.clone(), format!("{}:{}", state.host, state.port), state.host.clone()];
        let Some(node) = names.iter().find_map(|name| cluster.node(name)).map(str::to_owned) else {
            warn(&format!("the monitor's node {:?} is none of ours: add it under [clusters.{name}.names]", state.name));
            continue;
        };
        if state.formation != watch.formation || !state.is_lost_primary() {
            fenced.remove(&node);
        } else if node != here && !fenced.contains(&node) {
            let reason = format!("pg_auto_failover: {} is to be {} and does not answer", state.name, state.goal_state);
            match caller.fence(&node, &reason, None, None) {
                Ok(report) if report.confirmed => {
                    say(&format!("{node} is fenced: {}", report.grade.meaning()));
                    fenced.insert(node);
                }
                Ok(report) => unconfirmed(&report, true),
                Err(error) => complain(&error),
            }
        }
    }
    Ok(FENCED)
}

/// A `psql` that listens.
struct Monitor {
    psql: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Monitor {
    fn listen(conninfo: &str) -> Result<Self, Problem> {
        let problem = |error: std::io::Error| Problem::said(format!("psql: {error}"));
        let mut command = Command::new("psql");
        command
            .args(["-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", conninfo])
            .env("PGCONNECT_TIMEOUT", "10")
            .current_dir("/");
        let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(problem)?;
        let (Some(stdin), Some(stdout)) = (psql.stdin.take(), psql.stdout.take()) else {
            return Err(Problem::said("psql: no pipes"));
        };
        let (send, lines) = mpsc::channel();
        thread::Builder::new()
            .spawn(move || {
                for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                    if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        break;
                    }
                }
            })
            .map_err(problem)?;
        let mut monitor = Self { psql, stdin, lines };
        monitor.ask("LISTEN state;\n")?;
        Ok(monitor)
    }

    fn ask(&mut self, question: &str) -> Result<(), Problem> {
        self.stdin.write_all(question.as_bytes()).map_err(|_| Problem::said("the monitor's connection ended"))
    }

    /// The next state, or none within a tick.
    fn next(&mut self) -> Result<Option<Result<State, serde_json::Error>>, Problem> {
        match self.lines.recv_timeout(TICK) {
            Ok(line) => Ok(State::from_line(&line)),
            Err(RecvTimeoutError::Timeout) => self.ask("SELECT;\n").map(|()| None),
            Err(RecvTimeoutError::Disconnected) => Err(Problem::said("the monitor's connection ended")),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(goal: &str, reported: &str, health: &str) -> State {
        let payload = format!(
            "{{\"type\": \"state\", \"formation\": \"default\", \"groupId\": 0, \"nodeId\": 1, \"name\": \"node_1\", \
             \"host\": \"198.18.5.11\", \"port\": 5432, \"reportedState\": \"{reported}\", \"goalState\": \"{goal}\", \
             \"health\": \"{health}\"}}"
        );
        State::from_line(&format!(
            "Asynchronous notification \"state\" with payload \"{payload}\" received from server process with PID 7."
        ))
        .unwrap()
        .unwrap()
    }

    #[test]
    fn only_a_primary_that_is_given_up_and_does_not_answer_is_lost() {
        assert!(state("draining", "primary", "bad").is_lost_primary());
        assert!(state("demote_timeout", "draining", "bad").is_lost_primary());
        for (goal, reported, health) in [
            ("draining", "primary", "good"),
            ("demoted", "demoted", "bad"),
            ("demote_timeout", "draining", "unknown"),
            ("catchingup", "demoted", "bad"),
            ("primary", "primary", "bad"),
        ] {
            assert!(!state(goal, reported, health).is_lost_primary(), "{goal} {reported} {health}");
        }
    }

    #[test]
    fn other_lines_are_no_states() {
        for line in [
            "",
            "(1 row)",
            "Asynchronous notification \"log\" with payload \"{}\" received from server process with PID 7.",
        ] {
            assert!(State::from_line(line).is_none(), "{line}");
        }
    }
}
