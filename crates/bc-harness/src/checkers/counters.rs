//! Pipeline counters are unique and increasing, and no run is forgotten by a planned switchover.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{Event, History, Phase, RunView};

pub(super) fn check(history: &History) -> Verdict {
    let (Some(steady), Some(away), Some(home)) =
        (runs(history, Phase::Steady), runs(history, Phase::FailedOver), runs(history, Phase::Home))
    else {
        return Verdict::Unknown("the runs of the pipeline were not read in all three phases".to_owned());
    };
    for (phase, runs) in [(Phase::Steady, steady), (Phase::FailedOver, away), (Phase::Home, home)] {
        for pair in runs.windows(2) {
            if pair[1].counter <= pair[0].counter {
                return Verdict::Broken(format!(
                    "after {} run {} has counter {}, and run {} after it has counter {}",
                    phase.as_str(),
                    pair[0].id,
                    pair[0].counter,
                    pair[1].id,
                    pair[1].counter
                ));
            }
        }
    }
    let at_home: BTreeMap<i64, i64> = home.iter().map(|run| (run.id, run.counter)).collect();
    for run in away {
        match at_home.get(&run.id) {
            Some(counter) if *counter == run.counter => {}
            found => {
                let now = found.map_or_else(|| "is gone".to_owned(), |counter| format!("has counter {counter}"));
                return Verdict::Broken(format!(
                    "run {} had counter {} before failback, and {now} after it",
                    run.id, run.counter
                ));
            }
        }
    }
    let last = |runs: &[RunView]| runs.last().map_or(0, |run| run.counter);
    if !(0 < last(steady) && last(steady) < last(away) && last(away) < last(home)) {
        return Verdict::Broken(format!(
            "the counter stood at {}, then {} after failover, then {} after failback: the pipeline did not run in every phase",
            last(steady),
            last(away),
            last(home)
        ));
    }
    Verdict::Held(format!("{} runs, the last has counter {}", home.len(), last(home)))
}

fn runs(history: &History, phase: Phase) -> Option<&[RunView]> {
    history.find_map(|entry| match &entry.event {
        Event::Runs { phase: of, runs, .. } if *of == phase => Some(runs.as_slice()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn drill(steady: &[(i64, i64)], away: &[(i64, i64)], home: &[(i64, i64)]) -> History {
        let event = |phase, runs: &[(i64, i64)]| {
            let view = |&(id, counter): &(i64, i64)| RunView { id, counter, agent: None, completed: true };
            Event::Runs { phase, node: "pg".into(), runs: runs.iter().map(view).collect() }
        };
        history([
            at(1, event(Phase::Steady, steady)),
            at(2, event(Phase::FailedOver, away)),
            at(3, event(Phase::Home, home)),
        ])
    }

    #[test]
    fn counters_that_rise_through_all_phases_are_right() {
        // The sequence of ids jumps at a promotion; the counters do not.
        let verdict = check(&drill(&[(1, 1), (2, 2)], &[(1, 1), (2, 2), (35, 3)], &[(1, 1), (2, 2), (35, 3), (36, 4)]));
        assert_eq!(verdict, Verdict::Held("4 runs, the last has counter 4".into()));
    }

    #[test]
    fn violations_are_named() {
        for (away, home, why) in [
            (vec![(1, 1), (2, 2), (35, 2)], vec![], "run 35 after it has counter 2"),
            (vec![(1, 1), (2, 2), (35, 1)], vec![], "run 35 after it has counter 1"),
            (
                vec![(1, 1), (2, 2), (35, 3)],
                vec![(1, 1), (2, 2), (36, 4)],
                "run 35 had counter 3 before failback, and is gone",
            ),
            (vec![(1, 1), (2, 2), (35, 3)], vec![(1, 1), (2, 2), (35, 4)], "and has counter 4 after it"),
            (vec![(1, 1), (2, 2)], vec![(1, 1), (2, 2), (3, 3)], "did not run in every phase"),
            (vec![(1, 1), (2, 2), (35, 3)], vec![(1, 1), (2, 2), (35, 3)], "did not run in every phase"),
        ] {
            let verdict = check(&drill(&[(1, 1), (2, 2)], &away, &home));
            assert!(matches!(&verdict, Verdict::Broken(found) if found.contains(why)), "{verdict:?}");
        }
    }

    #[test]
    fn runs_that_were_not_read_prove_nothing() {
        assert!(matches!(check(&history([])), Verdict::Unknown(_)));
    }
}
