//! Levels: which device is asked what, in which order, and when a node counts as off.
//!
//! ```text
//! level 1 ─ device a: off, then status until it says off ─ device b: the same ─┐
//!    │ any of them fails                                                      └─ all of them: status once more ─ off
//! level 2 ─ …
//! ```
//!
//! What a device claims to have done is written down and believed by nobody: the verdict rests on `status`, asked afterwards
//! (FenceAgentAPI: "Timeout is a failure, not success"). This file has neither clock nor process; both come from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use bc_model::fencing::{Evidence, FenceAction, NodeState};

use crate::agent::{Action, Agent, Answer, Call, seconds};
use crate::clock::Clock;
use crate::stop::Stop;

/// Pause between two questions to a device that has not yet changed (FenceAgentAPI's `stonith_status_sleep`).
pub(crate) const STATUS_SLEEP: Duration = Duration::from_secs(1);
/// How long an off must last before it is believed: power that comes back by itself comes back at once.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// A device as a level uses it.
#[derive(Clone, Copy)]
pub(crate) struct Device<'a> {
    /// Its name in the configuration.
    pub(crate) name: &'a str,
    /// The limit of one call, and again of the wait for the state asked for.
    pub(crate) timeout: Duration,
    /// How it is asked.
    pub(crate) agent: &'a dyn Agent,
}

/// A node with its devices.
pub(crate) struct Node<'a> {
    /// Its name in the configuration.
    pub(crate) name: &'a str,
    /// Its levels, in the order in which they are tried.
    pub(crate) levels: Vec<Vec<Device<'a>>>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The state that was read back.
    pub(crate) state: NodeState,
    /// Whether it is the state asked for; for `status`, whether it is exact.
    pub(crate) confirmed: bool,
    /// Every call, in order.
    pub(crate) evidence: Vec<Evidence>,
}

/// The means by which a request is carried out.
pub(crate) struct Means<'a> {
    /// Time.
    pub(crate) clock: &'a dyn Clock,
    /// Told every second that a call has not ended yet.
    pub(crate) waiting: &'a (dyn Fn(&str) + Sync),
    /// Told what each call came to.
    pub(crate) answered: &'a (dyn Fn(&str) + Sync),
    /// The wish to stop.
    pub(crate) stop: &'a Stop,
}

/// Carries out `action` on `node`.
pub(crate) fn carry_out(action: FenceAction, node: &Node<'_>, means: &Means<'_>) -> Outcome {
    let mut request = Request { node, means, evidence: Vec::new() };
    let (state, confirmed) = match action {
        FenceAction::Off => request.off(),
        FenceAction::On => request.on(),
        FenceAction::Status => request.status(),
    };
    Outcome { state, confirmed, evidence: request.evidence }
}

struct Request<'a> {
    node: &'a Node<'a>,
    means: &'a Means<'a>,
    evidence: Vec<Evidence>,
}

impl Request<'_> {
    fn off(&mut self) -> (NodeState, bool) {
        for (number, level) in (1..).zip(&self.node.levels) {
            if self.level_is_off(number, level) {
                return (NodeState::Off, true);
            }
            if self.means.stop.requested() {
                break;
            }
        }
        // Some devices may have said off; the node as a whole is not off, so the answer is on or unknown.
        let some_say_on = self.last_states().any(|state| state == NodeState::On);
        (if some_say_on { NodeState::On } else { NodeState::Unknown }, false)
    }

    fn level_is_off(&mut self, number: u32, level: &[Device<'_>]) -> bool {
        for device in level {
            // Whether `off` claims success decides nothing: an agent may fail because the node is off already, or
            // give up shortly before the power falls.
            self.ask(number, device, FenceAction::Off, device.timeout);
            if !self.await_state(number, device, NodeState::Off) {
                return false;
            }
        }
        self.means.clock.pause(SETTLE);
        level.iter().all(|device| self.is_still_off(number, device))
    }

    /// Turns on every device that can, of every level: whichever of them `off` used, it is undone.
    fn on(&mut self) -> (NodeState, bool) {
        let mut some_level_is_on = false;
        for (number, level) in (1..).zip(&self.node.levels) {
            let able: Vec<&Device<'_>> = level.iter().filter(|device| device.agent.turns_on()).collect();
            let mut all_on = !able.is_empty();
            for device in able {
                self.ask(number, device, FenceAction::On, device.timeout);
                all_on &= self.await_state(number, device, NodeState::On);
                if self.means.stop.requested() {
                    return (NodeState::Unknown, false);
                }
            }
            some_level_is_on |= all_on;
        }
        let some_say_off = self.last_states().any(|state| state == NodeState::Off);
        match (some_say_off, some_level_is_on) {
            (true, _) => (NodeState::Off, false),
            (false, true) => (NodeState::On, true),
            (false, false) => (NodeState::Unknown, false),
        }
    }

    /// On if any device says on; off if every device of some level says off; else unknown.
    fn status(&mut self) -> (NodeState, bool) {
        let mut some_level_is_off = false;
        for (number, level) in (1..).zip(&self.node.levels) {
            let mut all_off = true;
            for device in level {
                if self.means.stop.requested() {
                    return (NodeState::Unknown, false);
                }
                all_off &= self.ask(number, device, FenceAction::Status, device.timeout) == NodeState::Off;
            }
            some_level_is_off |= all_off;
        }
        let some_say_on = self.last_states().any(|state| state == NodeState::On);
        match (some_say_on, some_level_is_off) {
            (true, _) => (NodeState::On, true),
            (false, true) => (NodeState::Off, true),
            (false, false) => (NodeState::Unknown, false),
        }
    }

    /// Asks for the status until it is `wanted`, for the device's timeout; at least once.
    fn await_state(&mut self, level: u32, device: &Device<'_>, wanted: NodeState) -> bool {
        self.poll(level, device, |state| if state == wanted { Some(true) } else { None })
    }

    /// Off again settles it, on refutes it; a device that cannot say is asked until it can.
    fn is_still_off(&mut self, level: u32, device: &Device<'_>) -> bool {
        self.poll(level, device, |state| match state {
            NodeState::Off => Some(true),
            NodeState::On => Some(false),
            NodeState::Unknown => None,
        })
    }

    fn poll(&mut self, level: u32, device: &Device<'_>, verdict: impl Fn(NodeState) -> Option<bool>) -> bool {
        let until = self.means.clock.now() + device.timeout;
        let mut left = device.timeout;
        loop {
            if self.means.stop.requested() {
                return false;
            }
            if let Some(verdict) = verdict(self.ask(level, device, FenceAction::Status, left)) {
                return verdict;
            }
            self.means.clock.pause(STATUS_SLEEP);
            left = until.saturating_sub(self.means.clock.now());
            if left.is_zero() {
                return false;
            }
        }
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
        let call = Call { action: Action::from(action), node, limit, waiting: &waiting, stop: self.means.stop };
        let begun = self.means.clock.now();
        let Answer { state, obeyed, detail } = agent.call(&call);
        let took = self.means.clock.now().saturating_sub(begun);
        // The same answer every second is news only once.
        let last = self.evidence.last();
        if last.is_none_or(|last| (last.device.as_str(), last.action, &last.detail) != (*name, action, &detail)) {
            (self.means.answered)(&format!(
                "{node}: {name}: {action}: {}{detail} ({})",
                if obeyed { "" } else { "failed: " },
                seconds(took)
            ));
        }
        self.evidence.push(Evidence {
            level,
            device: (*name).to_owned(),
            action,
            state,
            detail,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        state
    }

    /// The last exact answer of every device that gave one: the call that the deadline cut short takes nothing back.
    fn last_states(&self) -> impl Iterator<Item = NodeState> {
        let exact =
            |evidence: &&Evidence| evidence.action == FenceAction::Status && evidence.state != NodeState::Unknown;
        let last: BTreeMap<&str, NodeState> =
            self.evidence.iter().filter(exact).map(|evidence| (evidence.device.as_str(), evidence.state)).collect();
        last.into_values()
    }
}

#[cfg(test)]
mod tests;
