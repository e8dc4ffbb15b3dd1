//! What counts as off, and who may ask: the table `[policy]`, and what a node says differently.

use std::path::Path;
use std::time::Duration;

use bc_model::fencing::Grade;
use toml::Spanned;

use super::Problem;
use super::raw::{RawNode, RawPolicy, duration};
use crate::brake::Brake;
use crate::levels::Need;

/// A standby may be promoted when the old primary is isolated; one that answers may also be seen stopped.
const DEFAULT_NEED: Need = Need { silent: Grade::B, answering: Grade::D };
const DEFAULT_BRAKE: Brake = Brake { fences: 10, window: Duration::from_secs(600) };
const DEFAULT_RIGHT_TIMEOUT: Duration = Duration::from_secs(5);

/// What all nodes have in common.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// What counts as off unless the node says otherwise.
    pub(crate) need: Need,
    /// Whether a request without a token is refused.
    pub(crate) require_token: bool,
    /// What says, just before a device is told to act, whether the right to fence still holds.
    pub(crate) right: Option<RightCommand>,
    /// How many fences are too many.
    pub(crate) brake: Brake,
}

/// A program that exits with 0 while this host has the right to fence: one that asks a witness, or the lease.
#[derive(Clone, Debug)]
pub(crate) struct RightCommand {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// When it counts as failed.
    pub(crate) timeout: Duration,
}

impl Policy {
    pub(super) fn read(raw: Option<RawPolicy>) -> Result<Self, Problem> {
        let raw = raw.unwrap_or_default();
        let time = |name: &str, text: &Option<Spanned<String>>, default| {
            text.as_ref().map_or(Ok(default), |text| duration(&format!("policy.{name}"), text))
        };
        let right_timeout = time("right-timeout", &raw.right_timeout, DEFAULT_RIGHT_TIMEOUT)?;
        let right = raw.right_command.map(|argv| right(argv, right_timeout)).transpose()?;
        Ok(Self {
            need: need("policy", [&raw.required_grade, &raw.required_grade_when_answering], DEFAULT_NEED)?,
            require_token: raw.require_token,
            right,
            brake: Brake {
                fences: raw.brake_fences.unwrap_or(DEFAULT_BRAKE.fences),
                window: time("brake-window", &raw.brake_window, DEFAULT_BRAKE.window)?,
            },
        })
    }

    /// What counts as off for one node.
    pub(super) fn need_of(&self, key: &str, raw: &RawNode) -> Result<Need, Problem> {
        need(key, [&raw.required_grade, &raw.required_grade_when_answering], self.need)
    }
}

fn right(argv: Spanned<Vec<String>>, timeout: Duration) -> Result<RightCommand, Problem> {
    match argv.get_ref().first() {
        Some(program) if Path::new(program).is_absolute() => Ok(RightCommand { argv: argv.into_inner(), timeout }),
        _ => {
            let expected = "expected a list that begins with the absolute path of a program";
            Err(Problem::new(argv.span().start, "policy.right-command", expected))
        }
    }
}

fn need(key: &str, [silent, answering]: [&Option<Spanned<String>>; 2], default: Need) -> Result<Need, Problem> {
    let read = |name: &str, text: &Option<Spanned<String>>, default| match text {
        None => Ok(default),
        Some(text) => grade(&format!("{key}.{name}"), text),
    };
    Ok(Need {
        silent: read("required-grade", silent, default.silent)?,
        answering: read("required-grade-when-answering", answering, default.answering)?,
    })
}

/// A grade that may be required: X would make anything a fence.
fn grade(key: &str, text: &Spanned<String>) -> Result<Grade, Problem> {
    let problem = |expected: &str| Problem::new(text.span().start, key, format!("{:?}: {expected}", text.get_ref()));
    match text.get_ref().parse() {
        Ok(Grade::X) => Err(problem("X is not a fence; expected A, B, C, D or E")),
        Ok(grade) => Ok(grade),
        Err(_) => Err(problem("expected a grade: A, B, C, D or E")),
    }
}
