//! Facts that two programs must agree on. No I/O, no clock.
//!
//! Programs never import one another; they meet as processes and formats. The formats live here, so that the
//! writer and the reader of a format compile against the same type:
//!
//! | module         | written by        | read by                      |
//! |----------------|-------------------|------------------------------|
//! | [`exit`]       | every program     | scripts, `bcctl`, the harness |
//! | [`vip`]        | `vipd status`     | `bcctl`, the harness         |
//! | [`fencing`]    | `fence`           | `bcctl`, the harness         |
//! | [`manifest`]   | `standbyd`        | `standbyd`, `bcctl`          |
//! | [`inventory`]  | a person          | `bcctl`, the harness         |
//! | [`journal`]    | `bcctl`           | `bcctl`, the harness         |
//!
//! [`version`] is no format: it answers what PostgreSQL's versions do differently.

pub mod exit;
pub mod fencing;
pub mod inventory;
pub mod journal;
pub mod manifest;
pub mod version;
pub mod vip;
