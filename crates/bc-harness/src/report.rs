//! The report of a drill: one value, three renderings.

mod junit;
mod table;

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::checkers::{self, Finding};
use crate::ending::Ending;
use crate::figures::{self, Figures};
use crate::history::{Event, FaultKind, History, Sabotage, StepState};
use crate::ledger;
use crate::ranges::Ranges;
use crate::tenure::{self, Tenure};

/// What is written to `report.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    /// Version of this format; readers refuse what they do not know.
    pub(crate) schema: u32,
    /// Id of the run.
    pub(crate) run: String,
    /// When it began.
    pub(crate) started: Option<jiff::Timestamp>,
    /// `held`, `broken` or `unjudged`.
    pub(crate) verdict: String,
    /// What served as GoCD.
    pub(crate) gocd: String,
    /// How the primary site failed.
    pub(crate) fault: Option<FaultKind>,
    /// What was tampered with.
    pub(crate) sabotage: Option<Sabotage>,
    /// The step at which `bcctl` was killed.
    pub(crate) kill_bcctl_at: Option<String>,
    /// Times as clients saw them.
    pub(crate) figures: Figures,
    /// What became of the rows that clients wrote.
    pub(crate) rows: Rows,
    /// The virtual IP.
    pub(crate) vip: Option<Ipv4Addr>,
    /// Who answered for it.
    pub(crate) vip_answered_by: Vec<Tenure>,
    /// Every invariant, judged.
    pub(crate) invariants: Vec<Finding>,
    /// Every step.
    pub(crate) steps: Vec<StepTaken>,
    /// How long the whole run took, ms.
    pub(crate) took_ms: u64,
}

/// The account of the ledger in numbers, and ids where something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Rows {
    /// Acknowledged by a server.
    pub(crate) acknowledged: usize,
    /// Acknowledged, and lost in the failover; absent if nobody could look.
    pub(crate) lost_in_failover: Option<usize>,
    /// Their ids, as `1-3,7`.
    pub(crate) lost_in_failover_ids: Ranges,
    /// Acknowledged, and lost without that excuse; absent if nobody could look.
    pub(crate) lost_afterwards: Option<usize>,
    /// Their ids.
    pub(crate) lost_afterwards_ids: Ranges,
    /// The answer never came.
    pub(crate) unknown: usize,
    /// Of those, how many exist.
    pub(crate) unknown_but_there: usize,
    /// Certainly not written.
    pub(crate) failed: usize,
}

/// One step, as it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StepTaken {
    /// What it does.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) state: StepState,
    /// What there is to say of it.
    pub(crate) detail: String,
    /// How long it took, ms.
    pub(crate) took_ms: u64,
}

impl Report {
    /// The version written by this code.
    pub(crate) const SCHEMA: u32 = 1;

    /// Judges `history`.
    pub(crate) fn of(history: &History) -> Self {
        let sheet = history.sheet();
        let invariants = checkers::judge(history);
        let steps = history.iter().filter_map(|entry| match &entry.event {
            Event::Step { name, state, detail } => Some(StepTaken {
                name: name.clone(),
                state: *state,
                detail: detail.clone(),
                took_ms: (entry.at_us - entry.began_us) / 1000,
            }),
            _ => None,
        });
        Self {
            schema: Self::SCHEMA,
            run: sheet.map_or_else(String::new, |sheet| sheet.run.clone()),
            started: sheet.map(|sheet| sheet.started),
            verdict: match checkers::ending(&invariants) {
                Ending::Held => "held",
                Ending::Broken => "broken",
                _ => "unjudged",
            }
            .to_owned(),
            gocd: sheet.map_or_else(String::new, |sheet| sheet.gocd.clone()),
            fault: sheet.map(|sheet| sheet.fault),
            sabotage: sheet.and_then(|sheet| sheet.sabotage),
            kill_bcctl_at: sheet.and_then(|sheet| sheet.kill_bcctl_at.clone()),
            figures: figures::figures(history),
            rows: rows(history),
            vip: sheet.map(|sheet| sheet.vip),
            vip_answered_by: tenure::tenures(history),
            invariants,
            steps: steps.collect(),
            took_ms: history.iter().next_back().map_or(0, |entry| entry.at_us / 1000),
        }
    }

    /// How the run ends.
    pub(crate) fn ending(&self) -> Ending {
        checkers::ending(&self.invariants)
    }

    /// As a table for people.
    pub(crate) fn table(&self) -> String {
        table::render(self)
    }

    /// Writes `report.json` and `junit.xml` into `directory`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        let junit = junit::render(self)?;
        for (name, text) in [("report.json", json), ("junit.xml", junit)] {
            let path = directory.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn rows(history: &History) -> Rows {
    let account = ledger::account(history);
    Rows {
        acknowledged: account.acknowledged.len(),
        lost_in_failover: account.lost_in_failover.as_ref().map(Ranges::len),
        lost_in_failover_ids: account.lost_in_failover.unwrap_or_default(),
        lost_afterwards: account.lost_afterwards.as_ref().map(Ranges::len),
        lost_afterwards_ids: account.lost_afterwards.unwrap_or_default(),
        unknown: account.unknown.len(),
        unknown_but_there: account.unknown_but_there.len(),
        failed: account.failed,
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_drill_that_held() {
        insta::assert_snapshot!(sample::held().table());
    }

    #[test]
    fn the_table_of_a_drill_that_was_broken() {
        insta::assert_snapshot!(sample::broken().table());
    }

    #[test]
    fn the_json_reads_back() {
        let report = sample::held();
        let json = serde_json::to_string_pretty(&report).expect("JSON");
        assert_eq!(serde_json::from_str::<Report>(&json).expect("a report"), report);
        insta::assert_snapshot!(json);
    }

    #[test]
    fn the_junit_of_a_drill_that_was_broken() {
        insta::assert_snapshot!(junit::render(&sample::broken()).expect("XML"));
    }

    #[test]
    fn an_empty_history_makes_a_report_that_judges_nothing() {
        let report = Report::of(&History::default());
        assert_eq!((report.verdict.as_str(), report.ending()), ("unjudged", Ending::Unjudged));
        assert!(report.table().contains("unjudged"));
    }
}
