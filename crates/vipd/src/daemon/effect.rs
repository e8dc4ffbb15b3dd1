//! What happens to an instance, and what it wants done: plain data.

use std::net::IpAddr;
use std::time::Instant;

use vrrp::AdvertPriority;
use vrrp::wire::Datagram;

use super::announcer::Burst;
use super::event::What;
use crate::frame::claim::Claim;
use crate::holder::{self, Vip};
use crate::kernel::bearer::Bearer;
use crate::lease::Leased;

/// What happens to an instance.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Links or addresses of the host have changed.
    Observed,
    /// What it depends on has changed.
    Depends {
        /// What is down and must not be.
        faults: &'a [String],
        /// Its priority after all weights.
        priority: vrrp::Priority,
    },
    /// An advertisement of its virtual router came in on its interface.
    Datagram(&'a Datagram<'a>),
    /// The instance of ours whose place it takes has just told the peers of its virtual router that it stops.
    Resigned,
    /// Another host said on its link whose an address is.
    Claim(Claim),
    /// Its deadline has come. Harmless when it has not.
    Timer,
    /// Somebody wants something of it.
    Command(Ticket, Command),
    /// Whoever wanted that has hung up before it was begun.
    Abandoned(Ticket),
    /// All of its sync group can become Active.
    TakeOver,
    /// Another member of its sync group cannot be Active, or is so no longer.
    StepDown,
    /// An advertisement of the virtual router was sent at that time, to some peer at least.
    Sent(Instant),
    /// An advertisement of the virtual router could not be sent to anybody, and why.
    Unsent(String),
    /// What it wanted changed has been tried; the kernel would not let it add these, each for a reason.
    Changed(Vec<(Vip, String)>),
    /// It cannot hear its peers.
    Deaf(String),
    /// The kernel refuses to renew its lease.
    Unrenewed(String),
    /// The kernel has let go of its addresses, because they were not renewed in time. Seen at that time: we were held up
    /// until then.
    LeaseLost(Instant, String),
    /// The daemon ends, or the instance is gone from the configuration, or begins anew; in words.
    Stop(&'static str),
}

/// Whom an [`Effect::Answer`] goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What an operator can want of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hold the addresses of a managed instance.
    Acquire {
        /// Even if another host has them.
        force: bool,
    },
    /// Let go of the addresses of a managed instance.
    Release,
    /// Give the addresses of an elected instance to a peer.
    Handover,
}

/// Why a command is not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is in the way.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What an instance wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Hear what the peers on its link say.
    Listen,
    /// Have the kernel drop everything for its addresses unless they are renewed.
    Guard,
    /// Send an advertisement, now.
    Advertise(AdvertPriority),
    /// Renew the lease at once, from now or from the last advertisement on: addresses that are there come under its guard.
    Adopt,
    /// Renew the lease; with peers: to the term of the last advertisement.
    Renew,
    /// The kernel must no longer answer for its addresses when this is done.
    Silence,
    /// Guard these no longer: they are gone.
    Retire(Vec<Leased>),
    /// Make the interface with the virtual router's MAC address.
    Bear(Bearer),
    /// Set it up, so that it carries, or down.
    Carry(bool),
    /// Add and remove addresses.
    Change(Vec<holder::Effect>),
    /// Give addresses that are there their whole lifetime again.
    Prolong(Vec<Vip>),
    /// Tell the neighbours about these once.
    Announce(Burst),
    /// Hear what is said about these on its link.
    ListenFor(Vec<IpAddr>),
    /// Put a frame on its link.
    Send(Vec<u8>),
    /// Tell whoever listens.
    Report(What),
    /// Answer a command.
    Answer(Ticket, Result<String, Refusal>),
}

impl Effect {
    /// Whether it is still to be done after the instance has stepped back instead of what it had begun.
    #[must_use]
    pub const fn outlasts_a_step_back(&self) -> bool {
        match self {
            Self::Silence | Self::Retire(_) | Self::Answer(..) => true,
            Self::Listen
            | Self::Guard
            | Self::Advertise(_)
            | Self::Adopt
            | Self::Renew
            | Self::Bear(_)
            | Self::Carry(_)
            | Self::Change(_)
            | Self::Prolong(_)
            | Self::Announce(_)
            | Self::ListenFor(_)
            | Self::Send(_)
            | Self::Report(_) => false,
        }
    }
}
