//! The ledger's account: what clients were told, against what is there.

use crate::history::{Event, History, Outcome, Phase};
use crate::ranges::Ranges;

/// What became of the rows that clients wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Acknowledged.
    pub(crate) acknowledged: Ranges,
    /// Acknowledged by the old primary, and not on the new one: the price of asynchronous replication.
    pub(crate) lost_in_failover: Ranges,
    /// Acknowledged by the new primary, or acknowledged by anyone after the failover, and not there later.
    pub(crate) lost_afterwards: Ranges,
    /// Answer never came.
    pub(crate) unknown: Ranges,
    /// Of those, the ones that exist.
    pub(crate) unknown_but_there: Ranges,
    /// Certainly not written.
    pub(crate) failed: usize,
}

/// The rows read from the primary of a phase, and when they were read.
fn rows(history: &History, phase: Phase) -> Option<(&Ranges, &str, u64)> {
    history.find_map(|entry| match &entry.event {
        Event::Rows { phase: of, node, ids } if *of == phase => Some((ids, node.as_str(), entry.began_us)),
        _ => None,
    })
}

/// Adds up. `None` until the rows were read after the failover.
///
/// Rows are read twice: from the new primary after the failover, and at home after the failback. What the old primary had
/// acknowledged *before the fence* and the first reading does not have was lost in the failover. Whatever else was
/// acknowledged must be in the last reading.
pub(crate) fn account(history: &History) -> Option<Account> {
    let (away, new_primary, away_read) = rows(history, Phase::FailedOver)?;
    let home = rows(history, Phase::Home);
    let fault = history.find_map(|entry| matches!(entry.event, Event::Fault { .. }).then_some(entry.at_us))?;
    let mut account = Account::default();
    let add = |set: &mut Ranges, id| {
        set.0.insert(id);
    };
    for entry in history.iter() {
        let Event::Write { id, server, outcome, .. } = &entry.event else { continue };
        let there = |rows: &Ranges| rows.contains(*id);
        let there_now = home.map_or_else(|| there(away), |(home, _, _)| there(home));
        match outcome {
            Outcome::Fail => account.failed += 1,
            Outcome::Unknown => {
                add(&mut account.unknown, *id);
                if there_now {
                    add(&mut account.unknown_but_there, *id);
                }
            }
            Outcome::Ok => {
                add(&mut account.acknowledged, *id);
                let before_away = entry.at_us <= away_read;
                let by_old = server.as_deref() != Some(new_primary) && entry.began_us <= fault;
                if before_away && !there(away) {
                    add(if by_old { &mut account.lost_in_failover } else { &mut account.lost_afterwards }, *id);
                } else if home.is_some_and(|(_, _, read)| entry.at_us <= read) && !there_now {
                    add(&mut account.lost_afterwards, *id);
                }
            }
        }
    }
    Some(account)
}
