//! Whoever comes to the daemon's doors: it goes on with its own work whatever they do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::bed::world::{PATIENCE, World, until};
use super::instance::{Daemon, elected};

/// More than the daemon has room for, by far.
const MANY: usize = 300;

/// Descriptors that the daemon has open.
fn open_files(daemon: &Daemon<'_>) -> usize {
    let pid = daemon.process.family()[0];
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn silent_clients_of_the_control_socket_take_no_descriptors_from_it() {
    let Some(world) = World::new(1) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &elected(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let before = open_files(&daemon);
    let clients: Vec<_> = (0..MANY).map(|_| UnixStream::connect(daemon.file("vipd.sock")).unwrap()).collect();
    // The last one has been let in, or told why not.
    let mut last = clients.last().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = String::new();
    let _ = last.read_to_string(&mut said);
    let after = open_files(&daemon);
    assert!(after <= before + 32, "{before} descriptors before, {after} after; the last client was told {said:?}");
    assert!(said.contains("32 clients are connected already"), "{said}");
    drop(clients);
    daemon.until("others have their turn", |daemon| daemon.vipd("status --json").status.success());
}

#[test]
fn a_stranger_is_told_that_he_may_not() {
    let Some(world) = World::new(1) else { return };
    let daemon = Daemon::start(&world.hosts[0], &elected(200, ""));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(daemon.program_for_everybody());
    let output = command.args(["release", "web", "--socket"]).arg(daemon.file("vipd.sock")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("user 65534 may not control this vipd"), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
}

#[test]
fn silent_clients_of_the_metrics_take_no_descriptors_from_it_and_the_port_moves() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let metrics = |at: &str| elected(200, "") + &format!("[metrics]\nlisten = \"{at}:9150\"\n");
    let mut daemon = Daemon::start(host, &metrics("127.0.0.1"));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let before = open_files(&daemon);
    let connect = || (0..100).map(|_| TcpStream::connect("127.0.0.1:9150").unwrap()).collect::<Vec<_>>();
    let clients = host.namespace.enter(connect).join().unwrap();
    // It has had its turn when it has answered.
    assert!(daemon.vipd("status --json").status.success());
    let after = open_files(&daemon);
    assert!(after <= before + 20, "{before} descriptors before, {after} after");
    drop(clients);

    daemon.rewrite(&metrics("0.0.0.0"));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    let ask = || {
        let mut stream = TcpStream::connect("198.18.5.10:9150").ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let mut last = None;
    until("it is served at the other address", || {
        last = host.namespace.enter(ask).join().unwrap();
        last.as_ref().is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    let failed: Vec<_> = daemon.events().into_iter().filter(|event| event["event"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:?}");
}
