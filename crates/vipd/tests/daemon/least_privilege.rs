//! What a running daemon, and what it starts, may still do; and what it tells systemd.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use super::bed::process::Process;
use super::bed::world::{PATIENCE, World, until};
use super::instance::{Daemon, elected, unhurried};

#[test]
fn a_running_daemon_has_two_capabilities_and_a_filter_and_so_has_its_hook() {
    let Some(world) = World::new(1) else { return };
    let config = elected(200, "")
        + "[hook]\ncommand = [\"/bin/sh\", \"-c\", \"(grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status; \
           unshare --user true 2>&1) > DIR/said; mv DIR/said DIR/hook\"]\n";
    let mut daemon = Daemon::start(&world.hosts[0], &config);
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let pid = daemon.process.family()[0];
    let of_daemon = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["CapEff:\t0000000000003000", "CapPrm:\t0000000000003000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(of_daemon.contains(line), "{line}\n{of_daemon}");
    }
    assert!(of_daemon.contains("CapBnd:\t0000000000003000"), "and can get no other\n{of_daemon}");
    // The hook is run again for the next event: what it says is renamed into place.
    until("the hook has run", || daemon.file("hook").exists());
    let of_hook = fs::read_to_string(daemon.file("hook")).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "Operation not permitted"] {
        assert!(of_hook.contains(line), "{line}\n{of_hook}");
    }
}

/// A check that another user runs.
fn checked_by_nobody(command: &str) -> String {
    let check = format!("checks = [\"up\"]\n[[check]]\nname = \"up\"\ncommand = {command}\ninterval = \"100ms\"\n");
    elected(200, &check) + "timeout = \"50ms\"\nuser = \"nobody\"\n"
}

#[test]
fn a_check_of_another_user_is_run_by_him_and_killed_when_it_hangs() {
    let Some(world) = World::new(1) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &checked_by_nobody("[\"/usr/bin/sleep\", \"77\"]"));
    let runs = |daemon: &Daemon<'_>| {
        let children = daemon.process.family().into_iter().skip(1);
        let of_nobody = |pid: &nix::unistd::Pid| {
            fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("Uid:\t65534\t65534"))
        };
        children.filter(of_nobody).count()
    };
    daemon.until("it runs", |daemon| runs(daemon) == 1);
    daemon.until("it is down", |daemon| daemon.instance().waiting.as_deref() == Some("check up is down"));
    std::thread::sleep(Duration::from_secs(1));
    assert!(runs(&daemon) <= 1, "each run is gone before the next");
}

#[test]
fn a_reload_refuses_a_user_that_the_daemon_can_no_longer_become() {
    let Some(world) = World::new(1) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    daemon.rewrite(&checked_by_nobody("[\"/usr/bin/true\"]"));
    let refused = daemon.vipd("reload");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("vipd.toml:16:8: check \"up\": user: found \"nobody\""), "{said}");
    assert!(said.contains("CAP_SETUID, CAP_SETGID, CAP_KILL"), "{said}");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(daemon.instance().state, "Active", "nothing was changed");
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_may() {
    let Some(world) = World::new(1) else { return };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("vipd.toml"), elected(200, "")).unwrap();
    let mut command = world.hosts[0].namespace.command("prlimit");
    command.args(["--nofile=64:3000", env!("CARGO_BIN_EXE_vipd"), "run"]);
    command.arg("--config").arg(at("vipd.toml")).arg("--socket").arg(at("vipd.sock"));
    let process = Process::start(&mut command, &directory, "vipd.log");
    until("it listens", || at("vipd.sock").exists());
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.family()[0])).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let values: Vec<_> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(values, ["3000", "3000"], "{files}");
}

#[test]
fn systemd_is_told_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let Some(world) = World::new(1) else { return };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let socket = UnixDatagram::bind(at("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    fs::write(at("vipd.toml"), elected(200, "")).unwrap();
    let mut command: Command = world.hosts[0].namespace.command(env!("CARGO_BIN_EXE_vipd"));
    command.arg("run").arg("--config").arg(at("vipd.toml")).arg("--socket").arg(at("vipd.sock"));
    command.env("NOTIFY_SOCKET", at("notify")).env("WATCHDOG_USEC", "200000");
    let mut process = Process::start(&mut command, &directory, "vipd.log");
    let hear = || {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let wait_for = |what: &str| {
        let heard: Vec<_> =
            std::iter::from_fn(|| Some(hear())).take(20).take_while(|said| !said.contains(what)).collect();
        assert!(heard.len() < 20, "waiting for {what}: {heard:?}");
        heard
    };
    wait_for("READY=1");
    for _ in 0..3 {
        wait_for("WATCHDOG=1");
    }
    let daemon = process.family()[0];
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGHUP).unwrap();
    wait_for("RELOADING=1");
    wait_for("READY=1");
    process.terminate();
    wait_for("STOPPING=1");
    assert!(process.wait(PATIENCE).success());
}
