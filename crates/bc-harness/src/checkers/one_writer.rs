//! Never two writable PostgreSQL servers after the fence.
//!
//! Judged over the whole run: there is no moment at which two would be right.

use std::collections::BTreeSet;

use super::{Verdict, seconds, spans};
use crate::history::{Event, History};

/// A watcher that was blind for longer than this may have missed something, µs.
const BLIND: u64 = 5_000_000;

pub(super) fn check(history: &History) -> Verdict {
    let nodes: BTreeSet<&str> = history
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Writable { node, .. } => Some(node.as_str()),
            _ => None,
        })
        .collect();
    let nodes: Vec<&str> = nodes.into_iter().collect();
    let &[one, other] = nodes.as_slice() else {
        return Verdict::Unknown(format!("two PostgreSQL servers should be watched, and {} were", nodes.len()));
    };
    let (of_one, of_other) = (spans::writable(history, one), spans::writable(history, other));
    let overlap = of_one.iter().flat_map(|a| of_other.iter().filter_map(|b| a.overlap(b))).min();
    if let Some((from, to)) = overlap {
        return Verdict::Broken(format!(
            "{one} and {other} were both writable from {} to {} of the run, for {} ms{}",
            seconds(from),
            seconds(to),
            (to - from) / 1000,
            since_fence(history, from)
        ));
    }
    if let Some((node, from, to)) = nodes.iter().find_map(|node| blind(history, node)) {
        return Verdict::Unknown(format!("nobody asked {node} from {} to {}", seconds(from), seconds(to)));
    }
    if of_one.is_empty() || of_other.is_empty() {
        let never = if of_one.is_empty() { one } else { other };
        return Verdict::Unknown(format!("{never} was never seen writable, so no change of the primary was seen"));
    }
    Verdict::Held(format!("{one} and {other} were asked {} times to commit a row", count(history)))
}

fn count(history: &History) -> usize {
    history.iter().filter(|entry| matches!(entry.event, Event::Writable { .. })).count()
}

fn since_fence(history: &History, at_us: u64) -> String {
    let fenced = history.iter().rev().find_map(|entry| match &entry.event {
        Event::Power { node, said, .. } if said == "off" && entry.at_us <= at_us => Some((node, entry.at_us)),
        _ => None,
    });
    fenced.map_or_else(String::new, |(node, fenced)| {
        format!(", {} after the power switch said that {node} is off", seconds(at_us - fenced))
    })
}

fn blind<'n>(history: &History, node: &'n str) -> Option<(&'n str, u64, u64)> {
    let mut last: Option<u64> = None;
    for (entry, _) in spans::probes(history, node) {
        match last {
            Some(seen) if entry.began_us.saturating_sub(seen) > BLIND => return Some((node, seen, entry.began_us)),
            _ => last = Some(entry.at_us),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::history::{Asked, Writability::*};

    #[test]
    fn one_after_the_other_is_right() {
        let verdict = check(&history([
            writable(0, 5, "pg1", Writable),
            writable(0, 5, "pg2", ReadOnly),
            writable(200, 205, "pg1", Writable),
            writable(300, 900, "pg1", Unreachable),
            writable(1000, 1005, "pg2", Writable),
            writable(1200, 1205, "pg2", Writable),
        ]));
        assert_eq!(verdict, Verdict::Held("pg1 and pg2 were asked 6 times to commit a row".into()));
    }

    #[test]
    fn a_zombie_that_awakes_is_named_with_the_time_and_the_fence() {
        let verdict = check(&history([
            writable(0, 5, "pg1", Writable),
            writable(200, 700, "pg1", Unreachable),
            power(800, "pg1", Asked::Off, "off", true),
            writable(1000, 1005, "pg2", Writable),
            writable(2000, 2010, "pg1", Writable),
            writable(2200, 2205, "pg2", Writable),
            writable(2300, 2310, "pg1", Writable),
        ]));
        let expected = "pg1 and pg2 were both writable from 2.010 s to 2.200 s of the run, for 190 ms, \
                        1.210 s after the power switch said that pg1 is off";
        assert_eq!(verdict, Verdict::Broken(expected.into()));
    }

    #[test]
    fn a_watcher_that_was_blind_proves_nothing() {
        let verdict = check(&history([
            writable(0, 5, "pg1", Writable),
            writable(0, 5, "pg2", ReadOnly),
            writable(6000, 6005, "pg1", Unreachable),
            writable(6000, 6005, "pg2", Writable),
        ]));
        assert_eq!(verdict, Verdict::Unknown("nobody asked pg1 from 0.005 s to 6.000 s".into()));
    }

    #[test]
    fn a_primary_that_never_changed_proves_nothing() {
        let verdict = check(&history([writable(0, 5, "pg1", Writable), writable(0, 5, "pg2", ReadOnly)]));
        assert!(matches!(verdict, Verdict::Unknown(why) if why.contains("pg2 was never seen writable")));
    }
}
