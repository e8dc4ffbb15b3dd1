//! The one table of runbook steps: what is executed, what the dry run prints and what the journal names.
//!
//! ```text
//! check ──true──▶ skipped
//!   │ false
//!   ▼
//! require ─▶ begin (fsync) ─▶ run ─▶ check, again and again until it holds or the time is over
//! ```
//!
//! Steps that do not need one another form a group: they begin together, each with its own lines in the journal, and the group
//! is over when all are. The promotion is always alone.
//!
//! A step is data built from the inventory and the plan's decision alone, so `bcctl resume` builds the same table again.

mod artifacts;
mod failover;
mod partial;
mod quiesce;
mod rejoin;
mod salvage;
mod setup;
mod switchover;

pub(crate) use quiesce::notes as quiesce_notes;
pub(crate) use setup::steps as setup_steps;

use std::time::Duration;

use bc_model::inventory::Inventory;
use bc_model::journal::{Intent, PlannedStep};

use crate::command::{At, Command, postgresql};
use crate::judge::Check;
use crate::plan::Decision;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Stable id; the table is in `bc_model::journal`.
    pub(crate) id: String,
    /// What it does.
    pub(crate) words: String,
    /// Where it is done.
    pub(crate) at: At,
    /// Whether it begins together with the step before it, as one of a group; see [`together`].
    pub(crate) beside: bool,
    /// What has to hold right before it runs.
    pub(crate) require: Vec<Check>,
    /// What is true afterwards. Already true means skip, unless the step runs [`When::Always`].
    pub(crate) checks: Vec<Check>,
    /// Whether a condition that holds already is a reason to skip.
    pub(crate) when: When,
    /// What is run, in order.
    pub(crate) run: Vec<Command>,
    /// What says how far it is while it runs, in lines `phase=`, `done=` and `total=`; nothing if it takes no time to speak of.
    pub(crate) meter: Vec<Command>,
    /// Whether it is done as soon as the checks hold, even if its one command still runs: programs that wait for a server
    /// look ten times a second, or once.
    pub(crate) meanwhile: bool,
    /// Whether waiting is of no use: what is seen not to hold then will not hold later.
    pub(crate) once: bool,
    /// From `begin` until the checks hold.
    pub(crate) timeout: Duration,
    /// A later step that ends this one's condition on purpose: while that one holds, this one is done.
    pub(crate) superseded_by: Option<&'static str>,
    /// How it is put back before the point of no return.
    pub(crate) undo: Undo,
    /// Whether it is the point of no return.
    pub(crate) point_of_no_return: bool,
    /// Whether its failure means that a node could not be proven off.
    pub(crate) fences: bool,
    /// Whether the operation goes on without it when it fails.
    pub(crate) best_effort: bool,
}

/// Whether a condition that holds already is a reason to skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It is.
    Needed,
    /// It is not: running again does no harm, and evidence of our own is worth more.
    Always,
}

/// How a step is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Nothing that was changed gets in the way of serving as before; why.
    Unneeded(String),
    /// It stays as it is, and serving as before needs a person; what stays.
    Stays(String),
    /// Commands, and what is true afterwards.
    Run {
        /// What it does.
        words: String,
        /// It is left as it is when one of these is seen to hold.
        unless: Vec<Check>,
        /// What is run, in order.
        run: Vec<Command>,
        /// What is true afterwards.
        checks: Vec<Check>,
        /// From the first command until the checks hold.
        timeout: Duration,
    },
}

impl Step {
    /// A step that only waits for a condition.
    fn wait(id: &str, at: At, words: String, checks: Vec<Check>, timeout: Duration) -> Self {
        Self {
            id: id.to_owned(),
            words,
            at,
            beside: false,
            require: Vec::new(),
            checks,
            when: When::Needed,
            run: Vec::new(),
            meter: Vec::new(),
            meanwhile: false,
            once: false,
            timeout,
            superseded_by: None,
            undo: Undo::Unneeded("only looked".to_owned()),
            point_of_no_return: false,
            fences: false,
            best_effort: false,
        }
    }

    /// A step that changes something; `undo` says what becomes of the change.
    fn change(
        id: &str,
        host: &str,
        words: String,
        checks: Vec<Check>,
        run: Vec<Command>,
        timeout: Duration,
        undo: Undo,
    ) -> Self {
        Self { run, undo, ..Self::wait(id, At::Host(host.to_owned()), words, checks, timeout) }
    }

    fn requiring(self, require: Vec<Check>) -> Self {
        Self { require, ..self }
    }

    fn meanwhile(self) -> Self {
        Self { meanwhile: true, ..self }
    }

    fn once(self) -> Self {
        Self { once: true, ..self }
    }

    fn metered(self, meter: Vec<Command>) -> Self {
        Self { meter, ..self }
    }

    fn always(self) -> Self {
        Self { when: When::Always, ..self }
    }

    fn best_effort(self) -> Self {
        Self { best_effort: true, ..self }
    }

    fn superseded_by(self, id: &'static str) -> Self {
        Self { superseded_by: Some(id), ..self }
    }

    /// Everything that it may run, also to look and to go back.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Command> {
        let (unless, back, seen): (&[Check], &[Command], &[Check]) = match &self.undo {
            Undo::Run { unless, run, checks, .. } => (unless, run, checks),
            Undo::Unneeded(_) | Undo::Stays(_) => (&[], &[], &[]),
        };
        let checks = self.require.iter().chain(&self.checks).chain(unless).chain(seen);
        checks.flat_map(|check| &check.commands).chain(&self.run).chain(&self.meter).chain(back)
    }

    /// As the journal names it.
    pub(crate) fn planned(&self) -> PlannedStep {
        PlannedStep {
            id: self.id.clone(),
            words: self.words.clone(),
            host: self.at.to_string(),
            point_of_no_return: self.point_of_no_return,
            beside: self.beside,
        }
    }
}

/// Steps of which none needs another one to be done: a group, begun together and over when all are over. A step at a machine
/// where one of the group is at work already begins the next group. The operator's own machine is an exception: what is done
/// there asks a device of each step's own.
///
/// Why the steps of each group may run together is in docs/decisions/0110.
fn together(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut group: Vec<At> = Vec::new();
    let place = |step: Step| {
        let apart = |at: &At| match (at, &step.at) {
            (At::Operator, At::Operator) => true,
            (At::Host(one), At::Host(other)) => one != other,
            _ => false,
        };
        let beside = !group.is_empty() && group.iter().all(apart);
        if !beside {
            group.clear();
        }
        group.push(step.at.clone());
        Step { beside, ..step }
    };
    steps.into_iter().map(place).collect()
}

/// The groups of a table; a step that begins alone is a group of one.
pub(crate) fn groups(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|_, next| next.beside)
}

/// The steps of an operation, in order.
pub(crate) fn table(inventory: &Inventory, decision: &Decision) -> Vec<Step> {
    match decision.intent {
        Intent::Failover => failover::steps(inventory, decision),
        Intent::Switchover => switchover::steps(inventory, decision),
        Intent::Failback => {
            let mut steps = rejoin::steps(inventory, decision);
            steps.extend(switchover::steps(inventory, decision));
            steps
        }
        Intent::Rejoin => partial::rejoin(inventory, decision),
        Intent::PromoteOnly => partial::promote(inventory, decision),
        Intent::VipOnly => partial::vip(inventory, decision),
    }
}

/// The promotion: the point of no return. `from` is the fact at or after which the new timeline has to begin.
fn promotion(inventory: &Inventory, decision: &Decision, from: &str) -> Step {
    let host = decision.to.postgresql(inventory);
    Step {
        point_of_no_return: true,
        ..Step::change(
            "promote",
            host,
            format!("promote PostgreSQL on {host} to primary"),
            vec![postgresql::promoted(inventory, host, decision.timeline, from)],
            vec![postgresql::promote(inventory, host)],
            inventory.timeouts.promote,
            Undo::Unneeded("a promotion cannot be taken back".to_owned()),
        )
    }
    .always()
}

#[cfg(test)]
mod tests;
