//! Progress of an execution: one line per step, and a sign of life while one takes long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{GREEN, RED, YELLOW, say};
use crate::execute::Progress as Told;
use crate::steps::Step;

/// A sign of life comes after the first of these, and then at this distance.
const SIGN_OF_LIFE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Shows progress on stderr.
pub(crate) struct Progress {
    stop: Arc<AtomicBool>,
    stopping: bool,
    /// When the next sign of life of the running step is due.
    due: Duration,
}

impl Progress {
    /// `stop` is the flag that a signal sets.
    pub(crate) const fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, stopping: false, due: SIGN_OF_LIFE.0 }
    }

    /// Shows one piece of progress.
    pub(crate) fn show(&mut self, told: &Told<'_>) {
        if self.stop.load(Ordering::Relaxed) && !self.stopping {
            self.stopping = true;
            say(&format!("{YELLOW}stopping{YELLOW:#} after this step (again: at once; `bcctl resume` continues)"));
        }
        match told {
            Told::Waiting { number, of, step, elapsed, last_seen } => {
                if *elapsed >= self.due {
                    self.due = *elapsed + SIGN_OF_LIFE.1;
                    say(&line(*number, *of, step, "…", *elapsed, last_seen));
                }
                return;
            }
            Told::Done { number, of, step, elapsed, evidence } => {
                say(&line(*number, *of, step, &format!("{GREEN}done{GREEN:#}"), *elapsed, evidence));
            }
            Told::Skipped { number, of, step, evidence } => {
                say(&line(*number, *of, step, "was so", Duration::ZERO, evidence));
            }
            Told::Failed { number, of, step, elapsed, error } => {
                say(&line(*number, *of, step, &format!("{RED}failed{RED:#}"), *elapsed, error));
            }
            Told::Undoing { step, words } => say(&format!("  back  {:18} {words}", step.id)),
            Told::Undone { step, result } => match result {
                Ok(words) => say(&format!("  back  {:18} {GREEN}done{GREEN:#}  {words}", step.id)),
                Err(words) => say(&format!("  back  {:18} {RED}failed{RED:#}  {words}", step.id)),
            },
        }
        self.due = SIGN_OF_LIFE.0;
    }
}

fn line(number: usize, of: usize, step: &Step, state: &str, elapsed: Duration, words: &str) -> String {
    let words = if words.is_empty() { step.words.as_str() } else { words };
    format!(
        "{number:>3}/{of} {:18} {:9} {:>7.1} s  {state}  {words}",
        step.id,
        step.at.to_string(),
        elapsed.as_secs_f64()
    )
}
