use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Entry, Event, Intent, Journal, Outcome, PlannedStep, SCHEMA};

fn entry(at_ms: i64, event: Event) -> Entry {
    Entry { at: Timestamp::from_millisecond(at_ms).expect("in range"), event }
}

fn planned() -> Event {
    let step = |id: &str, point_of_no_return| PlannedStep {
        id: id.into(),
        words: format!("do {id}"),
        host: "pg2".into(),
        point_of_no_return,
        beside: false,
    };
    Event::Planned {
        schema: SCHEMA,
        operation: "20261121T203000Z-failover".into(),
        site: "gocd".into(),
        intent: Intent::Failover,
        by: "root@operator".into(),
        steps: vec![step("fence-gocd", false), step("replay", false), step("promote", true)],
        decision: serde_json::json!({"from": "home"}),
        notes: vec![],
        overrides: vec![],
    }
}

fn text(events: Vec<Event>) -> String {
    events.into_iter().zip(0..).map(|(event, at)| entry(at, event).to_line().expect("JSON")).collect()
}

fn begin(step: &str) -> Event {
    Event::Begin { step: step.into() }
}

fn done(step: &str, facts: &[(&str, &str)]) -> Event {
    let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Event::Done { step: step.into(), took_ms: 12, evidence: "seen".into(), facts }
}

#[test]
fn a_line_reads_as_the_documentation_says() {
    let line = entry(1_795_293_000_007, done("promote", &[("timeline", "2")])).to_line().expect("JSON");
    assert_eq!(
        line,
        "{\"at\":\"2026-11-21T20:30:00.007Z\",\"event\":\"done\",\"step\":\"promote\",\"took-ms\":12,\
         \"evidence\":\"seen\",\"facts\":{\"timeline\":\"2\"}}\n"
    );
}

#[test]
fn whole_milliseconds_keep_their_three_digits() {
    let line = entry(1_795_293_000_000, begin("promote")).to_line().expect("JSON");
    assert!(line.starts_with("{\"at\":\"2026-11-21T20:30:00.000Z\""), "{line}");
}

#[test]
fn the_point_of_no_return_is_passed_when_the_promotion_has_begun() {
    let mut events = vec![planned(), begin("fence-gocd"), done("fence-gocd", &[])];
    assert!(!Journal::parse(&text(events.clone())).expect("readable").past_point_of_no_return());
    events.push(begin("promote"));
    assert!(Journal::parse(&text(events)).expect("readable").past_point_of_no_return());
}

#[test]
fn what_was_put_back_has_not_begun() {
    let journal = Journal::parse(&text(vec![
        planned(),
        begin("fence-gocd"),
        begin("replay"),
        Event::Undone { step: "replay".into(), evidence: "as before".into() },
    ]))
    .expect("readable");
    assert_eq!(journal.begun().into_iter().collect::<Vec<_>>(), ["fence-gocd"]);
}

#[test]
fn the_last_fact_wins() {
    let journal = Journal::parse(&text(vec![
        planned(),
        done("replay", &[("replayed", "0/1"), ("timeline", "1")]),
        Event::Skipped {
            step: "replay".into(),
            evidence: "still".into(),
            facts: BTreeMap::from([("replayed".into(), "0/2".into())]),
        },
    ]))
    .expect("readable");
    assert_eq!(journal.facts(), BTreeMap::from([("replayed".into(), "0/2".into()), ("timeline".into(), "1".into())]));
    assert_eq!(journal.last_done(), Some("replay"));
}

#[test]
fn a_whole_line_that_is_no_event_is_named() {
    let broken = text(vec![planned()]) + "{\"at\":\"x\"}\n" + &text(vec![begin("replay")]);
    let error = Journal::parse(&broken).expect_err("broken in the middle").to_string();
    assert!(error.starts_with("line 2 of the journal is not an event"), "{error}");
}

#[test]
fn a_journal_of_a_newer_program_is_refused() {
    let newer = text(vec![planned()]).replace("\"schema\":1", "\"schema\":2");
    assert_eq!(
        Journal::parse(&newer).expect_err("newer").to_string(),
        "the journal has schema 2; this program knows 1"
    );
    Journal::parse("").expect_err("an empty file has no plan");
    Journal::parse(&text(vec![begin("promote")])).expect_err("no plan");
}

fn any_event() -> impl Strategy<Value = Event> {
    let step = "[a-z-]{1,12}";
    let words = "\\PC{0,40}";
    let facts = proptest::collection::btree_map("[a-z]{1,8}", "\\PC{0,20}", 0..3);
    prop_oneof![
        step.prop_map(|step| Event::Begin { step }),
        (step, any::<u64>(), words, facts.clone()).prop_map(|(step, took_ms, evidence, facts)| Event::Done {
            step,
            took_ms,
            evidence,
            facts
        }),
        (step, words, facts).prop_map(|(step, evidence, facts)| Event::Skipped { step, evidence, facts }),
        (step, any::<u64>(), words).prop_map(|(step, took_ms, error)| Event::Failed { step, took_ms, error }),
        (step, words).prop_map(|(step, evidence)| Event::Undone { step, evidence }),
        (step, words).prop_map(|(step, error)| Event::NotUndone { step, error }),
        words.prop_map(|by| Event::Resumed { by }),
        words.prop_map(|words| Event::Finished { outcome: Outcome::Done, words }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(events in proptest::collection::vec(any_event(), 0..20)) {
        let mut all = vec![planned()];
        all.extend(events);
        let journal = Journal::parse(&text(all.clone())).expect("readable");
        prop_assert_eq!(journal.entries.into_iter().map(|entry| entry.event).collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_file_cut_at_any_byte_reads_as_its_whole_lines(events in proptest::collection::vec(any_event(), 0..6), cut in 0.0..1.0_f64) {
        let mut all = vec![planned()];
        all.extend(events);
        let lines: Vec<String> = text(all.clone()).split_inclusive('\n').map(str::to_owned).collect();
        let bytes = lines.concat().into_bytes();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "any cut will do")]
        let at = lines[0].len() + ((bytes.len() - lines[0].len()) as f64 * cut) as usize;
        let torn = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let journal = Journal::parse(&torn).expect("a torn tail is no error");
        let mut whole = 0;
        let mut count = 0;
        for line in &lines {
            if whole + line.len() > at { break; }
            whole += line.len();
            count += 1;
        }
        prop_assert_eq!(journal.whole, whole);
        prop_assert_eq!(journal.entries.len(), count);
    }
}
