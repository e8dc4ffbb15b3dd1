//! `vipd run`: the daemon, from its configuration to its end.

use std::path::PathBuf;

use crate::config::{Config, Loaded};
use crate::daemon::host::ThisHost;
use crate::daemon::{DaemonError, Service, privilege};
use crate::kernel::capability::Capability;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The configuration file.
    pub config: PathBuf,
    /// The control socket, if not the one that the file names.
    pub socket: Option<PathBuf>,
}

/// Runs until a signal says stop.
///
/// # Errors
/// Anything in [`DaemonError`]; nothing is held any more.
pub fn run(request: Request) -> Result<(), DaemonError> {
    let Request { config: file, socket } = request;
    let host = ThisHost { listens_elsewhere: socket.is_some() };
    let Loaded { config, warnings } = Config::load_for(&file, &host)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for capability in [Capability::NetAdmin, Capability::NetRaw] {
        if !capability.is_effective() {
            return Err(DaemonError::MissingCapability(capability));
        }
    }
    privilege::raise_open_files()
        .map_err(|source| DaemonError::Kernel { what: "raising the limit of open files", source })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| DaemonError::Kernel { what: "waiting for events", source })?;
    runtime.block_on(async { Service::start(file, config, socket).await?.run().await })
}
