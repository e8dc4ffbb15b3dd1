//! The states. Each owns its timers, so a timer that does not apply cannot exist.

use std::fmt;

use super::{Heard, Preempt, Reason, Settings};
use crate::{AdverInterval, AdvertPriority, Instant, Priority};

/// The state of a router, with what it must remember there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting for Startup (§6.4.1).
    Initialize,
    /// Watching whether an Active router is there (§6.4.2).
    Backup(Backup),
    /// Holding the addresses (§6.4.3).
    Active(Active),
}

/// A state without its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateName {
    /// Waiting for Startup.
    Initialize,
    /// Watching whether an Active router is there.
    Backup,
    /// Holding the addresses.
    Active,
}

/// What a Backup remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// When it takes over unless it hears an advertisement.
    pub active_down_timer: Instant,
    /// The Active router's interval, learnt from its advertisements; our own until one is heard.
    pub active_adver_interval: AdverInterval,
    /// When it takes over from the Active router of lower priority that it hears. At or after `active_down_timer` it is moot.
    pub preempt_timer: Option<Instant>,
    /// The last advertisement that counted; none since this state was entered from Initialize or from a stall.
    pub heard: Option<Heard>,
    /// The last advertisement of lower priority that was discarded because it preempts.
    pub preempted: Option<Heard>,
    /// The Active router that was heard last has not said that it stops. To have overslept does not change that.
    pub unresigned: bool,
    /// Having stepped down, it bears with an Active router of any priority.
    pub yielding: bool,
    /// It has listened anew after a late wake-up, and will not do so again before it hears somebody.
    pub listened_again: bool,
    /// In a sync group: its timer has fired, and no Active router that it bears with has been heard since. It takes over when
    /// it is told to.
    pub ready: bool,
}

/// What an Active router remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// When it advertises next.
    pub adver_timer: Instant,
    /// Until when no peer can have given it up: three intervals after its last advertisement. Every Active_Down_Interval
    /// is longer.
    pub believed_until: Instant,
    /// From when on a contesting advertisement makes it announce the addresses again.
    pub reclaim_after: Instant,
    /// It was contested before that, and has not announced them since.
    pub owes_announcement: bool,
    /// The router that was Active before has not said that it stops: it may be Active still, behind a cut.
    pub unresigned: bool,
}

impl State {
    /// The state without its memory.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::Initialize => StateName::Initialize,
            Self::Backup(_) => StateName::Backup,
            Self::Active(_) => StateName::Active,
        }
    }
}

impl Backup {
    /// A Backup that has heard nothing yet and waits for an Active router of this interval.
    pub(super) fn listening(settings: &Settings, active_adver_interval: AdverInterval, now: Instant) -> Self {
        Self {
            active_down_timer: now + active_adver_interval.active_down_interval(settings.priority),
            active_adver_interval,
            preempt_timer: None,
            heard: None,
            preempted: None,
            unresigned: false,
            yielding: false,
            listened_again: false,
            ready: false,
        }
    }

    /// It overslept, and begins to listen anew. What was heard is stale, but for a word that the Active router stops.
    pub(super) fn listening_again(self, settings: &Settings, now: Instant) -> Self {
        let Self { active_adver_interval, unresigned, yielding, .. } = self;
        Self { unresigned, yielding, listened_again: true, ..Self::listening(settings, active_adver_interval, now) }
    }

    /// The timer that fires first.
    pub(super) fn next_timer(&self) -> Instant {
        self.preempt_timer.map_or(self.active_down_timer, |preempt| preempt.min(self.active_down_timer))
    }

    /// Whether its timer is so late that an Active router would have advertised in between.
    pub(super) fn woke_late(&self, now: Instant) -> bool {
        !self.listened_again && now >= self.active_down_timer + self.active_adver_interval.duration()
    }

    /// Why it takes over when one of its timers has fired.
    pub(super) fn reason_to_take_over(&self, now: Instant) -> Reason {
        match self.heard {
            _ if self.active_down_timer > now => Reason::PreemptDelayOver,
            Some(Heard { priority: AdvertPriority::Resigning, source, .. }) => Reason::ActiveResigned { by: source },
            Some(Heard { priority: AdvertPriority::Holding(_), source, .. }) => {
                Reason::ActiveSilent { last: Some(source) }
            }
            None => self
                .preempted
                .map_or(Reason::ActiveSilent { last: None }, |lower| Reason::Preempts { whom: lower.source }),
        }
    }

    /// Move the timers to where they would be had they been started with the new settings.
    pub(super) fn reconfigure(&mut self, old: &Settings, new: &Settings, now: Instant) {
        let was = self.active_adver_interval;
        if self.waits_for_our_interval() {
            self.active_adver_interval = new.interval;
        }
        match new.interval {
            // In v2 all routers have one interval, so the Active router's changes with ours: wait for it anew.
            AdverInterval::V2(_) if new.interval != old.interval => {
                let listening = Self::listening(new, new.interval, now);
                self.active_adver_interval = listening.active_adver_interval;
                self.active_down_timer = listening.active_down_timer;
            }
            // In v3 it is what the Active router said, and after a resignation only our Skew_Time counts, as in every wait.
            AdverInterval::V2(_) | AdverInterval::V3(_) => {
                let wait =
                    |interval: AdverInterval, settings: &Settings| interval.active_down_interval(settings.priority);
                self.active_down_timer =
                    (self.active_down_timer + wait(self.active_adver_interval, new)) - wait(was, old);
            }
        }
        self.preempt_timer = match new.preempt {
            Preempt::Immediately | Preempt::Never => None,
            Preempt::After(_) if self.follows(new.priority) => None,
            Preempt::After(delay) => self.preempt_timer.map(|timer| timer.min(now + delay)),
        };
        self.ready &= new.in_sync_group && self.next_timer() <= now;
    }

    /// Nobody has said another interval yet.
    fn waits_for_our_interval(&self) -> bool {
        self.heard.is_none() && !self.listened_again
    }

    /// Whether the Active router that was heard has at least this priority.
    fn follows(&self, ours: Priority) -> bool {
        matches!(self.heard, Some(Heard { priority: AdvertPriority::Holding(theirs), .. }) if theirs >= ours)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        })
    }
}
