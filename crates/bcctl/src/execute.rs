//! Doing the steps of a table: look, write down, act, look again; and the way back.
//!
//! ```text
//!           step fails or a person stops it             (the others of its group go on to their end first)
//!                 │
//!    best effort? ┼──▶ the next step
//!    fences? ─────┼──▶ not fenced (5): nothing was promoted, and what was turned off stays off
//!    past the point of no return? ──▶ half-way (4): `bcctl resume` goes on
//!    before it ───┴──▶ every step that had begun is put back, last first ──▶ undone (1), or half-way (4) if something stays
//! ```

mod look;
mod meter;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bc_model::journal::{Event, Journal, Outcome};

use crate::clock::Clock;
use crate::command::{At, Command, harmless};
use crate::hosts::{Hosts, Look, Output, Work, Worked, beside};
use crate::judge::{Check, Evidence, Verdict, judge};
use crate::steps::{Step, Undo, groups};

/// How long the condition of a step may still come true after its command has failed.
const GRACE: Duration = Duration::from_secs(3);

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every step is done.
    Done,
    /// A step failed before the point of no return, and everything was put back.
    Undone {
        /// Which.
        step: String,
        /// Why.
        error: String,
    },
    /// A node could not be proven off.
    NotFenced {
        /// Which step.
        step: String,
        /// Why.
        error: String,
    },
    /// A step failed, and the site is not as before.
    HalfWay {
        /// Which.
        step: String,
        /// Why.
        error: String,
        /// What is not as before.
        stays: Vec<String>,
        /// Whether the promotion may have happened.
        past: bool,
    },
    /// A person stopped it between two steps.
    Interrupted {
        /// The step that would have been next.
        next: String,
        /// Whether the promotion may have happened.
        past: bool,
    },
}

/// What an observer of the execution may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress<'a> {
    /// A step is begun; those of a group all at once.
    Began { number: usize, of: usize, step: &'a Step },
    /// A step takes longer than a moment.
    Waiting { step: &'a Step, last_seen: &'a str },
    /// A step is done.
    Done { number: usize, of: usize, step: &'a Step, elapsed: Duration, evidence: &'a str },
    /// A step was not needed.
    Skipped { number: usize, of: usize, step: &'a Step, evidence: &'a str },
    /// A step failed.
    Failed { number: usize, of: usize, step: &'a Step, elapsed: Duration, error: &'a str },
    /// A step is being put back.
    Undoing { step: &'a Step, words: &'a str },
    /// A step was put back, or not.
    Undone { step: &'a Step, result: Result<&'a str, &'a str> },
}

/// Everything an execution touches.
pub(crate) struct Execution<'a> {
    pub(crate) hosts: &'a dyn Hosts,
    pub(crate) clock: &'a dyn Clock,
    /// Writes an event; on disk when it returns. Once it has failed it has to fail for ever: several steps may be at work.
    pub(crate) record: &'a (dyn Fn(Event) -> std::io::Result<()> + Sync),
    /// Shows progress.
    pub(crate) tell: &'a (dyn Fn(Progress<'_>) + Sync),
    /// Set when a person wants to stop.
    pub(crate) stop: &'a AtomicBool,
}

/// Values that steps leave for later ones.
type Facts = BTreeMap<String, String>;

/// Why a step could not be done.
struct Failure {
    error: String,
    /// Whether `begin` was written.
    begun: bool,
}

impl Execution<'_> {
    /// Does `steps`, going on from `journal` (which holds at least the plan).
    ///
    /// # Errors
    /// When the journal cannot be written: then nothing more is done.
    pub(crate) fn execute(&self, steps: &[Step], journal: &Journal) -> std::io::Result<End> {
        let mut facts = journal.facts();
        let mut begun: BTreeSet<String> = journal.begun().into_iter().map(str::to_owned).collect();
        let mut past = journal.past_point_of_no_return();
        let mut without = failed_before(journal);
        let mut first = 0;
        if past {
            // The promotion may have happened, and then nothing before it may be done again.
            first = steps.iter().position(|step| step.point_of_no_return).unwrap_or_default();
            let step = &steps[first];
            match self.settled(step, &facts) {
                Verdict::True(evidence) => {
                    facts.extend(self.skip(first, steps, evidence)?);
                    first += 1;
                }
                Verdict::False(_) => {}
                Verdict::Unknown(error) => {
                    return Ok(End::HalfWay { step: step.id.clone(), error, stays: Vec::new(), past });
                }
            }
        }
        for group in groups(&steps[first..]) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(End::Interrupted { next: group[0].id.clone(), past });
            }
            let indexes: Vec<usize> = (first..).take(group.len()).collect();
            first += group.len();
            let attempts = beside(indexes, |index| self.attempt(index, steps, &begun, &facts));
            let mut failures = Vec::new();
            for (step, attempt) in group.iter().zip(attempts) {
                let has_begun = match attempt? {
                    Ok(left) => {
                        facts.extend(left);
                        without.remove(&step.id);
                        true
                    }
                    Err(Failure { error, begun }) if step.best_effort => {
                        without.insert(step.id.clone(), error);
                        begun
                    }
                    Err(Failure { error, begun }) => {
                        failures.push((step, error));
                        begun
                    }
                };
                if has_begun {
                    past |= step.point_of_no_return;
                    begun.insert(step.id.clone());
                }
            }
            // A fence that has not failed has turned something off.
            let off = |step: &&Step| {
                step.fences && begun.contains(&step.id) && !failures.iter().any(|(failed, _)| failed.id == step.id)
            };
            let off: Vec<&Undo> = steps.iter().filter(off).map(|step| &step.undo).collect();
            if let Some((step, mut error)) = join(failures) {
                if step.fences {
                    for undo in off {
                        if let Undo::Stays(words) = undo {
                            error.push_str(&format!("; {words}"));
                        }
                    }
                }
                return self.fail(steps, &begun, &facts, step, error, past);
            }
        }
        let tried = steps.iter().filter(|step| step.best_effort);
        let left_out = tried.filter_map(|step| Some(format!("{}: {}", step.id, without.get(&step.id)?)));
        let words = match left_out.collect::<Vec<_>>().as_slice() {
            [] => "every step is done".to_owned(),
            failed => format!("every step is done but {}", failed.join("; ")),
        };
        (self.record)(Event::Finished { outcome: Outcome::Done, words })?;
        Ok(End::Done)
    }

    fn fail(
        &self,
        steps: &[Step],
        begun: &BTreeSet<String>,
        facts: &Facts,
        step: &Step,
        error: String,
        past: bool,
    ) -> std::io::Result<End> {
        let id = step.id.clone();
        if past {
            return Ok(End::HalfWay { step: id, error, stays: Vec::new(), past });
        }
        if step.fences {
            let words = format!("{id}: {error}; nothing was promoted");
            (self.record)(Event::Finished { outcome: Outcome::NotFenced, words })?;
            return Ok(End::NotFenced { step: id, error });
        }
        let left = self.undo(steps, begun, facts)?;
        let stays: Vec<String> = left.failed.into_iter().chain(left.stays).collect();
        if stays.is_empty() {
            let words = format!("{id}: {error}; put back");
            (self.record)(Event::Finished { outcome: Outcome::Undone, words })?;
            return Ok(End::Undone { step: id, error });
        }
        Ok(End::HalfWay { step: id, error, stays, past })
    }

    /// One step, to its end or its failure. The outer error is the journal's.
    fn attempt(
        &self,
        index: usize,
        steps: &[Step],
        begun: &BTreeSet<String>,
        facts: &Facts,
    ) -> std::io::Result<Result<Facts, Failure>> {
        let (step, number, of) = (&steps[index], index + 1, steps.len());
        (self.tell)(Progress::Began { number, of, step });
        let start = self.clock.now();
        let attempt = self.step(index, steps, begun, facts)?;
        if let (true, Err(Failure { error, begun: false })) = (step.best_effort, &attempt) {
            return self.skip(index, steps, Evidence { words: error.clone(), ..Evidence::default() }).map(Ok);
        }
        if let Err(Failure { error, .. }) = &attempt {
            let elapsed = self.clock.now().saturating_sub(start);
            (self.record)(Event::Failed { step: step.id.clone(), took_ms: millis(elapsed), error: error.clone() })?;
            (self.tell)(Progress::Failed { number, of, step, elapsed, error });
        }
        Ok(attempt)
    }

    fn step(
        &self,
        index: usize,
        steps: &[Step],
        begun: &BTreeSet<String>,
        facts: &Facts,
    ) -> std::io::Result<Result<Facts, Failure>> {
        let step = &steps[index];
        let early = |error: String| Ok(Err(Failure { error, begun: false }));
        match self.holds_already(index, steps, begun, facts) {
            Verdict::True(evidence) if step.run.is_empty() => {
                (self.record)(Event::Begin { step: step.id.clone() })?;
                return self.done(index, steps, evidence, Duration::ZERO).map(Ok);
            }
            Verdict::True(evidence) => return self.skip(index, steps, evidence).map(Ok),
            Verdict::Unknown(words) if !step.run.is_empty() => return early(format!("cannot look: {words}")),
            Verdict::False(_) | Verdict::Unknown(_) => {}
        }
        // Only what is new goes back: others of the group may have something newer than what was there before.
        let mut new = match self.steady(&step.require, facts, step.timeout) {
            Verdict::True(evidence) => evidence.facts,
            Verdict::False(words) => return early(format!("what has to hold before it does not: {words}")),
            Verdict::Unknown(words) => return early(format!("cannot look: {words}")),
        };
        let facts = facts.iter().chain(&new).map(|(name, value)| (name.clone(), value.clone())).collect();
        (self.record)(Event::Begin { step: step.id.clone() })?;
        let start = self.clock.now();
        match self.change(step, &facts, start) {
            Ok(evidence) => {
                let took = self.clock.now().saturating_sub(start);
                new.extend(self.done(index, steps, evidence, took)?);
                Ok(Ok(new))
            }
            Err(error) => Ok(Err(Failure { error, begun: true })),
        }
    }

    /// What a step does after its `begin`, from the first command until its condition is seen to hold.
    fn change(&self, step: &Step, facts: &Facts, start: Duration) -> Result<Evidence, String> {
        let worked = self.deeds(step, facts, start)?;
        let last = worked.deeds.last().filter(|output| !output.succeeded());
        if let (Some(output), true) = (last, step.checks.is_empty()) {
            return Err(output.complaint());
        }
        if let Some(evidence) = seen(&step.checks, &worked) {
            return Ok(evidence);
        }
        // One that is unknown may have been done all the same: the checks will tell.
        let refused = last.filter(|output| !output.is_unknown());
        if let (Some(output), true) = (refused, step.fences) {
            let said = judge(
                &crate::judge::Expect::FencedOff,
                std::slice::from_ref(&Output { end: crate::hosts::Ended::Exit(0), ..output.clone() }),
            );
            return Err(match said {
                Verdict::False(words) if !output.stdout.trim().is_empty() => words,
                _ => output.complaint(),
            });
        }
        let left = step.timeout.saturating_sub(self.clock.now().saturating_sub(start));
        // A command that says that it failed is believed, unless what it was for comes true: the same command of a bcctl
        // that was killed may be at work.
        let left = if refused.is_some() || (step.best_effort && last.is_some()) { left.min(GRACE) } else { left };
        match self.watch(step, facts, left) {
            Verdict::True(evidence) => Ok(evidence),
            Verdict::False(words) | Verdict::Unknown(words) => Err(match refused {
                Some(output) => output.complaint(),
                None if step.point_of_no_return => format!(
                    "pending after {} s, not failed: the server goes on with it, and `bcctl resume` waits for it; last seen: {words}",
                    step.timeout.as_secs()
                ),
                None => format!("not within {} s; last seen: {words}", step.timeout.as_secs()),
            }),
        }
    }

    fn skip(&self, index: usize, steps: &[Step], evidence: Evidence) -> std::io::Result<Facts> {
        let step = &steps[index];
        let Evidence { words, facts } = evidence;
        (self.record)(Event::Skipped { step: step.id.clone(), evidence: words.clone(), facts: facts.clone() })?;
        (self.tell)(Progress::Skipped { number: index + 1, of: steps.len(), step, evidence: &words });
        Ok(facts)
    }

    fn done(&self, index: usize, steps: &[Step], evidence: Evidence, elapsed: Duration) -> std::io::Result<Facts> {
        let step = &steps[index];
        let Evidence { words, facts } = evidence;
        let (took_ms, evidence) = (millis(elapsed), words.clone());
        (self.record)(Event::Done { step: step.id.clone(), took_ms, evidence, facts: facts.clone() })?;
        (self.tell)(Progress::Done { number: index + 1, of: steps.len(), step, elapsed, evidence: &words });
        Ok(facts)
    }

    /// The deeds of a step, one after the other until one fails. If all are for one host, then so are the first looks, in
    /// one round trip.
    fn deeds(&self, step: &Step, facts: &Facts, start: Duration) -> Result<Worked, String> {
        let commands = step.run.iter().map(|command| with_facts(command, facts)).collect::<Result<Vec<_>, _>>()?;
        let mut worked = Worked::default();
        let mut rest = commands.as_slice();
        while let Some(first) = rest.first() {
            let here = rest.iter().take_while(|command| command.at == first.at).count();
            let (now, later) = rest.split_at(here);
            let looks = if later.is_empty() { own_looks(&step.checks, &first.at, facts) } else { Vec::new() };
            let left = step.timeout.saturating_sub(self.clock.now().saturating_sub(start));
            let work = Work {
                at: first.at.clone(),
                deeds: now.iter().map(|command| command.script.clone()).collect(),
                looks,
                patience: left.min(look::PATIENCE),
                meanwhile: step.meanwhile,
            };
            let part = self.metered(step, || self.hosts.work(&work, left));
            worked.deeds.extend(part.deeds);
            worked.looks = part.looks;
            if worked.deeds.last().is_some_and(|output| !output.succeeded()) {
                break;
            }
            rest = later;
        }
        Ok(worked)
    }

    /// Runs a command with the facts it uses in front of it.
    fn run(&self, command: &Command, facts: &Facts, limit: Duration) -> Result<Output, String> {
        Ok(self.hosts.run(&with_facts(command, facts)?, limit))
    }
}

/// Steps that have failed in earlier calls, and why, unless they were done after all.
fn failed_before(journal: &Journal) -> BTreeMap<String, String> {
    let mut failed = BTreeMap::new();
    for entry in &journal.entries {
        match &entry.event {
            Event::Failed { step, error, .. } => drop(failed.insert(step.clone(), error.clone())),
            Event::Done { step, .. } | Event::Skipped { step, .. } => drop(failed.remove(step)),
            _ => {}
        }
    }
    failed
}

/// The first of the steps that failed, and what all of them say.
fn join(failures: Vec<(&Step, String)>) -> Option<(&Step, String)> {
    let mut failures = failures.into_iter();
    let (first, error) = failures.next()?;
    Some((first, failures.fold(error, |all, (step, error)| format!("{all}; and {}: {error}", step.id))))
}

/// The looks of a step's checks, if the host at which its deeds are done can do all of them.
fn own_looks(checks: &[Check], at: &At, facts: &Facts) -> Vec<Look> {
    let look = |check: &Check| {
        let command = check.commands.first().filter(|command| command.at == *at)?;
        Some(Look { script: with_facts(command, facts).ok()?.script, until: look::until(check)? })
    };
    match at {
        At::Host(_) => checks.iter().map(look).collect::<Option<Vec<_>>>().unwrap_or_default(),
        At::Operator => Vec::new(),
    }
}

/// What was seen, if all checks were looked at right after the deeds, and all hold.
fn seen(checks: &[Check], worked: &Worked) -> Option<Evidence> {
    if checks.is_empty() || worked.looks.len() != checks.len() {
        return None;
    }
    let mut sum = Evidence::default();
    for (check, output) in checks.iter().zip(&worked.looks) {
        match judge(&check.expect, std::slice::from_ref(output)) {
            Verdict::True(evidence) => look::add(&mut sum, evidence),
            Verdict::False(_) | Verdict::Unknown(_) => return None,
        }
    }
    Some(sum)
}

/// The command with the facts that it uses in front of it, or the name of one that is missing.
fn with_facts(command: &Command, facts: &Facts) -> Result<Command, String> {
    let mut script = String::new();
    for name in uses(&command.script) {
        match facts.get(name) {
            Some(value) if harmless(value) => script.push_str(&format!("{name}={value}; ")),
            _ => return Err(format!("no step has said what {name} is")),
        }
    }
    script.push_str(&command.script);
    Ok(Command { at: command.at.clone(), script })
}

/// The facts that scripts use as shell variables.
const FACTS: [&str; 4] = ["checkpoint", "excess", "new_timeline", "replayed"];

/// The facts that a script uses.
pub(crate) fn uses(script: &str) -> impl Iterator<Item = &'static str> {
    FACTS.into_iter().filter(move |name| script.contains(&format!("${{{name}}}")))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
