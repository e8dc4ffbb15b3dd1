//! An interface that gets another hardware address while it carries addresses, as a bond with `fail_over_mac` does.

use pnet::util::MacAddr;

use super::bed::observer::{Observer, now};
use super::bed::world::{World, until};
use super::instance::{Daemon, managed, unhurried};

#[test]
fn another_hardware_address_is_announced_and_changes_nothing_else() {
    const OTHER: MacAddr = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x99);
    for elects in [true, false] {
        let Some(world) = World::new(2) else { return };
        let host = &world.hosts[0];
        let mut daemon = Daemon::start(host, &if elects { unhurried(200, "") } else { managed("") });
        assert!(elects || daemon.vipd("acquire web").status.success());
        daemon.until("it is Active", |daemon| daemon.instance().state == "Active" && host.has("198.18.5.200"));
        let (before, observer) = (daemon.events().len(), Observer::new(&world.hosts[1].namespace));

        let changed = now();
        host.namespace.ip(&format!("link set eth0 address {OTHER}\n"));
        let vip = "198.18.5.200".parse().unwrap();
        until("the new address is announced", || {
            observer.look(changed, |frames| {
                frames.iter().any(|frame| frame.announces() == Some(vip) && frame.from() == Some(OTHER))
            })
        });
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(daemon.instance().state, "Active");
        let events = daemon.events();
        assert!(events[before..].is_empty(), "{:?}", &events[before..]);
    }
}
