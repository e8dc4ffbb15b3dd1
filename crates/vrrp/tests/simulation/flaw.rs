//! Routers with a known fault: the simulation must find each, or it proves nothing.

use std::collections::VecDeque;
use std::time::Duration;

use vrrp::{Action, AdvertPriority, Heard, Input, Instant, Router, Settings, State};

/// A fault that a VRRP implementation may have, and that some have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// As Active it does not listen to a higher priority.
    DeafToHigherPriority,
    /// As Active it does not listen to an equal priority.
    DeafToEqualPriority,
    /// As Active it does not answer a lower priority, as before RFC 9568.
    DoesNotAssertItself,
    /// It advertises ten times too rarely: centiseconds taken for something else.
    TenTimesTooSlow,
    /// It counts with its own interval instead of the Active router's.
    DoesNotLearnTheInterval,
    /// It never takes over.
    NeverTakesOver,
    /// It takes over, but forgets to advertise at once.
    TakesOverInSilence,
    /// It treats a resignation like any other advertisement.
    IgnoresResignation,
    /// It leaves without a resignation.
    DoesNotResign,
    /// It believes that no time has passed while it was stopped.
    DoesNotNoticeAStall,
    /// It takes lower priorities for higher ones.
    ComparesTheWrongWay,
    /// Outranked after a split brain, it leaves without a word. What the RFC wants; what the neighbours suffer from.
    LeavesWithoutALastWord,
}

impl Flaw {
    /// Those that break the rules of an election.
    pub(crate) const ALL: [Self; 11] = [
        Self::DeafToHigherPriority,
        Self::DeafToEqualPriority,
        Self::DoesNotAssertItself,
        Self::TenTimesTooSlow,
        Self::DoesNotLearnTheInterval,
        Self::NeverTakesOver,
        Self::TakesOverInSilence,
        Self::IgnoresResignation,
        Self::DoesNotResign,
        Self::DoesNotNoticeAStall,
        Self::ComparesTheWrongWay,
    ];
}

/// A router under test, with its flaw if it has one.
pub(crate) struct Subject {
    router: Router,
    flaw: Option<Flaw>,
    advertisements: u32,
    /// How far its idea of the time is behind, if it does not notice stalls.
    lag: Duration,
}

impl Subject {
    pub(crate) fn new(settings: Settings, flaw: Option<Flaw>) -> Self {
        Self { router: Router::new(settings), flaw, advertisements: 0, lag: Duration::ZERO }
    }

    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    pub(crate) fn is_active(&self) -> bool {
        matches!(self.router.state(), State::Active(_))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match (self.flaw, self.router.state()) {
            (Some(Flaw::NeverTakesOver), State::Backup(_)) => None,
            _ => self.router.deadline().map(|deadline| deadline + self.lag),
        }
    }

    /// Handle an input; the actions are appended to `done`.
    pub(crate) fn handle(&mut self, now: Instant, input: Input, done: &mut VecDeque<Action>) {
        let Some(flaw) = self.flaw else {
            done.extend(self.router.handle(now, input));
            return;
        };
        let Some(input) = self.bend(flaw, input) else { return };
        if let (Flaw::DoesNotNoticeAStall, Some(deadline)) = (flaw, self.deadline()) {
            self.lag += now.since(deadline);
        }
        let now = now - self.lag;
        let was_active = self.is_active();
        for action in self.router.handle(now, input) {
            if !self.swallows(flaw, was_active, input, action) {
                done.push_back(action);
            }
        }
    }

    /// What reaches the router of what happens to it.
    fn bend(&self, flaw: Flaw, input: Input) -> Option<Input> {
        let Input::Advertisement(heard) = input else { return Some(input) };
        let Settings { priority: ours, interval, .. } = *self.router.settings();
        let theirs = match heard.priority {
            AdvertPriority::Holding(theirs) => Some(theirs),
            AdvertPriority::Resigning => None,
        };
        let active = self.is_active();
        match flaw {
            Flaw::DeafToHigherPriority if active && theirs.is_some_and(|theirs| theirs > ours) => None,
            Flaw::DeafToEqualPriority if active && theirs == Some(ours) => None,
            Flaw::DoesNotLearnTheInterval => Some(Input::Advertisement(Heard { interval, ..heard })),
            Flaw::IgnoresResignation if theirs.is_none() => {
                Some(Input::Advertisement(Heard { priority: AdvertPriority::Holding(ours), ..heard }))
            }
            Flaw::ComparesTheWrongWay => {
                let swapped = |level: u8| AdvertPriority::from_wire(ours.get().saturating_mul(2).saturating_sub(level));
                let priority = theirs.map_or(heard.priority, |theirs| swapped(theirs.get()));
                Some(Input::Advertisement(Heard { priority, ..heard }))
            }
            _ => Some(input),
        }
    }

    /// Whether an action of the router does not reach the world.
    fn swallows(&mut self, flaw: Flaw, was_active: bool, input: Input, action: Action) -> bool {
        let Action::SendAdvertisement(priority) = action else { return false };
        self.advertisements = self.advertisements.wrapping_add(1);
        match flaw {
            Flaw::LeavesWithoutALastWord => was_active && !self.is_active() && priority != AdvertPriority::Resigning,
            Flaw::DoesNotAssertItself => was_active && matches!(input, Input::Advertisement(_)),
            Flaw::TenTimesTooSlow => matches!(input, Input::Timer) && !self.advertisements.is_multiple_of(10),
            Flaw::TakesOverInSilence => !was_active,
            Flaw::DoesNotResign => priority == AdvertPriority::Resigning,
            _ => false,
        }
    }
}
