//! Asking a person.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// What a person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Go on.
    Yes,
    /// Do not.
    No,
    /// There is nobody to ask.
    Nobody,
}

/// Asks for the name of the site, or `yes`.
pub(crate) fn confirm(site: &str) -> Answer {
    if !io::stdin().is_terminal() {
        return Answer::Nobody;
    }
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "Type {site} (or yes) to go on: ");
    let _ = stderr.flush();
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(count) if count > 0 && [site, "yes"].contains(&line.trim()) => Answer::Yes,
        _ => Answer::No,
    }
}
