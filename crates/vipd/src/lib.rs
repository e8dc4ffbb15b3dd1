//! A virtual IP: probe for it, hold it, announce it, let it go.
//!
//! ```text
//!           argv ─▶ cli ─▶ verbs ──▶ preflight (pure: refuse by looking)
//!                            │  ├──▶ probe     (pure: refuse by asking)   ◀── frame::claim ◀─┐
//!                            │  └──▶ holder    (pure: wishes + observed ─▶ effects)          │
//!                            ▼                                              │                │
//!                         report ─▶ render                                  ▼                │
//!                                                       apply ──▶ kernel::netlink, wire ─────┘
//!                                                         └─────▶ announce (pure: frames, when)
//! ```
//!
//! The core takes `now`; only [`clock`] reads the clock, only [`kernel::netlink`] speaks netlink, only [`wire`] has a
//! packet socket. Whoever comes to want an address (a daemon, an election, a hook) states the wish to [`holder`] and lets
//! [`apply`] carry out the effects.

pub mod address;
pub mod announce;
pub mod apply;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod error;
pub mod frame;
pub mod holder;
pub mod import;
pub mod interrupt;
pub mod kernel;
pub mod lease;
pub mod patient;
pub mod preflight;
pub mod probe;
pub mod raw;
pub mod ready;
pub mod render;
pub mod verbs;
pub mod wire;
