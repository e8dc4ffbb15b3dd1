//! pg_auto_failover with a monitor and two nodes; it replicates synchronously by default, and that is left as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Daemons, bin};
use crate::pair::{Pair, as_postgres, free_port, settle, succeed};

pub(crate) struct AutoFailover {
    #[expect(dead_code, reason = "held until the end")]
    daemons: Daemons,
    directory: PathBuf,
    ports: [u16; 2],
}

fn tool(directory: &Path) -> Result<Command> {
    let mut command = as_postgres("env");
    let path = format!("PATH={}:/usr/bin:/bin", bin()?.display());
    let d = directory.display();
    command.args([
        path,
        format!("HOME={d}"),
        format!("XDG_CONFIG_HOME={d}/.config"),
        format!("XDG_DATA_HOME={d}/.local"),
        format!("XDG_RUNTIME_DIR={d}/.run"),
    ]);
    command.arg("pg_autoctl");
    Ok(command)
}

impl AutoFailover {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let (monitor, ports) = (free_port()?, [free_port()?, free_port()?]);
        let at = |name: &str| directory.join(name);
        let log = at("log");
        let mut daemons = Daemons::default();
        let mut create = tool(directory)?;
        create.args(["create", "monitor", "--pgdata"]).arg(at("monitor"));
        create.args(["--pgport", &monitor.to_string(), "--hostname", "localhost", "--auth", "trust", "--no-ssl"]);
        daemons.server(&at("monitor"));
        succeed(&mut create, &log).context("create monitor")?;
        daemons.start(tool(directory)?.args(["run", "--pgdata"]).arg(at("monitor")), &at("monitor.log"))?;
        let uri = format!("postgresql://autoctl_node@localhost:{monitor}/pg_auto_failover?sslmode=prefer");
        for (index, port) in ports.iter().enumerate() {
            let name = format!("node{}", index + 1);
            daemons.server(&at(&name));
            let mut create = tool(directory)?;
            create.args(["create", "postgres", "--pgdata"]).arg(at(&name)).args(["--pgport", &port.to_string()]);
            create.args(["--hostname", "localhost", "--listen", "localhost", "--name", &name, "--auth", "trust"]);
            create.args(["--no-ssl", "--monitor", &uri]);
            // The monitor needs a moment after its start.
            let mut tries = 0;
            while let Err(error) = succeed(&mut create, &log) {
                tries += 1;
                if tries == 20 {
                    return Err(error.context(format!("create {name}")));
                }
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            daemons.start(tool(directory)?.args(["run", "--pgdata"]).arg(at(&name)), &at(&format!("{name}.log")))?;
        }
        settle(ports).with_context(|| {
            ["log", "node1.log", "node2.log"]
                .map(|name| std::fs::read_to_string(at(name)).unwrap_or_default())
                .join("\n")
        })?;
        Ok(Self { daemons, directory: directory.to_owned(), ports })
    }
}

impl Pair for AutoFailover {
    fn name(&self) -> String {
        let said = Command::new("pg_autoctl").arg("--version").output();
        let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
        said.lines().next().map_or("pg_auto_failover", |line| line.trim_start_matches("pg_autoctl version ")).to_owned()
            + " pg_auto_failover"
    }

    fn ports(&self) -> [u16; 2] {
        self.ports
    }

    fn switch(&mut self, _: usize) -> Result<()> {
        let mut command = tool(&self.directory)?;
        command.args(["perform", "switchover", "--pgdata"]).arg(self.directory.join("monitor"));
        let log = self.directory.join("switch.log");
        // Until the monitor has seen both nodes in their new roles, it refuses.
        let mut tries = 0;
        while let Err(error) = succeed(&mut command, &log) {
            tries += 1;
            if tries == 40 {
                return Err(error);
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        Ok(())
    }
}
