//! Words for the person who watches: a line per step with the time since the start, on standard error.
//!
//! On a terminal the last line says what is being waited for; elsewhere there are plain lines only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Moment;

/// Where the words go. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress {
    origin: Moment,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Counts the time from `origin`.
    pub(crate) fn new(origin: Moment) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // A constant template: it is valid, and were it not, the default does.
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { origin, bar }
    }

    /// The same place for words, counting the time from `origin`.
    pub(crate) fn restarted(&self, origin: Moment) -> Self {
        Self { origin, bar: self.bar.clone() }
    }

    /// Prints a line that stays.
    pub(crate) fn line(&self, text: &str) {
        let elapsed = Moment::now().since(self.origin).as_secs_f32();
        let line = format!("[{elapsed:6.1} s] {text}");
        match &self.bar {
            Some(bar) => bar.suspend(|| anstream::eprintln!("{line}")),
            None => anstream::eprintln!("{line}"),
        }
    }

    /// Says what is going on right now; replaced by the next such word.
    pub(crate) fn now(&self, text: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.into());
        }
    }

    /// Takes the moving line away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
