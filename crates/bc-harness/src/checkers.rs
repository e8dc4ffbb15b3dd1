//! The invariants of a drill: pure functions of its history, one file each, that were not told what to expect.

mod agents_back;
mod config_came_home;
mod counters;
mod fence_is_true;
mod finished;
mod no_row_lost;
mod nothing_left;
mod one_vip_owner;
mod one_writer;
mod resumed;
mod roles_home;
mod says_no;
mod spans;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use agents_back::{FACTS as UNIT_FACTS, absent as absent_agents};
pub(crate) use roles_home::AT_HOME;
use serde::{Deserialize, Serialize};

use crate::ending::Ending;
use crate::history::History;

/// What a checker comes to, with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "detail", rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The invariant held; what was seen.
    Held(String),
    /// It was broken; by whom, when, for how long.
    Broken(String),
    /// The history does not show it; what is missing.
    Unknown(String),
    /// It was not asked of this run; why.
    Skipped(String),
}

impl Verdict {
    /// One word.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Broken(_) => "BROKEN",
            Self::Unknown(_) => "unknown",
            Self::Skipped(_) => "skipped",
        }
    }

    /// The reasons.
    pub(crate) fn detail(&self) -> &str {
        match self {
            Self::Held(detail) | Self::Broken(detail) | Self::Unknown(detail) | Self::Skipped(detail) => detail,
        }
    }
}

/// An invariant, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Finding {
    /// Stable name.
    pub(crate) id: String,
    /// The invariant, as a sentence.
    pub(crate) title: String,
    /// What the history says of it.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

type Checker = fn(&History) -> Verdict;

/// Every invariant, the most dangerous to break first.
const ALL: [(&str, &str, Checker); 12] = [
    ("one-writer", "never two writable PostgreSQL servers after the fence", one_writer::check),
    ("one-vip-owner", "never two hosts answering ARP for the VIP", one_vip_owner::check),
    ("fence-is-true", "a host that was reported off is off", fence_is_true::check),
    ("no-row-lost", "no acknowledged row missing after a planned switchover", no_row_lost::check),
    ("counters", "pipeline counters are unique and increasing", counters::check),
    ("agents-back", "every agent is back without a restart", agents_back::check),
    (
        "config-came-home",
        "the configuration is the same on both GoCD hosts, changes made away included",
        config_came_home::check,
    ),
    ("roles-home", "after failback the original roles, replication streaming", roles_home::check),
    ("finished", "every step of the drill came to its end", finished::check),
    ("says-no", "what makes no sense is refused, and twice is once", says_no::check),
    ("resumed", "a bcctl that was killed half-way is resumed to the same end", resumed::check),
    ("nothing-left", "nothing of the run is left on the machine", nothing_left::check),
];

/// Judges a history by every invariant.
pub(crate) fn judge(history: &History) -> Vec<Finding> {
    ALL.iter()
        .map(|(id, title, check)| Finding { id: (*id).to_owned(), title: (*title).to_owned(), verdict: check(history) })
        .collect()
}

/// What the findings amount to: one broken invariant is enough, and so is one that could not be judged.
pub(crate) fn ending(findings: &[Finding]) -> Ending {
    let any = |wanted: fn(&Verdict) -> bool| findings.iter().any(|finding| wanted(&finding.verdict));
    if any(|verdict| matches!(verdict, Verdict::Broken(_))) {
        Ending::Broken
    } else if any(|verdict| matches!(verdict, Verdict::Unknown(_))) || findings.is_empty() {
        Ending::Unjudged
    } else {
        Ending::Held
    }
}

/// A time of the run as people read it.
fn seconds(at_us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a run lasts minutes, not centuries")]
    let seconds = at_us as f64 / 1e6;
    format!("{seconds:.3} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(verdict: Verdict) -> Finding {
        Finding { id: String::new(), title: String::new(), verdict }
    }

    #[test]
    fn one_broken_invariant_outweighs_everything_and_an_unknown_one_is_no_success() {
        let held = finding(Verdict::Held(String::new()));
        let broken = finding(Verdict::Broken(String::new()));
        let unknown = finding(Verdict::Unknown(String::new()));
        let skipped = finding(Verdict::Skipped(String::new()));
        for (findings, expected) in [
            (vec![held.clone(), skipped], Ending::Held),
            (vec![held.clone(), unknown.clone()], Ending::Unjudged),
            (vec![held, unknown, broken], Ending::Broken),
            (vec![], Ending::Unjudged),
        ] {
            assert_eq!(ending(&findings), expected, "{findings:?}");
        }
    }

    #[test]
    fn an_empty_history_proves_nothing() {
        let findings = judge(&History::default());
        for finding in &findings {
            assert!(!matches!(finding.verdict, Verdict::Held(_)), "{finding:?}");
        }
        assert_eq!(ending(&findings), Ending::Unjudged);
    }
}
