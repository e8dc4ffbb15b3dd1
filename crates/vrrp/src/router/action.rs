//! What a router wants done: plain data, in order, without a heap.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use super::{Shutdown, StateName, StepDown};
use crate::{AdvertPriority, Priority};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement of this priority, now: before any announcement that is still waiting.
    SendAdvertisement(AdvertPriority),
    /// Hold the virtual addresses: configure them, and their MAC address, and let the kernel answer for them.
    AcquireAddresses,
    /// Announce every virtual address: gratuitous ARP, or unsolicited Neighbor Advertisement. Not before the address and
    /// its MAC address are configured (§8.1.2, §8.2.2), each once before any is repeated.
    Announce,
    /// Let go of the virtual addresses and cancel what is left of the announcements. It is done when the kernel no longer
    /// answers for them; only then comes the next action.
    ReleaseAddresses,
    /// Tell whoever listens.
    Report(Event),
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The state changed.
    Transition {
        /// The state before.
        from: StateName,
        /// The state now.
        to: StateName,
        /// Why.
        reason: Reason,
    },
    /// We are Active, and another router advertised the same virtual router. At most one such event per interval.
    Contested {
        /// The other router.
        by: IpAddr,
        /// What it advertised.
        priority: AdvertPriority,
    },
    /// A Backup's timer fired too late to mean silence; it listens for one more Active_Down_Interval.
    ListenAgain {
        /// How late.
        late: Duration,
    },
}

/// Why the state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// To Backup: the router started.
    Startup,
    /// To Active: it started, and owns the address.
    AddressOwner,
    /// To Active: no advertisement for an Active_Down_Interval.
    ActiveSilent {
        /// Who advertised last; nobody since we began to listen.
        last: Option<IpAddr>,
    },
    /// To Active: the Active router said that it stops.
    ActiveResigned {
        /// Who.
        by: IpAddr,
    },
    /// To Active: a router of lower priority was heard, and is not waited for.
    Preempts {
        /// Whom.
        whom: IpAddr,
    },
    /// To Active: a router of lower priority was Active for longer than the preempt delay.
    PreemptDelayOver,
    /// To Active: we were told to take over.
    TakeOver,
    /// To Backup: another router's advertisement won.
    Outranked {
        /// Who.
        by: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// To Backup: we did not run for longer than the peers wait.
    LateWakeup,
    /// To Backup: we gave the addresses away.
    StepDown(StepDown),
    /// To Initialize.
    Shutdown(Shutdown),
}

/// What one input leads to, in order.
#[derive(Clone, Copy)]
pub struct Actions {
    len: usize,
    list: [Action; Self::CAPACITY],
}

impl Actions {
    /// A late wake-up (2) and then a take-over (4): the longest that one input can lead to.
    pub const CAPACITY: usize = 6;

    pub(super) const NONE: Self = Self { len: 0, list: [Action::Announce; Self::CAPACITY] };

    pub(super) fn push(&mut self, action: Action) {
        debug_assert!(self.len < Self::CAPACITY, "no room for {action:?} after {self:?}");
        if let Some(place) = self.list.get_mut(self.len) {
            *place = action;
            self.len += 1;
        }
    }
}

impl Deref for Actions {
    type Target = [Action];

    fn deref(&self) -> &[Action] {
        self.list.get(..self.len).unwrap_or_default()
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = std::iter::Take<std::array::IntoIter<Action, { Self::CAPACITY }>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter().take(self.len)
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Startup => f.write_str("started"),
            Self::AddressOwner => f.write_str("started as the address owner"),
            Self::ActiveSilent { last: Some(last) } => write!(f, "{last} has fallen silent"),
            Self::ActiveSilent { last: None } => f.write_str("no Active router was heard"),
            Self::ActiveResigned { by } => write!(f, "{by} stepped down"),
            Self::Preempts { whom } => write!(f, "preempts {whom}, whose priority is lower"),
            Self::PreemptDelayOver => f.write_str("a lower priority was Active for the whole preempt delay"),
            Self::TakeOver => f.write_str("told to take over"),
            Self::Outranked { by, priority } => write!(f, "{by} advertises priority {priority}"),
            Self::LateWakeup => f.write_str("was not running for longer than the peers wait"),
            Self::StepDown(StepDown::Handover) => f.write_str("handed over on request"),
            Self::StepDown(StepDown::AddressLost) => f.write_str("the addresses do not stay on the interface"),
            Self::StepDown(StepDown::AddressConflict) => f.write_str("another host uses the addresses"),
            Self::StepDown(StepDown::SyncGroup) => f.write_str("the sync group is no longer Active"),
            Self::Shutdown(Shutdown::Stopped) => f.write_str("stopped"),
            Self::Shutdown(Shutdown::Fault) => f.write_str("something it depends on failed"),
            Self::Shutdown(Shutdown::InterfaceDown) => f.write_str("the interface is down"),
        }
    }
}
