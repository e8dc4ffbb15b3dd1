use proptest::prelude::*;

use super::*;
use crate::kernel::{Link, TAG};

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        alternatives: Vec::new(),
        mac: None,
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

fn address(net: &str, secondary: bool) -> Address {
    Address {
        net: net.parse().unwrap(),
        link: 1,
        tag: Some(TAG),
        secondary,
        tentative: false,
        duplicate: false,
        valid_for: None,
    }
}

fn vip(net: &str) -> Vip {
    Vip { net: net.parse().unwrap(), link: 1, dev: "eth1".into() }
}

fn observed(addresses: Vec<Address>) -> Observed {
    Observed { links: vec![link(1)], addresses: addresses.into_iter().collect() }
}

#[test]
fn a_wanted_address_that_is_missing_is_added_then_announced() {
    let mut holder = Holder::default();
    holder.hold(vip("198.18.5.200/24"));
    holder.hold(vip("198.18.5.201/24"));
    let (a, b) = (vip("198.18.5.200/24"), vip("198.18.5.201/24"));
    assert_eq!(
        holder.reconcile(&observed(vec![address("198.18.5.11/24", false)])),
        [Effect::Add(a.clone()), Effect::Add(b.clone()), Effect::Announce(a), Effect::Announce(b)],
        "all addresses are in place before the first announcement"
    );
}

#[test]
fn a_wish_that_is_fulfilled_needs_nothing() {
    let mut holder = Holder::default();
    holder.hold(vip("198.18.5.200/24"));
    holder.release(vip("198.18.5.201/24"));
    assert_eq!(holder.reconcile(&observed(vec![address("198.18.5.200/24", true)])), []);
}

#[test]
fn the_last_wish_counts() {
    let mut holder = Holder::default();
    holder.hold(vip("198.18.5.200/24"));
    holder.release(vip("198.18.5.200/24"));
    let there = observed(vec![address("198.18.5.200/24", true)]);
    assert_eq!(holder.reconcile(&there), [Effect::Remove(vip("198.18.5.200/24"))]);
}

#[test]
fn removing_a_primary_address_keeps_its_secondaries() {
    let mut holder = Holder::default();
    let it = vip("198.18.5.200/24");
    holder.release(it.clone());
    let promote = |on| Effect::PromoteSecondaries { link: 1, dev: "eth1".into(), on };
    let there = observed(vec![address("198.18.5.200/24", false), address("198.18.5.11/24", true)]);
    assert_eq!(
        holder.reconcile(&there),
        [promote(true), Effect::Remove(it.clone()), promote(false)],
        "and the switch is put back"
    );

    let mut promoting = there;
    promoting.links[0].promotes_secondaries = true;
    assert_eq!(holder.reconcile(&promoting), [Effect::Remove(it.clone())], "the link promotes by itself");

    let alone = observed(vec![address("198.18.5.200/24", false), address("198.18.6.11/24", true)]);
    assert_eq!(holder.reconcile(&alone), [Effect::Remove(it)], "a secondary of another subnet does not hang on it");
}

#[test]
fn effects_read_as_the_commands_that_do_the_same() {
    let table = [
        (Effect::Add(vip("198.18.5.200/24")), "ip address add 198.18.5.200/24 dev eth1 proto 0x56"),
        (Effect::Add(vip("fd00::200/64")), "ip address add fd00::200/64 dev eth1 proto 0x56 nodad preferred_lft 0"),
        (Effect::Remove(vip("198.18.5.200/24")), "ip address del 198.18.5.200/24 dev eth1"),
        (
            Effect::Announce(vip("198.18.5.200/24")),
            "announce 198.18.5.200/24 dev eth1: gratuitous ARP as request and as reply, 3 times",
        ),
        (
            Effect::Announce(vip("fd00::200/64")),
            "announce fd00::200/64 dev eth1: unsolicited neighbour advertisement with override, 3 times",
        ),
        (
            Effect::PromoteSecondaries { link: 1, dev: "eth1".into(), on: true },
            "sysctl net.ipv4.conf.eth1.promote_secondaries=1",
        ),
    ];
    for (effect, words) in table {
        assert_eq!(effect.to_string(), words);
    }
}

/// What the kernel does with an effect (`__inet_insert_ifa`, `__inet_del_ifa`).
fn apply(effect: &Effect, host: &mut Observed) {
    match effect {
        Effect::Add(vip) => {
            let secondary = host.addresses.iter().any(|a| !a.secondary && a.net.trunc() == vip.net.trunc());
            host.addresses.insert(Address { net: vip.net, secondary, ..address("198.18.0.1/32", false) });
        }
        Effect::Remove(vip) => {
            let gone = host.addresses.remove(vip.link, vip.net).expect("removes what is there");
            let promotes = host.links[0].promotes_secondaries;
            let first = host.addresses.iter().find(|a| a.net.trunc() == gone.net.trunc()).cloned();
            match (gone.secondary, promotes) {
                (true, _) => {}
                (false, true) => host.addresses.extend(first.map(|first| Address { secondary: false, ..first })),
                (false, false) => host.addresses.retain(|a| a.net.trunc() != gone.net.trunc()),
            }
        }
        Effect::PromoteSecondaries { on, .. } => host.links[0].promotes_secondaries = *on,
        Effect::Announce(_) => {}
    }
}

proptest! {
    #[test]
    fn whatever_the_start_the_wishes_come_true_and_nothing_else_changes(
        start in prop::collection::btree_set(1_u8..12, 0..8),
        hold in prop::collection::btree_set(1_u8..12, 0..6),
        release in prop::collection::btree_set(1_u8..12, 0..6),
        promotes: bool,
    ) {
        let net = |host: u8| format!("198.18.5.{host}/24");
        let mut host = observed(Vec::new());
        host.links[0].promotes_secondaries = promotes;
        for &n in &start {
            apply(&Effect::Add(vip(&net(n))), &mut host);
        }
        let mut holder = Holder::default();
        hold.iter().for_each(|&n| holder.hold(vip(&net(n))));
        release.iter().for_each(|&n| holder.release(vip(&net(n))));

        holder.reconcile(&host).iter().for_each(|effect| apply(effect, &mut host));
        let held: std::collections::BTreeSet<u8> = host.addresses.iter().map(|a| match a.net {
            IpNet::V4(net) => net.addr().octets()[3],
            IpNet::V6(_) => 0,
        }).collect();
        let wanted = (&(&start | &hold) - &release).iter().copied().collect();
        prop_assert_eq!(held, wanted);
        prop_assert_eq!(host.links[0].promotes_secondaries, promotes, "the switch is as it was");
        prop_assert_eq!(holder.reconcile(&host), []);
    }
}
