//! One request from order to verdict. Every caller comes through here: the command line, hooks, and the agent.
//!
//! ```text
//! this host? token? ─▶ lock ─▶ same request just done? ─▶ delay ─▶ token kept ─▶ brake ─▶ intent
//!                                         │ merged                                          │ levels: attempt, observed …
//!                                         └──────────────────▶ verdict ◀────────────────────┘
//! ```
//!
//! Nothing here touches the machine but through [`World`], so that a test can let the program die at every step.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bc_model::fencing::{
    Evidence, FenceAction, FenceAttempt, FenceIntent, FenceObserved, FenceReport, Grade, HistoryLine, NodeState,
};
use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, SystemClock, timestamp};
use crate::config::{Config, Policy};
use crate::disk::{Disk, RealDisk};
use crate::error::Error;
use crate::history::{self, Durable, History, HistoryError};
use crate::levels::{Ledger, Means, Need, Node, Outcome, SETTLE, carry_out};
use crate::order::Order;
use crate::render::{say, warn};
use crate::right::{self, RightError, Tokens};
use crate::stop::Stop;
use crate::{caller, lock};

/// How long a person's word counts, unless the node is turned on before.
const A_PERSONS_WORD: SignedDuration = SignedDuration::from_mins(30);

/// What a request needs of the machine.
pub(crate) struct World<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) clock: &'a dyn Clock,
    /// The time of day.
    pub(crate) today: &'a (dyn Fn() -> Timestamp + Sync),
    pub(crate) stop: &'a Stop,
    /// Told what happens, line by line.
    pub(crate) say: &'a (dyn Fn(&str) + Sync),
    /// The name of this host.
    pub(crate) host: &'a str,
}

/// The part of the configuration that is not the node's.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) history: &'a Path,
    pub(crate) policy: &'a Policy,
    /// The node that this host is; else it is told by the host's name.
    pub(crate) this_node: Option<&'a str>,
}

/// A node, and how long a fence of it waits before it begins: always, and by chance.
pub(crate) struct Target<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) delay: [Duration; 2],
}

/// Carries out an order on this machine, and writes it down.
///
/// # Errors
/// Before anything is touched: unknown node, no right to fence, brake, lock held, history not writable.
pub(crate) fn carry(config: &Config, order: &Order, stop: &Stop) -> Result<FenceReport, Error> {
    let node = config.node(&order.node)?;
    let delay = config.nodes.get(&order.node).map_or([Duration::ZERO; 2], |node| node.delay);
    let world = World {
        disk: &RealDisk,
        clock: &SystemClock::new(stop.clone()),
        today: &timestamp,
        stop,
        say: &say,
        host: &caller::host(),
    };
    carry_in(
        &world,
        Setting {
            history: &config.history,
            policy: &config.policy,
            this_node: config.site.local.as_ref().map(|local| local.node.as_str()),
        },
        Target { node, delay },
        order,
    )
}

/// Carries out an order in a world.
///
/// # Errors
/// As [`carry`].
pub(crate) fn carry_in(
    world: &World<'_>,
    setting: Setting<'_>,
    target: Target<'_>,
    order: &Order,
) -> Result<FenceReport, Error> {
    let Target { mut node, delay } = target;
    node.need = raised(node.need, order.require);
    let arrived = (world.today)();
    let tokens = Tokens::beside(setting.history);
    check_right(world, setting, &tokens, order)?;
    let seen = history::bytes(setting.history).map_err(Error::Intent)?.len();
    let off = order.action == FenceAction::Off;
    let delay = if off && !order.no_delay { delay } else { [Duration::ZERO; 2] };
    let busy = |holder: &str| {
        (world.say)(&format!("{}: another request is running ({holder}); waiting for it to end", node.name));
    };
    let longest =
        budget(&node) + delay[0] + delay[1] + setting.policy.right.as_ref().map_or(Duration::ZERO, |r| r.timeout);
    let held = lock::take(setting.history, node.name, longest, (world.clock, world.stop), &busy)?;
    if held.waited {
        let history = history::read(setting.history).map_err(Error::Intent)?;
        if let Some(report) = merged(&history, seen, order, arrived) {
            check_right(world, setting, &tokens, order)?;
            if let Some(token) = &order.token {
                tokens.admit(world.disk, node.name, token, (world.today)())?;
            }
            return Ok(verdict(world, setting, report));
        }
    }
    wait(world, &node, delay);
    if world.stop.requested() {
        return Err(Error::Refused("stopped before the first call".to_owned()));
    }
    if let Some(token) = &order.token {
        tokens.admit(world.disk, node.name, token, (world.today)())?;
    }
    let (intent, look_first) = begin(world, setting, &node, order)?;
    let ledger = Writer { world, setting, tokens: &tokens, order, intent: &intent, attempted: AtomicBool::new(false) };
    let means = Means {
        clock: world.clock,
        waiting: world.say,
        answered: world.say,
        ledger: &ledger,
        look_first,
        stop: world.stop,
    };
    let outcome = carry_out(order.action, &node, &means);
    let attempted = ledger.attempted.load(Ordering::Relaxed);
    let refused = outcome.refused.clone().filter(|_| !attempted);
    let outcome = if off { with_a_persons_word(world, setting, &node, outcome) } else { outcome };
    let report = verdict(world, setting, report(&intent, outcome));
    match refused {
        Some(why) if !report.confirmed => Err(Error::Refused(why)),
        _ => Ok(report),
    }
}

/// `need`, or more if the request wants more.
pub(crate) fn raised(need: Need, require: Option<Grade>) -> Need {
    let Some(require) = require else { return need };
    Need { silent: need.silent.max(require), answering: need.answering.max(require) }
}

/// Whether the order may be carried out at all; changes nothing.
fn check_right(world: &World<'_>, setting: Setting<'_>, tokens: &Tokens, order: &Order) -> Result<(), RightError> {
    let this = setting.this_node.unwrap_or(world.host);
    if order.action == FenceAction::Off && !order.may_be_self && right::is_this_host(&order.node, this) {
        return Err(RightError::Itself(order.node.clone()));
    }
    match &order.token {
        Some(token) => tokens.check(&order.node, token, (world.today)()),
        None if setting.policy.require_token => Err(RightError::NoToken(order.node.clone())),
        None => Ok(()),
    }
}

/// The result of an identical request that was on its way when this one arrived, and has ended since.
fn merged(history: &History, seen: usize, order: &Order, arrived: Timestamp) -> Option<FenceReport> {
    let report = history.last_verdict(&order.node, seen)?;
    let asked_for_as_much = history.lines.iter().any(|(_, line)| {
        matches!(line, HistoryLine::Intent(intent)
            if (intent.at, &intent.node, intent.require) == (report.at, &report.node, order.require))
    });
    (report.action == order.action && asked_for_as_much).then(|| FenceReport {
        at: arrived,
        reason: order.reason.clone(),
        by: order.by.clone(),
        token: order.token.clone(),
        merged: true,
        ..report.clone()
    })
}

/// Lets the delay go by that breaks a race: of two hosts that fence each other, one comes first.
fn wait(world: &World<'_>, node: &Node<'_>, [fixed, random]: [Duration; 2]) {
    // A new hasher of the standard library is seeded by the kernel's random numbers.
    let chance = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(u32::MAX);
    let length = fixed + random.mul_f64(f64::from(chance) / f64::from(u32::MAX));
    if !length.is_zero() {
        (world.say)(&format!("{}: waiting {:.1} s before the first call (delay)", node.name, length.as_secs_f64()));
        world.clock.pause(length);
    }
}

/// Writes the intent, unless there is a storm; and says whether to look before acting.
fn begin(
    world: &World<'_>,
    setting: Setting<'_>,
    node: &Node<'_>,
    order: &Order,
) -> Result<(FenceIntent, bool), Error> {
    let limit = Duration::from_secs(10);
    // Counting and writing must be one: two fences of two nodes may begin at the same moment.
    let _brake = lock::take(setting.history, ".brake", limit, (world.clock, world.stop), &|_| {})?;
    let history = history::read(setting.history).map_err(Error::Intent)?;
    let now = (world.today)();
    let off = order.action == FenceAction::Off;
    let killed = history.open_intent(node.name).filter(|intent| off && intent.action == FenceAction::Off);
    if off && killed.is_none() && !order.override_brake {
        setting.policy.brake.check(&history, now)?;
    }
    if let Some(killed) = killed {
        (world.say)(&format!(
            "{}: the request of {:.0} by {} has no verdict; continuing it by looking first",
            node.name, killed.at, killed.by
        ));
    }
    let intent = FenceIntent {
        schema: FenceReport::SCHEMA,
        at: now,
        node: node.name.to_owned(),
        action: order.action,
        reason: order.reason.clone(),
        by: order.by.clone(),
        token: order.token.clone(),
        require: order.require,
        continues: killed.map(|killed| killed.at),
    };
    let recent = order.tolerance.is_some_and(|tolerance| was_off(&history, node.name, now, tolerance));
    let line = HistoryLine::Intent(intent.clone());
    history::append(world.disk, setting.history, &line, now, Durable::Now).map_err(Error::Intent)?;
    Ok((intent, killed.is_some() || recent))
}

/// Whether the node was proven off within `tolerance`, and nothing was asked of it since.
fn was_off(history: &History, node: &str, now: Timestamp, tolerance: Duration) -> bool {
    let tolerance = SignedDuration::try_from(tolerance).unwrap_or(SignedDuration::MAX);
    history.last_verdict(node, 0).is_some_and(|report| {
        let age = now.duration_since(report.ended.unwrap_or(report.at));
        report.action == FenceAction::Off && report.confirmed && age <= tolerance
    })
}

/// Writes a verdict. What was done is done: a full disk may not turn it into another answer.
fn verdict(world: &World<'_>, setting: Setting<'_>, mut report: FenceReport) -> FenceReport {
    let now = (world.today)();
    report.ended = Some(now);
    let line = HistoryLine::Verdict(report.clone());
    if let Err(error) = history::append(world.disk, setting.history, &line, now, Durable::Now) {
        warn(&format!("the verdict is not in the history: {error}"));
    }
    report
}

/// The report of a request that came to this outcome.
pub(crate) fn report(intent: &FenceIntent, outcome: Outcome) -> FenceReport {
    let Outcome { state, confirmed, grade, required, contradictions, evidence, refused: _ } = outcome;
    FenceReport {
        schema: FenceReport::SCHEMA,
        at: intent.at,
        ended: None,
        node: intent.node.clone(),
        action: intent.action,
        reason: intent.reason.clone(),
        by: intent.by.clone(),
        state,
        confirmed,
        grade,
        required,
        contradictions,
        token: intent.token.clone(),
        merged: false,
        evidence,
    }
}

/// What a person confirmed counts where the policy is content with it and no device says otherwise: grade E.
fn with_a_persons_word(world: &World<'_>, setting: Setting<'_>, node: &Node<'_>, outcome: Outcome) -> Outcome {
    match history::read(setting.history) {
        Ok(history) => vouched(&history, node, (world.today)(), outcome),
        Err(_) => outcome,
    }
}

/// `outcome`, with the word of a person who confirmed that the node is off, where the devices cannot say.
pub(crate) fn vouched(history: &History, node: &Node<'_>, now: Timestamp, outcome: Outcome) -> Outcome {
    let recent = |report: &&FenceReport| now.duration_since(report.at) < A_PERSONS_WORD;
    if outcome.state != NodeState::Unknown || history.confirmation(node.name).filter(recent).is_none() {
        return outcome;
    }
    let enough = node.need.silent <= Grade::E;
    Outcome {
        state: if enough { NodeState::Off } else { NodeState::Unknown },
        confirmed: enough,
        grade: Grade::E,
        ..outcome
    }
}

/// Writes down that a person vouches for `order.node` being off. No device is asked: this is grade E, and no more.
///
/// # Errors
/// Unknown node, stale token, lock held, history not writable.
pub(crate) fn confirm(config: &Config, order: &Order, stop: &Stop) -> Result<FenceReport, Error> {
    let node = config.node(&order.node)?;
    let tokens = Tokens::beside(&config.history);
    let clock = SystemClock::new(stop.clone());
    let _lock = lock::take(&config.history, node.name, budget(&node), (&clock, stop), &|_| {})?;
    let now = timestamp();
    match &order.token {
        Some(token) => tokens.admit(&RealDisk, node.name, token, now)?,
        None if config.policy.require_token => return Err(RightError::NoToken(order.node.clone()).into()),
        None => {}
    }
    let report = FenceReport {
        schema: FenceReport::SCHEMA,
        at: now,
        ended: Some(now),
        node: order.node.clone(),
        action: FenceAction::Off,
        reason: order.reason.clone(),
        by: order.by.clone(),
        state: NodeState::Unknown,
        confirmed: false,
        grade: Grade::E,
        required: node.need.silent,
        contradictions: vec![],
        token: order.token.clone(),
        merged: false,
        evidence: vec![],
    };
    let line = HistoryLine::Verdict(report.clone());
    history::append(&RealDisk, &config.history, &line, now, Durable::Now).map_err(Error::Intent)?;
    Ok(report)
}

/// The longest that a request for this node can take, and so the longest that another one waits for it.
pub(crate) fn budget(node: &Node<'_>) -> Duration {
    let level = |level: &Vec<crate::levels::Device<'_>>| {
        // A device that contradicts a later level is asked once more.
        level.iter().map(|device| device.timeout * 2).sum::<Duration>() + SETTLE
    };
    node.levels.iter().map(level).sum()
}

/// Writes a request's calls down, and asks just before each that changes something whether the right to fence still holds.
struct Writer<'a> {
    world: &'a World<'a>,
    setting: Setting<'a>,
    tokens: &'a Tokens,
    order: &'a Order,
    intent: &'a FenceIntent,
    /// Whether any device was told to act.
    attempted: AtomicBool,
}

impl Writer<'_> {
    fn write(&self, line: &HistoryLine, now: Timestamp, durable: Durable) -> Result<(), HistoryError> {
        history::append(self.world.disk, self.setting.history, line, now, durable)
    }

    fn right_holds(&self) -> Result<(), RightError> {
        if let Some(token) = &self.order.token {
            self.tokens.check(&self.order.node, token, (self.world.today)())?;
        }
        let command = self.setting.policy.right.as_ref();
        command.map_or(Ok(()), |command| right::ask(command, self.order, self.world.stop))
    }
}

impl Ledger for Writer<'_> {
    fn attempt(&self, level: u32, device: &str, action: FenceAction) -> Result<(), String> {
        let now = (self.world.today)();
        let attempt = FenceAttempt {
            at: now,
            request: self.intent.at,
            node: self.intent.node.clone(),
            level,
            device: device.to_owned(),
            action,
        };
        self.write(&HistoryLine::Attempt(attempt), now, Durable::Now).map_err(|error| error.to_string())?;
        // Last of all: the less time between this and the call, the less can change in it.
        self.right_holds().map_err(|error| error.to_string())?;
        self.attempted.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn observed(&self, evidence: &Evidence) {
        let now = (self.world.today)();
        let node = self.intent.node.clone();
        let line = FenceObserved { at: now, request: self.intent.at, node, evidence: evidence.clone() };
        // The verdict repeats it; an answer that is not written down is no reason to stop half-way.
        if let Err(error) = self.write(&HistoryLine::Observed(line), now, Durable::WithTheNext) {
            warn(&format!("an answer is not in the history: {error}"));
        }
    }
}

#[cfg(test)]
mod tests;
