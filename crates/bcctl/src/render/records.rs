//! `history` and `report`.

use std::collections::BTreeMap;
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
        span(journal, &["stop-gocd", "fence-gocd", "unassign-vip"], &["assign-vip", "gocd-ready"])
    );
    // One host with both roles is fenced once, under the name of GoCD.
    let apart = journal.steps().iter().any(|step| step.id == "fence-postgresql");
    let fence = if apart { "fence-postgresql" } else { "fence-gocd" };
    let _ = writeln!(text, "| outage of PostgreSQL | {} |", span(journal, &["stop-postgresql", fence], &["promote"]));
    let _ = writeln!(text, "| loss | {} |", loss(journal));
    let facts = journal.facts();
    for (name, what) in [
        ("checkpoint", "shutdown checkpoint of the old primary"),
        ("received", "the standby had received"),
        ("salvaged", "and got from the old primary's disk, up to"),
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
    let _ = writeln!(text, "\n## What was done\n");
    let _ = writeln!(text, "| began | ended | step | where | | seconds | evidence |\n|---|---|---|---|---|---|---|");
    let mut began = BTreeMap::new();
    for entry in &journal.entries {
        let time = |at: &Timestamp| at.strftime("%H:%M:%S%.3f").to_string();
        let took = |ms: u64| {
            format!("{:.3}", SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)).as_secs_f64())
        };
        let cell = |words: &str| words.replace('|', "\\|").replace('\n', " ");
        let (step, what, seconds, words) = match &entry.event {
            Event::Begin { step } => {
                began.insert(step.as_str(), entry.at);
                continue;
            }
            Event::Planned { .. } => continue,
            Event::Resumed { by } => ("", format!("continued by {by}"), String::new(), String::new()),
            Event::Done { step, took_ms, evidence, .. } => {
                (step.as_str(), "done".to_owned(), took(*took_ms), cell(evidence))
            }
            Event::Skipped { step, evidence, .. } => (step.as_str(), "skipped".into(), String::new(), cell(evidence)),
            Event::Failed { step, took_ms, error } => (step.as_str(), "**failed**".into(), took(*took_ms), cell(error)),
            Event::Undone { step, evidence } => (step.as_str(), "put back".into(), String::new(), cell(evidence)),
            Event::NotUndone { step, error } => (step.as_str(), "**not put back**".into(), String::new(), cell(error)),
            Event::Finished { words, .. } => ("", "over".into(), String::new(), cell(words)),
        };
        let begin = began.remove(step).map(|at| time(&at)).unwrap_or_default();
        let place = journal.steps().iter().find(|planned| planned.id == step).map_or("", |planned| &planned.host);
        let _ = writeln!(text, "| {begin} | {} | {step} | {place} | {what} | {seconds} | {words} |", time(&entry.at));
    }
    let groups: Vec<String> = journal
        .steps()
        .chunk_by(|_, next| next.beside)
        .filter(|group| group.len() > 1)
        .map(|group| group.iter().map(|step| format!("`{}`", step.id)).collect::<Vec<_>>().join(", "))
        .collect();
    if !groups.is_empty() {
        let _ = writeln!(text, "\nPlanned to begin together: {}.", groups.join("; "));
    }
    text
}

/// What became of rows that were acknowledged, as far as a journal can tell.
fn loss(journal: &Journal) -> String {
    let promoted = journal.entries.iter().any(|entry| match &entry.event {
        Event::Done { step, .. } | Event::Skipped { step, .. } => step == "promote",
        _ => false,
    });
    let facts = journal.facts();
    match (promoted, facts.get("checkpoint"), facts.get("replayed")) {
        (false, ..) if journal.past_point_of_no_return() => "not known yet: the promotion may have happened".to_owned(),
        (false, ..) => "none: nothing was promoted".to_owned(),
        (true, Some(checkpoint), _) => {
            format!("none: the old primary was shut down at {checkpoint}, and the new one had replayed that")
        }
        (true, None, Some(replayed)) => {
            format!(
                "what the old primary had written after {replayed}, if anything; how much is known about that is below"
            )
        }
        (true, None, None) => "how much is known about it is below".to_owned(),
    }
}

/// From the begin of the first of some steps to the end of the first of others, or until they were put back, in words.
fn span(journal: &Journal, from: &[&str], to: &[&str]) -> String {
    let begin = journal.entries.iter().find_map(|entry| match &entry.event {
        Event::Begin { step } if from.contains(&step.as_str()) => Some((entry.at, step)),
        _ => None,
    });
    let Some((begin, first)) = begin else { return "none that this operation made".to_owned() };
    let end = to.iter().find_map(|wanted| {
        journal.entries.iter().find_map(|entry| match &entry.event {
            Event::Done { step, .. } | Event::Skipped { step, .. } if step == wanted => Some(entry.at),
            _ => None,
        })
    });
    let back = || {
        journal.entries.iter().rev().find_map(|entry| match &entry.event {
            Event::Undone { step, .. } if from.contains(&step.as_str()) => Some(entry.at),
            _ => None,
        })
    };
    let (end, how) = match (end, journal.outcome()) {
        (Some(end), _) => (end, "that this operation made"),
        (None, Some(Outcome::Undone | Outcome::Abandoned)) => match back() {
            Some(end) => (end, "that this operation made, until all was put back"),
            None => return format!("since {begin:.0}; this operation has not ended it"),
        },
        (None, _) => return format!("since {begin:.0}; this operation has not ended it"),
    };
    // What was fenced was lost before, and since when is in no journal of ours.
    let before = if first.starts_with("fence-") { "; it was lost before" } else { "" };
    format!("{:.1} s {how}, {begin:.0} to {end:.0}{before}", end.duration_since(begin).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use bc_model::journal::Entry;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_293_000_000 + ms).expect("a time")
    }

    /// A journal of these steps (id, host, beside) and events.
    fn journal(intent: Intent, steps: &[(&str, &str, bool)], events: Vec<(i64, Event)>) -> Journal {
        let step = |(id, host, beside): &(&str, &str, bool)| bc_model::journal::PlannedStep {
            id: (*id).to_owned(),
            words: String::new(),
            host: (*host).to_owned(),
            point_of_no_return: *id == "promote",
            beside: *beside,
        };
        let planned = Event::Planned {
            schema: bc_model::journal::SCHEMA,
            operation: format!("20261121T203000Z-{intent}"),
            site: "gocd".into(),
            intent,
            by: "ops@desk".into(),
            steps: steps.iter().map(step).collect(),
            decision: serde_json::Value::Null,
            notes: vec!["pg2 has received 0/5".into()],
            overrides: vec!["--accept-stale-config, confirmed with go1".into()],
        };
        let events = std::iter::once((0, planned)).chain(events);
        let entries = events.map(|(ms, event)| Entry { at: at(ms), event }).collect();
        Journal { entries, whole: 0 }
    }

    fn begin(step: &str) -> Event {
        Event::Begin { step: step.into() }
    }

    fn done(step: &str, took_ms: u64, evidence: &str, facts: &[(&str, &str)]) -> Event {
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Event::Done { step: step.into(), took_ms, evidence: evidence.into(), facts }
    }

    #[test]
    fn a_report_says_who_when_what_the_outage_and_the_evidence() {
        let steps = [
            ("fence-gocd", "operator", false),
            ("fence-postgresql", "operator", true),
            ("replay", "pg2", false),
            ("promote", "pg2", false),
            ("assign-vip", "go2", false),
        ];
        let events = vec![
            (10, begin("fence-gocd")),
            (12, begin("fence-postgresql")),
            (900, done("fence-postgresql", 888, "pg1 is off, grade A", &[])),
            (1000, done("fence-gocd", 990, "go1 is off, grade A", &[])),
            (1010, begin("replay")),
            (1020, done("replay", 10, "replayed=0/5", &[("replayed", "0/5")])),
            (1100, begin("promote")),
            (2000, done("promote", 900, "a | b", &[("new_timeline", "2")])),
            (2050, Event::Failed { step: "assign-vip".into(), took_ms: 30, error: "go2 does not answer".into() }),
            (60_000, Event::Resumed { by: "ops@other".into() }),
            (60_100, begin("assign-vip")),
            (60_400, done("assign-vip", 300, "", &[])),
            (60_500, Event::Finished { outcome: Outcome::Done, words: "every step is done".into() }),
        ];
        insta::assert_snapshot!(report_text(&journal(Intent::Failover, &steps, events)));
    }

    #[test]
    fn what_was_put_back_was_an_outage_until_then_and_lost_nothing() {
        let steps = [("stop-gocd", "go1", false), ("unassign-vip", "go1", false), ("arm", "pg1", true)];
        let undone = |step: &str| Event::Undone { step: step.into(), evidence: String::new() };
        let events = vec![
            (0, begin("stop-gocd")),
            (900, done("stop-gocd", 900, "", &[])),
            (1000, begin("unassign-vip")),
            (1000, begin("arm")),
            (1100, Event::Failed { step: "arm".into(), took_ms: 100, error: "no space left on device".into() }),
            (1200, done("unassign-vip", 200, "", &[])),
            (1300, undone("arm")),
            (4000, undone("unassign-vip")),
            (4500, undone("stop-gocd")),
            (
                4500,
                Event::Finished { outcome: Outcome::Undone, words: "arm: no space left on device; put back".into() },
            ),
        ];
        let mut journal = journal(Intent::Switchover, &steps, events);
        let text = report_text(&journal);
        assert!(text.contains("| outage of GoCD | 4.5 s that this operation made, until all was put back,"), "{text}");
        assert!(text.contains("| outage of PostgreSQL | none that this operation made |"), "{text}");
        assert!(text.contains("| loss | none: nothing was promoted |"), "{text}");
        assert!(text.contains("Planned to begin together: `unassign-vip`, `arm`."), "{text}");
        // Not over, and nothing put back yet.
        journal.entries.truncate(7);
        let text = report_text(&journal);
        assert!(
            text.contains("| outage of GoCD | since 2026-11-21T20:30:00Z; this operation has not ended it |"),
            "{text}"
        );
    }

    #[test]
    fn one_host_with_both_roles_is_fenced_once_and_both_are_down_from_then_on() {
        let steps = [("fence-gocd", "operator", false), ("promote", "pg2", false)];
        let events = vec![(0, begin("fence-gocd")), (500, done("fence-gocd", 500, "", &[])), (700, begin("promote"))];
        let text = report_text(&journal(Intent::Failover, &steps, events));
        assert!(text.contains("| outage of PostgreSQL | since 2026-11-21T20:30:00Z;"), "{text}");
        assert!(text.contains("| loss | not known yet: the promotion may have happened |"), "{text}");
    }
}
