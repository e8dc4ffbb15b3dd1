//! Histories written by hand: times in milliseconds.

use std::collections::BTreeMap;

use crate::history::*;
use crate::ranges::Ranges;

/// An entry that began and ended.
pub(crate) fn span(began_ms: u64, at_ms: u64, event: Event) -> Entry {
    Entry { at_us: at_ms * 1000, began_us: began_ms * 1000, event }
}

/// An entry without length.
pub(crate) fn at(ms: u64, event: Event) -> Entry {
    span(ms, ms, event)
}

pub(crate) fn sheet() -> Sheet {
    Sheet {
        run: "test".into(),
        started: "2026-11-21T20:30:00Z".parse().expect("a time"),
        steps: vec![],
        fault: FaultKind::Hang,
        sabotage: None,
        kill_bcctl_at: None,
        gocd: "stand-in".into(),
        vip: [198, 18, 5, 200].into(),
        macs: BTreeMap::from([("02:42:c6:12:05:0d".into(), "go1".into()), ("02:42:c6:12:05:0e".into(), "go2".into())]),
        primaries: vec!["pg1".into(), "go1".into()],
        agents: vec!["agent1".into(), "agent2".into()],
        keep: false,
    }
}

pub(crate) fn began() -> Entry {
    at(0, Event::Began(sheet()))
}

pub(crate) fn began_with(change: impl FnOnce(&mut Sheet)) -> Entry {
    let mut sheet = sheet();
    change(&mut sheet);
    at(0, Event::Began(sheet))
}

pub(crate) fn writable(began_ms: u64, at_ms: u64, node: &str, found: Writability) -> Entry {
    span(began_ms, at_ms, Event::Writable { node: node.into(), found, detail: String::new() })
}

pub(crate) fn write(at_ms: u64, id: i64, server: &str, outcome: Outcome) -> Entry {
    span(at_ms - 1, at_ms, Event::Write { id, server: Some(server.into()), outcome, detail: String::new() })
}

pub(crate) fn rows(at_ms: u64, phase: Phase, node: &str, ids: &str) -> Entry {
    let ids: Ranges = ids.parse().expect("ranges");
    span(at_ms - 1, at_ms, Event::Rows { phase, node: node.into(), ids })
}

pub(crate) fn operation(at_ms: u64, name: &str, exit: Option<i64>, output: &str) -> Entry {
    let event = Event::Operation {
        name: name.into(),
        argv: vec!["bcctl".into()],
        exit,
        killed_at: exit.is_none().then(|| "promote".into()),
        output: output.into(),
    };
    span(at_ms - 10, at_ms, event)
}

pub(crate) fn power(at_ms: u64, node: &str, asked: Asked, said: &str, running: bool) -> Entry {
    at(at_ms, Event::Power { node: node.into(), asked, said: said.into(), running: Some(running) })
}

/// A whole history.
pub(crate) fn history(entries: impl IntoIterator<Item = Entry>) -> History {
    History::new(entries.into_iter().collect())
}
