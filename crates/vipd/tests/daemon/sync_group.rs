//! Sync groups of two hosts on two networks, which do not always fail together.
//!
//! ```text
//!   host 0 eth0 ─ br0 ─ eth0 host 1      VRID 51, 198.18.5.200
//!   host 0 in0 ───────── in0 host 1      VRID 52, 198.18.6.200
//! ```

use std::time::Duration;

use super::bed::frame::Advert;
use super::bed::observer::{Observer, now};
use super::bed::world::World;
use super::instance::{Daemon, unhurried};

const GROUP: &str = "[[sync-group]]\nname = \"both\"\ninstances = [\"web\", \"inner\"]\n";
/// Two Active_Down_Intervals of the lowest priority.
const LONG: Duration = Duration::from_millis(3600);

fn world() -> Option<World> {
    let world = World::new(2)?;
    let [first, second] = &world.hosts[..] else { panic!("two hosts") };
    first.namespace.ip(&format!(
        "link add in0 type veth peer name in0 netns {}\naddress add 198.18.6.10/24 dev in0\nlink set in0 up\n",
        second.namespace.path()
    ));
    second.namespace.ip("address add 198.18.6.11/24 dev in0\nlink set in0 up\n");
    Some(world)
}

fn inner(priority: u8, more: &str) -> String {
    unhurried(priority, more)
        .replace("web", "inner")
        .replace("eth0", "in0")
        .replace("198.18.5.200", "198.18.6.200")
        .replace("= 51", "= 52")
}

fn both(priority: u8, more: &str) -> String {
    unhurried(priority, more) + &inner(priority, more) + GROUP
}

fn claims(advert: &Advert, host: usize) -> bool {
    advert.priority > 0 && advert.source == std::net::IpAddr::from([198, 18, 6, 10 + u8::try_from(host).unwrap()])
}

#[test]
fn a_group_leaves_a_living_active_router_in_peace_when_one_of_its_networks_is_cut() {
    for more in ["", "preempt = false"] {
        let Some(world) = world() else { return };
        let mut high = Daemon::start(&world.hosts[0], &both(200, more));
        high.until("the first host has both", |_| {
            world.hosts[0].has("198.18.5.200") && world.hosts[0].has("198.18.6.200")
        });
        let mut low = Daemon::start(&world.hosts[1], &both(100, more));
        low.until("it hears the first on both", |daemon| daemon.instances().iter().all(|one| one.active.is_some()));

        let observer = Observer::new(&world.hosts[1].namespace);
        let cut = now();
        world.wire.ip("link set port0 nomaster\n");
        std::thread::sleep(LONG);
        let claimed: Vec<_> = observer.adverts(52, cut).into_iter().filter(|advert| claims(advert, 1)).collect();
        assert!(claimed.is_empty(), "{more}: on the healthy network; {}", observer.story(cut));
        assert!(!world.hosts[1].has("198.18.6.200") && !world.hosts[1].has("198.18.5.200"), "{more}");
        let asserted = observer.adverts(52, cut).iter().filter(|advert| claims(advert, 0)).count();
        assert!(asserted >= 3, "{more}: the first goes on; {}", observer.story(cut));

        let waits: Vec<_> = low.instances().into_iter().map(|one| (one.name, one.waiting)).collect();
        let why = "another member of the sync group hears an Active router, or cannot run";
        assert_eq!(waits, [("inner".to_owned(), None), ("web".to_owned(), Some(why.to_owned()))], "{more}");

        // With nobody left to bear with, it takes both.
        high.process.terminate();
        low.until("it has both", |_| world.hosts[1].has("198.18.5.200") && world.hosts[1].has("198.18.6.200"));
    }
}

#[test]
fn a_member_that_begins_anew_behind_a_peer_takes_the_group_with_it() {
    let Some(world) = world() else { return };
    let host = &world.hosts[0];
    host.namespace.ip(
        "link add own0 type veth peer name own1\naddress add 198.18.6.12/24 dev own0\nlink set own1 up\nlink set own0 up\n",
    );
    let mut peer = Daemon::start(&world.hosts[1], &inner(250, ""));
    peer.until("the peer is Active", |daemon| daemon.instance().state == "Active");
    let mut daemon = Daemon::start(host, &both(200, "").replace("in0", "own0"));
    daemon.until("it has both", |_| host.has("198.18.5.200") && host.has("198.18.6.200"));

    daemon.rewrite(&both(200, ""));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    daemon.until("the other is let go of", |_| !host.has("198.18.5.200"));
    std::thread::sleep(LONG);
    assert!(!host.has("198.18.5.200") && !host.has("198.18.6.200"), "{:?}", daemon.events());

    peer.process.terminate();
    daemon.until("it has both again", |_| host.has("198.18.5.200") && host.has("198.18.6.200"));
}
