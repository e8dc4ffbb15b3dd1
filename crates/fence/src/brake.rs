//! The brake on storms: when everything is being fenced, the fault is rarely with the nodes.

use std::time::Duration;

use bc_model::fencing::{FenceAction, HistoryLine};
use jiff::{SignedDuration, Timestamp};

use crate::history::History;

/// How many fences are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brake {
    /// This many, of all nodes together; 0 is no limit.
    pub(crate) fences: u32,
    /// Within this time.
    pub(crate) window: Duration,
}

/// One more fence would be too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{begun} fences were begun within the last {} min, and no more than {limit} may be", .window.as_secs() / 60)]
pub(crate) struct Braked {
    begun: usize,
    limit: u32,
    window: Duration,
}

impl Brake {
    /// Whether another fence may begin at `now`.
    ///
    /// # Errors
    /// When as many as are allowed were begun within the window, whatever came of them. A fence that continues one that
    /// was killed is the same fence.
    pub(crate) fn check(&self, history: &History, now: Timestamp) -> Result<(), Braked> {
        let window = SignedDuration::try_from(self.window).unwrap_or(SignedDuration::MAX);
        let begun = history
            .lines
            .iter()
            .filter(|(_, line)| match line {
                // One from the future is recent: the clock was set back.
                HistoryLine::Intent(intent) => {
                    intent.action == FenceAction::Off
                        && intent.continues.is_none()
                        && now.duration_since(intent.at) < window
                }
                _ => false,
            })
            .count();
        if self.fences == 0 || begun < usize::try_from(self.fences).unwrap_or(usize::MAX) {
            return Ok(());
        }
        Err(Braked { begun, limit: self.fences, window: self.window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bc_model::fencing::FenceIntent;

    #[test]
    fn fences_of_all_nodes_within_the_window_are_counted() {
        let now: Timestamp = "2026-11-21T20:30:00Z".parse().unwrap();
        let begun = |ago: i64, action, continues: bool| {
            let at = now - SignedDuration::from_secs(ago);
            let intent = FenceIntent {
                schema: 2,
                at,
                node: format!("pg{ago}"),
                action,
                reason: String::new(),
                by: String::new(),
                token: None,
                require: None,
                continues: continues.then_some(at),
            };
            (0, HistoryLine::Intent(intent))
        };
        let off = FenceAction::Off;
        let brake = Brake { fences: 2, window: Duration::from_secs(60) };
        let check = |lines: Vec<(usize, HistoryLine)>| brake.check(&History { lines, unreadable: vec![] }, now).is_ok();
        assert!(check(vec![]));
        assert!(check(vec![begun(61, off, false), begun(62, off, false), begun(3, off, false)]), "long ago");
        assert!(check(vec![begun(1, FenceAction::On, false), begun(2, off, true), begun(3, off, false)]));
        assert!(!check(vec![begun(59, off, false), begun(1, off, false)]));
        assert!(!check(vec![begun(-5, off, false), begun(1, off, false)]), "the clock was set back");
    }
}
