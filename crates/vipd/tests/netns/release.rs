//! Giving an address up: what was asked for goes, nothing else does.

use crate::world::World;

#[test]
fn unassign_removes_it_and_a_second_time_finds_nothing_to_do() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let before = host.addresses();
    for net in ["198.18.5.200/24", "198.18.5.200/32", "fd00:5::200/64", "fe80::200/64"] {
        assert_eq!(host.vipd(&format!("assign {net} --dev eth0 --no-probe")).code, Some(0), "{net}");
        let first = host.vipd(&format!("unassign {net} --dev eth0"));
        assert_eq!((first.code, first.out), (Some(0), format!("{net} unassigned from eth0\n")), "{}", first.err);
        assert_eq!(host.addresses(), before, "{net}");
        let second = host.vipd(&format!("unassign {net} --dev eth0"));
        assert_eq!((second.code, second.out), (Some(0), format!("{net} is not on eth0; nothing to do\n")));
    }
}

#[test]
fn unassign_all_takes_what_vipd_placed_and_nothing_else() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    host.namespace.ip("address add 198.18.5.77/24 dev eth0\n");
    let before = host.addresses();
    for net in ["198.18.5.200/24", "fd00:5::200/64"] {
        assert_eq!(host.vipd(&format!("assign {net} --dev eth0 --no-probe")).code, Some(0));
    }
    let planned = host.vipd("unassign --all --dry-run");
    assert!(planned.out.starts_with("would run: ip address del 198.18.5.200/24 dev eth0\n"), "{planned:?}");
    let all = host.vipd("unassign --all");
    assert_eq!(all.out, "198.18.5.200/24 unassigned from eth0\nfd00:5::200/64 unassigned from eth0\n", "{all:?}");
    assert_eq!(host.addresses(), before);
    let none = host.vipd("unassign --all");
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""), "{none:?}");
}

#[test]
fn secondaries_and_routes_survive_the_removal_of_a_vip_that_was_primary() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    // Whatever new namespaces inherit here.
    for link in ["all", "eth0"] {
        let path = format!("/proc/sys/net/ipv4/conf/{link}/promote_secondaries");
        host.namespace.enter(move || std::fs::write(path, "0").unwrap()).join().unwrap();
    }
    // The VIP came first, so the host's own address hangs on it, and this kernel would remove both.
    host.namespace.ip("address del 198.18.5.10/24 dev eth0\n");
    assert_eq!(host.vipd("assign 198.18.5.200/24 --dev eth0 --no-probe").code, Some(0));
    host.namespace.ip("address add 198.18.5.10/24 dev eth0\nroute add default via 198.18.5.11\n");
    assert_eq!(host.addresses()[..2], ["198.18.5.200/24", "198.18.5.10/24 secondary"]);
    let sysctl = || {
        let read = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/promote_secondaries").unwrap();
        host.namespace.enter(read).join().unwrap()
    };
    assert_eq!(sysctl(), "0\n", "otherwise this test shows nothing");

    let gone = host.vipd("unassign 198.18.5.200/24 --dev eth0");
    assert_eq!((gone.code, gone.err.as_str()), (Some(0), ""), "{gone:?}");
    assert_eq!(host.addresses()[0], "198.18.5.10/24", "promoted");
    assert!(!host.has("198.18.5.200"));
    assert_eq!(host.namespace.ip_json("route show default")[0]["gateway"], "198.18.5.11");
    assert_eq!(sysctl(), "0\n", "the switch is as it was");
}

#[test]
fn the_hosts_own_address_is_not_taken_by_mistake() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let refused = host.vipd("unassign 198.18.5.10/24 --dev eth0");
    assert_eq!(
        refused.err,
        "error: 198.18.5.10/24 is the host's own address on eth0: vipd did not place it, and there is no other\n  \
         hint: if it is to go all the same: vipd unassign 198.18.5.10/24 --dev eth0 --force\n"
    );
    assert_eq!(refused.code, Some(3));
    assert!(host.has("198.18.5.10"));
}
