//! No acknowledged row missing after a planned switchover.
//!
//! What a failover loses (replication is asynchronous) is counted and reported, and breaks nothing. But what the new
//! primary has acknowledged, and everything that had come through the failover, must come home.

use super::Verdict;
use crate::history::{Event, History, Phase};
use crate::ledger;

pub(super) fn check(history: &History) -> Verdict {
    let account = ledger::account(history);
    let (Some(in_failover), Some(afterwards)) = (&account.lost_in_failover, &account.lost_afterwards) else {
        return Verdict::Unknown("the rows were not read after the failover".to_owned());
    };
    if !afterwards.is_empty() {
        return Verdict::Broken(format!(
            "{} rows were acknowledged and are gone, and the failover is no excuse for them: ids {afterwards}",
            afterwards.len(),
        ));
    }
    let home = history.find_map(|entry| match &entry.event {
        Event::Rows { phase: Phase::Home, ids, .. } => Some(ids.len()),
        _ => None,
    });
    match home {
        None => Verdict::Unknown("the rows were not read after the failback".to_owned()),
        Some(_) if account.acknowledged.is_empty() => Verdict::Unknown("no row was ever acknowledged".to_owned()),
        Some(_) => Verdict::Held(format!(
            "{} rows acknowledged, {} lost in the failover, none in the failback",
            account.acknowledged.len(),
            in_failover.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::history::{Entry, FaultKind, Outcome::*};

    fn fault(ms: u64) -> Entry {
        at(ms, Event::Fault { kind: FaultKind::Hang, hosts: vec!["pg1".into()] })
    }

    /// Rows 1 to 3 by pg1 before the fault at 100 ms, 4 unanswered, 5 and 6 by pg2.
    fn drill(away: &str, home: Option<&str>) -> History {
        let mut entries = vec![
            write(10, 1, "pg1", Ok),
            write(20, 2, "pg1", Ok),
            write(30, 3, "pg1", Ok),
            fault(100),
            write(900, 4, "pg1", Unknown),
            write(2000, 5, "pg2", Ok),
            rows(3000, Phase::FailedOver, "pg2", away),
            write(4000, 6, "pg2", Ok),
            write(5000, 7, "pg2", Fail),
        ];
        entries.extend(home.map(|ids| rows(9000, Phase::Home, "pg1", ids)));
        history(entries)
    }

    #[test]
    fn what_is_there_is_not_lost() {
        let verdict = check(&drill("1-5", Some("1-6")));
        assert_eq!(verdict, Verdict::Held("5 rows acknowledged, 0 lost in the failover, none in the failback".into()));
    }

    #[test]
    fn what_the_failover_lost_is_counted_and_breaks_nothing() {
        let verdict = check(&drill("1-2,5", Some("1-2,5-6")));
        assert_eq!(verdict, Verdict::Held("5 rows acknowledged, 1 lost in the failover, none in the failback".into()));
    }

    #[test]
    fn a_row_that_does_not_come_home_is_named() {
        for (away, home, ids) in [
            ("1-5", "1-2,4-6", "3"), // had come through the failover
            ("1-5", "1-5", "6"),     // acknowledged by pg2 after the first reading
            ("1-4", "1-4,6", "5"),   // acknowledged by pg2, and never there
            ("1-5", "", "1-3,5-6"),  // everything
        ] {
            let verdict = check(&drill(away, Some(home)));
            assert!(matches!(&verdict, Verdict::Broken(why) if why.ends_with(&format!("ids {ids}"))), "{verdict:?}");
        }
    }

    #[test]
    fn a_row_that_a_zombie_acknowledged_is_lost_without_excuse() {
        let zombie: Vec<Entry> =
            drill("1-5", Some("1-6")).iter().cloned().chain([write(2500, 99, "pg1", Ok)]).collect();
        assert!(matches!(check(&history(zombie)), Verdict::Broken(why) if why.ends_with("ids 99")));
    }

    #[test]
    fn rows_that_were_not_read_prove_nothing() {
        assert!(matches!(check(&drill("1-5", None)), Verdict::Unknown(_)));
        assert!(matches!(check(&history([write(10, 1, "pg1", Ok)])), Verdict::Unknown(_)));
    }
}
