//! Metrics at an address that somebody else has: said with the address, and served as soon as it is free.

use std::net::{TcpListener, TcpStream};

use super::bed::world::{World, until};
use super::instance::{Daemon, managed};

#[test]
fn metrics_are_served_as_soon_as_their_port_is_free() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let daemon = Daemon::start(host, &managed(""));
    let taken = host.namespace.enter(|| TcpListener::bind("127.0.0.1:9150").unwrap()).join().unwrap();
    daemon.rewrite(&(managed("") + "[metrics]\nlisten = \"127.0.0.1:9150\"\n"));
    let reloaded = daemon.vipd("reload");
    let said = String::from_utf8(reloaded.stdout).unwrap();
    assert!(said.contains("; warning: serving metrics at 127.0.0.1:9150: Address already in use"), "{said}");
    assert_eq!(reloaded.status.code(), Some(0), "the rest is carried out");
    drop(taken);
    until("it is served", || host.namespace.enter(|| TcpStream::connect("127.0.0.1:9150").is_ok()).join().unwrap());
    let failed = daemon.events().iter().filter(|event| event["event"] == "failed").count();
    assert_eq!(failed, 1, "said once:\n{}", daemon.process.log());
}
