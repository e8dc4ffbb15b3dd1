//! What counts as off, and who may ask: the table `[policy]`, and what a node says differently.

use bc_model::fencing::Grade;
use toml::Spanned;

use super::Problem;
use super::raw::{RawNode, RawPolicy};
use crate::levels::Need;

/// A standby may be promoted when the old primary is isolated; one that answers may also be seen stopped.
pub(super) const DEFAULT_NEED: Need = Need { silent: Grade::B, answering: Grade::D };

/// What all nodes have in common.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// What counts as off unless the node says otherwise.
    pub(super) need: Need,
}

pub(super) fn check(raw: Option<RawPolicy>) -> Result<Policy, Problem> {
    let raw = raw.unwrap_or_default();
    let keys = [&raw.required_grade, &raw.required_grade_when_answering];
    Ok(Policy { need: need("policy", keys, DEFAULT_NEED)? })
}

pub(super) fn of_node(key: &str, raw: &RawNode, policy: &Policy) -> Result<Need, Problem> {
    need(key, [&raw.required_grade, &raw.required_grade_when_answering], policy.need)
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
