//! Levels: which device is asked what, in which order, and when a node counts as off.
//!
//! ```text
//! level 1 ─ device a: off, then status until it says off ─ device b: the same ─┐
//!    │ any of them fails                                                      └─ all of them: status once more ─ off
//! level 2 ─ …
//! ```
//!
//! Each device has one budget of time for all it is asked: its `timeout`. A level that is off counts only if its weakest device
//! proves the grade that is required ([`Need`]), and if no device that said on before still says something that refutes it.
//!
//! What a device claims to have done is written down and believed by nobody: the verdict rests on `status`, asked afterwards
//! (FenceAgentAPI: "Timeout is a failure, not success"). This file has neither clock nor process; both come from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bc_model::fencing::{Evidence, FenceAction, Grade, NodeState};

use crate::agent::{Action, Agent, Answer, Call, seconds};
use crate::clock::Clock;
use crate::stop::Stop;

/// Pause between two questions to a device that has not yet changed (FenceAgentAPI's `stonith_status_sleep`).
pub(crate) const STATUS_SLEEP: Duration = Duration::from_secs(1);
/// How long an off must last before it is believed: power that comes back by itself comes back at once.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// How much of a device's time its `off` may use; the rest is kept for reading back.
const ACT_SHARE: (u32, u32) = (2, 3);
/// How much of a device's time a first look may use.
const FIRST_LOOK_SHARE: u32 = 4;
/// What is left of a device's time for the last look, at the least.
const LAST_LOOK_SHARE: u32 = 10;
/// How long a device that contradicts is asked again, at most.
const CROSS_CHECK: Duration = Duration::from_secs(5);

/// The weakest grade that counts as off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// For a node that does not answer.
    pub(crate) silent: Grade,
    /// For a node that still answers: one whose own host said, in this level, that the services are stopped (grade D).
    pub(crate) answering: Grade,
}

impl Need {
    /// The grade that counts for a node that answers, or does not.
    pub(crate) const fn of(self, answers: bool) -> Grade {
        if answers { self.answering } else { self.silent }
    }
}

/// A device as a level uses it.
#[derive(Clone, Copy)]
pub(crate) struct Device<'a> {
    /// Its name in the configuration.
    pub(crate) name: &'a str,
    /// The time for everything that one request asks of it.
    pub(crate) timeout: Duration,
    /// What its off proves, at most.
    pub(crate) grade: Grade,
    /// How it is asked.
    pub(crate) agent: &'a dyn Agent,
}

/// A node with its devices.
pub(crate) struct Node<'a> {
    /// Its name in the configuration.
    pub(crate) name: &'a str,
    /// Its levels, in the order in which they are tried.
    pub(crate) levels: Vec<Vec<Device<'a>>>,
    /// What counts as off.
    pub(crate) need: Need,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The state that was read back.
    pub(crate) state: NodeState,
    /// Whether it is the state asked for, proven as well as required; for `status`, whether it is exact.
    pub(crate) confirmed: bool,
    /// The best proof of off that nothing refutes.
    pub(crate) grade: Grade,
    /// The grade that was needed, as things were found.
    pub(crate) required: Grade,
    /// Answers that do not go together, in words.
    pub(crate) contradictions: Vec<String>,
    /// Every call, in order.
    pub(crate) evidence: Vec<Evidence>,
    /// Why the request was not carried on, if the ledger said so.
    pub(crate) refused: Option<String>,
}

/// Written before and after each call.
pub(crate) trait Ledger: Sync {
    /// Comes before each call that changes something, which is made only if this succeeds.
    ///
    /// # Errors
    /// Why the call may not be made; the request then ends.
    fn attempt(&self, level: u32, device: &str, action: FenceAction) -> Result<(), String>;
    /// Comes after each call whose answer is news.
    fn observed(&self, evidence: &Evidence);
}

/// Nothing is written down: for questions.
pub(crate) struct NoLedger;

impl Ledger for NoLedger {
    fn attempt(&self, _level: u32, _device: &str, _action: FenceAction) -> Result<(), String> {
        Ok(())
    }

    fn observed(&self, _evidence: &Evidence) {}
}

/// The means by which a request is carried out.
pub(crate) struct Means<'a> {
    /// Time.
    pub(crate) clock: &'a dyn Clock,
    /// Told every second that a call has not ended yet.
    pub(crate) waiting: &'a (dyn Fn(&str) + Sync),
    /// Told what each call came to.
    pub(crate) answered: &'a (dyn Fn(&str) + Sync),
    /// Where every call is written down, and where it is decided whether one may be made.
    pub(crate) ledger: &'a dyn Ledger,
    /// Whether devices are asked before they are told: a request that was killed may have done the work already.
    pub(crate) look_first: bool,
    /// The wish to stop.
    pub(crate) stop: &'a Stop,
}

/// Carries out `action` on `node`.
pub(crate) fn carry_out(action: FenceAction, node: &Node<'_>, means: &Means<'_>) -> Outcome {
    let request = Request { node, means, evidence: Vec::new(), left: BTreeMap::new(), refused: None };
    match action {
        FenceAction::Off => request.off(),
        FenceAction::On => request.on(),
        FenceAction::Status => request.status(),
    }
}

struct Request<'a> {
    node: &'a Node<'a>,
    means: &'a Means<'a>,
    evidence: Vec<Evidence>,
    /// What is left of the time of each device that was asked, by level and name.
    left: BTreeMap<(u32, String), Duration>,
    refused: Option<String>,
}

/// How a level went.
struct LevelOff {
    grade: Grade,
    answers: bool,
}

impl Request<'_> {
    fn off(mut self) -> Outcome {
        let mut best = (Grade::X, self.node.need.silent);
        let mut contradictions = Vec::new();
        for (number, level) in (1..).zip(&self.node.levels) {
            if let Some(LevelOff { grade, answers }) = self.level_off(number, level) {
                let required = self.node.need.of(answers);
                contradictions = self.cross_check(grade);
                if contradictions.is_empty() {
                    if grade >= required {
                        return self.ended(NodeState::Off, true, (grade, required), contradictions);
                    }
                    best = best.max((grade, required));
                    (self.means.answered)(&format!(
                        "{}: level {number} is off, but that proves grade {grade} only ({}); {required} is required",
                        self.node.name,
                        grade.meaning()
                    ));
                }
            }
            if self.is_over() {
                break;
            }
        }
        // Some devices may have said off; the node as a whole is not off, so the answer is on or unknown.
        let some_say_on = self.last_answers().any(|(_, state)| state == NodeState::On);
        let state = match (best.0, some_say_on) {
            (Grade::X, true) => NodeState::On,
            (Grade::X, false) => NodeState::Unknown,
            _ => NodeState::Off,
        };
        self.ended(state, false, best, contradictions)
    }

    /// Turns a level off and looks twice; what it proves, if every device says off.
    fn level_off(&mut self, number: u32, level: &[Device<'_>]) -> Option<LevelOff> {
        for device in level {
            // An agent that is started, even to be killed at once, may act.
            if self.is_over() {
                return None;
            }
            let looked = self.means.look_first
                && self.ask(number, device, FenceAction::Status, device.timeout / FIRST_LOOK_SHARE) == NodeState::Off;
            if looked {
                continue;
            }
            // Whether `off` claims success decides nothing: an agent may fail because the node is off already, or
            // give up shortly before the power falls.
            let limit = self.left(number, device) * ACT_SHARE.0 / ACT_SHARE.1;
            self.ask(number, device, FenceAction::Off, limit);
            let reserve = (device.timeout / LAST_LOOK_SHARE) + settle(device);
            if !self.poll(number, device, reserve, |state| (state == NodeState::Off).then_some(true)) {
                return None;
            }
        }
        let settle = level.iter().map(settle).max().unwrap_or(SETTLE);
        self.means.clock.pause(settle);
        for device in level {
            self.spend(number, device, settle);
        }
        let mut off = LevelOff { grade: Grade::A, answers: false };
        for device in level {
            // Off again settles it, on refutes it; a device that cannot say is asked until it can.
            let verdict = |state| match state {
                NodeState::Off => Some(true),
                NodeState::On => Some(false),
                NodeState::Unknown => None,
            };
            if !self.poll(number, device, Duration::ZERO, verdict) {
                return None;
            }
            off.grade = off.grade.min(self.evidence.last().map_or(Grade::X, |last| last.grade));
            off.answers |= device.agent.needs_the_host();
        }
        Some(off)
    }

    /// Asks every device again whose last answer was an on that refutes an off of this grade; what still does.
    ///
    /// A power switch that turned off another machine's outlet is found here.
    fn cross_check(&mut self, grade: Grade) -> Vec<String> {
        let mut contradictions = Vec::new();
        for (number, level) in (1..).zip(&self.node.levels) {
            for device in level {
                let said_on = |said: &(String, NodeState)| said.0 == device.name && said.1 == NodeState::On;
                if !device.grade.refutes(grade) || !self.last_answers().any(|said| said_on(&said)) {
                    continue;
                }
                let limit = device.timeout.min(CROSS_CHECK);
                self.left.insert((number, device.name.to_owned()), limit);
                if self.ask(number, device, FenceAction::Status, limit) == NodeState::On {
                    contradictions.push(contradiction(device.name, grade));
                }
            }
        }
        contradictions
    }

    /// Turns on every device that can, of every level: whichever of them `off` used, it is undone.
    fn on(mut self) -> Outcome {
        let mut some_level_is_on = false;
        for (number, level) in (1..).zip(&self.node.levels) {
            let able: Vec<&Device<'_>> = level.iter().filter(|device| device.agent.turns_on()).collect();
            let mut all_on = !able.is_empty();
            for device in able {
                if self.is_over() {
                    return self.ended(NodeState::Unknown, false, (Grade::X, Grade::X), vec![]);
                }
                self.ask(number, device, FenceAction::On, device.timeout * ACT_SHARE.0 / ACT_SHARE.1);
                all_on &= self.poll(number, device, Duration::ZERO, |state| (state == NodeState::On).then_some(true));
                if self.is_over() {
                    return self.ended(NodeState::Unknown, false, (Grade::X, Grade::X), vec![]);
                }
            }
            some_level_is_on |= all_on;
        }
        let some_say_off = self.last_answers().any(|(_, state)| state == NodeState::Off);
        let (state, confirmed) = match (some_say_off, some_level_is_on) {
            (true, _) => (NodeState::Off, false),
            (false, true) => (NodeState::On, true),
            (false, false) => (NodeState::Unknown, false),
        };
        self.ended(state, confirmed, (Grade::X, Grade::X), vec![])
    }

    /// Off by the strongest level that is off and that nothing refutes; else on if any device says on; else unknown.
    fn status(mut self) -> Outcome {
        let nothing = (Grade::X, self.node.need.silent);
        let mut off = Vec::new();
        for (number, level) in (1..).zip(&self.node.levels) {
            let mut grade = Grade::A;
            let mut answers = false;
            for device in level {
                if self.means.stop.requested() {
                    return self.ended(NodeState::Unknown, false, nothing, vec![]);
                }
                self.ask(number, device, FenceAction::Status, device.timeout);
                grade = grade.min(self.evidence.last().map_or(Grade::X, |last| last.grade));
                answers |= device.agent.needs_the_host();
            }
            if grade > Grade::X {
                off.push((grade, self.node.need.of(answers)));
            }
        }
        let on: Vec<String> =
            self.last_answers().filter(|(_, state)| *state == NodeState::On).map(|(device, _)| device).collect();
        let says_on = |device: &&Device<'_>| on.iter().any(|name| name == device.name);
        let mut contradictions = BTreeSet::new();
        off.retain(|(grade, _)| {
            let devices = self.node.levels.iter().flatten().filter(says_on);
            let refuting: Vec<_> = devices.filter(|device| device.grade.refutes(*grade)).collect();
            contradictions.extend(refuting.iter().map(|device| contradiction(device.name, *grade)));
            refuting.is_empty()
        });
        let contradictions = contradictions.into_iter().collect();
        match (off.into_iter().max(), on.is_empty()) {
            (Some(best), _) => self.ended(NodeState::Off, true, best, contradictions),
            (None, false) => self.ended(NodeState::On, true, nothing, contradictions),
            (None, true) => self.ended(NodeState::Unknown, false, nothing, contradictions),
        }
    }

    fn ended(
        self,
        state: NodeState,
        confirmed: bool,
        (grade, required): (Grade, Grade),
        contradictions: Vec<String>,
    ) -> Outcome {
        let Self { evidence, refused, .. } = self;
        Outcome { state, confirmed, grade, required, contradictions, evidence, refused }
    }

    /// Asks for the status until there is a verdict or the device's time is used up but for `reserve`; at least once if any is left.
    fn poll(
        &mut self,
        level: u32,
        device: &Device<'_>,
        reserve: Duration,
        verdict: impl Fn(NodeState) -> Option<bool>,
    ) -> bool {
        loop {
            let left = self.left(level, device).saturating_sub(reserve);
            if self.is_over() || left.is_zero() {
                return false;
            }
            if let Some(verdict) = verdict(self.ask(level, device, FenceAction::Status, left)) {
                return verdict;
            }
            let pause = STATUS_SLEEP.min(device.timeout / LAST_LOOK_SHARE);
            self.means.clock.pause(pause);
            self.spend(level, device, pause);
        }
    }

    /// Whether somebody wants to stop, or the right to go on is lost.
    fn is_over(&self) -> bool {
        self.means.stop.requested() || self.refused.is_some()
    }

    fn left(&self, level: u32, device: &Device<'_>) -> Duration {
        self.left.get(&(level, device.name.to_owned())).copied().unwrap_or(device.timeout)
    }

    fn spend(&mut self, level: u32, device: &Device<'_>, length: Duration) {
        let left = self.left(level, device).saturating_sub(length);
        self.left.insert((level, device.name.to_owned()), left);
    }

    /// Makes one call and writes down what came of it.
    fn ask(&mut self, level: u32, device: &Device<'_>, action: FenceAction, limit: Duration) -> NodeState {
        let Device { name, agent, .. } = device;
        let node = self.node.name;
        let waiting = |elapsed: Duration| {
            (self.means.waiting)(&format!(
                "{node}: {name}: {action}: {} of {}",
                seconds(Duration::from_secs(elapsed.as_secs())),
                seconds(limit)
            ));
        };
        let begun = self.means.clock.now();
        let may = match action {
            FenceAction::Status => Ok(()),
            _ if self.refused.is_some() => return NodeState::Unknown,
            FenceAction::Off | FenceAction::On => self.means.ledger.attempt(level, name, action),
        };
        if let Err(why) = may {
            (self.means.answered)(&format!("{node}: {name}: {action}: not done: {why}"));
            self.evidence.push(Evidence {
                level,
                device: (*name).to_owned(),
                action,
                state: NodeState::Unknown,
                grade: Grade::X,
                detail: format!("not done: {why}"),
                took_ms: 0,
            });
            self.refused = Some(why);
            return NodeState::Unknown;
        }
        // What the ledger took (the disk, the right command) is the device's time too; something is left to act in.
        let used = self.means.clock.now().saturating_sub(begun);
        let limit = match action {
            FenceAction::Status => limit,
            FenceAction::Off | FenceAction::On => limit.saturating_sub(used).max(device.timeout / LAST_LOOK_SHARE),
        };
        let call = Call { action: Action::from(action), node, limit, waiting: &waiting, stop: self.means.stop };
        let Answer { state, obeyed, at_most, detail } = agent.call(&call);
        let took = self.means.clock.now().saturating_sub(begun);
        self.spend(level, device, took);
        let proves = (action, state) == (FenceAction::Status, NodeState::Off);
        let grade = if proves { device.grade.min(at_most.unwrap_or(Grade::A)) } else { Grade::X };
        let evidence = Evidence {
            level,
            device: (*name).to_owned(),
            action,
            state,
            grade,
            detail,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        // The same answer every second is news only once.
        let same =
            |last: &Evidence| (&last.device, last.action, &last.detail) == (&evidence.device, action, &evidence.detail);
        if !self.evidence.last().is_some_and(same) {
            (self.means.answered)(&format!(
                "{node}: {name}: {action}: {}{} ({})",
                if obeyed { "" } else { "failed: " },
                evidence.detail,
                seconds(took)
            ));
            self.means.ledger.observed(&evidence);
        }
        self.evidence.push(evidence);
        state
    }

    /// The last exact answer of every device that gave one: the call that the deadline cut short takes nothing back.
    fn last_answers(&self) -> impl Iterator<Item = (String, NodeState)> + use<> {
        let exact =
            |evidence: &&Evidence| evidence.action == FenceAction::Status && evidence.state != NodeState::Unknown;
        let last: BTreeMap<String, NodeState> =
            self.evidence.iter().filter(exact).map(|evidence| (evidence.device.clone(), evidence.state)).collect();
        last.into_iter()
    }
}

/// How long an off of this device has to last.
fn settle(device: &Device<'_>) -> Duration {
    SETTLE.min(device.timeout / LAST_LOOK_SHARE)
}

fn contradiction(device: &str, grade: Grade) -> String {
    format!("{device} says on, which cannot be when another level is off by grade {grade} ({})", grade.meaning())
}

#[cfg(test)]
mod tests;
