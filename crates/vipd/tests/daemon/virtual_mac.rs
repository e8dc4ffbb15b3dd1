//! A virtual router with a MAC address of its own (RFC 9568 §7.3), between hosts that answer ARP as Linux does by itself.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use pnet::util::MacAddr;

use super::bed::frame::Frame;
use super::bed::observer::{Observer, now};
use super::bed::world::{Host, PATIENCE, World, until};
use super::instance::{Daemon, elected, unhurried};

const V4: &str = "virtual-mac = true";
const VIRTUAL_V4: MacAddr = MacAddr(0, 0, 0x5e, 0, 1, 51);
const VIRTUAL_V6: MacAddr = MacAddr(0, 0, 0x5e, 0, 2, 51);

fn v6(priority: u8) -> String {
    unhurried(priority, V4).replace("\"198.18.5.200/24\"", "\"fe80::5:200/64\", \"fd00:5::200/64\"")
}

/// Something on that host accepts connections to any address.
fn serve(host: &Host) {
    let serve = || {
        let listener = TcpListener::bind("[::]:8080").unwrap();
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"here");
        }
    };
    // Ends with the test's process.
    drop(host.namespace.enter(serve));
}

/// Whether something there accepts connections within half a second.
fn reaches(host: &Host, vip: &str) -> bool {
    let to = SocketAddr::from((vip.parse::<IpAddr>().unwrap(), 8080));
    let connect = move || TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_ok();
    host.namespace.enter(connect).join().unwrap()
}

/// The names of our macvlans there.
fn bearers(host: &Host) -> Vec<String> {
    let links = host.namespace.ip_json("link show type macvlan");
    let name = |link: &serde_json::Value| link["ifname"].as_str().map(str::to_owned);
    links.as_array().unwrap().iter().filter_map(name).collect()
}

fn sysctl(host: &Host, key: &str) -> String {
    let path = format!("/proc/sys/net/{key}");
    host.namespace.enter(move || std::fs::read_to_string(path).unwrap()).join().unwrap().trim().to_owned()
}

fn set(host: &Host, key: &str, value: &'static str) {
    let path = format!("/proc/sys/net/{key}");
    host.namespace.enter(move || std::fs::write(path, value).unwrap()).join().unwrap();
}

#[test]
fn it_carries_the_traffic_and_the_hosts_own_mac_address_never_speaks_for_it() {
    let Some(world) = World::new(3) else { return };
    let observer = Observer::new(&world.hosts[2].namespace);
    // The strictest that an administrator may have set: what comes in on the macvlan does not leave by it.
    world.hosts[..2].iter().for_each(|host| set(host, "ipv4/conf/all/rp_filter", "1"));
    world.hosts[..2].iter().for_each(serve);
    let client = &world.hosts[2];
    let mut high = Daemon::start(&world.hosts[0], &elected(200, V4));
    high.until("it is Active", |daemon| daemon.instance().state == "Active");
    let mut low = Daemon::start(&world.hosts[1], &elected(100, V4));

    until("the client reaches it", || reaches(client, "198.18.5.200"));
    let vip: IpAddr = "198.18.5.200".parse().unwrap();
    assert_eq!(client.neighbour(vip), Some(VIRTUAL_V4.to_string()));
    client.talk_to("198.18.5.10".parse().unwrap());
    until("the client knows the host itself by its own", || {
        client.neighbour("198.18.5.10".parse().unwrap()) == Some(world.hosts[0].mac.to_string())
    });
    // Who must ask for the client again asks in its own name, and not in that of the address that is being talked to.
    world.hosts[0].namespace.ip("neighbour flush dev eth0\n");
    until("the client still reaches it", || reaches(client, "198.18.5.200"));
    assert_eq!(client.neighbour(vip), Some(VIRTUAL_V4.to_string()));
    let from = |frame: &Frame| frame.from();
    let sources = observer.look(Duration::ZERO, |frames| {
        let advertises = |frame: &&Frame| frame.advert().is_some();
        frames.iter().filter(advertises).map(from).collect::<Vec<_>>()
    });
    assert!(sources.iter().all(|mac| *mac == Some(VIRTUAL_V4)), "{sources:?}");

    let killed = now();
    high.process.kill();
    low.until("the peer has it", |daemon| daemon.instance().state == "Active");
    until("the client reaches the peer", || reaches(client, "198.18.5.200"));
    let liars = observer.look(Duration::ZERO, |frames| {
        let lies = |frame: &&Frame| frame.speaks_for(vip) && frame.from() != Some(VIRTUAL_V4);
        frames.iter().filter(lies).map(|frame| (frame.at.saturating_sub(killed), frame.from())).collect::<Vec<_>>()
    });
    assert_eq!(liars, [], "nobody but the virtual MAC address speaks for the address");

    assert_eq!(bearers(&world.hosts[0]).len(), 1, "the dead daemon's is left, silent");
    let mut again = Daemon::start(&world.hosts[0], &elected(200, V4));
    again.until("it is Active again", |daemon| daemon.instance().state == "Active");
    assert!(again.process.log().contains("removed what an earlier vipd had left"), "{}", again.process.log());
    until("the client reaches it again", || reaches(client, "198.18.5.200"));
    world.hosts[0].namespace.ip(&format!("link delete {}\n", bearers(&world.hosts[0])[0]));
    again.until("what somebody deleted is made anew", |daemon| {
        daemon.instance().state == "Active" && bearers(&world.hosts[0]).len() == 1
    });
    again.process.terminate();
    assert!(again.process.wait(PATIENCE).success());
    assert!(bearers(&world.hosts[0]).is_empty(), "{:?}", bearers(&world.hosts[0]));
    for key in ["ipv4/conf/eth0/arp_ignore", "ipv4/conf/eth0/arp_announce"] {
        assert_eq!(sysctl(&world.hosts[0], key), "0", "{key} is as it was");
    }
}

#[test]
fn a_backup_has_its_virtual_mac_address_switched_off() {
    let Some(world) = World::new(2) else { return };
    let mut high = Daemon::start(&world.hosts[0], &unhurried(200, V4));
    let mut low = Daemon::start(&world.hosts[1], &unhurried(100, V4));
    let is_up = |host: &Host| {
        let link = host.namespace.ip_json(&format!("link show dev {}", bearers(host)[0]))[0].clone();
        link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP")
    };
    high.until("it is Active", |daemon| daemon.instance().state == "Active");
    low.until("it is Backup", |daemon| daemon.instance().active.is_some());
    until("the Active's is up", || [is_up(&world.hosts[0]), is_up(&world.hosts[1])] == [true, false]);
    assert_eq!(high.vipd("handover web").status.code(), Some(0));
    low.until("the peer has it", |daemon| daemon.instance().state == "Active");
    until("the peer's is up", || [is_up(&world.hosts[0]), is_up(&world.hosts[1])] == [false, true]);
}

#[test]
fn it_carries_ipv6_without_an_address_of_its_own() {
    let Some(world) = World::new(3) else { return };
    let client = &world.hosts[2];
    world.hosts[..2].iter().for_each(serve);
    let mut high = Daemon::start(&world.hosts[0], &v6(200));
    high.until("it is Active", |daemon| daemon.instance().state == "Active");
    let mut low = Daemon::start(&world.hosts[1], &v6(100));
    until("the client reaches it", || reaches(client, "fd00:5::200"));
    assert_eq!(client.neighbour("fd00:5::200".parse().unwrap()), Some(VIRTUAL_V6.to_string()));
    let name = &bearers(&world.hosts[0])[0];
    let there = world.hosts[0].namespace.ip_json(&format!("address show dev {name}"));
    let mut own: Vec<_> = there[0]["addr_info"].as_array().unwrap().iter().map(|one| one["local"].clone()).collect();
    own.sort_by_key(ToString::to_string);
    assert_eq!(own, ["fd00:5::200", "fe80::5:200"], "and none that was made from its MAC address");
    low.until("the peer hears it", |daemon| daemon.instance().active.is_some());
    assert_eq!(high.vipd("handover web").status.code(), Some(0));
    low.until("the peer has it", |daemon| daemon.instance().state == "Active");
    until("the client reaches the peer", || reaches(client, "fd00:5::200"));
    assert_eq!(client.neighbour("fd00:5::200".parse().unwrap()), Some(VIRTUAL_V6.to_string()));
}

#[test]
fn what_a_dead_daemon_left_goes_when_everything_is_unassigned() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    set(host, "ipv4/conf/eth0/arp_announce", "1");
    let mut daemon = Daemon::start(host, &unhurried(200, V4));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    assert_eq!((sysctl(host, "ipv4/conf/eth0/arp_ignore"), bearers(host).len()), ("1".to_owned(), 1));
    daemon.process.kill();
    let unassigned = host.vipd("unassign --all");
    assert_eq!(unassigned.code, Some(0), "{unassigned:?}");
    assert!(bearers(host).is_empty(), "{:?}", bearers(host));
    assert_eq!(sysctl(host, "ipv4/conf/eth0/arp_ignore"), "0");
    assert_eq!(sysctl(host, "ipv4/conf/eth0/arp_announce"), "1");
}

#[test]
fn with_accept_false_the_address_is_found_and_not_reached() {
    let Some(world) = World::new(2) else { return };
    serve(&world.hosts[0]);
    let mut daemon = Daemon::start(&world.hosts[0], &unhurried(200, "accept = false"));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let client = &world.hosts[1];
    until("it is found", || {
        assert!(!reaches(client, "198.18.5.200"));
        client.neighbour("198.18.5.200".parse().unwrap()) == Some(world.hosts[0].mac.to_string())
    });
    until("its own address, which is another matter, is reached", || reaches(client, "198.18.5.10"));
    daemon.rewrite(&unhurried(200, ""));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    until("it is reached", || reaches(client, "198.18.5.200"));
}

#[test]
fn whoever_changes_the_mac_address_is_backup_of_itself_for_one_skew_time() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    for (more, macvlans) in [(V4, 1), ("", 0)] {
        let before = daemon.events().len();
        daemon.rewrite(&unhurried(200, more));
        assert_eq!(daemon.vipd("reload").status.code(), Some(0));
        daemon.until("it is Active again", |daemon| daemon.instance().state == "Active" && host.has("198.18.5.200"));
        until("the macvlan has come or gone", || bearers(host).len() == macvlans);
        let events = daemon.events().split_off(before);
        let became_active = events.iter().find(|event| event["to"] == "Active");
        let reason = became_active.map(|event| event["reason"].as_str().unwrap_or_default().to_owned());
        assert_eq!(
            reason.as_deref(),
            Some("198.18.5.10 stepped down"),
            "not after an Active_Down_Interval: {events:?}"
        );
    }
}
