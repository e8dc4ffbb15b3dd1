//! Never two hosts answering ARP for the VIP.
//!
//! The observer asks by broadcast, so every owner hears every question. Two owners show in two ways: two answers to one
//! question, and one who answers again after the other has begun to.

use super::{Verdict, seconds};
use crate::history::{Event, History};
use crate::tenure::{Tenure, answers, tenures};

/// Two answers closer than this are answers to one question, µs; questions are 100 ms apart.
const SAME_QUESTION: u64 = 20_000;
/// An observer that did not ask for longer than this was blind, µs.
const BLIND: u64 = 5_000_000;

pub(super) fn check(history: &History) -> Verdict {
    let all = tenures(history);
    if let Some((one, other, from, to)) = overlap(&all) {
        return Verdict::Broken(format!(
            "{} and {} both answered from {} to {} of the run, for {} ms",
            one.who(),
            other.who(),
            seconds(from),
            seconds(to),
            (to - from) / 1000
        ));
    }
    if let Some((at, one, other)) = two_answers(history) {
        return Verdict::Broken(format!("{one} and {other} both answered one question at {} of the run", seconds(at)));
    }
    let probes: Vec<u64> =
        history.iter().filter(|entry| matches!(entry.event, Event::ArpProbe { .. })).map(|entry| entry.at_us).collect();
    if let Some(gap) = probes.windows(2).find(|gap| gap[1] - gap[0] > BLIND) {
        return Verdict::Unknown(format!("nobody asked from {} to {}", seconds(gap[0]), seconds(gap[1])));
    }
    match all.as_slice() {
        [] => Verdict::Unknown(format!("nobody answered any of {} questions", probes.len())),
        [only] => Verdict::Unknown(format!("only {} ever answered, so no move of the VIP was seen", only.who())),
        _ => Verdict::Held(format!("{} questions, {} answers", probes.len(), answers(history).count())),
    }
}

fn overlap(all: &[Tenure]) -> Option<(&Tenure, &Tenure, u64, u64)> {
    all.iter().enumerate().find_map(|(index, one)| {
        all[index + 1..].iter().filter(|other| other.mac != one.mac).find_map(|other| {
            let (from, to) = (one.from_us.max(other.from_us), one.to_us.min(other.to_us));
            (from < to).then_some((one, other, from, to))
        })
    })
}

fn two_answers(history: &History) -> Option<(u64, &str, &str)> {
    let all: Vec<_> = answers(history).collect();
    all.windows(2).find_map(|pair| {
        let ((first, one), (second, other)) = (pair[0], pair[1]);
        (one != other && second - first < SAME_QUESTION).then_some((first, one, other))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::history::Entry;

    const GO1: &str = "02:42:c6:12:05:0d";
    const GO2: &str = "02:42:c6:12:05:0e";

    /// A question every 100 ms, and the answers of the given owners in the given times.
    fn wire(until_ms: u64, owners: &[(&str, u64, u64)]) -> History {
        let mut entries = vec![began()];
        for number in 0..until_ms / 100 {
            let ms = number * 100;
            entries.push(at(ms, Event::ArpProbe { number }));
            for (mac, from, to) in owners {
                if (*from..*to).contains(&ms) {
                    entries.push(at(ms + 1, Event::ArpAnswer { mac: (*mac).to_owned() }));
                }
            }
        }
        history(entries)
    }

    #[test]
    fn there_and_back_again_is_right() {
        let verdict = check(&wire(9000, &[(GO1, 0, 2000), (GO2, 4000, 6000), (GO1, 6500, 9000)]));
        assert_eq!(verdict, Verdict::Held("90 questions, 65 answers".into()));
    }

    #[test]
    fn both_at_once_is_named_with_hosts_and_duration() {
        let verdict = check(&wire(9000, &[(GO1, 0, 4500), (GO2, 4000, 9000)]));
        let expected = "go1 (02:42:c6:12:05:0d) and go2 (02:42:c6:12:05:0e) both answered from 4.001 s to 4.401 s \
                        of the run, for 400 ms";
        assert_eq!(verdict, Verdict::Broken(expected.into()));
    }

    #[test]
    fn two_answers_to_one_question_are_enough() {
        let mut wire: Vec<Entry> = wire(4000, &[(GO1, 0, 2000), (GO2, 2000, 4000)]).iter().cloned().collect();
        wire.push(at(1902, Event::ArpAnswer { mac: GO2.into() }));
        assert!(
            matches!(check(&history(wire)), Verdict::Broken(why) if why.contains("both answered one question at 1.901 s"))
        );
    }

    #[test]
    fn a_stranger_is_an_owner_too() {
        let verdict = check(&wire(4000, &[(GO1, 0, 4000), ("0a:00:00:00:00:01", 1000, 1500)]));
        assert!(matches!(verdict, Verdict::Broken(why) if why.contains("and 0a:00:00:00:00:01 both answered")));
    }

    #[test]
    fn silence_blindness_and_a_vip_that_never_moved_prove_nothing() {
        for (history, why) in [
            (wire(2000, &[]), "nobody answered any of 20 questions"),
            (wire(2000, &[(GO1, 0, 2000)]), "no move of the VIP was seen"),
            (
                history(
                    wire(2000, &[(GO1, 0, 1000), (GO2, 1500, 2000)])
                        .iter()
                        .cloned()
                        .chain([at(9000, Event::ArpProbe { number: 99 })]),
                ),
                "nobody asked from",
            ),
        ] {
            assert!(matches!(check(&history), Verdict::Unknown(found) if found.contains(why)), "{why}");
        }
    }
}
