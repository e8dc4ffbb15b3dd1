//! The verbs. The one-shot ones look, refuse or act, look again, and fill a report; none prints.

pub mod assign;
pub mod beside;
pub mod check;
pub mod guard;
pub mod import;
pub mod run;
pub mod status;
pub mod unassign;
pub mod watch;
