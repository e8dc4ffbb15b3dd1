//! What is known of each step, and the line that says it. Pure: it is told what time it is.

use std::time::Duration;

use super::super::{GREEN, RED, YELLOW};
use crate::execute::Progress as Told;
use crate::steps::Step;

/// What is known of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was told of it yet.
    Waits,
    /// It was done in an earlier call, or nothing before the promotion is done again.
    Earlier,
    /// It is at work, or is being put back.
    Runs { back: bool, since: Duration, seen: String, due: Option<Duration> },
    /// It is over.
    Over { how: How, took: Duration, words: String },
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Done,
    WasSo,
    Failed,
    PutBack,
    NotPutBack,
}

/// One step.
#[derive(Clone, Debug)]
pub(super) struct Row {
    number: usize,
    of: usize,
    id: String,
    at: String,
    words: String,
    beside: bool,
    pub(super) state: State,
}

/// All steps, in order.
pub(super) struct Rows(Vec<Row>);

impl Rows {
    pub(super) fn new(steps: &[Step]) -> Self {
        let row = |(index, step): (usize, &Step)| Row {
            number: index + 1,
            of: steps.len(),
            id: step.id.clone(),
            at: step.at.to_string(),
            words: step.words.clone(),
            beside: step.beside,
            state: State::Waits,
        };
        Self(steps.iter().enumerate().map(row).collect())
    }

    /// Takes in what was told at `now`; the row if something of it is over, or begins to go back.
    pub(super) fn take(&mut self, told: &Told<'_>, now: Duration) -> Option<&Row> {
        let (step, state) = match told {
            Told::Began { number, step, .. } => {
                for row in &mut self.0[..number - 1] {
                    if row.state == State::Waits {
                        row.state = State::Earlier;
                    }
                }
                (step, State::Runs { back: false, since: now, seen: String::new(), due: None })
            }
            Told::Waiting { step, last_seen } => {
                let row = self.0.iter_mut().find(|row| row.id == step.id)?;
                if let State::Runs { seen, .. } = &mut row.state {
                    *seen = plain(last_seen);
                }
                return None;
            }
            Told::Done { step, elapsed, evidence, .. } => {
                (step, State::Over { how: How::Done, took: *elapsed, words: plain(evidence) })
            }
            Told::Skipped { step, evidence, .. } => {
                (step, State::Over { how: How::WasSo, took: Duration::ZERO, words: plain(evidence) })
            }
            Told::Failed { step, elapsed, error, .. } => {
                (step, State::Over { how: How::Failed, took: *elapsed, words: plain(error) })
            }
            Told::Undoing { step, words } => {
                (step, State::Runs { back: true, since: now, seen: plain(words), due: None })
            }
            Told::Undone { step, result } => {
                let (how, words) = match result {
                    Ok(words) => (How::PutBack, plain(words)),
                    Err(words) => (How::NotPutBack, plain(words)),
                };
                let row = self.0.iter().find(|row| row.id == step.id)?;
                let since = if let State::Runs { since, .. } = row.state { since } else { now };
                (step, State::Over { how, took: now.saturating_sub(since), words })
            }
        };
        let row = self.0.iter_mut().find(|row| row.id == step.id)?;
        row.state = state;
        match row.state {
            State::Over { .. } | State::Runs { back: true, .. } => Some(row),
            State::Runs { back: false, .. } | State::Waits | State::Earlier => None,
        }
    }

    /// Lines of the steps that have been at work for some time: after the first of two times, and then at the second.
    pub(super) fn quiet(&mut self, now: Duration, times: (Duration, Duration)) -> Vec<String> {
        let mut lines = Vec::new();
        for row in &mut self.0 {
            let line = row.line(now);
            let State::Runs { since, due, .. } = &mut row.state else { continue };
            if now >= due.unwrap_or(*since + times.0) {
                *due = Some(now + times.1);
                lines.push(line);
            }
        }
        lines
    }

    pub(super) fn all(&self) -> &[Row] {
        &self.0
    }

    /// Those of which something was told.
    pub(super) fn told(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(|row| !matches!(row.state, State::Waits | State::Earlier))
    }
}

impl Row {
    /// What is seen of it, in one line.
    pub(super) fn line(&self, now: Duration) -> String {
        let (took, state, words) = self.columns(now);
        let (number, of, id, at) = (self.number, self.of, &self.id, &self.at);
        let beside = if self.beside { '+' } else { ' ' };
        format!("{number:>3}/{of} {beside}{id:18} {at:9} {took:>9}  {state}  {words}")
    }

    /// The same for a narrow terminal.
    pub(super) fn short(&self, now: Duration) -> String {
        let (took, state, words) = self.columns(now);
        format!("{:>3} {:16} {took:>8} {state} {words}", self.number, self.id)
    }

    /// How long, in which state, and what was seen or said.
    fn columns(&self, now: Duration) -> (String, String, &str) {
        let (took, state, words) = match &self.state {
            State::Waits => (None, "", &self.words),
            State::Earlier => (None, "before", &self.words),
            State::Runs { back, since, seen, .. } => {
                (Some(now.saturating_sub(*since)), if *back { "back …" } else { "…" }, seen)
            }
            State::Over { how, took, words } => {
                let state = match how {
                    How::Done => "done",
                    How::WasSo => "skipped",
                    How::Failed => "failed",
                    How::PutBack => "back",
                    How::NotPutBack => "stays",
                };
                (Some(*took), state, words)
            }
        };
        let style = match &self.state {
            State::Over { how: How::Done, .. } => GREEN,
            State::Over { how: How::Failed | How::NotPutBack, .. } => RED,
            State::Runs { .. } | State::Over { how: How::PutBack, .. } => YELLOW,
            _ => anstyle::Style::new(),
        };
        let took = took.map(|took| format!("{:.1} s", took.as_secs_f64())).unwrap_or_default();
        let words = if words.is_empty() { &self.words } else { words };
        (took, format!("{style}{state}{style:#}"), words)
    }
}

/// Words of a host in one line, and without what could move the cursor.
fn plain(words: &str) -> String {
    words.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
