//! What an elected instance depends on, and what it tells.

use std::fs;

use super::bed::frame::Frame;
use super::bed::observer::now;
use super::bed::site::Site;
use super::bed::world::{Host, World, until};
use super::instance::{Daemon, elected, managed, unhurried};

#[test]
fn an_interface_that_appears_later_is_waited_for() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let config = elected(200, "").replace("eth0", "late0");
    let mut daemon = Daemon::start(host, &config);
    assert_eq!(daemon.instance().waiting.as_deref(), Some("the interface does not exist"));
    host.namespace.ip("link add late0 type veth peer name late1\naddress add 198.18.6.1/24 dev late0\n");
    daemon.until("it is down", |daemon| daemon.instance().waiting.as_deref() == Some("the interface is down"));
    host.namespace.ip("link set late1 up\nlink set late0 up\n");
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    host.namespace.ip("link set late0 down\n");
    daemon.until("it has stepped back", |daemon| daemon.instance().state == "Initialize");
    let there = host.namespace.ip_json("address show dev late0 to 198.18.5.200");
    assert!(!there.to_string().contains("198.18.5.200"), "{there}");
}

/// Whoever is deaf would be Active beside its peer.
#[test]
fn a_router_on_the_port_of_a_bridge_waits() {
    let Some(world) = World::new(2) else { return };
    let [host, peer] = &world.hosts[..] else { panic!("two") };
    let mut daemon = Daemon::start(host, &elected(200, ""));
    let mut other = Daemon::start(peer, &elected(100, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    host.namespace.ip("link add bridge0 up type bridge\nlink set eth0 master bridge0\n");
    let why = "the interface is a port of another, which takes what peers send; name that one";
    daemon.until("it has stepped back", |daemon| daemon.instance().waiting.as_deref() == Some(why));
    other.until("its peer has taken over", |other| other.instance().state == "Active");
    assert!(!host.has("198.18.5.200"));
    host.namespace.ip("link set eth0 nomaster\n");
    daemon.until("it is Active again", |daemon| daemon.instance().state == "Active");
}

#[test]
fn a_check_that_fails_moves_the_priority_or_takes_the_instance_out() {
    let Some(world) = World::new(1) else { return };
    let checks = "checks = [\"up\", { name = \"weighs\", weight = -50 }]\n\
                  [[check]]\nname = \"up\"\ncommand = [\"/usr/bin/test\", \"-e\", \"DIR/up\"]\ninterval = \"50ms\"\ntimeout = \"5s\"\nfall = 2\n\
                  [[check]]\nname = \"weighs\"\ncommand = [\"/usr/bin/test\", \"-e\", \"DIR/light\"]\ninterval = \"50ms\"\ntimeout = \"5s\"";
    let mut daemon = Daemon::start(&world.hosts[0], &elected(200, checks));
    daemon.until("it waits for the check", |daemon| daemon.instance().waiting.as_deref() == Some("check up is down"));
    fs::write(daemon.file("up"), "").unwrap();
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    assert_eq!(daemon.instance().priority, Some(150), "while the other check is down");
    fs::write(daemon.file("light"), "").unwrap();
    daemon.until("the weight is lifted", |daemon| daemon.instance().priority == Some(200));
    fs::remove_file(daemon.file("up")).unwrap();
    daemon.until("it is out", |daemon| daemon.instance().state == "Initialize");
    assert!(!world.hosts[0].has("198.18.5.200"));
}

#[test]
fn the_hook_runs_once_per_event_and_one_at_a_time() {
    let Some(world) = World::new(1) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (log, hook) = (directory.path().join("log"), directory.path().join("hook"));
    // Two runs at the same time would mix their lines.
    fs::write(&hook, format!("#!/bin/sh\necho begin >> {0}\ncat >> {0}\nsleep 0.05\necho end >> {0}\n", log.display()))
        .unwrap();
    let command = format!("[hook]\ncommand = [\"/bin/sh\", {:?}]\n", hook.display().to_string());
    let mut daemon = Daemon::start(&world.hosts[0], &(elected(200, "") + &command));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    // What was read is what is looked at: it may run again at any time.
    let mut text = String::new();
    until("the hook has run for it, and has ended", || {
        text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("\"Active\",\"reason\"") && text.ends_with("end\n")
    });
    let lines: Vec<_> = text.lines().collect();
    for run in lines.chunks(3) {
        assert_eq!((run[0], run[2]), ("begin", "end"), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(run[1]).is_ok(), "{text}");
    }
}

#[test]
fn a_reload_changes_what_differs_and_refuses_what_is_wrong() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let before = daemon.instance();

    daemon.rewrite("[[instance]]\nname = \"web\"\n");
    let refused = daemon.vipd("reload");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`mode` is missing"), "{refused:?}");
    assert_eq!(daemon.instance().state, "Active");

    let more = unhurried(180, "").replace("[\"198.18.5.200/24\"]", "[\"198.18.5.200/24\", \"198.18.5.210/24\"]");
    daemon.rewrite(&more);
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    daemon.until("the new address is there", |_| host.has("198.18.5.210"));
    let after = daemon.instance();
    assert_eq!((after.priority, after.state.as_str()), (Some(180), "Active"));
    assert!(after.state_age_ms >= before.state_age_ms, "it did not begin anew");

    daemon.rewrite(&unhurried(180, ""));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    daemon.until("the address is gone", |_| !host.has("198.18.5.210"));
    assert!(host.has("198.18.5.200"));
}

#[test]
fn a_second_owner_is_reported_and_the_address_announced_again() {
    let Some(world) = World::new(2) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let forced = world.hosts[1].vipd("assign 198.18.5.200/24 --dev eth0 --force");
    assert_eq!(forced.code, Some(0), "{forced:?}");
    daemon.until("it has noticed", |daemon| daemon.events().iter().any(|event| event["event"] == "conflict"));
    assert_eq!(daemon.instance().state, "Active", "it defends the address");
}

/// Puts one advertisement of priority 100 and that interval on the wire, as a router that was Active on the other side of a
/// cut does, after `spoil` has had its way with the message.
fn advert_from(host: &Host, source: std::net::Ipv4Addr, interval_ms: u64, spoil: impl FnOnce(&mut Vec<u8>)) {
    let vips = [[198, 18, 5, 200]];
    let interval = vrrp::AdverInterval::from_millis(vrrp::Version::V3, interval_ms).unwrap();
    let priority = vrrp::AdvertPriority::Holding(vrrp::Priority::new(100).unwrap());
    let addresses = vrrp::AddressList::v4(&vips).unwrap();
    let advertisement = vrrp::Advertisement::new(vrrp::Vrid::new(51).unwrap(), priority, interval, addresses).unwrap();
    let endpoints = vrrp::wire::Endpoints::V4 { source, destination: vrrp::wire::IPV4_GROUP };
    let (mut message, mut frame) = (vec![0; 64], Vec::new());
    let length = advertisement.emit(endpoints, vrrp::wire::ChecksumForm::default(), &mut message).unwrap();
    message.truncate(length);
    spoil(&mut message);
    assert!(vipd::frame::vrrp::write(&mut frame, host.mac, endpoints, &message));
    send_from(host, frame);
}

#[test]
fn what_is_wrong_with_a_packet_is_counted_by_its_reason_and_said_once_a_minute() {
    let Some(world) = World::new(2) else { return };
    let jumbo = |link: &str| format!("link set {link} mtu 12000\n");
    world.wire.ip(&["port0", "port1", "br0"].map(jumbo).concat());
    world.hosts.iter().for_each(|host| host.namespace.ip(&jumbo("eth0")));
    let mut daemon = Daemon::start(&world.hosts[0], &(elected(200, "") + METRICS));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");

    let (peer, source) = (&world.hosts[1], std::net::Ipv4Addr::new(198, 18, 5, 11));
    for _ in 0..3 {
        advert_from(peer, source, 100, |message| message[6] ^= 1);
    }
    for _ in 0..2 {
        advert_from(peer, source, 200, |_| ());
    }
    // Longer than what is looked at: not even its header is believed.
    advert_from(peer, source, 100, |message| message.resize(10_000, 0));
    daemon.until("all have come in", |daemon| {
        let output = daemon.vipd("status --json");
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let instance = &status["instances"][0];
        instance["discards"]["checksum"] == 3 && instance["notices"]["other_interval"] == 2
    });
    let metrics = get(&world.hosts[0], "/metrics");
    for line in [
        "vipd_packets_discarded_total{instance=\"web\",reason=\"checksum\"} 3\n",
        "vipd_notices_total{instance=\"web\",notice=\"other_interval\"} 2\n",
        "vipd_malformed_packets_total{reason=\"header_truncated\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let log = daemon.process.log();
    for text in ["the checksum is wrong", "the advertisement interval is not the configured one"] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(text)).collect();
        assert!(matches!(lines.as_slice(), [line] if line.contains("WARN") && line.contains("198.18.5.11")), "{log}");
    }
}

#[test]
fn after_a_short_split_brain_the_one_that_stays_active_announces_again() {
    let Some(site) = Site::new() else { return };
    let hosts = &site.world.hosts;
    let mut high = Daemon::start(&hosts[0], &unhurried(200, ""));
    high.until("it is Active", |daemon| daemon.instance().state == "Active");
    // The rounds that follow a take-over are done.
    std::thread::sleep(std::time::Duration::from_millis(700));

    let healed = now();
    advert_from(&hosts[1], std::net::Ipv4Addr::new(198, 18, 5, 11), 500, |_| ());
    let vip = "198.18.5.200".parse().unwrap();
    // The neighbours may have learnt the loser's MAC address meanwhile; nobody but the winner can tell them.
    until("the winner announces again", || {
        let tells = |frame: &Frame| frame.announces() == Some(vip) && frame.from() == Some(hosts[0].mac);
        site.observer.look(healed, |frames| frames.iter().any(tells))
    });
    let left = |event: &serde_json::Value| event["from"] == "Active";
    assert!(!high.events().iter().any(left), "it has been Active all the time");
}

#[test]
fn the_members_of_a_sync_group_go_together() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    host.namespace.ip(
        "link add in0 type veth peer name in1\naddress add 198.18.6.1/24 dev in0\nlink set in1 up\nlink set in0 up\n",
    );
    let inner = elected(200, "").replace("web", "inner").replace("eth0", "in0").replace("198.18.5.200", "198.18.6.200");
    let group = "[[sync-group]]\nname = \"both\"\ninstances = [\"web\", \"inner\"]\n";
    let mut daemon = Daemon::start(host, &(elected(200, "") + &inner + group));
    daemon.until("the outer one is held", |_| host.has("198.18.5.200"));
    host.namespace.ip("link set in0 down\n");
    daemon.until("the outer one is let go of", |_| !host.has("198.18.5.200"));
    host.namespace.ip("link set in0 up\n");
    daemon.until("both are back", |_| host.has("198.18.5.200"));
}

const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:9150\"\n";

/// What the daemon on that host answers over HTTP.
fn get(host: &Host, path: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let ask = move || {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:9150").unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    host.namespace.enter(ask).join().unwrap()
}

#[test]
fn metrics_and_health_are_served_where_the_configuration_says() {
    let Some(world) = World::new(1) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &(unhurried(200, "") + METRICS));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let get = |path| get(&world.hosts[0], path);
    assert!(get("/healthz").starts_with("HTTP/1.1 200"), "{}", get("/healthz"));
    let metrics = get("/metrics");
    assert!(metrics.contains("vipd_active{instance=\"web\"} 1\n"), "{metrics}");
}

#[test]
fn unicast_peers_elect_each_other_where_there_is_no_multicast() {
    let Some(world) = World::new(2) else { return };
    let peer = |n: u8| format!("[instance.unicast]\npeers = [\"198.18.5.1{n}\"]\n");
    let mut high = Daemon::start(&world.hosts[0], &unhurried(200, &peer(1)));
    let mut low = Daemon::start(&world.hosts[1], &unhurried(100, &peer(0)));
    high.until("the higher priority is Active", |daemon| daemon.instance().state == "Active");
    low.until("the other hears it", |daemon| {
        daemon.instance().active == Some("198.18.5.10".parse().unwrap()) && daemon.instance().state == "Backup"
    });
    let handover = high.vipd("handover web");
    assert_eq!(String::from_utf8_lossy(&handover.stdout), "web handed over to 198.18.5.11\n", "{handover:?}");
    low.until("the peer has it", |daemon| daemon.instance().state == "Active" && world.hosts[1].has("198.18.5.200"));
    assert!(!world.hosts[0].has("198.18.5.200"));
    assert_eq!(high.instance().state, "Backup", "it yields to the lower priority that it gave the address to");
}

#[test]
fn a_daemon_that_overslept_steps_back_and_listens() {
    let Some(world) = World::new(2) else { return };
    let mut high = Daemon::start(&world.hosts[0], &elected(200, ""));
    high.until("it is Active", |daemon| daemon.instance().state == "Active");
    let mut low = Daemon::start(&world.hosts[1], &elected(100, ""));
    high.process.freeze();
    low.until("the peer has it", |daemon| daemon.instance().state == "Active");
    for pid in high.process.family() {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    }
    high.until("it has noticed", |daemon| {
        let reason = "was not running for longer than the peers wait";
        daemon.events().iter().any(|event| event["to"] == "Backup" && event["reason"] == reason)
    });
    high.until("it is Active again, by election", |daemon| daemon.instance().state == "Active");
    low.until("the other is Backup", |daemon| daemon.instance().state == "Backup");
}

#[test]
fn notifications_that_are_lost_are_looked_up() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &managed("lease = false"));
    assert_eq!(daemon.vipd("acquire web --force").status.code(), Some(0));
    daemon.until("the address is there", |_| host.has("198.18.5.200"));

    // It hears nothing while more happens than the kernel keeps for it, and then what concerns it.
    daemon.process.freeze();
    lose_notifications(host);
    host.namespace.ip("address del 198.18.5.200/24 dev eth0\n");
    daemon.process.thaw();
    daemon.until("the address is put back", |_| host.has("198.18.5.200"));
    daemon.until("it says so", |daemon| daemon.events().iter().any(|event| event["event"] == "restored"));
}

#[test]
fn what_was_told_before_notifications_were_lost_is_no_news() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &unhurried(200, "lease = false"));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    daemon.process.freeze();
    // The kernel keeps the first half of this, and not the second.
    host.namespace.ip("link set eth0 down\n");
    lose_notifications(host);
    host.namespace.ip("link set eth0 up\n");
    until("the link is up", || host.namespace.ip_json("link show dev eth0")[0]["operstate"] == "UP");
    daemon.process.thaw();
    // Longer than it takes to read what the kernel has kept.
    daemon.until("it has looked", |daemon| daemon.process.log().contains("looking again"));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(daemon.instance().state, "Active", "{:?}", daemon.instance().waiting);
}

#[test]
fn whoever_has_an_address_in_another_vlan_is_no_second_owner() {
    let Some(world) = World::new(2) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let conflicts = |daemon: &Daemon<'_>| daemon.events().iter().filter(|event| event["event"] == "conflict").count();
    // IEEE 802.1Q: three bits of priority, one of eligibility, twelve of VLAN.
    claim_from(&world.hosts[1], &[0x81, 0x00, 0x60, 0x07]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(conflicts(&daemon), 0, "that is another network");
    claim_from(&world.hosts[1], &[0x81, 0x00, 0x60, 0x00]);
    daemon.until("a priority is no VLAN", |daemon| conflicts(daemon) == 1);
}

/// Says by ARP that 198.18.5.200 is that host's, in a frame with this tag.
fn claim_from(host: &Host, tag: &[u8]) {
    let mac = host.mac.octets();
    let arp: &[u8] = &[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1];
    let (vip, nobody): (&[u8], &[u8]) = (&[198, 18, 5, 200], &[0; 6]);
    send_from(host, [&[0xff; 6], &mac[..], tag, arp, &mac, vip, nobody, vip].concat());
}

/// Puts a frame on the wire.
fn send_from(host: &Host, frame: Vec<u8>) {
    use pnet::datalink::{Channel, Config, channel, interfaces};
    let send = move || {
        let link = interfaces().into_iter().find(|link| link.name == "eth0").unwrap();
        let config = Config { write_buffer_size: 1 << 16, ..Config::default() };
        let Ok(Channel::Ethernet(mut sender, _)) = channel(&link, config) else { panic!("no Ethernet") };
        sender.send_to(&frame, None).unwrap().unwrap();
    };
    host.namespace.enter(send).join().unwrap();
}

/// Lets more happen than the kernel keeps for whoever does not read.
#[track_caller]
fn lose_notifications(host: &Host) {
    let flood = "address add 198.19.0.1/32 dev lo\naddress del 198.19.0.1/32 dev lo\n".repeat(4000);
    let mut lost = false;
    for _ in 0..100 {
        host.namespace.ip(&flood);
        lost = host.namespace.enter(has_lost_notifications).join().unwrap();
        if lost {
            break;
        }
    }
    assert!(lost, "the kernel has kept 800,000 notifications");
}

/// Whether a socket of this namespace that listens to links and addresses has lost something (proc(5), net/netlink).
fn has_lost_notifications() -> bool {
    const LINKS_AND_ADDRESSES: &str = "00000111";
    let text = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    text.lines().skip(1).any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns[3] == LINKS_AND_ADDRESSES && columns[8] != "0"
    })
}

#[test]
fn of_two_instances_that_are_one_virtual_router_under_two_names_of_the_interface_the_second_waits() {
    let Some(site) = Site::new() else { return };
    let host = &site.world.hosts[0];
    host.namespace.ip("link property add dev eth0 altname enp1s0\n");
    let second = unhurried(200, "").replace("web", "www").replace("eth0", "enp1s0").replace(".200/24", ".201/24");
    let peer = Daemon::start(&site.world.hosts[1], &unhurried(250, ""));
    let mut daemon = Daemon::start(host, &(unhurried(200, "") + &second));
    let instances = |daemon: &Daemon<'_>| {
        let output = daemon.vipd("status --json");
        let status: bc_model::vip::VipStatus = serde_json::from_slice(&output.stdout).unwrap();
        status.instances.unwrap()
    };
    daemon.until("the second waits", |daemon| {
        let waiting = instances(daemon)[1].waiting.clone();
        waiting.as_deref() == Some("web is virtual router 51 on this interface already")
    });
    daemon.until("the first hears its peer", |daemon| instances(daemon)[0].active.is_some());
    // An Active_Down_Interval and more.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(instances(&daemon)[0].state, "Backup", "{}", daemon.process.log());
    assert!(!host.has("198.18.5.200") && !host.has("198.18.5.201"));
    drop(peer);
    daemon.until("the first takes over", |daemon| instances(daemon)[0].state == "Active");
    // The second has its turn when the first is gone.
    daemon.rewrite(&second);
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active" && daemon.instance().name == "www");
}
