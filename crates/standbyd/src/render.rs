//! What a person reads: data on stdout, words on stderr.

use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use bc_model::manifest::{Manifest, PullReport};
use serde::Serialize;

use crate::error::Error;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// Prints data.
///
/// # Errors
/// When the output cannot be written; a broken pipe is told apart by [`Error::exit`].
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
}

/// One line for the person who waits. That nobody reads it is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

pub(crate) fn warn(line: &str) {
    say(&format!("{WARNING}warning:{WARNING:#} {line}"));
}

pub(crate) fn complain(error: &Error) {
    say(&format!("{ERROR}error:{ERROR:#} {error}"));
    if let Some(hint) = error.hint() {
        say(&format!("  {HINT}hint:{HINT:#} {hint}"));
    }
}

/// `value` as JSON, ending with a newline.
///
/// # Errors
/// When it cannot be represented, which the types of the reports rule out.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
    text.push('\n');
    Ok(text)
}

/// One line for each file, as `sha256sum` prints it.
pub(crate) fn manifest(manifest: &Manifest) -> String {
    manifest.files.iter().fold(String::new(), |mut text, file| {
        let _ = writeln!(text, "{}  {}  ({} bytes)", file.sha256, file.id, file.size);
        text
    })
}

pub(crate) fn pulled(report: &PullReport) -> String {
    let mut text = format!(
        "in sync with {}: {} fetched, {} unchanged, {} removed\n",
        report.peer,
        report.fetched.len(),
        report.unchanged.len(),
        report.removed.len()
    );
    for id in &report.left {
        let _ = writeln!(text, "  {id} is only on this host, and no pull placed it: left alone");
    }
    text
}
