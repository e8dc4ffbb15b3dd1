//! `history` and `report`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use bc_model::journal::{Event, Intent, Journal, Outcome};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::journal::Found;

/// One line of `history`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    operation: String,
    intent: Option<Intent>,
    by: &'a str,
    begun: Option<String>,
    ended: Option<String>,
    outcome: Option<Outcome>,
}

fn line(journal: &Journal) -> Line<'_> {
    let by = match journal.entries.first().map(|entry| &entry.event) {
        Some(Event::Planned { by, .. }) => by.as_str(),
        _ => "",
    };
    let at = |entry: Option<&bc_model::journal::Entry>| entry.map(|entry| format!("{:.0}", entry.at));
    let over = journal.outcome().is_some();
    Line {
        operation: super::operation(journal),
        intent: journal.intent(),
        by,
        begun: at(journal.entries.first()),
        ended: at(journal.entries.last().filter(|_| over)),
        outcome: journal.outcome(),
    }
}

const fn outcome(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "not over",
        Some(Outcome::Done) => "done",
        Some(Outcome::Undone) => "failed, and put back",
        Some(Outcome::NotFenced) => "not fenced, nothing promoted",
        Some(Outcome::Abandoned) => "given up",
    }
}

/// Every operation, the newest last.
pub(crate) fn history(site: &str, all: &[Found], json: bool) -> io::Result<()> {
    let mut stdout = anstream::stdout();
    let lines: Vec<Line<'_>> = all.iter().map(|found| line(&found.journal)).collect();
    if json {
        return writeln!(stdout, "{}", serde_json::to_string_pretty(&lines)?);
    }
    if lines.is_empty() {
        return writeln!(stdout, "{site}: no operation yet");
    }
    let width = lines.iter().map(|line| line.operation.len()).max().unwrap_or_default();
    for line in lines {
        writeln!(stdout, "{:width$}  {:28}  {}", line.operation, outcome(line.outcome), line.by)?;
    }
    Ok(())
}

/// One operation, in Markdown.
pub(crate) fn report(journal: &Journal) -> io::Result<()> {
    anstream::stdout().write_all(report_text(journal).as_bytes())
}

pub(super) fn report_text(journal: &Journal) -> String {
    let mut text = String::new();
    let Some(Event::Planned { operation, site, intent, by, notes, overrides, .. }) =
        journal.entries.first().map(|entry| &entry.event)
    else {
        return text;
    };
    let (first, last) = (journal.entries.first().map(|e| e.at), journal.entries.last().map(|e| e.at));
    let seconds = |from: Option<Timestamp>, to: Option<Timestamp>| {
        from.zip(to).map(|(from, to)| to.duration_since(from).as_secs_f64())
    };
    let _ = writeln!(text, "# {intent} of {site}: {}\n", outcome(journal.outcome()));
    let _ = writeln!(text, "| | |\n|---|---|\n| operation | `{operation}` |\n| asked for by | {by} |");
    for entry in &journal.entries {
        if let Event::Resumed { by } = &entry.event {
            let _ = writeln!(text, "| continued by | {by}, {:.0} |", entry.at);
        }
    }
    if let Some(took) = seconds(first, last) {
        let _ = writeln!(
            text,
            "| from, to | {:.0}, {:.0} ({took:.1} s) |",
            first.unwrap_or_default(),
            last.unwrap_or_default()
        );
    }
    let _ = writeln!(
        text,
        "| outage of GoCD | {} |",
        span(journal, &["stop-gocd", "fence-gocd"], &["assign-vip", "gocd-ready"])
    );
    let _ = writeln!(
        text,
        "| outage of PostgreSQL | {} |",
        span(journal, &["stop-postgresql", "fence-postgresql"], &["promote"])
    );
    let facts = journal.facts();
    for (name, what) in [
        ("checkpoint", "shutdown checkpoint of the old primary"),
        ("received", "the standby had received"),
        ("replayed", "the standby had replayed"),
        ("switchpoint", "the new timeline begins at"),
        ("new_timeline", "new timeline"),
    ] {
        if let Some(value) = facts.get(name) {
            let _ = writeln!(text, "| {what} | {value} |");
        }
    }
    let _ = writeln!(text, "\n## What was known before\n");
    for note in notes {
        let _ = writeln!(text, "- {note}");
    }
    if overrides.is_empty() {
        let _ = writeln!(text, "- no rule was overridden");
    }
    for words in overrides {
        let _ = writeln!(text, "- **overridden by the operator**: {words}");
    }
    let _ = writeln!(text, "\n## What was done\n\n| at | step | | seconds | evidence |\n|---|---|---|---|---|");
    for entry in &journal.entries {
        let at = entry.at.strftime("%H:%M:%S%.3f");
        let took = |ms: u64| {
            format!("{:.3}", SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)).as_secs_f64())
        };
        let cell = |words: &str| words.replace('|', "\\|").replace('\n', " ");
        let row = match &entry.event {
            Event::Planned { .. } | Event::Begin { .. } => continue,
            Event::Resumed { by } => ("", format!("continued by {by}"), String::new(), String::new()),
            Event::Done { step, took_ms, evidence, .. } => {
                (step.as_str(), "done".into(), took(*took_ms), cell(evidence))
            }
            Event::Skipped { step, evidence, .. } => (step.as_str(), "was so".into(), String::new(), cell(evidence)),
            Event::Failed { step, took_ms, error } => (step.as_str(), "**failed**".into(), took(*took_ms), cell(error)),
            Event::Undone { step, evidence } => (step.as_str(), "put back".into(), String::new(), cell(evidence)),
            Event::NotUndone { step, error } => (step.as_str(), "**not put back**".into(), String::new(), cell(error)),
            Event::Finished { words, .. } => ("", "over".into(), String::new(), cell(words)),
        };
        let _ = writeln!(text, "| {at} | {} | {} | {} | {} |", row.0, row.1, row.2, row.3);
    }
    text
}

/// From the begin of the first of some steps to the end of the first of others, in words.
fn span(journal: &Journal, from: &[&str], to: &[&str]) -> String {
    let begin = journal.entries.iter().find_map(|entry| match &entry.event {
        Event::Begin { step } if from.contains(&step.as_str()) => Some(entry.at),
        _ => None,
    });
    let end = to.iter().find_map(|wanted| {
        journal.entries.iter().find_map(|entry| match &entry.event {
            Event::Done { step, .. } | Event::Skipped { step, .. } if step == wanted => Some(entry.at),
            _ => None,
        })
    });
    match (begin, end) {
        (None, _) => "none that this operation made".to_owned(),
        (Some(begin), Some(end)) => {
            format!("{:.1} s that this operation made, {begin:.0} to {end:.0}", end.duration_since(begin).as_secs_f64())
        }
        (Some(begin), None) => format!("since {begin:.0}; this operation has not ended it"),
    }
}

#[cfg(test)]
mod tests {
    use bc_model::journal::Entry;

    use super::*;

    #[test]
    fn a_report_says_who_when_what_the_outage_and_the_evidence() {
        let at = |ms: i64| Timestamp::from_millisecond(1_795_293_000_000 + ms).expect("a time");
        let mut entries = vec![Entry {
            at: at(0),
            event: Event::Planned {
                schema: bc_model::journal::SCHEMA,
                operation: "20261121T203000Z-failover".into(),
                site: "gocd".into(),
                intent: Intent::Failover,
                by: "ops@desk".into(),
                steps: vec![],
                decision: serde_json::Value::Null,
                notes: vec!["pg2 has received 0/5".into()],
                overrides: vec!["--accept-stale-config, confirmed with go1".into()],
            },
        }];
        let mut add = |ms: i64, event: Event| entries.push(Entry { at: at(ms), event });
        add(10, Event::Begin { step: "fence-postgresql".into() });
        add(
            2000,
            Event::Done {
                step: "promote".into(),
                took_ms: 90,
                evidence: "a | b".into(),
                facts: [("new_timeline".into(), "2".into())].into(),
            },
        );
        add(2500, Event::Finished { outcome: Outcome::Done, words: "every step is done".into() });
        let whole = 0;
        insta::assert_snapshot!(report_text(&Journal { entries, whole }));
    }
}
