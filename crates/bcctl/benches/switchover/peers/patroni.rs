//! Patroni with its own Raft (two nodes and a third voter), so that no other store is needed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Daemons, bin};
use crate::pair::{Pair, as_postgres, free_port, settle, succeed};

pub(crate) struct Patroni {
    #[expect(dead_code, reason = "held until the end")]
    daemons: Daemons,
    directory: PathBuf,
    ports: [u16; 2],
}

impl Patroni {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let ports = [free_port()?, free_port()?];
        let (rest, raft) = ([free_port()?, free_port()?], [free_port()?, free_port()?, free_port()?]);
        let at = |name: &str| directory.join(name);
        let d = directory.display();
        let voter = |own: usize| {
            let others: Vec<String> =
                (0..3).filter(|index| *index != own).map(|index| format!("'127.0.0.1:{}'", raft[index])).collect();
            format!(
                "raft:\n  data_dir: {d}/raft{own}\n  self_addr: 127.0.0.1:{}\n  partner_addrs: [{}]\n",
                raft[own],
                others.join(", ")
            )
        };
        let mut daemons = Daemons::default();
        for (index, port) in ports.iter().enumerate() {
            let name = format!("p{}", index + 1);
            let text = format!(
                "scope: bench\nname: {name}\nrestapi: {{ listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}' }}\n{raft}\
                 bootstrap:\n  dcs: {{ ttl: 30, loop_wait: 10, retry_timeout: 10, postgresql: {{ use_slots: true, parameters: {{ max_connections: 20, wal_log_hints: 'on', wal_keep_size: 64MB }} }} }}\n\
                 \x20 initdb: [ {{ auth: trust }} ]\n  pg_hba: [ 'local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust' ]\n\
                 postgresql:\n  listen: '127.0.0.1:{port}'\n  connect_address: '127.0.0.1:{port}'\n  data_dir: {d}/{name}\n  bin_dir: {bin}\n  pgpass: {d}/{name}.pgpass\n\
                 \x20 authentication: {{ replication: {{ username: replicator, password: x }}, superuser: {{ username: postgres, password: x }} }}\n\
                 \x20 parameters: {{ unix_socket_directories: '{d}', shared_buffers: 16MB }}\n",
                rest = rest[index],
                raft = voter(index),
                bin = bin()?.display(),
            );
            std::fs::write(at(&format!("{name}.yml")), text)?;
            daemons.server(&at(&name));
        }
        std::fs::write(at("p3.yml"), voter(2))?;
        daemons.start(as_postgres("patroni_raft_controller").arg(at("p3.yml")), &at("p3.log"))?;
        for name in ["p1", "p2"] {
            daemons.start(as_postgres("patroni").arg(at(&format!("{name}.yml"))), &at(&format!("{name}.log")))?;
        }
        settle(ports).with_context(|| {
            ["p1.log", "p2.log"].map(|name| std::fs::read_to_string(at(name)).unwrap_or_default()).join("\n")
        })?;
        Ok(Self { daemons, directory: directory.to_owned(), ports })
    }
}

impl Pair for Patroni {
    fn name(&self) -> String {
        let said = Command::new("patroni").arg("--version").output();
        said.map_or_else(|_| "patroni".to_owned(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    fn ports(&self) -> [u16; 2] {
        self.ports
    }

    fn switch(&mut self, to: usize) -> Result<()> {
        let name = |index: usize| format!("p{}", index + 1);
        let log = self.directory.join("switch.log");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut command = as_postgres("patronictl");
            command.arg("-c").arg(self.directory.join("p1.yml"));
            command.args(["switchover", "--master", &name(1 - to), "--candidate", &name(to), "--force", "bench"]);
            match succeed(&mut command, &log) {
                Ok(()) => return Ok(()),
                // It refuses until it has seen the standby in its new role.
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(250)),
            }
            if Instant::now() > deadline {
                bail!("patronictl does not end");
            }
        }
    }
}
