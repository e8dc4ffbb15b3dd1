//! `bcctl check`: what is wrong first, the cause before what follows from it.

use std::io::{self, Write as _};

use bc_model::exit::Exit;
use serde::Serialize;

use super::{GREEN, RED, YELLOW};
use crate::finding::{Finding, Level};

/// What the worst finding means to the caller.
pub(crate) fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Error) => Exit::Refused,
        Some(Level::Warning) => Exit::Failed,
        Some(Level::Note | Level::Ok) | None => Exit::Done,
    }
}

/// The findings of `check`, in the order of [`crate::finding::by_cause`].
pub(crate) fn check(site: &str, findings: &[Finding], json: bool) -> io::Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Report<'a> {
        schema: u32,
        site: &'a str,
        ready: bool,
        worst: Option<Level>,
        findings: Vec<&'a Finding>,
    }
    let mut stdout = anstream::stdout();
    let ready = findings.iter().all(|finding| finding.level != Level::Error);
    // A reader, or a program, wants the worst first; a terminal scrolls, and what is well goes by at the top.
    let (well, wrong): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|finding| finding.level == Level::Ok);
    if json {
        let worst = findings.iter().map(|finding| finding.level).max();
        let findings = wrong.into_iter().chain(well).collect();
        let report = Report { schema: 2, site, ready, worst, findings };
        return writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?);
    }
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or_default();
    for finding in well.into_iter().chain(wrong) {
        let (style, level) = match finding.level {
            Level::Ok => (GREEN, "ok"),
            Level::Note => (anstyle::Style::new(), "note"),
            Level::Warning => (YELLOW, "warning"),
            Level::Error => (RED, "error"),
        };
        let code = finding.code().unwrap_or_default();
        writeln!(stdout, "{style}{level:7}{style:#} {code:5} {:width$}  {}", finding.subject, finding.words)?;
        if let Some(cause) = &finding.because_of {
            writeln!(stdout, "              {:width$}  follows from {}", "", cause.code())?;
        }
        if let Some(hint) = finding.hint.as_ref().filter(|_| finding.level != Level::Ok) {
            writeln!(stdout, "              {:width$}  hint: {hint}", "")?;
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
