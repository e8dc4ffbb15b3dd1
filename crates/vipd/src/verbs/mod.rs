//! The one-shot verbs. Each looks, refuses or acts, looks again, and fills a report; none prints.

pub mod assign;
pub mod check;
pub mod import;
pub mod status;
pub mod unassign;
