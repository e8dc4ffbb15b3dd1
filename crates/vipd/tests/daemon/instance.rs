//! A running daemon with a configuration of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use bc_model::vip::{InstanceStatus, VipStatus};
use serde_json::Value;
use vipd::client::{Client, ClientError, Next};
use vipd::daemon::protocol::{Answer, Request};

use super::bed::process::Process;
use super::bed::world::{Host, PATIENCE};

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
        daemon.until("it answers", |daemon| daemon.told().is_ok_and(|events| !events.is_empty()));
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

    /// Everything that has happened, and happens in the next 0.3 s.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let events = self.told().unwrap_or_else(|error| panic!("{error}\n{}", self.process.log()));
        // The first is that it has started, and it keeps more than any test makes happen.
        assert!(!events.is_empty(), "it has told nothing:\n{}", self.process.log());
        events
    }

    fn told(&self) -> Result<Vec<Value>, ClientError> {
        let socket = self.file(self.socket);
        let mut client = Client::ask(&socket, &Request::Events { recent: true })?;
        let (mut events, mut silent) = (Vec::new(), false);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let quiet = Instant::now() + Duration::from_millis(if silent { 10 } else { 300 });
            let until = if events.is_empty() { deadline } else { quiet.min(deadline) };
            match client.receive_until(Some(until))? {
                Next::Answer(Answer::Event { event }) => events.push(serde_json::to_value(event).unwrap()),
                Next::Nothing if !silent && !events.is_empty() => {
                    // It may have been held up. When it has answered, what it had to tell is here.
                    Client::ask(&socket, &Request::Status)?.only()?;
                    silent = true;
                }
                Next::Nothing | Next::End => return Ok(events),
                Next::Answer(other) => panic!("{other:?}"),
            }
        }
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

    /// A copy of vipd that everybody can run and that can reach the socket, wherever it was built.
    pub fn program_for_everybody(&self) -> std::path::PathBuf {
        fs::set_permissions(self.file(""), fs::Permissions::from_mode(0o755)).unwrap();
        let program = self.file("vipd");
        // A process of its own writes it: a test next door that starts a program has copies of our descriptors for a
        // moment, and a file that somebody may write cannot be run.
        if !program.exists() {
            let mut install = Command::new("install");
            let installed = install.args(["-m", "0755", env!("CARGO_BIN_EXE_vipd")]).arg(&program).status();
            assert!(installed.unwrap().success(), "{}", program.display());
        }
        program
    }

    /// Waits until `check` holds, for at most half a minute; shows the log if it never does.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !check(self) {
            self.process.assert_running();
            assert!(Instant::now() < deadline, "gave up waiting until {what}:\n{}", self.process.log());
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

/// The same every 500 ms: what a busy machine holds up for a moment neither loses its role nor its lease.
pub fn unhurried(priority: u8, more: &str) -> String {
    elected(priority, more).replace("-ms = 100", "-ms = 500")
}

/// A managed instance on eth0.
pub fn managed(more: &str) -> String {
    format!(
        "[[instance]]\nname = \"web\"\nmode = \"managed\"\ninterface = \"eth0\"\n\
         addresses = [\"198.18.5.200/24\", \"198.18.5.201/24\"]\n{more}\n"
    )
}
