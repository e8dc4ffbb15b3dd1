//! `vipd run`: the instances of one configuration file, decided about by pure types, carried out by one edge.
//!
//! ```text
//!  main task, one loop (service)
//!  ├─ reads    raw sockets (VRRP) ─┐
//!  │           wires (ARP, ND)    ─┤                                      ┌─▶ edge ─▶ kernel: addresses, dead-man switch
//!  │           monitor (netlink)  ─┼─▶ Instance::handle(now, input) ─▶ effects ─▶ wire: adverts, announcements
//!  │           alarm (deadlines)  ─┤         (pure)                       ├─▶ stream ─▶ log, events, hook
//!  │           signals, calls,    ─┘                                      └─▶ answers to calls
//!  │           ends of checks
//!  │
//!  └─ tasks that only carry bytes, and may be aborted at any await without harm:
//!     ├─ netlink connection      socket ─▶ monitor
//!     ├─ control: accept         ─▶ one per client: request line ─▶ call; answer lines ─▶ client
//!     ├─ metrics: HTTP             ─▶ call; text ─▶ client
//!     ├─ one per check           command, on time ─▶ end of check
//!     └─ hook                    events, one after the other ─▶ command
//! ```
//!
//! One thread. An effect is done when the edge returns, so no task ever sees half of one. Everything that has come in is
//! handed to the instances before any deadline is: a timer that is due means "nobody was heard until now".

mod account;
pub mod announcer;
pub mod check;
pub mod control;
pub mod depend;
mod door;
pub mod edge;
pub mod effect;
pub mod error;
pub mod event;
pub mod hook;
pub mod host;
pub mod instance;
pub mod limiter;
pub mod managed;
pub mod metrics;
pub mod place;
pub mod privilege;
pub mod protocol;
pub mod renewal;
pub mod roster;
pub mod sandbox;
pub mod service;
pub mod stream;
pub mod watchdog;

pub use error::DaemonError;
pub use service::Service;
