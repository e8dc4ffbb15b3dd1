//! The state machine of one virtual router (RFC 9568 §6.4; RFC 3768 §6.4 is the same, but does not answer a loser).
//!
//! ```text
//!                      Startup, priority 255
//!        ┌───────────────────────────────────────────────────┐
//!        │                                                   ▼
//!  ┌───────────┐  Startup   ┌──────────┐  timer fires    ┌────────┐
//!  │Initialize │───────────▶│  Backup  │────────────────▶│ Active │
//!  └───────────┘            └──────────┘                 └────────┘
//!        ▲                    │     ▲    outranked           │  │
//!        │     Shutdown       │     └────────────────────────┘  │
//!        ├────────────────────┘        StepDown, LateWakeup     │
//!        └──────────────────────────────────────────────────────┘
//!                              Shutdown
//! ```
//!
//! What the RFC does not have, and why it is here: `StepDown` and `TakeOver` (planned handover, sync groups, an address
//! that will not stay), `LateWakeup` (a stalled process must not speak on the strength of what it knew before), a preempt delay,
//! and a last word after a split brain. Each is marked "Extension" where it is handled.

use std::net::IpAddr;
use std::time::Duration;

use crate::{AdverInterval, AdvertPriority, Instant, Priority};

mod action;
mod input;
mod state;

pub use action::{Action, Actions, Event, Reason};
pub use input::{Heard, Input, Shutdown, StepDown};
pub use state::{Active, Backup, State, StateName};

/// How often a contested Active router announces its addresses again, at most: they may be hundreds, its interval 10 ms.
const RECLAIM_EVERY: Duration = Duration::from_millis(100);

/// When a Backup may take over from an Active router of lower priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Preempt {
    /// Preempt_Mode True.
    #[default]
    Immediately,
    /// Preempt_Mode True, once an Active router of lower priority has been heard for this long. Extension.
    After(Duration),
    /// Preempt_Mode False. The address owner preempts all the same (§6.1).
    Never,
}

/// What a router is configured with, its version included (it is the interval's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Our priority as it is now, after whatever checks weigh in.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: AdverInterval,
    /// Preempt_Mode.
    pub preempt: Preempt,
    /// Added to the first Active_Down_Interval after Startup, for ports that forward late. The owner does not wait.
    pub startup_delay: Duration,
    /// Our primary IPvX address: the source of our advertisements, and the tie-break.
    pub primary: IpAddr,
    /// Whether we announce the addresses with the virtual router's MAC address: then nobody can have learnt a wrong one.
    pub shared_mac: bool,
    /// Whether it becomes Active together with the others of a sync group, when [`Input::TakeOver`] says so, and not by
    /// itself: its timer makes it [ready](Backup::ready). The owner does not wait. Extension.
    pub in_sync_group: bool,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    settings: Settings,
    state: State,
}

impl Router {
    /// A router in Initialize.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, state: State::Initialize }
    }

    /// What it is configured with.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its state, with the timers that belong to it.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// When to call [`handle`](Self::handle) with [`Input::Timer`]; `None` in Initialize, and for a Backup that is
    /// [ready](Backup::ready).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Initialize => None,
            State::Backup(backup) => (!backup.ready).then(|| backup.next_timer()),
            State::Active(active) => Some(active.adver_timer),
        }
    }

    /// Take one input and say what is to be done, in this order.
    ///
    /// `now` must not run backwards. Every packet that has arrived is to be handed in before [`Input::Timer`]: a timer
    /// that is due means "nobody was heard until now".
    pub fn handle(&mut self, now: Instant, input: Input) -> Actions {
        let mut actions = Actions::NONE;
        self.notice_own_stall(now, &mut actions);
        match (self.state, input) {
            // ── §6.4.1 Initialize ──────────────────────────────────────────────────────────────────────────────────
            (State::Initialize, Input::Startup) => {
                if self.settings.priority.is_owner() {
                    // "If the Priority = 255 …: Send an ADVERTISEMENT … broadcast a gratuitous ARP … / send an
                    // unsolicited ND Neighbor Advertisement … Set the Adver_Timer … Transition to the {Active} state"
                    self.become_active(now, Reason::AddressOwner, &mut actions);
                } else {
                    // "Set the Active_Adver_Interval to the Advertisement_Interval. Set the Active_Down_Timer to
                    // Active_Down_Interval. Transition to the {Backup} state"
                    let backup = Backup::listening(&self.settings, self.settings.interval, now);
                    let active_down_timer = backup.active_down_timer + self.settings.startup_delay;
                    self.become_backup(Backup { active_down_timer, ..backup }, Reason::Startup, &mut actions);
                }
            }
            (
                State::Initialize,
                Input::Shutdown(_)
                | Input::Timer
                | Input::Advertisement(_)
                | Input::StepDown(_)
                | Input::TakeOver
                | Input::LateWakeup,
            ) => {}

            // ── §6.4.2 Backup ──────────────────────────────────────────────────────────────────────────────────────
            // "If a Shutdown event is received: Cancel the Active_Down_Timer. Transition to the {Initialize} state"
            (State::Backup(_), Input::Shutdown(why)) => self.become_initialize(why, &mut actions),
            // Extension: it has fired, and the sync group is not there yet.
            (State::Backup(backup), Input::Timer) if backup.ready => {}
            // "If the Active_Down_Timer fires: Send an ADVERTISEMENT …"
            (State::Backup(backup), Input::Timer) if backup.active_down_timer <= now => {
                if backup.woke_late(now) {
                    // Extension: whoever advertised meanwhile may not have been heard. Listen once more, and once only.
                    self.state = State::Backup(backup.listening_again(&self.settings, now));
                    actions.push(Action::Report(Event::ListenAgain { late: now.since(backup.active_down_timer) }));
                } else {
                    self.take_over(now, backup, &mut actions);
                }
            }
            // Extension, preempt delay: the Active router of lower priority has been borne with for long enough.
            (State::Backup(backup), Input::Timer) if backup.preempt_timer.is_some_and(|timer| timer <= now) => {
                self.take_over(now, backup, &mut actions);
            }
            // Nothing is due.
            (State::Backup(_), Input::Timer) => {}
            (State::Backup(backup), Input::Advertisement(heard)) => {
                let backup = self.hear_as_backup(backup, now, heard);
                self.state = State::Backup(Backup { ready: backup.ready && backup.next_timer() <= now, ..backup });
            }
            // Extension: all of the sync group are ready, or a predecessor hands us the addresses; as if the
            // Active_Down_Timer fired.
            (State::Backup(backup), Input::TakeOver) => {
                let reason = if backup.ready { backup.reason_to_take_over(now) } else { Reason::TakeOver };
                self.become_active(now, reason, &mut actions);
            }
            // Extension: the clock says nothing, the daemon knows better (a paused machine). What we heard is stale.
            (State::Backup(backup), Input::LateWakeup) => {
                self.state = State::Backup(backup.listening_again(&self.settings, now));
            }
            (State::Backup(_), Input::Startup | Input::StepDown(_)) => {}

            // ── §6.4.3 Active ──────────────────────────────────────────────────────────────────────────────────────
            // "If a Shutdown event is received: Cancel the Adver_Timer. Send an ADVERTISEMENT with Priority = 0.
            // Transition to the {Initialize} state". The addresses go first: whoever is told may take them at once.
            (State::Active(_), Input::Shutdown(why)) => {
                actions.push(Action::ReleaseAddresses);
                if why.link_works() {
                    actions.push(Action::SendAdvertisement(AdvertPriority::Resigning));
                }
                self.become_initialize(why, &mut actions);
            }
            // "If the Adver_Timer fires: Send an ADVERTISEMENT. Reset the Adver_Timer to Advertisement_Interval"
            (State::Active(active), Input::Timer) => {
                if active.adver_timer <= now {
                    self.advertise(now, &mut actions);
                    self.reset_adver_timer(now);
                    if active.owes_announcement && active.reclaim_after <= now {
                        self.announce_again(now, &mut actions);
                    }
                }
            }
            (State::Active(_), Input::Advertisement(heard)) => self.hear_as_active(now, heard, &mut actions),
            // Extension: give the addresses away on purpose; any Backup has them within its Skew_Time. Then yield to
            // whoever takes them, of whatever priority, and take them back only if nobody does.
            (State::Active(_), Input::StepDown(why)) => {
                actions.push(Action::ReleaseAddresses);
                actions.push(Action::SendAdvertisement(AdvertPriority::Resigning));
                let backup = Backup::listening(&self.settings, self.settings.interval, now);
                self.become_backup(Backup { yielding: true, ..backup }, Reason::StepDown(why), &mut actions);
            }
            // Extension: as when we notice it ourselves.
            (State::Active(_), Input::LateWakeup) => self.step_back(now, &mut actions),
            (State::Active(_), Input::Startup | Input::TakeOver) => {}

            // ── any state ──────────────────────────────────────────────────────────────────────────────────────────
            (State::Initialize | State::Backup(_) | State::Active(_), Input::Reconfigured(settings)) => {
                self.reconfigure(now, settings);
            }
        }
        actions
    }

    /// A timer of the Backup has fired: it takes over, or, in a sync group, is ready to.
    fn take_over(&mut self, now: Instant, backup: Backup, actions: &mut Actions) {
        if self.settings.in_sync_group {
            self.state = State::Backup(Backup { ready: true, ..backup });
        } else {
            self.become_active(now, backup.reason_to_take_over(now), actions);
        }
    }

    /// Extension: an Active router that has not advertised for as long as any peer is willing to wait may have been
    /// replaced. It finds out by listening, whatever the input is that it wakes up to.
    fn notice_own_stall(&mut self, now: Instant, actions: &mut Actions) {
        let State::Active(active) = self.state else { return };
        if now >= active.believed_until {
            self.step_back(now, actions);
        }
    }

    /// Not a word on the wire: a resignation could take the addresses from the router that has them now.
    fn step_back(&mut self, now: Instant, actions: &mut Actions) {
        actions.push(Action::ReleaseAddresses);
        let unresigned = matches!(self.state, State::Active(Active { unresigned: true, .. }));
        let backup = Backup::listening(&self.settings, self.settings.interval, now);
        self.become_backup(Backup { unresigned, listened_again: true, ..backup }, Reason::LateWakeup, actions);
    }

    /// §6.4.2, "If an ADVERTISEMENT is received".
    fn hear_as_backup(&self, backup: Backup, now: Instant, heard: Heard) -> Backup {
        let ours = self.settings.priority;
        match heard.priority {
            // "If the Priority in the ADVERTISEMENT is 0: Set the Active_Down_Timer to Skew_Time"
            AdvertPriority::Resigning => {
                let active_down_timer = now + backup.active_adver_interval.skew_time(ours);
                Backup { active_down_timer, preempt_timer: None, heard: Some(heard), unresigned: false, ..backup }
            }
            AdvertPriority::Holding(theirs) => {
                // "If Preempt_Mode is False, or if the Priority in the ADVERTISEMENT is greater than or equal to the
                // local Priority: Set Active_Adver_Interval to Max Advertise Interval contained in the ADVERTISEMENT.
                // Recompute the Skew_Time. Recompute the Active_Down_Interval. Reset the Active_Down_Timer"
                let followed = Backup {
                    active_down_timer: now + heard.interval.active_down_interval(ours),
                    active_adver_interval: heard.interval,
                    heard: Some(heard),
                    unresigned: true,
                    listened_again: false,
                    ..backup
                };
                if theirs >= ours || backup.yielding {
                    return Backup { preempt_timer: None, ..followed };
                }
                match self.settings.preempt {
                    Preempt::Never if !ours.is_owner() => followed,
                    // Extension: borne with, until the delay is over.
                    Preempt::After(delay) if !ours.is_owner() => {
                        Backup { preempt_timer: backup.preempt_timer.or(Some(now + delay)), ..followed }
                    }
                    // "else: Discard the ADVERTISEMENT"
                    Preempt::Never | Preempt::After(_) | Preempt::Immediately => {
                        Backup { preempted: Some(heard), ..backup }
                    }
                }
            }
        }
    }

    /// §6.4.3, "If an ADVERTISEMENT is received".
    fn hear_as_active(&mut self, now: Instant, heard: Heard, actions: &mut Actions) {
        let ours = self.settings.priority;
        match heard.priority {
            // "If the Priority in the ADVERTISEMENT is 0: Send an ADVERTISEMENT. Reset the Adver_Timer". Whoever resigns
            // has announced the addresses as its own, so we announce them again.
            AdvertPriority::Resigning => {
                self.advertise(now, actions);
                self.reset_adver_timer(now);
                self.reclaim(now, heard, actions);
            }
            AdvertPriority::Holding(theirs) => match theirs.cmp(&ours).then(heard.source.cmp(&self.settings.primary)) {
                // "If the Priority in the ADVERTISEMENT is greater than the local Priority or … equal to the local
                // Priority and the primary IPvX address of the sender is greater than the local primary IPvX address
                // (based on an unsigned integer comparison of the IPvX addresses in network byte order): Cancel
                // Adver_Timer. Set Active_Adver_Interval to Max Advertise Interval contained in the ADVERTISEMENT.
                // Recompute the Skew_Time. Recompute the Active_Down_Interval. Set Active_Down_Timer to
                // Active_Down_Interval. Transition to the {Backup} state"
                std::cmp::Ordering::Greater => {
                    actions.push(Action::ReleaseAddresses);
                    self.speak_last(heard, actions);
                    let backup = Backup::listening(&self.settings, heard.interval, now);
                    let reason = Reason::Outranked { by: heard.source, priority: theirs };
                    self.become_backup(Backup { heard: Some(heard), unresigned: true, ..backup }, reason, actions);
                }
                // "else: Discard the ADVERTISEMENT. Send an ADVERTISEMENT immediately to assert the {Active} state to the
                // sending VRRP Router and to update any learning bridges". The Adver_Timer runs on.
                std::cmp::Ordering::Less => {
                    self.advertise(now, actions);
                    self.reclaim(now, heard, actions);
                }
                // Our own priority from our own address: an echo. Answering it would echo for ever.
                std::cmp::Ordering::Equal => {}
            },
        }
    }

    /// Extension: we took over because nobody was heard any more, and now an Active router outranks us. Perhaps it never
    /// stopped, and the network was cut. Then both have announced the addresses, and it cannot know of us: it hears us
    /// once, so that it asserts itself and announces them again. A router that had resigned announces them by itself.
    ///
    /// Nothing is said with a shorter interval than the winner's: whoever counts with that would not wait for the winner.
    fn speak_last(&self, winner: Heard, actions: &mut Actions) {
        if let State::Active(Active { unresigned: true, .. }) = self.state
            && !self.settings.shared_mac
            && winner.interval.duration() <= self.settings.interval.duration()
        {
            actions.push(Action::SendAdvertisement(AdvertPriority::Holding(self.settings.priority)));
        }
    }

    /// "Send an ADVERTISEMENT".
    fn advertise(&mut self, now: Instant, actions: &mut Actions) {
        actions.push(Action::SendAdvertisement(AdvertPriority::Holding(self.settings.priority)));
        if let State::Active(active) = &mut self.state {
            active.believed_until = now + self.settings.interval.duration() * 3;
        }
    }

    /// "Reset the Adver_Timer to Advertisement_Interval".
    fn reset_adver_timer(&mut self, now: Instant) {
        if let State::Active(active) = &mut self.state {
            active.adver_timer = now + self.settings.interval.duration();
        }
    }

    /// Extension: the other router announced the addresses, so hosts and switches may believe it. Announce them again, at
    /// most once per interval and ten times a second: a flood of advertisements must not become a flood of announcements. What comes too
    /// soon is made up for with a later advertisement of ours.
    fn reclaim(&mut self, now: Instant, heard: Heard, actions: &mut Actions) {
        let State::Active(active) = &mut self.state else { return };
        if active.reclaim_after <= now {
            self.announce_again(now, actions);
            actions.push(Action::Report(Event::Contested { by: heard.source, priority: heard.priority }));
        } else {
            active.owes_announcement = true;
        }
    }

    fn announce_again(&mut self, now: Instant, actions: &mut Actions) {
        if let State::Active(active) = &mut self.state {
            active.reclaim_after = now + self.settings.interval.duration().max(RECLAIM_EVERY);
            active.owes_announcement = false;
            actions.push(Action::Announce);
        }
    }

    /// The transition to Active, in the RFC's order: the advertisement silences the others before anything else happens.
    fn become_active(&mut self, now: Instant, reason: Reason, actions: &mut Actions) {
        let from = self.state.name();
        let unresigned = matches!(self.state, State::Backup(Backup { unresigned: true, .. }));
        self.state = State::Active(Active {
            adver_timer: now,
            believed_until: now,
            reclaim_after: now,
            owes_announcement: false,
            unresigned: unresigned && matches!(reason, Reason::ActiveSilent { .. }),
        });
        self.advertise(now, actions);
        self.reset_adver_timer(now);
        actions.push(Action::AcquireAddresses);
        actions.push(Action::Announce);
        actions.push(Action::Report(Event::Transition { from, to: StateName::Active, reason }));
    }

    fn become_backup(&mut self, backup: Backup, reason: Reason, actions: &mut Actions) {
        let from = self.state.name();
        self.state = State::Backup(backup);
        actions.push(Action::Report(Event::Transition { from, to: StateName::Backup, reason }));
    }

    fn become_initialize(&mut self, why: Shutdown, actions: &mut Actions) {
        let from = self.state.name();
        self.state = State::Initialize;
        let reason = Reason::Shutdown(why);
        actions.push(Action::Report(Event::Transition { from, to: StateName::Initialize, reason }));
    }

    /// Extension: timers that are running end up where they would be had they been started with the new settings.
    fn reconfigure(&mut self, now: Instant, settings: Settings) {
        let old = std::mem::replace(&mut self.settings, settings);
        match &mut self.state {
            State::Initialize => {}
            State::Backup(backup) => backup.reconfigure(&old, &settings, now),
            State::Active(active) => active.adver_timer = active.adver_timer.min(now + settings.interval.duration()),
        }
    }
}

#[cfg(test)]
mod tests;
