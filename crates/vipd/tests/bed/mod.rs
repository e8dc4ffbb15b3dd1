//! The bed on which vipd meets other VRRP routers: hosts on a wire, an observer, and routers of any make.
//!
//! ```text
//!   host 0 eth0 ─ router ─┐
//!   host 1 eth0 ─ router ─┼─ br0
//!   host 2 eth0 ──────────┘   ▲ Observer, Client, Asker: they judge by frames alone
//! ```

pub mod asker;
pub mod client;
pub mod frame;
pub mod frr;
pub mod keepalived;
pub mod observer;
pub mod process;
pub mod router;
pub mod site;
pub mod tell;
pub mod vipd;
#[path = "../netns/world.rs"]
pub mod world;
