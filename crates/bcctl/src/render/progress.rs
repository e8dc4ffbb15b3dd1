//! Progress of an execution on stderr: on a terminal a list of the steps, refreshed in place; elsewhere a line per event, and a
//! sign of life of each step that takes long.

mod rows;
mod terminal;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{YELLOW, say};
use crate::clock::{Clock as _, SystemClock};
use crate::execute::Progress as Told;
use crate::steps::Step;
use rows::{Row, Rows};
use terminal::Terminal;

/// How often the list is drawn again while nothing is told.
const REFRESH: Duration = Duration::from_millis(200);
/// A sign of life comes after the first of these, and then at this distance.
const SIGN_OF_LIFE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Shows the progress of `work`, which tells it. `stop` is the flag that a signal sets; `again` says what a second one does.
pub(crate) fn progress<T>(
    steps: &[Step],
    stop: &AtomicBool,
    again: &str,
    work: impl FnOnce(&(dyn Fn(Told<'_>) + Sync)) -> T,
) -> T {
    let progress = Mutex::new(Progress::new(steps, stop, again));
    let locked = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    let done = std::thread::scope(|scope| {
        let (over, is_over) = channel::<()>();
        let refresh = || locked().refresh();
        scope.spawn(move || {
            while is_over.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
                refresh();
            }
        });
        let done = work(&|told| locked().show(&told));
        drop(over);
        done
    });
    locked().finish();
    done
}

struct Progress<'a> {
    stop: &'a AtomicBool,
    /// Whether it was said that a person wants to stop.
    stopping: bool,
    again: &'a str,
    clock: SystemClock,
    rows: Rows,
    /// The list, if stderr can show one.
    terminal: Option<Terminal>,
}

impl<'a> Progress<'a> {
    fn new(steps: &[Step], stop: &'a AtomicBool, again: &'a str) -> Self {
        // Some terminals cannot move the cursor, and say so.
        let moves = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        let terminal = (moves && io::stderr().is_terminal()).then(Terminal::default);
        Self { stop, stopping: false, again, clock: SystemClock::new(), rows: Rows::new(steps), terminal }
    }

    /// Shows one piece of progress.
    fn show(&mut self, told: &Told<'_>) {
        let now = self.clock.now();
        if let (Some(row), None) = (self.rows.take(told, now), &self.terminal) {
            say(&row.line(now));
        }
        self.refresh();
    }

    /// Shows that time goes by, and that a person wants to stop.
    fn refresh(&mut self) {
        let now = self.clock.now();
        let stopping = self.stop.load(Ordering::Relaxed);
        let words = format!("{YELLOW}stopping{YELLOW:#} after what is running now; {}", self.again);
        if let Some(terminal) = &mut self.terminal {
            let text = terminal.draw(&self.rows, now, stopping.then_some(words.as_str()));
            let _ = io::stderr().write_all(text.as_bytes());
            return;
        }
        if stopping && !self.stopping {
            self.stopping = true;
            say(&words);
        }
        for row in self.rows.quiet(now, SIGN_OF_LIFE) {
            say(&row);
        }
    }

    /// The list goes, and what was done stays as lines, with all of their words.
    fn finish(&mut self) {
        let Some(terminal) = &mut self.terminal else { return };
        let _ = io::stderr().write_all(terminal.clear().as_bytes());
        let now = self.clock.now();
        self.rows.told().for_each(|row: &Row| say(&row.line(now)));
    }
}
