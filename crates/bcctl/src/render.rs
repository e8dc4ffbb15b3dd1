//! Words for people (stderr) and data (stdout). Nothing is decided here.

mod plan;
mod progress;
mod status;

use std::io::{self, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use bc_model::journal::Journal;
use serde::Serialize;

pub(crate) use plan::{dry_run, plan, way_back};
pub(crate) use progress::Progress;
pub(crate) use status::status;

use crate::execute::End;
use crate::finding::{Finding, Level};
use crate::journal::Found;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

/// A line on stderr; that nobody reads it is no reason to stop an operation.
pub(crate) fn say(words: &str) {
    let _ = writeln!(anstream::stderr(), "{words}");
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
        say(&format!("  {}: {}", finding.subject, finding.words));
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
    error(&"not everything could be put back", Some("correct the reason, then `bcctl resume --abandon` again"));
    for words in failed {
        say(&format!("  {words}"));
    }
}

/// The findings of `check`.
pub(crate) fn check(site: &str, findings: &[Finding], json: bool) -> io::Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Report<'a> {
        schema: u32,
        site: &'a str,
        ready: bool,
        findings: &'a [Finding],
    }
    let mut stdout = anstream::stdout();
    let ready = findings.iter().all(|finding| finding.level != Level::Fail);
    if json {
        let report = Report { schema: 1, site, ready, findings };
        return writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?);
    }
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or_default();
    for finding in findings {
        let (style, level) = match finding.level {
            Level::Ok => (GREEN, "ok  "),
            Level::Warn => (YELLOW, "warn"),
            Level::Fail => (RED, "fail"),
        };
        writeln!(stdout, "{style}{level}{style:#} {:width$}  {}", finding.subject, finding.words)?;
        if let Some(hint) = finding.hint.as_ref().filter(|_| finding.level != Level::Ok) {
            writeln!(stdout, "     {:width$}  hint: {hint}", "")?;
        }
    }
    let refused: Vec<String> = crate::finding::ALL
        .iter()
        .filter(|intent| findings.iter().any(|finding| finding.refuses.contains(intent)))
        .map(ToString::to_string)
        .collect();
    match (ready, refused.is_empty()) {
        (true, _) => writeln!(stdout, "{site} is ready"),
        (false, true) => writeln!(stdout, "{site} is not as it should be"),
        (false, false) => {
            writeln!(stdout, "{site} is not ready; as it is, this would be refused: {}", refused.join(", "))
        }
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
                "nothing was promoted: correct the reason, then `bcctl resume`; or `bcctl resume --abandon`"
            };
            error(&format!("{step}: {why}"), Some(hint));
            for words in stays {
                say(&format!("  {words}"));
            }
        }
        End::Interrupted { next, past } => {
            let abandon = if *past { "" } else { "; `bcctl resume --abandon` gives it up" };
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
