//! The edge to the world: how a device is asked. One trait, implemented by `exec` and `ssh`, and by a script in tests.

use std::time::Duration;

use bc_model::fencing::{FenceAction, Grade, NodeState};
use serde::Serialize;

use crate::child::Ended;
use crate::stop::Stop;

/// One question to one device.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// What is asked.
    pub(crate) action: Action,
    /// Name of the node in the configuration.
    pub(crate) node: &'a str,
    /// When the call counts as failed.
    pub(crate) limit: Duration,
    /// Told the time that has gone by, every second.
    pub(crate) waiting: &'a dyn Fn(Duration),
    /// Ends the call early.
    pub(crate) stop: &'a Stop,
}

/// What can be asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Turn the plug off.
    Off,
    /// Turn the plug on.
    On,
    /// Say whether the plug is on.
    Status,
    /// Say whether the device itself is well.
    Monitor,
}

impl Action {
    /// The word of FenceAgentAPI.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Status => "status",
            Self::Monitor => "monitor",
        }
    }
}

impl From<FenceAction> for Action {
    fn from(action: FenceAction) -> Self {
        match action {
            FenceAction::Off => Self::Off,
            FenceAction::On => Self::On,
            FenceAction::Status => Self::Status,
        }
    }
}

/// What a device answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// For `status` the state. For `off` and `on` what the device claims to have done, which proves nothing.
    /// For `monitor` anything.
    pub(crate) state: NodeState,
    /// Whether the device did what was asked: for `status`, whether it gave an exact answer.
    pub(crate) obeyed: bool,
    /// What its off proves, when that is less than [`Agent::grade`]: a watchdog whose arming was not recorded, a host
    /// whose boot gate is not set.
    pub(crate) at_most: Option<Grade>,
    /// Its own words, one line, secrets removed.
    pub(crate) detail: String,
}

impl Answer {
    /// The answer of a device that could not be asked, or whose answer means nothing.
    pub(crate) fn unknown(detail: impl Into<String>) -> Self {
        Self { state: NodeState::Unknown, obeyed: false, at_most: None, detail: detail.into() }
    }
}

/// What a rehearsal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rehearsal {
    /// The state that was read back; unknown if the device cannot do its work.
    pub(crate) answer: Answer,
    /// What an off would prove, when that is less than [`Agent::grade`].
    pub(crate) at_most: Grade,
    /// What stands in the way of more, in words.
    pub(crate) missing: Vec<String>,
}

/// A command line and what is written to its standard input, as they may be shown: secrets are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Preview {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Lines written to it.
    pub(crate) stdin: Vec<String>,
}

/// A way to ask a device.
pub(crate) trait Agent: Sync {
    /// Asks, and answers within the call's limit.
    fn call(&self, call: &Call<'_>) -> Answer;
    /// What `call` would run.
    fn preview(&self, action: Action, node: &str) -> Preview;
    /// Whether `on` means anything to it.
    fn turns_on(&self) -> bool;
    /// The most that the node is known to be when this agent has read back off; an answer may say less ([`Answer::at_most`]),
    /// and so may the configuration.
    ///
    /// Too high a grade lets a standby be promoted while the old primary writes: in doubt, the lower one.
    fn grade(&self) -> Grade;
    /// What counts unless the configuration says.
    fn presumed(&self) -> Grade {
        self.grade()
    }
    /// Asks all that can be asked without switching anything: is it there, does it let us in, what does it read back, and what would
    /// its off prove as things are?
    fn rehearse(&self, call: &Call<'_>) -> Rehearsal {
        let monitor = self.call(&Call { action: Action::Monitor, ..*call });
        let answer = if monitor.obeyed { self.call(&Call { action: Action::Status, ..*call }) } else { monitor };
        Rehearsal { answer, at_most: Grade::A, missing: vec![] }
    }
    /// Whether it asks the node itself, and so can do nothing about one that no longer answers.
    fn needs_the_host(&self) -> bool {
        false
    }
    /// Whether the configuration file itself holds a secret of it.
    fn holds_a_secret(&self) -> bool {
        false
    }
}

/// How a child's end reads in the evidence.
pub(crate) fn ending(ended: Ended, limit: Duration) -> String {
    match ended {
        Ended::Exited(code) => format!("exit {code}"),
        Ended::Signaled(signal) => format!("killed by signal {signal}"),
        Ended::DeadlineReached => format!("no answer within {}, killed", seconds(limit)),
        Ended::Interrupted => "interrupted, killed".to_owned(),
    }
}

/// A duration as a person reads it: `30 s`, `0.3 s`.
pub(crate) fn seconds(length: Duration) -> String {
    if length.subsec_millis() == 0 {
        format!("{} s", length.as_secs())
    } else {
        format!("{:.1} s", length.as_secs_f64())
    }
}
