//! The other tools, as Debian packages them, each with its own defaults.

pub(crate) mod autofailover;
pub(crate) mod patroni;
pub(crate) mod repmgr;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result};

use crate::pair::as_postgres;

/// What every server gets, as the tests' site has it.
pub(crate) const SETTINGS: &str = "max_connections = 20\nshared_buffers = 16MB\nwal_keep_size = 64MB\nwal_log_hints = on\n\
                                   wal_level = replica\nlisten_addresses = '127.0.0.1'\n";

/// A directory that the owner of the servers may write to.
pub(crate) fn directory() -> Result<tempfile::TempDir> {
    let directory = tempfile::Builder::new().prefix("bcctl-bench-").tempdir()?;
    anyhow::ensure!(Command::new("chown").arg("postgres:").arg(directory.path()).status()?.success(), "chown");
    Ok(directory)
}

/// The directory of the server's programs: the newest version that all tools of this bench support.
pub(crate) fn bin() -> Result<PathBuf> {
    ["15", "16", "17"]
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .into_iter()
        .find(|bin| bin.join("initdb").exists())
        .context("PostgreSQL is not installed")
}

/// Daemons of a tool; dropped, all of them end.
#[derive(Default)]
pub(crate) struct Daemons {
    children: Vec<Child>,
    data: Vec<PathBuf>,
}

impl Daemons {
    /// Starts one, with its words in a file.
    pub(crate) fn start(&mut self, command: &mut Command, log: &Path) -> Result<()> {
        let file = std::fs::File::create(log)?;
        let child = command.stdout(file.try_clone()?).stderr(file).process_group(0).spawn();
        self.children.push(child.with_context(|| format!("{command:?}"))?);
        Ok(())
    }

    /// A server that has to be stopped at the end.
    pub(crate) fn server(&mut self, data: &Path) {
        self.data.push(data.to_owned());
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in &mut self.children {
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            let _ = child.wait();
        }
        let Ok(bin) = bin() else { return };
        for data in &self.data {
            let mut stop = as_postgres(bin.join("pg_ctl"));
            let _ = stop.arg("-D").arg(data).args(["-m", "immediate", "-w", "stop"]).output();
        }
    }
}
