//! A daemon whose log cannot be written: the disk is full, or whoever read it has gone.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::bed::world::{Host, PATIENCE, World, until};
use super::instance::{managed, unhurried};

const VIP: &str = "198.18.5.200";

/// A daemon that nobody has been told of, with its log at `log`. Killed when dropped.
struct Daemon<'h> {
    child: Child,
    directory: tempfile::TempDir,
    host: &'h Host,
}

impl<'h> Daemon<'h> {
    fn start(host: &'h Host, config: &str, log: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [file, socket] = ["vipd.toml", "vipd.sock"].map(|name| directory.path().join(name));
        std::fs::write(&file, config).unwrap();
        let mut command = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.arg("run").arg("--config").arg(file).arg("--socket").arg(socket);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, directory, host }
    }

    fn vipd(&self, verb: &str) -> bool {
        let mut command = self.host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.args(verb.split(' ')).arg("--socket").arg(self.directory.path().join("vipd.sock"));
        command.output().unwrap().status.success()
    }

    #[track_caller]
    fn assert_running(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "ended by itself: {ended:?}");
    }

    /// It ends when it is asked to, and with nothing left.
    #[track_caller]
    fn end(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{status}, signal {:?}", status.signal());
        assert!(!self.host.has(VIP));
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_full_disk_under_the_log_costs_no_address() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut daemon = Daemon::start(host, &unhurried(150, ""), full);
    until("the VIP is held", || host.has(VIP));
    assert!(daemon.vipd("handover web") || host.has(VIP), "more to be logged");
    assert!(daemon.vipd("status"), "it answers");
    daemon.assert_running();
    daemon.end();
}

#[test]
fn a_log_that_nobody_reads_any_more_costs_no_address() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut daemon = Daemon::start(host, &managed(""), writer);
    let mut word = [0];
    reader.read_exact(&mut word).unwrap();
    drop(reader);
    until("it answers", || daemon.vipd("status --json"));
    until("it acquires, and has that to log", || daemon.vipd("acquire web"));
    assert!(host.has(VIP));
    daemon.assert_running();
    daemon.end();
}
