//! What can happen to a router.

use std::net::IpAddr;

use super::Settings;
use crate::{AdverInterval, AdvertPriority};

/// What can happen to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The interface is up and has its address: begin.
    Startup,
    /// Stop, and say so to the peers.
    Shutdown(Shutdown),
    /// The [`deadline`](super::Router::deadline) has come. Harmless when it has not.
    Timer,
    /// An advertisement that [`VirtualRouter::receive`](crate::VirtualRouter::receive) let pass.
    Advertisement(Heard),
    /// Give the addresses away, and yield to whoever takes them.
    StepDown(StepDown),
    /// Take the addresses now: all of the sync group are ready to, or the router that holds them has been told to let go.
    TakeOver,
    /// The process or the machine did not run for longer than the peers wait, and the clock does not show it.
    LateWakeup,
    /// The priority or another setting has changed. A change of version is a new router.
    Reconfigured(Settings),
}

/// Why a router stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// The daemon stops, or the instance was removed.
    Stopped,
    /// Something that the instance depends on failed: a check, a tracked interface.
    Fault,
    /// The instance's own interface went down or lost its address. Nothing can be sent, and nothing may be left queued.
    InterfaceDown,
}

impl Shutdown {
    pub(super) const fn link_works(self) -> bool {
        match self {
            Self::Stopped | Self::Fault => true,
            Self::InterfaceDown => false,
        }
    }
}

/// Why an Active router gives the addresses away and goes on as Backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepDown {
    /// Somebody asked for it.
    Handover,
    /// Somebody else removed the addresses more often than we put them back, or they could not be added.
    AddressLost,
    /// Another host claims the addresses, and the policy is to let go.
    AddressConflict,
    /// Another instance of the sync group is no longer Active.
    SyncGroup,
}

/// What the state machine is told of an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heard {
    /// The sender's primary IPvX address.
    pub source: IpAddr,
    /// Its priority.
    pub priority: AdvertPriority,
    /// Its advertisement interval.
    pub interval: AdverInterval,
}
