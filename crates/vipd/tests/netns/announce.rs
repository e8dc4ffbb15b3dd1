//! What `assign` puts on the wire, and what the neighbours make of it.

use std::time::Instant;

use bc_model::vip::{VipOutcome, VipReport};
use pnet::packet::Packet as _;
use pnet::packet::arp::{ArpOperation, ArpOperations, ArpPacket};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::util::MacAddr;
use vipd::announce::ROUNDS;
use vipd::probe::DEFAULT_TIME;

use crate::sniffer::Sniffer;
use crate::world::{World, until};

/// The ARP packets of one host about 198.18.5.200: operation and sender address.
fn arp_of(mac: MacAddr, frames: &[Vec<u8>]) -> Vec<(ArpOperation, String)> {
    frames
        .iter()
        .filter_map(|frame| {
            let ethernet = EthernetPacket::new(frame)?;
            let arp = ArpPacket::new(ethernet.payload()).filter(|_| ethernet.get_ethertype() == EtherTypes::Arp)?;
            let about_it = arp.get_target_proto_addr().to_string() == "198.18.5.200" && ethernet.get_source() == mac;
            about_it.then(|| {
                assert_eq!(arp.get_sender_hw_addr(), mac);
                assert_eq!(ethernet.get_destination(), MacAddr::broadcast());
                (arp.get_operation(), arp.get_sender_proto_addr().to_string())
            })
        })
        .collect()
}

#[test]
fn assign_probes_three_times_then_announces_as_request_and_as_reply() {
    let Some(world) = World::new(2) else { return };
    let mut sniffer = Sniffer::new(&world);
    let started = Instant::now();
    let assigned = world.hosts[0].vipd("assign 198.18.5.200/24 --dev eth0");
    assert_eq!((assigned.code, assigned.err.as_str()), (Some(0), ""), "{assigned:?}");
    assert_eq!(
        assigned.out,
        "198.18.5.200/24 assigned to eth0; 6 announcements; no lease: it stays until it is unassigned\n"
    );
    assert_eq!(world.hosts[0].addresses()[..2], ["198.18.5.10/24", "198.18.5.200/24 secondary"]);

    let frames = sniffer.frames();
    let arp = arp_of(world.hosts[0].mac, &frames);
    let said: Vec<_> = arp.iter().map(|(operation, sender)| (*operation, sender.as_str())).collect();
    let probe = (ArpOperations::Request, "0.0.0.0");
    let round = [(ArpOperations::Request, "198.18.5.200"), (ArpOperations::Reply, "198.18.5.200")];
    assert_eq!(said, [[probe; 3].as_slice(), &round, &round, &round].concat(), "and nothing else");

    assert!(started.elapsed() >= DEFAULT_TIME + ROUNDS[2], "it took its time to listen and to repeat itself");
}

#[test]
fn assign_of_ipv6_probes_as_dad_does_and_advertises_with_override() {
    let Some(world) = World::new(2) else { return };
    let mut sniffer = Sniffer::new(&world);
    let assigned = world.hosts[0].vipd("assign fd00:5::200/64 --dev eth0");
    assert_eq!((assigned.code, assigned.err.as_str()), (Some(0), ""), "{assigned:?}");

    let vip: std::net::Ipv6Addr = "fd00:5::200".parse().unwrap();
    let frames = sniffer.frames();
    // Type, source, destination, hop limit, flags, length of the ICMPv6 message.
    let messages: Vec<_> = frames
        .iter()
        .filter(|frame| frame.len() >= 78 && frame[12..14] == [0x86, 0xdd] && frame[62..78] == vip.octets())
        .map(|frame| {
            let address = |at: usize| std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
            (frame[54], address(22).to_string(), address(38).to_string(), frame[21], frame[58], frame.len() - 54)
        })
        .collect();
    let probe = (135, "::".to_owned(), "ff02::1:ff00:200".to_owned(), 255, 0, 24);
    let advert = (136, "fd00:5::200".to_owned(), "ff02::1".to_owned(), 255, 0x20, 32);
    let expected: Vec<_> = std::iter::repeat_n(probe, 3).chain(std::iter::repeat_n(advert, 3)).collect();
    assert_eq!(messages, expected, "the kernel does no detection of its own");

    let info = world.hosts[0].namespace.ip_json("address show dev eth0 to fd00:5::200");
    let info = &info[0]["addr_info"][0];
    assert_eq!(info["deprecated"], true, "the host does not pick it as source of its own connections");
    assert_ne!(info["tentative"], true);
}

#[test]
fn a_router_keeps_its_router_flag() {
    let Some(world) = World::new(1) else { return };
    let mut sniffer = Sniffer::new(&world);
    let host = &world.hosts[0];
    let forward = host.namespace.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/forwarding", "1"));
    forward.join().unwrap().unwrap();
    assert_eq!(host.vipd("assign fd00:5::200/64 --dev eth0 --no-probe").code, Some(0));
    let frames = sniffer.frames();
    let flags: Vec<_> =
        frames.iter().filter(|frame| frame.len() == 86 && frame[54] == 136).map(|frame| frame[58]).collect();
    assert_eq!(flags, [0xa0; 3]);
}

#[test]
fn p20_the_neighbours_learn_the_new_place_without_asking() {
    let Some(world) = World::new(3) else { return };
    let [new, old, client] = &world.hosts[..] else { unreachable!("three hosts") };
    for (vip, net) in [("198.18.5.200", "198.18.5.200/24"), ("fd00:5::200", "fd00:5::200/64")] {
        let address = vip.parse().unwrap();
        old.namespace.ip(&format!("address add {net} dev eth0 {}\n", if vip.contains(':') { "nodad" } else { "" }));
        client.talk_to(address);
        until("the client knows the old place", || client.neighbour(address) == Some(old.mac.to_string()));

        old.namespace.ip(&format!("address del {net} dev eth0\n"));
        assert_eq!(new.vipd(&format!("assign {net} --dev eth0")).code, Some(0));
        assert_eq!(client.neighbour(address), Some(new.mac.to_string()), "{vip}: the cache of the client");
    }
}

#[test]
fn what_is_held_already_is_announced_again_without_a_probe() {
    let Some(world) = World::new(2) else { return };
    let host = &world.hosts[0];
    assert_eq!(host.vipd("assign 198.18.5.200/24 --dev eth0 --no-probe").code, Some(0));

    let mut sniffer = Sniffer::new(&world);
    let again = host.vipd("assign 198.18.5.200/24 --dev eth0 --json --after-fence go1");
    assert_eq!(again.code, Some(0), "{again:?}");
    let report: VipReport = serde_json::from_str(&again.out).unwrap();
    assert_eq!(report.changes[0].outcome, VipOutcome::AlreadyHeld);
    assert_eq!((report.changes[0].announcements, report.after_fence.as_deref()), (6, Some("go1")));
    let frames = sniffer.frames();
    assert!(arp_of(host.mac, &frames).iter().all(|(_, sender)| sender == "198.18.5.200"));
    assert_eq!(arp_of(host.mac, &frames).len(), 6);
}

#[test]
fn a_dry_run_sends_nothing_and_changes_nothing() {
    let Some(world) = World::new(2) else { return };
    let mut sniffer = Sniffer::new(&world);
    let host = &world.hosts[0];
    let planned = host.vipd("assign 198.18.5.200/24 --dev eth0 --dry-run");
    assert_eq!(
        planned.out,
        "would probe 198.18.5.200/24 dev eth0: 3 ARP probes in 700 ms\n\
         would run: ip address add 198.18.5.200/24 dev eth0 proto 0x56\n\
         would announce 198.18.5.200/24 dev eth0: gratuitous ARP as request and as reply, 3 times\n"
    );
    assert_eq!(planned.code, Some(0));
    assert!(!host.has("198.18.5.200"));
    assert!(arp_of(host.mac, &sniffer.frames()).is_empty());
}
