//! The owner of an address (priority 255): the address is the interface's own, and stays so.

use super::bed::world::{Host, PATIENCE, World};
use super::instance::{Daemon, unhurried};

/// The kernel's word on the address itself; its IPv6 neighbour on the interface is still being checked when a test begins.
fn own(host: &Host) -> serde_json::Value {
    host.namespace.ip_json("address show dev eth0 to 198.18.5.10")
}

#[test]
fn the_owners_own_address_outlives_the_daemon_as_it_was() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let config = unhurried(255, "").replace("198.18.5.200", "198.18.5.10");
    let before = own(host);
    assert!(before.to_string().contains("198.18.5.10"), "{before}");
    for kill in [false, true] {
        let mut daemon = Daemon::start(host, &config);
        daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
        let refused = daemon.vipd("handover web");
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        assert_eq!(daemon.instance().state, "Active");
        if kill {
            daemon.process.kill();
        } else {
            daemon.process.terminate();
            assert!(daemon.process.wait(PATIENCE).success());
        }
        assert_eq!(own(host), before, "killed: {kill}");
    }
    // What a killed daemon left is looked for by the next one.
    let mut daemon = Daemon::start(host, &config);
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    assert_eq!(own(host), before);
}
