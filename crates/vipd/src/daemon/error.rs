//! Why the daemon cannot run.

use std::io;
use std::path::PathBuf;

use bc_model::exit::Exit;
use thiserror::Error;

use crate::config::LoadError;
use crate::kernel::capability::Capability;
use crate::lease::Missing;

/// Why the daemon cannot run, or could not go on.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// There is no configuration.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The process may not do what it must.
    #[error("no permission to {purpose}: {0} is missing", purpose = .0.purpose())]
    MissingCapability(Capability),
    /// The system refused something that it cannot go on without.
    #[error("{what}: {source}")]
    Kernel {
        /// What was asked of it.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// Another daemon is at work in this network namespace, with another control socket.
    #[error("another vipd runs here: {0}")]
    Another(Missing),
    /// What a dead daemon left could not be removed.
    #[error("addresses that an earlier vipd left could not be removed: {0}")]
    Sweep(String),
    /// Privileges that are not needed could not be given up.
    #[error("giving up privileges: {0}")]
    Privilege(String),
    /// The control socket could not be opened.
    #[error("control socket {}: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DaemonError {
    /// What the caller's script gets.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Usage,
            Self::MissingCapability(_) | Self::Another(_) | Self::Socket { .. } => Exit::Refused,
            Self::Kernel { .. } | Self::Sweep(_) | Self::Privilege(_) => Exit::Failed,
        }
    }

    /// What to do about it, when we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingCapability(capability) => {
                Some(format!("run as root, or give the service AmbientCapabilities={capability}"))
            }
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("stop the other vipd; or vipd reload, if it was to read its configuration again".to_owned())
            }
            Self::Another(taken) => Some(taken.hint().to_owned()),
            Self::Socket { path, source } if source.kind() == io::ErrorKind::NotFound => {
                path.parent().map(|directory| format!("mkdir {}, or name another with --socket", directory.display()))
            }
            Self::Config(_) | Self::Kernel { .. } | Self::Sweep(_) | Self::Privilege(_) | Self::Socket { .. } => None,
        }
    }
}
