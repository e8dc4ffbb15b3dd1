//! Everything that ends the program with words instead of a report.

use std::io;

use bc_model::exit::Exit;

use crate::brake::Braked;
use crate::config::{ConfigError, UnknownNode};
use crate::gate::GateError;
use crate::helper::HelperError;
use crate::history::HistoryError;
use crate::lock::LockError;
use crate::right::RightError;
use crate::self_fence::NotConfigured;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    UnknownNode(#[from] UnknownNode),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("nothing was done: {0}")]
    Right(#[from] RightError),
    /// The right was lost, or the history, before the first device was told to act.
    #[error("nothing was done: {0}")]
    Refused(String),
    #[error("nothing was done: {0}")]
    Braked(#[from] Braked),
    /// `--token` names a file that cannot be read, or that holds none.
    #[error("token {file}: {problem}")]
    Token { file: String, problem: String },
    /// The person typed something else than the node's name.
    #[error("nothing was written down: that is not the name of the node")]
    NotTyped,
    /// The intent could not be written, so nothing was done.
    #[error("nothing was done: {0}")]
    Intent(#[source] HistoryError),
    /// The history cannot be shown.
    #[error(transparent)]
    History(HistoryError),
    #[error(transparent)]
    Helper(#[from] HelperError),
    #[error(transparent)]
    NotConfigured(#[from] NotConfigured),
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
    /// A question to a disk.
    #[error("{0}")]
    Disk(String),
    /// A drill that may not be for real.
    #[error("{0} is not marked `emulated = true` in the configuration: nothing was done")]
    NotEmulated(String),
    #[error("output: {0}")]
    Output(#[source] io::Error),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::UnknownNode(_) | Self::Token { .. } | Self::NotConfigured(_) => Exit::Usage,
            Self::Lock(_)
            | Self::Right(_)
            | Self::Refused(_)
            | Self::Braked(_)
            | Self::NotTyped
            | Self::NotEmulated(_)
            | Self::Intent(_)
            | Self::Signals(_) => Exit::Refused,
            Self::Gate(error) => error.exit(),
            Self::Helper(error) => error.exit(),
            Self::History(_) | Self::Output(_) | Self::Watchdog { .. } | Self::Disk(_) => Exit::Failed,
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
            Self::Right(RightError::Stale { .. }) => Some(
                "somebody decided later than this request: look at the site again (`bcctl status`), then ask with a new token",
            ),
            Self::Right(RightError::Itself(_)) => {
                Some("run it on another host; `fence self` stops this one, and local.node says which node it is")
            }
            Self::Braked(_) => Some(
                "look why so many nodes are being fenced: the network? then --override-brake, or policy.brake-fences",
            ),
            Self::Token { .. } => Some("expected SYSTEM-IDENTIFIER/TIMELINE/EPOCH/ID/EXPIRES, or the same as JSON"),
            Self::Right(_)
            | Self::Refused(_)
            | Self::NotTyped
            | Self::NotConfigured(_)
            | Self::Watchdog { .. }
            | Self::Disk(_)
            | Self::UnknownNode(_)
            | Self::History(_)
            | Self::Signals(_)
            | Self::Output(_) => None,
        }
    }
}
