//! What is in the kernel, as the `nft` program sees it; and that nothing else is.

use vipd::lease::{DeadMan, Guarded, LeaseError, Leased, Missing};

use crate::namespace::Namespace;
use crate::wire::{VIP4, Wire};
use crate::{BLUE, GREEN, VIPS, ms, open, possible, renew};

const FOREIGN: &str = "table inet filter { set live4 { type ipv4_addr; elements = { 198.18.5.200 }; }; \
                       chain input { type filter hook input priority 0; ip saddr 198.18.7.7 drop; }; }";

#[test]
fn the_nft_program_lists_what_we_meant() {
    if !possible() {
        return;
    }
    let holder = Namespace::new("holder");
    let mut switch = open(&holder, "vipd");
    assert_eq!(holder.nft("list ruleset"), "", "opening and probing leaves nothing behind");
    let on_link = Leased::OnLink("fe80::200".parse().unwrap(), 1);
    switch.guard(BLUE, &[VIPS[0], VIPS[1], on_link]).unwrap();
    renew(&mut switch, &[BLUE], ms(60_000));
    let lines = |table: &str| -> Vec<String> {
        let listed = holder.nft(&format!("list table {table}"));
        println!("{listed}");
        let lines = listed.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "}");
        let lines = lines.filter(|line| !line.starts_with("flags owner"));
        // Whose the table is, and what is left of a timeout, differs from run to run.
        let steady =
            |line: &str| line.split(" # progname").flat_map(|part| part.split(" timeout ")).next().map(str::to_owned);
        lines.filter_map(steady).collect()
    };
    let table = |first| [first, "comment \"vipd: keeps a virtual IP silent unless vipd renews its lease\""];
    let lease =
        ["chain lease-1 {", "meta mark & 0x00000001 | 0x00000001 == @live accept", "counter packets 0 bytes 0 drop"];
    let arp = [
        "set live {",
        "type mark",
        "flags timeout",
        "elements = { 0x00000001",
        "map guarded4 {",
        "type ipv4_addr : verdict",
        "elements = { 198.18.5.200 : goto lease-1 }",
        "chain incoming {",
        "type filter hook input priority -300; policy accept;",
        "arp daddr ip vmap @guarded4",
        "chain outgoing {",
        "type filter hook output priority 300; policy accept;",
        "arp saddr ip vmap @guarded4",
    ];
    let inet = [
        "set live {",
        "type mark",
        "flags timeout",
        "elements = { 0x00000001",
        "map guarded4 {",
        "type ipv4_addr : verdict",
        "elements = { 198.18.5.200 : goto lease-1 }",
        "map guarded6 {",
        "type ipv6_addr : verdict",
        "elements = { fd00::200 : goto lease-1 }",
        "map guarded-link {",
        "type iface_index . ipv6_addr : verdict",
        "elements = { \"lo\" . fe80::200 : goto lease-1 }",
        "chain incoming {",
        "type filter hook prerouting priority raw; policy accept;",
        "ip daddr vmap @guarded4",
        "ip6 daddr vmap @guarded6",
        "iif . ip6 daddr vmap @guarded-link",
        "chain outgoing {",
        "type filter hook postrouting priority 300; policy accept;",
        "ip saddr vmap @guarded4",
        "ip6 saddr vmap @guarded6",
        "oif . ip6 saddr vmap @guarded-link",
    ];
    assert_eq!(lines("arp vipd"), [&table("table arp vipd {")[..], &arp, &lease].concat());
    assert_eq!(lines("inet vipd"), [&table("table inet vipd {")[..], &inet, &lease].concat());

    // Rules that are saved with ours among them can be loaded again; ours go with the program that is their owner then.
    Namespace::new("elsewhere").nft(&holder.nft("list ruleset"));

    switch.remove().unwrap();
    assert_eq!(holder.nft("list ruleset"), "");
}

#[test]
fn the_tables_of_others_are_left_alone() {
    if !possible() {
        return;
    }
    let holder = Namespace::new("holder");
    holder.nft(FOREIGN);
    let before = holder.nft("list ruleset");
    let (mut blue, mut green) = (open(&holder, "vipd-blue"), open(&holder, "vipd-green"));
    let green_vip = [Leased::V4("198.18.5.201".parse().unwrap())];
    blue.guard(BLUE, &VIPS).unwrap();
    green.guard(GREEN, &green_vip).unwrap();
    renew(&mut blue, &[BLUE], ms(60_000));
    renew(&mut green, &[GREEN], ms(60_000));
    assert_eq!((blue.list().unwrap().len(), green.list().unwrap().len()), (2, 1));
    blue.remove().unwrap();
    assert_eq!(green.list().unwrap().len(), 1, "each daemon has tables of its own");
    green.sweep(&[]).unwrap();
    assert_eq!(holder.nft("list ruleset"), before);
}

#[test]
fn a_second_daemon_of_the_same_name_is_refused_and_does_no_harm() {
    if !possible() {
        return;
    }
    let holder = Namespace::new("holder");
    let mut first = open(&holder, "vipd");
    if !first.support().owned {
        println!("skipped: this kernel has no tables with an owner");
        return;
    }
    first.guard(BLUE, &VIPS).unwrap();
    let second = holder.inside(|| DeadMan::open("vipd".parse().unwrap())).unwrap_err();
    assert!(matches!(&second, LeaseError::Unavailable(Missing::Taken(_))), "{second:?}");
    assert_eq!(second.to_string(), "no dead-man switch here: the table vipd belongs to another running process");
    assert_eq!(second.hint(), Some("one vipd runs in a network namespace: stop the other one"));
    assert_eq!(first.list().unwrap().len(), 2);
}

#[test]
fn a_new_daemon_finds_what_a_dead_one_left_and_sweeps_only_what_is_gone() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let mut dead = open(&wire.holder, "vipd");
    dead.guard(BLUE, &VIPS).unwrap();
    renew(&mut dead, &[BLUE], ms(60_000));
    drop(dead);

    let mut new = open(&wire.holder, "vipd");
    assert_eq!(new.list().unwrap().len(), 2);
    // The IPv4 address is still configured: sweeping it would make the host answer for it.
    assert_eq!(new.sweep(&[VIP4.into(), "198.18.5.1".parse().unwrap()]).unwrap(), [VIPS[0]]);
    // A lease of the new daemon that happens to have the same number does not make it live.
    let another = Leased::V4("198.18.5.201".parse().unwrap());
    new.guard(BLUE, &[another]).unwrap();
    renew(&mut new, &[BLUE], ms(60_000));
    let listed = new.list().unwrap();
    assert_eq!(listed[0], Guarded { address: VIPS[0], lease: None, remaining: None });
    assert!(listed[1].address == another && listed[1].lease == Some(BLUE) && listed[1].remaining.is_some());
    new.retire(&[another]).unwrap();
    assert_eq!(new.sweep(&[]).unwrap(), []);
    assert_eq!(wire.holder.nft("list ruleset"), "");
}

#[test]
fn whether_an_address_is_guarded_is_one_question_whoever_guards_it() {
    if !possible() {
        return;
    }
    let holder = Namespace::new("holder");
    let link_local = "fe80::200".parse().unwrap();
    let all = [VIPS[0], VIPS[1], Leased::OnLink(link_local, 1)];
    let guarded = |table: &str| {
        let table = table.parse().unwrap();
        holder.inside(|| all.map(|address| DeadMan::guards(&table, address).unwrap()))
    };
    assert_eq!(guarded("vipd"), [false; 3], "there is no table");
    let mut switch = open(&holder, "vipd");
    switch.guard(BLUE, &all).unwrap();
    assert_eq!((guarded("vipd"), guarded("other")), ([true; 3], [false; 3]), "by a daemon that runs");
    let elsewhere = Leased::OnLink(link_local, 2);
    assert!(!holder.inside(|| DeadMan::guards(&"vipd".parse().unwrap(), elsewhere)).unwrap());
    drop(switch);
    assert_eq!(guarded("vipd"), [true; 3], "by one that has died");
    open(&holder, "vipd").retire(&all[1..]).unwrap();
    assert_eq!(guarded("vipd"), [true, false, false]);
    open(&holder, "vipd").retire(&all).unwrap();
    assert_eq!(holder.nft("list ruleset"), "");
}

/// Even a daemon that does not sweep keeps silent what a dead one left silent.
#[test]
fn the_first_guard_of_a_new_daemon_keeps_the_guards_of_a_dead_one() {
    if !possible() {
        return;
    }
    let holder = Namespace::new("holder");
    open(&holder, "vipd").guard(BLUE, &VIPS[..1]).unwrap();
    let mut new = open(&holder, "vipd");
    new.guard(BLUE, &VIPS[1..]).unwrap();
    assert_eq!(new.list().unwrap().len(), 2);
}

#[test]
fn verbs_can_be_repeated() {
    if !possible() {
        return;
    }
    let holder = Namespace::new("holder");
    let mut switch = open(&holder, "vipd");
    switch.silence(&[BLUE]).unwrap();
    switch.retire(&VIPS).unwrap();
    switch.remove().unwrap();
    for _ in 0..2 {
        switch.guard(BLUE, &VIPS).unwrap();
        renew(&mut switch, &[BLUE], ms(60_000));
    }
    for _ in 0..2 {
        switch.silence(&[BLUE]).unwrap();
    }
    assert!(switch.list().unwrap().iter().all(|guarded| guarded.remaining.is_none()));
    for _ in 0..2 {
        switch.retire(&VIPS).unwrap();
    }
    assert_eq!(switch.list().unwrap(), []);
    for _ in 0..2 {
        assert_eq!(switch.sweep(&[]).unwrap(), []);
    }
    switch.guard(BLUE, &[]).unwrap();
    assert_eq!(switch.renew(&[], std::time::Instant::now).unwrap().renewed, 0);
}
