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
    ask(&format!("Type {site} (or yes) to go on: "), &[site, "yes"])
}

/// Asks for the name of a host, because of a rule that is overridden; nothing else is an answer.
pub(crate) fn confirm_host(host: &str, because: &str) -> Answer {
    ask(&format!("{because} overrides a rule. Type the name of the host that is given up ({host}) to go on: "), &[host])
}

fn ask(question: &str, answers: &[&str]) -> Answer {
    if !io::stdin().is_terminal() {
        return Answer::Nobody;
    }
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "{question}");
    let _ = stderr.flush();
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(count) if count > 0 && answers.contains(&line.trim()) => Answer::Yes,
        _ => Answer::No,
    }
}
