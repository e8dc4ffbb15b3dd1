//! Looking: whether conditions hold, now, or within a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Execution, Facts, Progress, with_facts};
use crate::command::{At, Command};
use crate::hosts::{Hosts, Look, Output, Until, Work, beside};
use crate::judge::{Check, Evidence, Expect, Verdict, judge};
use crate::steps::{Step, When};

/// How long one look may take: a host that hangs must not eat the time of the step.
const LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
/// Pauses between looks: the first, and the longest.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// How long a host looks again by itself before it tells us what it has seen last.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How often a host that does not answer is asked before that is taken for an answer.
const TRIES: u32 = 3;

impl Execution<'_> {
    /// Whether a step has nothing to do, by its own condition or by that of the step that ends it on purpose.
    ///
    /// The later step is asked only if it has begun in an earlier call: only then can it have ended this one.
    pub(super) fn holds_already(
        &self,
        index: usize,
        steps: &[Step],
        begun: &BTreeSet<String>,
        facts: &Facts,
    ) -> Verdict {
        let step = &steps[index];
        let own = match (step.when, step.run.is_empty()) {
            (When::Always, _) => Verdict::False(String::new()),
            // It will be looked at again and again anyway.
            (When::Needed, true) => match Self::later(step, steps, begun) {
                None => return Verdict::False(String::new()),
                Some(_) => self.look_all(&step.checks, facts, step.timeout),
            },
            (When::Needed, false) => self.steady(&step.checks, facts, step.timeout),
        };
        self.or_later(own, step, steps, begun, facts)
    }

    /// `own`, or that a later step has ended this one's condition on purpose.
    fn or_later(&self, own: Verdict, step: &Step, steps: &[Step], begun: &BTreeSet<String>, facts: &Facts) -> Verdict {
        let (Verdict::False(_), Some(later)) = (&own, Self::later(step, steps, begun)) else { return own };
        let its = self.steady(&later.checks, facts, later.timeout);
        match self.or_later(its, later, steps, begun, facts) {
            Verdict::True(_) => {
                Verdict::True(Evidence { words: format!("superseded by {}", later.id), ..Evidence::default() })
            }
            _ => own,
        }
    }

    fn later<'s>(step: &Step, steps: &'s [Step], begun: &BTreeSet<String>) -> Option<&'s Step> {
        let id = step.superseded_by.filter(|id| begun.contains(*id))?;
        steps.iter().find(|step| step.id == id)
    }

    /// Looks until the checks of a step hold or `limit` is over, and says what is waited for.
    pub(super) fn watch(&self, step: &Step, facts: &Facts, limit: Duration) -> Verdict {
        let begin = self.clock.now();
        let mut pause = PAUSE.0;
        loop {
            let left = limit.saturating_sub(self.clock.now().saturating_sub(begin));
            let verdict = self.look_patiently(&step.checks, facts, left, left.min(PATIENCE));
            let (Verdict::False(words) | Verdict::Unknown(words)) = &verdict else { return verdict };
            let certain = step.once && matches!(verdict, Verdict::False(_));
            if certain || self.clock.now().saturating_sub(begin) >= limit {
                return verdict;
            }
            (self.tell)(Progress::Waiting { step, last_seen: words });
            self.clock.pause(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Looks until the checks of a step are seen to hold or not to hold, within the time of the step.
    pub(super) fn settled(&self, step: &Step, facts: &Facts) -> Verdict {
        let begin = self.clock.now();
        loop {
            let left = step.timeout.saturating_sub(self.clock.now().saturating_sub(begin));
            let verdict = self.look_all(&step.checks, facts, left);
            if left.is_zero() || !matches!(verdict, Verdict::Unknown(_)) {
                return verdict;
            }
            self.clock.pause(PAUSE.1);
        }
    }

    /// All checks, and a few times more if a host does not answer.
    pub(super) fn steady(&self, checks: &[Check], facts: &Facts, limit: Duration) -> Verdict {
        let mut verdict = self.look_all(checks, facts, limit);
        for _ in 1..TRIES {
            if !matches!(verdict, Verdict::Unknown(_)) {
                break;
            }
            self.clock.pause(PAUSE.1);
            verdict = self.look_all(checks, facts, limit);
        }
        verdict
    }

    /// All checks, once; the first that does not hold decides.
    pub(super) fn look_all(&self, checks: &[Check], facts: &Facts, limit: Duration) -> Verdict {
        self.look_patiently(checks, facts, limit, Duration::ZERO)
    }

    /// All checks; the first that does not hold decides. Each host is asked once, all at the same time; so are
    /// the commands of the operator's machine, each of which asks somebody else. If there is only one host, it looks again for as
    /// long as `patience` says.
    fn look_patiently(&self, checks: &[Check], facts: &Facts, limit: Duration, patience: Duration) -> Verdict {
        let limit = limit.clamp(LOOK.0, LOOK.1);
        let mut verdicts: Vec<Option<Verdict>> = vec![None; checks.len()];
        let mut groups: Vec<(At, Group)> = Vec::new();
        for (index, check) in checks.iter().enumerate() {
            match check.commands.iter().map(|command| with_facts(command, facts)).collect::<Result<Vec<_>, _>>() {
                Ok(commands) => {
                    let at = commands.first().map_or(At::Operator, |command| command.at.clone());
                    match groups.iter_mut().find(|(host, _)| *host == at && at != At::Operator) {
                        Some((_, group)) => group.push((index, commands)),
                        None => groups.push((at, vec![(index, commands)])),
                    }
                }
                // A fact that no step has left yet: the condition cannot hold yet.
                Err(missing) => verdicts[index] = Some(Verdict::False(missing)),
            }
        }
        let patience = if groups.len() == 1 { patience } else { Duration::ZERO };
        let hosts = self.hosts;
        let seen = beside(groups, |(at, group)| look_at(hosts, at, group, checks, limit, patience));
        for (index, verdict) in seen.into_iter().flatten() {
            verdicts[index] = Some(verdict);
        }
        let mut sum = Evidence::default();
        for verdict in verdicts {
            match verdict.unwrap_or_else(|| Verdict::Unknown("it was not looked at".to_owned())) {
                Verdict::True(evidence) => add(&mut sum, evidence),
                other => return other,
            }
        }
        Verdict::True(sum)
    }
}

/// The checks of one host by their index, with the commands of each.
type Group = Vec<(usize, Vec<Command>)>;

pub(super) fn add(sum: &mut Evidence, evidence: Evidence) {
    if !sum.words.is_empty() && !evidence.words.is_empty() {
        sum.words.push_str("; ");
    }
    sum.words.push_str(&evidence.words);
    sum.facts.extend(evidence.facts);
}

/// When a host can see for itself that a check has seen enough.
pub(super) fn until(check: &Check) -> Option<Until> {
    match (&check.expect, check.commands.as_slice()) {
        (Expect::Success, [_]) => Some(Until::Success),
        (Expect::True, [_]) => Some(Until::True),
        _ => None,
    }
}

/// The checks of one host, in order, until one does not hold.
fn look_at(
    hosts: &dyn Hosts,
    at: At,
    group: Group,
    checks: &[Check],
    limit: Duration,
    patience: Duration,
) -> Vec<(usize, Verdict)> {
    let mut verdicts = Vec::new();
    let mut rest = group.as_slice();
    while let Some((index, commands)) = rest.first() {
        let simple: Vec<(usize, Look)> = rest
            .iter()
            .map_while(|(index, commands)| {
                let until = until(&checks[*index])?;
                Some((*index, Look { script: commands.first()?.script.clone(), until }))
            })
            .collect();
        if simple.is_empty() {
            let outputs: Vec<Output> = commands.iter().map(|command| only_look(hosts, command, limit)).collect();
            verdicts.push((*index, judge(&checks[*index].expect, &outputs)));
            rest = &rest[1..];
        } else {
            rest = &rest[simple.len()..];
            let patience = if rest.is_empty() { patience } else { Duration::ZERO };
            let (indexes, looks): (Vec<usize>, Vec<Look>) = simple.into_iter().unzip();
            let work = Work { at: at.clone(), deeds: Vec::new(), looks, patience, meanwhile: false };
            let outputs = hosts.work(&work, limit + patience).looks;
            verdicts.extend(
                indexes
                    .into_iter()
                    .zip(outputs)
                    .map(|(index, output)| (index, judge(&checks[index].expect, std::slice::from_ref(&output)))),
            );
        }
        if !matches!(verdicts.last(), Some((_, Verdict::True(_)))) {
            break;
        }
    }
    verdicts
}

/// One command that only looks: the host's copy of the journal does not grow by it, so that nobody else's lines are overtaken.
pub(super) fn only_look(hosts: &dyn Hosts, command: &Command, limit: Duration) -> Output {
    let looks = vec![Look { script: command.script.clone(), until: Until::Success }];
    let work = Work { at: command.at.clone(), deeds: Vec::new(), looks, patience: Duration::ZERO, meanwhile: false };
    hosts.work(&work, limit).looks.pop().unwrap_or_else(Output::nothing)
}
