//! The ledger's account: what clients were told, against what is there.

use crate::history::{Event, History, Outcome, Phase};
use crate::ranges::Ranges;

/// What became of the rows that clients wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Acknowledged.
    pub(crate) acknowledged: Ranges,
    /// Acknowledged by the old primary, and not on the new one: the price of asynchronous replication. Absent until the rows
    /// were read after the failover.
    pub(crate) lost_in_failover: Option<Ranges>,
    /// Acknowledged by the new primary, or acknowledged by anyone after the failover, and not there later. Absent likewise.
    pub(crate) lost_afterwards: Option<Ranges>,
    /// Answer never came.
    pub(crate) unknown: Ranges,
    /// Of those, the ones that exist.
    pub(crate) unknown_but_there: Ranges,
    /// Certainly not written.
    pub(crate) failed: usize,
}

/// Adds up.
///
/// Rows are read twice: from the new primary after the failover, and at home after the failback. What the old primary had
/// acknowledged *before the fence* and the first reading does not have was lost in the failover. Whatever else was
/// acknowledged must be in the last reading.
pub(crate) fn account(history: &History) -> Account {
    let fault = history.find_map(|entry| matches!(entry.event, Event::Fault { .. }).then_some(entry.at_us));
    let away = rows(history, Phase::FailedOver);
    let home = rows(history, Phase::Home);
    let mut account = Account::default();
    let (mut in_failover, mut afterwards) = (Ranges::default(), Ranges::default());
    for entry in history.iter() {
        let Event::Write { id, server, outcome, .. } = &entry.event else { continue };
        match outcome {
            Outcome::Fail => account.failed += 1,
            Outcome::Unknown => {
                account.unknown.insert(*id);
                if home.as_ref().or(away.as_ref()).is_some_and(|reading| reading.ids.contains(*id)) {
                    account.unknown_but_there.insert(*id);
                }
            }
            Outcome::Ok => {
                account.acknowledged.insert(*id);
                let missing = |reading: &Reading<'_>| entry.at_us <= reading.began_us && !reading.ids.contains(*id);
                let excused = |reading: &Reading<'_>| {
                    server.as_deref() != Some(reading.node) && fault.is_none_or(|fault| entry.began_us <= fault)
                };
                match (&away, &home) {
                    (Some(away), _) if missing(away) && excused(away) => in_failover.insert(*id),
                    (Some(away), _) if missing(away) => afterwards.insert(*id),
                    (_, Some(home)) if missing(home) => afterwards.insert(*id),
                    _ => {}
                }
            }
        }
    }
    if away.is_some() {
        account.lost_in_failover = Some(in_failover);
        account.lost_afterwards = Some(afterwards);
    }
    account
}

/// Rows as one server had them.
struct Reading<'h> {
    ids: &'h Ranges,
    node: &'h str,
    /// What was acknowledged before this must be among them.
    began_us: u64,
}

/// The rows read from the primary of a phase.
fn rows(history: &History, phase: Phase) -> Option<Reading<'_>> {
    history.find_map(|entry| match &entry.event {
        Event::Rows { phase: of, node, ids } if *of == phase => Some(Reading { ids, node, began_us: entry.began_us }),
        _ => None,
    })
}
