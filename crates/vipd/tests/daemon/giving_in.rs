//! `on-conflict = "release"`: another host claims an address, and whoever held it says so.

use super::bed::world::{PATIENCE, World};
use super::instance::{Daemon, elected, managed};

const RELEASE: &str = "on-conflict = \"release\"";

#[test]
fn an_elected_instance_steps_out_and_says_who_claims_its_address() {
    let Some(world) = World::new(2) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &elected(200, RELEASE));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active" && world.hosts[0].has("198.18.5.200"));
    let forced = world.hosts[1].vipd("assign 198.18.5.200/24 --dev eth0 --force");
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let reason = format!("198.18.5.200 is in use by {}", world.hosts[1].mac);
    daemon.until("it says so", |daemon| daemon.instance().waiting.as_deref() == Some(reason.as_str()));
    let told = daemon.events();
    assert!(told.iter().any(|event| event["event"] == "waiting" && event["reason"] == reason), "{told:?}");
    let let_go = |event: &serde_json::Value| event["from"] == "Active" && event["reason"] == reason;
    assert!(told.iter().any(let_go), "{told:?}");
    assert!(daemon.instance().conflicts > 0);
    assert_eq!(world.hosts[1].vipd("unassign 198.18.5.200/24 --dev eth0").code, Some(0));
    daemon.until("it is Active again", |daemon| daemon.instance().state == "Active");
}

#[test]
fn a_managed_instance_that_let_go_says_why_until_it_is_acquired_again() {
    let Some(world) = World::new(2) else { return };
    let metrics = "[metrics]\nlisten = \"127.0.0.1:9150\"\n";
    let mut daemon = Daemon::start(&world.hosts[0], &(managed(RELEASE) + metrics));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    let status = |daemon: &Daemon<'_>| String::from_utf8(daemon.vipd("status").stdout).unwrap();
    assert!(!status(&daemon).contains("conflict"), "nothing has happened yet");
    let forced = world.hosts[1].vipd("assign 198.18.5.201/24 --dev eth0 --force");
    assert_eq!(forced.code, Some(0), "{forced:?}");
    daemon.until("it has let go", |daemon| daemon.instance().state == "Backup" && !world.hosts[0].has("198.18.5.200"));
    let says = format!("let go: 198.18.5.201 is in use by {}; vipd acquire web asks again", world.hosts[1].mac);
    assert_eq!(daemon.instance().waiting, Some(says.clone()));
    assert!(status(&daemon).contains(&format!(", 1 conflicts; waiting: {says}\n")), "{}", status(&daemon));
    let get = || {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect("127.0.0.1:9150").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let metrics = world.hosts[0].namespace.enter(get).join().unwrap();
    assert!(metrics.contains("vipd_conflicts_total{instance=\"web\"} 1\n"), "{metrics}");

    assert_eq!(world.hosts[1].vipd("unassign 198.18.5.201/24 --dev eth0").code, Some(0));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    assert_eq!(daemon.instance().waiting, None);
    world.hosts[0].namespace.ip("address del 198.18.5.200/24 dev eth0\n");
    daemon.until("it is put back, and counted", |daemon| daemon.instance().restores == 1);
}
