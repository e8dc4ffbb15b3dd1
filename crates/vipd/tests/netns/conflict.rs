//! No address without proof: another host has it, or is about to take it.

use bc_model::vip::{VipOutcome, VipReport};

use crate::sniffer::Sniffer;
use crate::world::{World, until};

#[test]
fn an_address_that_another_host_has_is_refused_with_that_hosts_mac() {
    let Some(world) = World::new(3) else { return };
    let host = &world.hosts[0];
    let before = host.addresses();
    for net in ["198.18.5.12/24", "fd00:5::12/64"] {
        let address = net.split('/').next().unwrap();
        let refused = host.vipd(&format!("assign {net} --dev eth0"));
        let sentence =
            format!("error: {address} is in use by 02:42:c6:12:05:12 on eth0; unassign it there, or fence that host\n");
        assert_eq!((refused.code, refused.out.as_str(), refused.err), (Some(3), "", sentence));
    }
    assert_eq!(host.addresses(), before, "nothing was touched");
}

#[test]
fn the_report_names_the_host_in_the_way() {
    let Some(world) = World::new(2) else { return };
    let refused = world.hosts[0].vipd("assign 198.18.5.11/24 --dev eth0 --json");
    let report: VipReport = serde_json::from_str(&refused.out).unwrap();
    let conflict = report.changes[0].conflict.clone().unwrap();
    assert_eq!(report.changes[0].outcome, VipOutcome::InUse);
    assert_eq!((conflict.mac.as_str(), conflict.how.as_str()), ("02:42:c6:12:05:11", "answered"));
    assert_eq!(refused.code, Some(3));
}

#[test]
fn force_takes_it_and_says_so_loudly() {
    let Some(world) = World::new(2) else { return };
    let taken = world.hosts[0].vipd("assign 198.18.5.11/24 --dev eth0 --force");
    assert_eq!(
        taken.err,
        "warning: 198.18.5.11 is in use by 02:42:c6:12:05:11 on eth0; taken all the same (--force), so two hosts answer \
         for it until that one lets go\n"
    );
    assert_eq!(taken.code, Some(0));
    assert!(world.hosts[0].has("198.18.5.11"));
}

#[test]
fn two_hosts_that_want_it_at_once_never_both_get_it() {
    let Some(world) = World::new(2) else { return };
    for net in ["198.18.5.200/24", "fd00:5::200/64"] {
        let arguments = format!("assign {net} --dev eth0");
        let racing = [0, 1].map(|n| world.hosts[n].start_vipd(&arguments));
        let codes = racing.map(|child| child.wait_with_output().unwrap().status.code());
        let address = net.split('/').next().unwrap();
        let holders = world.hosts.iter().filter(|host| host.has(address)).count();
        assert!(holders <= 1, "{net}: exit codes {codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), holders, "{net}: {codes:?}");
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 3))), "{net}: {codes:?}");
    }
}

#[test]
fn an_ipv6_probe_listens_in_the_group_of_the_address() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let groups = || {
        let read = || std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap();
        host.namespace.enter(read).join().unwrap()
    };
    let group = "ff0200000000000000000001ff000200";
    assert!(!groups().contains(group), "otherwise this test shows nothing");
    let mut child = host.start_vipd("assign fd00:5::200/64 --dev eth0 --probe-time 30s");
    until("vipd is in the group, or a snooping switch would hide other probes from it", || groups().contains(group));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_address_on_another_interface_or_with_another_prefix_is_refused() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    host.namespace.ip("link add eth1 type veth peer name eth2\nlink set eth1 up\nlink set eth2 up\n");
    host.namespace.ip("address add 198.18.6.200/24 dev eth1\naddress add 198.18.5.200/32 dev eth0\n");
    let mut sniffer = Sniffer::new(&world);
    for (verb, net, sentence) in [
        ("assign", "198.18.6.200/24", "198.18.6.200 is on eth1 of this host, not on eth0"),
        ("unassign", "198.18.6.200/24", "198.18.6.200 is on eth1 of this host, not on eth0"),
        ("assign", "198.18.5.200/24", "eth0 has this address as 198.18.5.200/32, not as 198.18.5.200/24"),
        ("unassign", "198.18.5.200/24", "eth0 has this address as 198.18.5.200/32, not as 198.18.5.200/24"),
    ] {
        let refused = host.vipd(&format!("{verb} {net} --dev eth0"));
        assert_eq!(refused.code, Some(3), "{refused:?}");
        assert!(refused.err.starts_with(&format!("error: {sentence}\n  hint: vipd unassign ")), "{refused:?}");
    }
    let arp = sniffer.frames().iter().filter(|frame| frame[12..14] == [8, 6]).count();
    assert_eq!(arp, 0, "and nobody was bothered");
}

#[test]
fn another_host_with_a_virtual_mac_address_that_is_here_too_is_another_host() {
    let Some(world) = World::new(2) else { return };
    // Two virtual routers of one number (RFC 9568 §7.3): here it is a Backup, there it is Active, and has one address more.
    let borne = "link add vip0 link eth0 address 00:00:5e:00:01:33 type macvlan mode bridge\n";
    world.hosts[0].namespace.ip(borne);
    world.hosts[1].namespace.ip(&format!("{borne}link set vip0 up\naddress add 198.18.5.210/32 dev vip0\n"));
    world.hosts[1]
        .namespace
        .enter(|| std::fs::write("/proc/sys/net/ipv4/conf/eth0/arp_ignore", "1"))
        .join()
        .unwrap()
        .unwrap();
    let refused = world.hosts[0].vipd("assign 198.18.5.210/24 --dev eth0");
    assert!(refused.err.contains("198.18.5.210 is in use by 00:00:5e:00:01:33"), "{refused:?}");
    assert_eq!(refused.code, Some(3), "{refused:?}");
}
