//! Words for people (stderr) and data (stdout). Nothing is decided here.

mod check;
mod plan;
mod progress;
mod records;
mod setup;
mod status;

use std::io::Write as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use bc_model::journal::Journal;

pub(crate) use check::{check, exit};
pub(crate) use plan::{dry_run, plan, way_back};
pub(crate) use progress::progress;
pub(crate) use records::{history, report};
pub(crate) use setup::setup;
pub(crate) use status::{Screen, Watch};

use crate::execute::End;
use crate::finding::Finding;
use crate::journal::Found;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

/// A line on stderr; that nobody reads it is no reason to stop an operation.
pub(crate) fn say(words: &str) {
    let _ = writeln!(anstream::stderr(), "{words}");
}

/// Text on stdout.
pub(crate) fn page(text: &str) -> std::io::Result<()> {
    anstream::stdout().write_all(text.as_bytes())
}

/// An error, and what to do about it.
pub(crate) fn error(error: &dyn std::fmt::Display, hint: Option<&str>) {
    say(&format!("{RED}error:{RED:#} {error}"));
    if let Some(hint) = hint {
        say(&format!("  hint: {hint}"));
    }
}

/// Why an operation is refused.
pub(crate) fn refused(what: &str, findings: &[Finding]) {
    say(&format!("{RED}refused:{RED:#} {what}; nothing was touched"));
    for finding in findings {
        let code = finding.code().map(|code| format!("{code} ")).unwrap_or_default();
        say(&format!("  {code}{}: {}", finding.subject, finding.words));
        if let Some(hint) = &finding.hint {
            say(&format!("    hint: {hint}"));
        }
    }
}

/// What is about to be continued.
pub(crate) fn resume(found: &Found, abandon: bool) {
    let verb = if abandon { "giving up" } else { "continuing" };
    let operation = found.path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let done =
        found.journal.last_done().map_or_else(|| "no step was done".to_owned(), |step| format!("last done: {step}"));
    say(&format!("{verb} {operation}; {done}"));
}

/// What could not be put back.
pub(crate) fn not_put_back(failed: &[String]) {
    error(&"not everything could be put back", Some("correct the reason, then `bcctl abort` again"));
    for words in failed {
        say(&format!("  {words}"));
    }
}

/// How an operation ended, and what to do now.
pub(crate) fn end(end: &End, journal: &Path) {
    match end {
        End::Done => say(&format!("{GREEN}done{GREEN:#}")),
        End::Undone { step, error: why } => {
            error(&format!("{step}: {why}"), Some("everything was put back; correct the reason and begin again"));
        }
        End::NotFenced { step, error: why } => error(
            &format!("{step}: {why}"),
            Some(
                "nothing was promoted; make the fence device work (`fence check`), or turn the host off by hand and `fence confirm` it; then `bcctl failover` again",
            ),
        ),
        End::HalfWay { step, error: why, stays, past } => {
            let hint = if *past {
                "the promotion may have happened, so there is only forward: correct the reason, then `bcctl resume`"
            } else {
                "nothing was promoted: correct the reason, then `bcctl resume`; or `bcctl abort`"
            };
            error(&format!("{step}: {why}"), Some(hint));
            for words in stays {
                say(&format!("  {words}"));
            }
        }
        End::Interrupted { next, past } => {
            let abandon = if *past { "" } else { "; `bcctl abort` gives it up" };
            say(&format!("{YELLOW}stopped{YELLOW:#} before {next}: `bcctl resume` continues{abandon}"));
        }
    }
    say(&format!("journal: {}", journal.display()));
}

/// The name of an operation.
fn operation(journal: &Journal) -> String {
    match journal.entries.first().map(|entry| &entry.event) {
        Some(bc_model::journal::Event::Planned { operation, .. }) => operation.clone(),
        _ => String::new(),
    }
}
