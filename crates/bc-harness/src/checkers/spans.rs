//! When a server was certainly writable, from probes that each take some time.
//!
//! ```text
//! probe 1   |--x--|                          x: the commit, somewhere between asking and answer
//! probe 2               |-x---|
//! probe 3                         |---x-|
//! certainly       |===============|          from the first answer to the last question
//! ```

use crate::history::{Entry, Event, History, Writability};

/// Two probes further apart than this do not belong to one span, µs.
const LONGEST_GAP: u64 = 2_000_000;

/// A time during which every probe committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Question and answer of each probe, in order; never empty.
    probes: Vec<(u64, u64)>,
}

impl Span {
    /// From the first answer to the last question, if there is such a time.
    fn core(&self) -> Option<(u64, u64)> {
        let (from, to) = (self.probes.first()?.1, self.probes.last()?.0);
        (from <= to).then_some((from, to))
    }

    /// A time at which both were certainly writable.
    pub(super) fn overlap(&self, other: &Self) -> Option<(u64, u64)> {
        if let (Some(own), Some(others)) = (self.core(), other.core()) {
            let (from, to) = (own.0.max(others.0), own.1.min(others.1));
            if from <= to {
                return Some((from, to));
            }
        }
        self.holds_probe_of(other).or_else(|| other.holds_probe_of(self))
    }

    /// A probe of the other that was asked and answered while this one was certainly writable.
    fn holds_probe_of(&self, other: &Self) -> Option<(u64, u64)> {
        let (from, to) = self.core()?;
        other.probes.iter().copied().find(|(asked, answered)| from <= *asked && *answered <= to)
    }
}

/// The spans during which `node` was writable.
pub(super) fn writable(history: &History, node: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open = false;
    for (entry, found) in probes(history, node) {
        if found != Writability::Writable {
            open = false;
            continue;
        }
        let probe = (entry.began_us, entry.at_us);
        match spans.last_mut() {
            Some(span)
                if open && span.probes.last().is_some_and(|last| probe.0.saturating_sub(last.1) <= LONGEST_GAP) =>
            {
                span.probes.push(probe);
            }
            _ => spans.push(Span { probes: vec![probe] }),
        }
        open = true;
    }
    spans
}

/// The probes of `node`, in order.
pub(super) fn probes<'h>(history: &'h History, node: &str) -> impl Iterator<Item = (&'h Entry, Writability)> {
    history.iter().filter_map(move |entry| match &entry.event {
        Event::Writable { node: probed, found, .. } if probed == node => Some((entry, *found)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(probes: &[(u64, u64)]) -> Span {
        Span { probes: probes.to_vec() }
    }

    #[test]
    fn an_overlap_is_found_only_where_it_is_certain() {
        for (one, other, expected) in [
            (vec![(0, 10), (90, 100)], vec![(50, 60), (150, 160)], Some((60, 90))),
            // One probe, asked and answered inside the other's certain time.
            (vec![(0, 10), (90, 100)], vec![(40, 50)], Some((40, 50))),
            // One probe that was asked before the other's last question, and answered after it: perhaps.
            (vec![(0, 10), (90, 100)], vec![(85, 105)], None),
            // One after the other.
            (vec![(0, 10), (90, 100)], vec![(101, 110), (200, 210)], None),
            // Two single probes say nothing of the same instant.
            (vec![(0, 100)], vec![(10, 20)], None),
        ] {
            let (one, other) = (span(&one), span(&other));
            assert_eq!(one.overlap(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlap(&one), expected, "{other:?} {one:?}");
        }
    }
}
