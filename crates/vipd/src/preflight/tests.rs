use pnet::util::MacAddr;

use super::*;
use crate::kernel::TAG;

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        alternatives: Vec::new(),
        mac: Some(MacAddr(2, 0, 0, 0, 0, 1)),
        ethernet: true,
        up: true,
        carrier: true,
        port_of: None,
        promotes_secondaries: false,
        forwards_ipv6: false,
        disables_ipv6: false,
        ..Link::default()
    }
}

fn address(net: &str, link: u32, tag: Option<u8>) -> Address {
    let net = net.parse().unwrap();
    Address { net, link, tag, secondary: false, tentative: false, duplicate: false, valid_for: None }
}

/// A host with lo, eth0 (198.18.5.11/24, fd00:5::11/64) and eth1 (198.18.6.11/24).
fn host() -> Observed {
    let lo = Link { ethernet: false, ..link(1, "lo") };
    Observed {
        links: vec![lo, link(2, "eth0"), link(3, "eth1")],
        addresses: [
            address("127.0.0.1/8", 1, None),
            address("198.18.5.11/24", 2, None),
            address("fd00:5::11/64", 2, None),
            address("fe80::11/64", 2, None),
            address("198.18.6.11/24", 3, None),
        ]
        .into_iter()
        .collect(),
    }
}

fn host_with(addresses: &[(&str, u32, Option<u8>)]) -> Observed {
    let mut host = host();
    host.addresses.extend(addresses.iter().map(|&(net, link, tag)| address(net, link, tag)));
    host
}

fn words(result: Result<Assignable, Error>) -> (u8, String, Option<String>) {
    let error = result.expect_err("must be refused");
    (error.exit().code(), error.to_string(), error.hint())
}

#[test]
fn an_address_of_the_subnet_is_assignable_without_a_word() {
    for (net, host) in [
        ("198.18.5.200/24", host()),
        ("198.18.5.200/32", host()),
        ("fd00:5::200/64", host()),
        ("fe80::200/64", host()),
        ("fe80::200/64", host_with(&[("fe80::200/64", 3, None)])),
    ] {
        let assignable = assign(net.parse().unwrap(), "eth0", &host).unwrap();
        assert_eq!((assignable.held, assignable.warnings), (false, vec![]), "{net}");
        assert_eq!(assignable.vip, Vip { net: net.parse().unwrap(), link: 2, dev: "eth0".into() });
    }
}

#[test]
fn what_can_be_refused_by_looking_is_refused_with_a_hint() {
    let changed = |change: fn(&mut Link)| {
        let mut host = host();
        change(&mut host.links[1]);
        host
    };
    let table = [
        ("198.18.5.200/24", "eht0", host(), 2, "there is no interface eht0", Some("this host has lo, eth0, eth1")),
        (
            "198.18.5.200/24",
            "lo",
            host(),
            3,
            "lo is not an Ethernet interface, so nobody can be asked or told about 198.18.5.200 on it",
            Some("name the interface that faces the clients of the address"),
        ),
        ("198.18.5.200/24", "eth0", changed(|l| l.up = false), 3, "eth0 is down", Some("ip link set eth0 up")),
        (
            "198.18.5.200/24",
            "eth0",
            changed(|l| l.carrier = false),
            3,
            "eth0 has no carrier: nobody would hear the probe or the announcement",
            Some("check the cable, the switch port, or the other end of the virtual link"),
        ),
        (
            "fd00:5::200/64",
            "eth0",
            changed(|l| l.disables_ipv6 = true),
            3,
            "IPv6 is switched off on eth0",
            Some("sysctl net.ipv6.conf.eth0.disable_ipv6=0"),
        ),
        (
            "198.18.5.200/24",
            "eth0",
            host_with(&[("198.18.5.200/32", 3, None)]),
            3,
            "198.18.5.200 is on eth1 of this host, not on eth0",
            Some("vipd unassign 198.18.5.200/32 --dev eth1"),
        ),
        (
            "198.18.5.200/24",
            "eth0",
            host_with(&[("198.18.5.200/32", 2, None)]),
            3,
            "eth0 has this address as 198.18.5.200/32, not as 198.18.5.200/24",
            Some("vipd unassign 198.18.5.200/32 --dev eth0"),
        ),
        (
            "198.18.5.255/32",
            "eth0",
            host(),
            2,
            "198.18.5.255 is the broadcast address of its network and cannot be a virtual IP",
            None,
        ),
    ];
    for (net, dev, host, code, sentence, hint) in table {
        let expected = (code, sentence.to_owned(), hint.map(str::to_owned));
        assert_eq!(words(assign(net.parse().unwrap(), dev, &host)), expected);
    }
}

#[test]
fn an_address_that_failed_duplicate_detection_is_not_held() {
    let mut host = host();
    host.addresses.insert(Address { duplicate: true, ..address("fd00:5::200/64", 2, Some(TAG)) });
    let (code, sentence, _) = words(assign("fd00:5::200/64".parse().unwrap(), "eth0", &host));
    assert_eq!(code, 3);
    assert!(sentence.contains("duplicate"), "{sentence}");
}

#[test]
fn an_address_that_is_there_is_held() {
    let held =
        assign("198.18.5.200/24".parse().unwrap(), "eth0", &host_with(&[("198.18.5.200/24", 2, Some(TAG))])).unwrap();
    assert_eq!((held.held, held.warnings), (true, vec![]));
    let foreign =
        assign("198.18.5.200/24".parse().unwrap(), "eth0", &host_with(&[("198.18.5.200/24", 2, None)])).unwrap();
    assert_eq!(
        foreign.warnings,
        ["198.18.5.200/24 on eth0 was not placed by vipd; it is announced, and left as it is"]
    );
}

#[test]
fn an_address_of_no_subnet_goes_on_with_a_warning() {
    let warnings = |net: &str| assign(net.parse().unwrap(), "eth0", &host()).unwrap().warnings;
    assert_eq!(warnings("198.18.9.200/24"), ["198.18.9.200 belongs to no subnet of eth0; it has 198.18.5.0/24"]);
    assert_eq!(warnings("fd00:9::200/64"), ["fd00:9::200 belongs to no subnet of eth0; it has fd00:5::/64"]);
}

#[test]
fn a_bridge_port_goes_on_with_a_warning() {
    let mut host = host();
    host.links[1].port_of = Some(3);
    let warnings = assign("198.18.5.200/24".parse().unwrap(), "eth0", &host).unwrap().warnings;
    assert_eq!(warnings, ["eth0 is a port of eth1; an address usually belongs on eth1"]);
}

fn unassigned(named: &str, dev: &str, host: &Observed) -> Result<Vec<String>, String> {
    let found = unassign(named.parse().unwrap(), dev, false, host).map_err(|error| error.to_string())?;
    Ok(found.vips.iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_there_is_found_with_and_without_its_prefix() {
    let host = host_with(&[("198.18.5.200/24", 2, Some(TAG)), ("fd00:5::200/64", 2, Some(TAG))]);
    assert_eq!(unassigned("198.18.5.200/24", "eth0", &host), Ok(vec!["198.18.5.200/24 dev eth0".into()]));
    assert_eq!(unassigned("198.18.5.200", "eth0", &host), Ok(vec!["198.18.5.200/24 dev eth0".into()]));
    assert_eq!(unassigned("fd00:5::200", "eth0", &host), Ok(vec!["fd00:5::200/64 dev eth0".into()]));
    assert_eq!(unassigned("198.18.5.201/24", "eth0", &host), Ok(vec![]));
}

#[test]
fn an_address_that_still_answers_is_never_said_to_be_gone() {
    let host = host_with(&[("198.18.5.200/32", 2, Some(TAG))]);
    let other_prefix = "eth0 has this address as 198.18.5.200/32, not as 198.18.5.200/24";
    assert_eq!(unassigned("198.18.5.200/24", "eth0", &host), Err(other_prefix.into()));
    let other_interface = "198.18.5.200 is on eth0 of this host, not on eth1";
    assert_eq!(unassigned("198.18.5.200/32", "eth1", &host), Err(other_interface.into()));
}

#[test]
fn the_hosts_own_address_is_kept_unless_forced() {
    let host = host_with(&[("198.18.5.200/24", 2, Some(TAG)), ("198.18.6.200/24", 3, None)]);
    let own = "198.18.5.11/24 is the host's own address on eth0: vipd did not place it, and there is no other";
    assert_eq!(unassigned("198.18.5.11/24", "eth0", &host), Err(own.into()));
    assert!(unassigned("fe80::11", "eth0", &host).is_err(), "the link-local address too");
    let forced = unassign("198.18.5.11/24".parse().unwrap(), "eth0", true, &host).unwrap();
    assert_eq!(forced.vips.len(), 1);
    let by_hand = unassigned("198.18.6.200/24", "eth1", &host);
    assert_eq!(by_hand, Ok(vec!["198.18.6.200/24 dev eth1".into()]), "a VIP that was added by hand can go");
}

#[test]
fn every_prefix_of_an_address_goes_when_none_is_named() {
    let host = host_with(&[("198.18.5.200/24", 2, Some(TAG)), ("198.18.5.200/32", 2, Some(TAG))]);
    let both = vec!["198.18.5.200/24 dev eth0".to_owned(), "198.18.5.200/32 dev eth0".to_owned()];
    assert_eq!(unassigned("198.18.5.200", "eth0", &host), Ok(both));
    assert!(unassigned("198.18.5.200/24", "eth0", &host).is_err(), "it would still answer");
}

#[test]
fn an_address_that_is_on_two_interfaces_can_be_taken_from_one() {
    let host = host_with(&[("198.18.5.200/24", 2, Some(TAG)), ("198.18.5.200/24", 3, Some(TAG))]);
    let found = unassign("198.18.5.200/24".parse().unwrap(), "eth0", false, &host).unwrap();
    assert_eq!((found.vips.len(), found.warnings), (1, vec!["198.18.5.200 is also on eth1".to_owned()]));
}

#[test]
fn an_interface_is_found_by_its_alternative_name_and_reported_by_its_own() {
    let mut host = host();
    host.links[1].alternatives.push("enp0s31f6".into());
    let assignable = assign("198.18.5.200/24".parse().unwrap(), "enp0s31f6", &host).unwrap();
    assert_eq!(assignable.vip.dev, "eth0");
}
