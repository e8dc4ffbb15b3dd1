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
    socket: &'static str,
}

impl<'h> Daemon<'h> {
    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(host: &'h Host, config: &str) -> Self {
        Self::start_with(host, config, &["--socket", "DIR/vipd.sock"])
    }

    /// The same with the socket that the configuration names, which must be `DIR/vipd.sock`.
    #[track_caller]
    pub fn start_without_socket(host: &'h Host, config: &str) -> Self {
        Self::start_with(host, config, &[])
    }

    #[track_caller]
    fn start_with(host: &'h Host, config: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().to_str().unwrap();
        fs::write(directory.path().join("vipd.toml"), config.replace("DIR", name)).unwrap();
        let mut command = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.arg("run").arg("--config").arg(directory.path().join("vipd.toml"));
        command.args(arguments.iter().map(|argument| argument.replace("DIR", name)));
        let process = Process::start(&mut command, &directory, "vipd.log");
        let mut daemon = Self { process, directory, host, socket: "vipd.sock" };
        daemon.until("it answers", |daemon| daemon.events().iter().any(|event| event["event"] == "started"));
        daemon
    }

    /// Runs a verb that asks this daemon.
    pub fn vipd(&self, arguments: &str) -> Output {
        let mut command = self.host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.args(arguments.split(' ')).arg("--socket").arg(self.directory.path().join(self.socket));
        command.output().unwrap()
    }

    /// Its only instance.
    pub fn instance(&self) -> InstanceStatus {
        self.instances().remove(0)
    }

    /// All its instances.
    pub fn instances(&self) -> Vec<InstanceStatus> {
        let output = self.vipd("status --json");
        let status: VipStatus = serde_json::from_slice(&output.stdout).unwrap();
        status.instances.unwrap()
    }

    /// Everything that has happened.
    pub fn events(&self) -> Vec<Value> {
        let mut command = std::process::Command::new("timeout");
        command.args(["0.3", env!("CARGO_BIN_EXE_vipd"), "events", "--recent", "--json", "--socket"]);
        let output = command.arg(self.directory.path().join(self.socket)).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes another configuration over its own.
    pub fn rewrite(&self, config: &str) {
        let name = self.directory.path().to_str().unwrap();
        fs::write(self.directory.path().join("vipd.toml"), config.replace("DIR", name)).unwrap();
    }

    /// It is asked at another socket in its directory from now on.
    pub const fn listens_at(&mut self, socket: &'static str) {
        self.socket = socket;
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
