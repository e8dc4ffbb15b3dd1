//! What the bench knows of a pair of servers, whoever moves the primary role between them.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::client::Connection;

/// A pair that is managed by one of the tools.
pub(crate) trait Pair {
    /// Name of the tool, with its version.
    fn name(&self) -> String;
    /// The ports of both servers.
    fn ports(&self) -> [u16; 2];
    /// The tool's command that moves the primary role to the server of this index; returns when the tool has ended.
    fn switch(&mut self, to: usize) -> Result<()>;
}

/// Which server takes writes, if one does.
pub(crate) fn primary(ports: [u16; 2]) -> Option<usize> {
    (0..2).find(|index| {
        Connection::open(ports[*index])
            .and_then(|mut server| server.query("SELECT pg_is_in_recovery()"))
            .is_ok_and(|answer| answer.as_deref() == Some("f"))
    })
}

/// Waits until one server takes writes and the other streams from it: what the tool says does not count.
pub(crate) fn settle(ports: [u16; 2]) -> Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(index) = primary(ports) {
            let streams = Connection::open(ports[index]).and_then(|mut server| {
                server.query(
                    "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn() - 1000000",
                )
            });
            if streams.is_ok_and(|count| count.as_deref() == Some("1")) {
                return Ok(index);
            }
        }
        if Instant::now() > deadline {
            bail!("the pair does not stream within two minutes");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `program` as the user of the servers.
pub(crate) fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program).current_dir("/").stdin(Stdio::null());
    command
}

/// Runs a command to its end, its words to a file.
pub(crate) fn succeed(command: &mut Command, log: &Path) -> Result<()> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log).context("the log")?;
    let status = command.stdout(file.try_clone()?).stderr(file).status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<&str> = said.lines().rev().take(15).collect();
        bail!("{command:?}: {status}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// A port that nobody has.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
