//! What the machine does not allow is told apart, in words.

use crate::world::World;

#[test]
fn the_missing_capability_is_named_and_nothing_is_touched() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let table = [
        ("net_admin", "assign 198.18.5.200/24 --dev eth0", "add and remove addresses: CAP_NET_ADMIN"),
        ("net_raw", "assign 198.18.5.200/24 --dev eth0", "probe and announce on the wire: CAP_NET_RAW"),
    ];
    for (capability, arguments, words) in table {
        let refused = host.vipd_without(capability, arguments);
        let name = words.split(": ").nth(1).unwrap();
        let expected = format!(
            "error: no permission to {words} is missing\n  hint: run as root, or give the service AmbientCapabilities={name}\n"
        );
        assert_eq!((refused.code, refused.err), (Some(3), expected));
        assert!(!host.has("198.18.5.200"));
    }

    assert_eq!(host.vipd("assign 198.18.5.200/24 --dev eth0 --no-probe").code, Some(0));
    let refused = host.vipd_without("net_admin", "unassign 198.18.5.200/24 --dev eth0");
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("CAP_NET_ADMIN"), "{refused:?}");
    assert!(host.has("198.18.5.200"));
    let again = host.vipd_without("net_admin", "assign 198.18.5.200/24 --dev eth0");
    assert_eq!(again.code, Some(0), "announcing again needs no CAP_NET_ADMIN: {again:?}");
    let seen = host.vipd_without("net_admin,-net_raw", "status");
    assert_eq!((seen.code, seen.out.as_str()), (Some(0), "198.18.5.200/24 dev eth0 by vipd\n"), "{seen:?}");
}

#[test]
fn each_state_of_the_interface_has_its_own_sentence() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    host.namespace
        .ip("link add eth1 type veth peer name eth2\nlink add eth3 type veth peer name eth4\nlink set eth1 up\n");
    let off = host.namespace.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1"));
    off.join().unwrap().unwrap();
    let table = [
        (
            "198.18.5.200/24",
            "lo",
            3,
            "lo is not an Ethernet interface, so nobody can be asked or told about 198.18.5.200 on it\n  \
             hint: name the interface that faces the clients of the address",
        ),
        (
            "198.18.5.200/24",
            "eth1",
            3,
            "eth1 has no carrier: nobody would hear the probe or the announcement\n  \
             hint: check the cable, the switch port, or the other end of the virtual link",
        ),
        ("198.18.5.200/24", "eth3", 3, "eth3 is down\n  hint: ip link set eth3 up"),
        ("fd00:5::200/64", "eth0", 3, "IPv6 is switched off on eth0\n  hint: sysctl net.ipv6.conf.eth0.disable_ipv6=0"),
        (
            "198.18.5.255/32",
            "eth0",
            2,
            "198.18.5.255 is the broadcast address of its network and cannot be a virtual IP",
        ),
    ];
    for (net, dev, code, words) in table {
        let refused = host.vipd(&format!("assign {net} --dev {dev}"));
        let expected = format!("error: {words}\n");
        assert_eq!((refused.code, refused.out.as_str(), refused.err), (Some(code), "", expected), "{net} on {dev}");
    }
    // Where modules for tunnels are loaded every namespace has interfaces of theirs.
    let links = host.namespace.ip_json("link show");
    let names: Vec<_> = links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap()).collect();
    let there = match names.len().checked_sub(12) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..12].join(", ")),
    };
    for verb in ["assign", "unassign"] {
        let refused = host.vipd(&format!("{verb} 198.18.5.200/24 --dev eth9"));
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
        assert_eq!(refused.err, format!("error: there is no interface eth9\n  hint: this host has {there}\n"));
    }
}

#[test]
fn an_address_of_no_subnet_goes_on_with_a_warning() {
    let Some(world) = World::new(1) else { return };
    let assigned = world.hosts[0].vipd("assign 198.18.9.200/24 --dev eth0 --probe-time 100ms");
    assert_eq!(assigned.err, "warning: 198.18.9.200 belongs to no subnet of eth0; it has 198.18.5.0/24\n");
    assert_eq!(assigned.code, Some(0));
    assert!(world.hosts[0].has("198.18.9.200"));
}
