//! Looking: whether conditions hold, now, or within a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Execution, Progress};
use crate::judge::{Check, Evidence, Verdict, judge};
use crate::steps::{Step, When};

/// How long one look may take: a host that hangs must not eat the time of the step.
const LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
/// Pauses between looks: the first, and the longest.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// How often a host that does not answer is asked before that is taken for an answer.
const TRIES: u32 = 3;

impl Execution<'_> {
    /// Whether a step has nothing to do, by its own condition or by that of the step that ends it on purpose.
    pub(super) fn holds_already(&mut self, index: usize, steps: &[Step], facts: &BTreeMap<String, String>) -> Verdict {
        let step = &steps[index];
        let own = match (step.when, step.run.is_empty()) {
            (When::Always, _) => Verdict::False(String::new()),
            // It will be looked at again and again anyway.
            (When::Needed, true) => self.look_all(&step.checks, facts, step.timeout),
            (When::Needed, false) => self.steady(&step.checks, facts, step.timeout),
        };
        let Verdict::False(_) = own else { return own };
        let Some(later) = step.superseded_by.and_then(|id| steps.iter().position(|step| step.id == id)) else {
            return own;
        };
        match self.holds_already(later, steps, facts) {
            Verdict::True(_) => {
                let words = format!("superseded by {}", steps[later].id);
                Verdict::True(Evidence { words, ..Evidence::default() })
            }
            _ => own,
        }
    }

    /// Looks until the checks of a step hold or `limit` is over, and says what is waited for. `since` is its begin.
    pub(super) fn watch(
        &mut self,
        index: usize,
        steps: &[Step],
        facts: &BTreeMap<String, String>,
        since: Duration,
        limit: Duration,
    ) -> Verdict {
        let begin = self.clock.now();
        let step = &steps[index];
        let mut pause = PAUSE.0;
        loop {
            let left = limit.saturating_sub(self.clock.now().saturating_sub(begin));
            let verdict = self.look_all(&step.checks, facts, left);
            let now = self.clock.now();
            let (Verdict::False(words) | Verdict::Unknown(words)) = &verdict else { return verdict };
            if now.saturating_sub(begin) >= limit {
                return verdict;
            }
            let elapsed = now.saturating_sub(since);
            (self.tell)(Progress::Waiting { number: index + 1, of: steps.len(), step, elapsed, last_seen: words });
            self.clock.pause(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Looks until the checks of a step are seen to hold or not to hold, within the time of the step.
    pub(super) fn settled(&mut self, step: &Step, facts: &BTreeMap<String, String>) -> Verdict {
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
    pub(super) fn steady(&mut self, checks: &[Check], facts: &BTreeMap<String, String>, limit: Duration) -> Verdict {
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
    pub(super) fn look_all(&mut self, checks: &[Check], facts: &BTreeMap<String, String>, limit: Duration) -> Verdict {
        let mut sum = Evidence::default();
        for check in checks {
            match self.look(check, facts, limit.clamp(LOOK.0, LOOK.1)) {
                Verdict::True(evidence) => {
                    if !sum.words.is_empty() && !evidence.words.is_empty() {
                        sum.words.push_str("; ");
                    }
                    sum.words.push_str(&evidence.words);
                    sum.facts.extend(evidence.facts);
                }
                other => return other,
            }
        }
        Verdict::True(sum)
    }

    fn look(&mut self, check: &Check, facts: &BTreeMap<String, String>, limit: Duration) -> Verdict {
        let mut outputs = Vec::new();
        for command in &check.commands {
            match self.run(command, facts, limit, &mut |_, _| {}) {
                Ok(output) => outputs.push(output),
                // A fact that no step has left yet: the condition cannot hold yet.
                Err(missing) => return Verdict::False(missing),
            }
        }
        judge(&check.expect, &outputs)
    }
}
