//! The way back, before the point of no return.

use std::collections::BTreeSet;
use std::time::Duration;

use bc_model::journal::Event;

use super::look::PAUSE;
use super::{Execution, Facts, Progress};
use crate::command::Command;
use crate::hosts::Output;
use crate::judge::Verdict;
use crate::steps::{Step, Undo};

/// How often a host that does not answer is asked again, with the longest pause between: longer than it counts as deaf.
const ASK_AGAIN: u32 = 6;

/// What is not as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// What was meant to stay.
    pub(crate) stays: Vec<String>,
    /// What could not be put back.
    pub(crate) failed: Vec<String>,
}

impl Execution<'_> {
    /// Puts back every step that has begun, the last first, and goes on when one cannot be put back.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) fn undo(&self, steps: &[Step], begun: &BTreeSet<String>, facts: &Facts) -> std::io::Result<Left> {
        let mut left = Left::default();
        for step in steps.iter().rev().filter(|step| begun.contains(&step.id)) {
            match &step.undo {
                Undo::Unneeded(words) => {
                    (self.record)(Event::Undone { step: step.id.clone(), evidence: words.clone() })?
                }
                Undo::Stays(words) => left.stays.push(words.clone()),
                Undo::Run { words, .. } => {
                    (self.tell)(Progress::Undoing { step, words });
                    match self.put_back(&step.undo, facts) {
                        Ok(evidence) => {
                            (self.tell)(Progress::Undone { step, result: Ok(&evidence) });
                            (self.record)(Event::Undone { step: step.id.clone(), evidence })?;
                        }
                        Err(error) => {
                            (self.tell)(Progress::Undone { step, result: Err(&error) });
                            left.failed.push(format!("could not {words}: {error}"));
                            (self.record)(Event::NotUndone { step: step.id.clone(), error })?;
                        }
                    }
                }
            }
        }
        Ok(left)
    }

    fn put(&self, command: &Command, facts: &Facts, start: Duration, timeout: Duration) -> Result<Output, String> {
        let left = timeout.saturating_sub(self.clock.now().saturating_sub(start));
        self.run(command, facts, left)
    }

    fn put_back(&self, undo: &Undo, facts: &Facts) -> Result<String, String> {
        let Undo::Run { run, checks, timeout, unless, .. } = undo else { return Ok(String::new()) };
        let start = self.clock.now();
        for reason in unless {
            if let Verdict::True(_) = self.look_all(std::slice::from_ref(reason), facts, *timeout) {
                let at = reason.commands.first().map(|command| command.at.to_string()).unwrap_or_default();
                return Err(format!("{at} takes writes, and not through us: two servers would"));
            }
        }
        let mut said = None;
        for command in run {
            let mut output = self.put(command, facts, start, *timeout)?;
            // The step may have failed because a command took too long, and then its host counts as deaf for a moment.
            for _ in 0..ASK_AGAIN {
                if !output.is_unknown() || self.clock.now().saturating_sub(start) >= *timeout {
                    break;
                }
                self.clock.pause(PAUSE.1);
                output = self.put(command, facts, start, *timeout)?;
            }
            if !output.succeeded() {
                said = Some(output.complaint());
                break;
            }
        }
        loop {
            match (self.look_all(checks, facts, *timeout), &said) {
                (Verdict::True(evidence), _) => return Ok(evidence.words),
                (_, Some(error)) => return Err(error.clone()),
                (Verdict::False(words) | Verdict::Unknown(words), None) => {
                    if self.clock.now().saturating_sub(start) >= *timeout {
                        return Err(format!("not within {} s; last seen: {words}", timeout.as_secs()));
                    }
                }
            }
            self.clock.pause(PAUSE.1);
        }
    }
}
