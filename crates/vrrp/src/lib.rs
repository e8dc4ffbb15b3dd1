#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

mod address;
mod discard;
mod interval;
mod priority;
mod receive;
mod router;
mod time;
mod vrid;
pub mod wire;

pub use address::{AddressList, AddressListError, Family};
pub use discard::{Counters, Discard, Notice, Notices};
pub use interval::{AdverInterval, Centis, IntervalError, Seconds, Version};
pub use priority::{AdvertPriority, Priority};
pub use receive::{Peers, Received, VirtualRouter};
pub use router::{
    Action, Actions, Active, Backup, Event, Heard, Input, Preempt, Reason, Router, Settings, Shutdown, State,
    StateName, StepDown,
};
pub use time::Instant;
pub use vrid::Vrid;
pub use wire::Advertisement;
