//! Everything that ends the program with words instead of a report.

use std::io;

use bc_model::exit::Exit;

use crate::config::{ConfigError, UnknownNode};
use crate::gate::GateError;
use crate::helper::HelperError;
use crate::history::HistoryError;
use crate::lock::LockError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    UnknownNode(#[from] UnknownNode),
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The intent could not be written, so nothing was done.
    #[error("nothing was done: {0}")]
    Intent(#[source] HistoryError),
    /// The history cannot be shown.
    #[error(transparent)]
    History(HistoryError),
    #[error(transparent)]
    Helper(#[from] HelperError),
    #[error("gate: {0}")]
    Gate(#[from] GateError),
    #[error("signals: {0}")]
    Signals(#[source] io::Error),
    /// A watchdog, or its record.
    #[error("{}: {source}", file.display())]
    Watchdog {
        file: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
    /// A drill that may not be for real.
    #[error("{0} is not marked `emulated = true` in the configuration: nothing was done")]
    NotEmulated(String),
    #[error("output: {0}")]
    Output(#[source] io::Error),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::UnknownNode(_) => Exit::Usage,
            Self::Lock(_) | Self::Intent(_) | Self::Signals(_) | Self::NotEmulated(_) => Exit::Refused,
            Self::Gate(error) => error.exit(),
            Self::Helper(error) => error.exit(),
            Self::History(_) | Self::Output(_) | Self::Watchdog { .. } => Exit::Failed,
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Config(error) => Some(error.hint()),
            Self::Lock(LockError::Busy { .. }) => Some("wait for it to end, then run this again: asking twice is safe"),
            Self::Lock(LockError::Io { .. }) | Self::Intent(_) => Some(
                "run as a user who may write there, or name another file with `history = \"…\"` in the configuration",
            ),
            Self::NotEmulated(_) => Some("run it without --for-real: that rehearses everything but the switching"),
            Self::Gate(error) => error.hint(),
            Self::Helper(error) => error.hint(),
            Self::Watchdog { .. } | Self::UnknownNode(_) | Self::History(_) | Self::Signals(_) | Self::Output(_) => {
                None
            }
        }
    }
}
