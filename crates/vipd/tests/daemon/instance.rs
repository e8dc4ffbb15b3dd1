//! A running daemon with a configuration of the test's own.

use std::fs;
use std::process::Output;
use std::time::Duration;

use bc_model::vip::{InstanceStatus, VipStatus};
use serde_json::Value;

use super::bed::process::Process;
use super::bed::world::Host;

/// A running daemon. Killed when dropped.
pub struct Daemon<'h> {
    pub process: Process,
    directory: tempfile::TempDir,
    host: &'h Host,
}

impl<'h> Daemon<'h> {
    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(host: &'h Host, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("vipd.toml"), config.replace("DIR", directory.path().to_str().unwrap())).unwrap();
        let mut command = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.arg("run").arg("--config").arg(at("vipd.toml")).arg("--socket").arg(at("vipd.sock"));
        let mut daemon = Self { process: Process::start(&mut command, &directory, "vipd.log"), directory, host };
        daemon.until("it answers", |daemon| daemon.events().iter().any(|event| event["event"] == "started"));
        daemon
    }

    /// Runs a verb that asks this daemon.
    pub fn vipd(&self, arguments: &str) -> Output {
        let mut command = self.host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.args(arguments.split(' ')).arg("--socket").arg(self.directory.path().join("vipd.sock"));
        command.output().unwrap()
    }

    /// Its only instance.
    pub fn instance(&self) -> InstanceStatus {
        let output = self.vipd("status --json");
        let status: VipStatus = serde_json::from_slice(&output.stdout).unwrap();
        status.instances.unwrap().remove(0)
    }

    /// Everything that has happened.
    pub fn events(&self) -> Vec<Value> {
        let mut command = std::process::Command::new("timeout");
        command.args(["0.3", env!("CARGO_BIN_EXE_vipd"), "events", "--recent", "--json", "--socket"]);
        let output = command.arg(self.directory.path().join("vipd.sock")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes another configuration over its own.
    pub fn rewrite(&self, config: &str) {
        fs::write(self.directory.path().join("vipd.toml"), config).unwrap();
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until `check` holds, for at most ten seconds; shows the log if it never does.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !check(self) {
            self.process.assert_running();
            assert!(std::time::Instant::now() < deadline, "gave up waiting until {what}:\n{}", self.process.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// An elected instance on eth0 that advertises every 100 ms.
pub fn elected(priority: u8, more: &str) -> String {
    format!(
        "[[instance]]\nname = \"web\"\nmode = \"vrrp\"\ninterface = \"eth0\"\naddresses = [\"198.18.5.200/24\"]\n\
         virtual-router-id = 51\npriority = {priority}\nadvertisement-interval-ms = 100\n{more}\n"
    )
}

/// A managed instance on eth0.
pub fn managed(more: &str) -> String {
    format!(
        "[[instance]]\nname = \"web\"\nmode = \"managed\"\ninterface = \"eth0\"\n\
         addresses = [\"198.18.5.200/24\", \"198.18.5.201/24\"]\n{more}\n"
    )
}
