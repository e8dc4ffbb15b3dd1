//! The kernel lease: what makes a virtual IP let go by itself when vipd is killed, stopped or hung.
//!
//! ```text
//!               LeasePlan (pure: how long, how often)
//!                    │
//!  leased addresses ─┤                      ruleset, batch (pure: bytes)
//!                    ▼                            │
//!                 DeadMan ── guard/renew/… ──▶ Nfnetlink ──▶ nf_tables: tables of our own, families arp and inet
//!                    ▲                            │
//!                    └──────── answer (pure) ◀────┘
//! ```
//!
//! Two things let go. The address has a *lifetime* in the kernel (whole seconds; the code that adds addresses renews it).
//! And, where nf_tables is there, a *dead-man switch*: nothing comes in for a guarded address and nothing goes out from it,
//! ARP and neighbour discovery included, unless its lease is in a set whose elements have timeouts in milliseconds.
//! [`DeadMan`] is that switch.
//!
//! Order, so that the guard neither harms nor leaks:
//!
//! - to take an address: [`DeadMan::guard`], add the address, [`DeadMan::renew`], announce;
//! - to keep it: send the advert, then [`DeadMan::renew`] with the [`Term`] of that advert;
//! - to give it up: [`DeadMan::silence`], remove the address, [`DeadMan::retire`];
//! - at start, and after the daemon's end: remove the addresses of the dead daemon, then [`DeadMan::sweep`].
//!
//! An address owner's addresses (RFC 9568 §1.4, priority 255) are the interface's own: lease none of them.

mod address;
mod answer;
mod batch;
mod dead_man;
mod error;
mod expression;
mod nfnetlink;
mod plan;
mod ruleset;
mod support;
mod table;
mod uapi;

pub use address::{LeaseId, Leased};
pub use dead_man::{DeadMan, Guarded, Lease, Renewal};
pub use error::{LeaseError, Refusal};
pub use plan::{Enforcement, LeasePlan, Lifetimes, PlanError, Term};
pub use ruleset::Admission;
pub use support::{Missing, Refresh, Support};
pub use table::{TableName, TableNameError};
