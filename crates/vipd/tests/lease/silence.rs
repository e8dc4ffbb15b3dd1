//! When a guarded address is silent, and when it is not.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use vipd::lease::{Admission, Leased, Refresh, Support};

use crate::namespace::Namespace;
use crate::wire::{ALL, Asker, PATIENCE, Question, VIP4, VIP6, Wire};
use crate::{BLUE, GREEN, VIPS, leases, ms, open, possible, renew};

/// One tick of the slowest kernel (HZ=100): an element lapses at a tick.
const TICK: std::time::Duration = ms(10);

/// Asks for a moment, and until what shall be answered is. What shall not be is not, all the time.
#[track_caller]
fn assert_answers(asker: &mut Asker, expected: &[(Question, bool)], when: &str) {
    let questions: Vec<_> = expected.iter().map(|(question, _)| *question).collect();
    let wanted: Vec<_> = expected.iter().filter(|(_, answers)| *answers).map(|(question, _)| *question).collect();
    asker.forget();
    asker.ask_for(&wanted, &questions, ms(5), Instant::now() + ms(100));
    let answered: Vec<_> = questions.iter().map(|&question| (question, asker.counts(question).1 > 0)).collect();
    assert_eq!(answered, expected, "{when}");
}

const fn each(answers: [bool; 4]) -> [(Question, bool); 4] {
    [(ALL[0], answers[0]), (ALL[1], answers[1]), (ALL[2], answers[2]), (ALL[3], answers[3])]
}

const fn all(answers: bool) -> [(Question, bool); 4] {
    each([answers; 4])
}

#[test]
fn a_guarded_address_answers_nothing_until_it_is_renewed() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let (mut asker, mut switch) = (wire.asker(), open(&wire.holder, "vipd"));
    assert_answers(&mut asker, &all(true), "without a guard it answers");

    switch.guard(BLUE, &VIPS).unwrap();
    assert_answers(&mut asker, &all(false), "guarded, not live");
    renew(&mut switch, &[BLUE], ms(60_000));
    assert_answers(&mut asker, &all(true), "live");
    switch.silence(&[BLUE]).unwrap();
    assert_answers(&mut asker, &all(false), "silenced long before its term");
    switch.retire(&VIPS).unwrap();
    assert_answers(&mut asker, &all(true), "no longer guarded");
}

#[test]
fn answers_end_with_the_term() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let (mut asker, mut switch) = (wire.asker(), open(&wire.holder, "vipd"));
    switch.guard(BLUE, &VIPS).unwrap();
    for timeout in [ms(60), ms(300), ms(450)] {
        let deadline = Instant::now() + ms(30_000);
        loop {
            asker.forget();
            let before = Instant::now();
            let renewed = renew(&mut switch, &[BLUE], timeout);
            asker.ask(&ALL, ms(2), Instant::now() + timeout + ms(400));
            let mut early = Vec::new();
            for question in ALL {
                let last = asker.last_answered(question).unwrap_or(before);
                println!("{timeout:?} {question:?}: last answer to a question {:?} after the renewal", last - renewed);
                assert!(
                    last <= renewed + timeout + TICK,
                    "{question:?} was answered {:?} after the renewal",
                    last - before
                );
                if last + ms(150) < before + timeout {
                    early.push((question, last - before));
                }
            }
            if early.is_empty() {
                break;
            }
            // Who does not ask in time, or is not heard, cannot tell.
            let held_up = asker.held_up(before);
            let may_be_our_doing = held_up > ms(50) && Instant::now() < deadline;
            assert!(may_be_our_doing, "fell silent early: {early:?}; the asker was held up for {held_up:?}");
        }
    }
}

#[test]
fn nobody_but_vipd_hears_the_difference() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    wire.holder.run("ip", &["address", "add", "198.18.5.201/32", "dev", "vip0"]);
    let mut switch = open(&wire.holder, "vipd");
    switch.guard(BLUE, &VIPS).unwrap();
    // The holder's own addresses, and another virtual IP that is not leased.
    for other in ["198.18.5.1", "198.18.5.201"] {
        wire.asker.run("arping", &["-c", "1", "-w", "5", "-I", "ask0", other]);
    }
}

#[test]
fn a_lapsed_address_is_silent_on_its_own_host_too() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let mut switch = open(&wire.holder, "vipd");
    let connect = |patience| {
        [IpAddr::V4(VIP4), IpAddr::V6(VIP6)].map(|address| {
            wire.holder.inside(|| {
                let listener = std::net::TcpListener::bind((address, 0)).unwrap();
                std::net::TcpStream::connect_timeout(&listener.local_addr().unwrap(), patience).is_ok()
            })
        })
    };
    assert_eq!(connect(PATIENCE), [true, true]);
    switch.guard(BLUE, &VIPS).unwrap();
    assert_eq!(connect(ms(100)), [false, false]);
    renew(&mut switch, &[BLUE], ms(60_000));
    assert_eq!(connect(PATIENCE), [true, true]);
}

#[test]
fn with_accept_mode_false_only_the_neighbours_questions_are_answered_and_only_while_live() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let (mut asker, mut switch) = (wire.asker(), open(&wire.holder, "vipd"));
    let found_but_not_reached =
        [(Question::Arp, true), (Question::Echo4, false), (Question::Solicitation, true), (Question::Echo6, false)];
    switch.admit(BLUE, Admission::Discovery).unwrap();
    switch.guard(BLUE, &VIPS).unwrap();
    assert_answers(&mut asker, &all(false), "not live");
    renew(&mut switch, &[BLUE], ms(60_000));
    assert_answers(&mut asker, &found_but_not_reached, "live");
    switch.admit(BLUE, Admission::All).unwrap();
    assert_answers(&mut asker, &all(true), "changed while live");
    switch.admit(BLUE, Admission::Discovery).unwrap();
    assert_answers(&mut asker, &found_but_not_reached, "and back");
    switch.silence(&[BLUE]).unwrap();
    assert_answers(&mut asker, &all(false), "silenced");
}

/// A port that a container publishes never gets to the input hook: its destination is another by then.
#[test]
fn a_published_port_is_silent_too() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    wire.holder.nft(
        "table ip published { chain publish { type nat hook prerouting priority -100; \
         ip daddr 198.18.5.200 tcp dport 80 dnat to 198.18.5.1:8080; }; }",
    );
    let mut switch = open(&wire.holder, "vipd");
    let _service = wire.holder.inside(|| std::net::TcpListener::bind("198.18.5.1:8080").unwrap());
    let connects = |patience| {
        let to = std::net::SocketAddr::from((VIP4, 80));
        wire.asker.inside(|| std::net::TcpStream::connect_timeout(&to, patience).is_ok())
    };
    assert!(connects(PATIENCE));
    switch.guard(BLUE, &VIPS).unwrap();
    assert!(!connects(ms(500)));
    renew(&mut switch, &[BLUE], ms(60_000));
    assert!(connects(PATIENCE));
}

#[test]
fn a_link_local_address_is_leased_on_each_interface_by_itself() {
    if !possible() {
        return;
    }
    let (holder, asker) = (Namespace::new("holder"), Namespace::new("asker"));
    let vip: Ipv6Addr = "fe80::200".parse().unwrap();
    let mut links = Vec::new();
    for (near, far) in [("vip0", "ask0"), ("vip1", "ask1")] {
        holder.run("ip", &["link", "add", near, "type", "veth", "peer", "name", far, "netns", &asker.name]);
        asker.run("ip", &["link", "set", far, "up"]);
        holder.run("ip", &["link", "set", near, "up"]);
        holder.run("ip", &["address", "add", "fe80::200/64", "dev", near, "nodad"]);
        links.push(holder.inside(|| nix::net::if_::if_nametoindex(near).unwrap()));
    }
    let mut askers: Vec<_> =
        ["ask0", "ask1"].iter().map(|dev| asker.inside(|| Asker::open(dev)).for_target(vip)).collect();
    let mut assert_both = |expected: [bool; 2], when: &str| {
        for (asker, answers) in askers.iter_mut().zip(expected) {
            assert_answers(asker, &[(Question::Solicitation, answers)], when);
        }
    };
    let leased: Vec<_> = links.iter().map(|&link| Leased::new(vip.into(), link)).collect();
    assert_both([true, true], "without a guard");
    let mut switch = open(&holder, "vipd");
    switch.guard(BLUE, &leased[..1]).unwrap();
    switch.guard(GREEN, &leased[1..]).unwrap();
    assert_both([false, false], "guarded");
    renew(&mut switch, &[GREEN], ms(60_000));
    assert_both([false, true], "one is live");
    let listed: Vec<_> = switch.list().unwrap().iter().map(|one| (one.address, one.remaining.is_some())).collect();
    assert_eq!(listed, [(leased[0], false), (leased[1], true)]);
}

/// A lease is renewed every 10 ms while it is asked for all the time: no question may go unanswered.
#[test]
fn a_renewal_interrupts_nothing() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let mut asker = wire.asker();
    let mut switch = open(&wire.holder, "vipd");
    switch.guard(BLUE, &VIPS).unwrap();
    let found = switch.support();
    for refresh in [Refresh::Replace, found.refresh] {
        switch.limit_to(Support { refresh, ..found });
        renew(&mut switch, &[BLUE], ms(2000));
        asker.forget();
        let end = Instant::now() + ms(2500);
        let renewals = std::thread::scope(|scope| {
            let renewer = scope.spawn(|| {
                let mut renewals = 0;
                while Instant::now() < end + ms(200) {
                    renew(&mut switch, &[BLUE], ms(2000));
                    renewals += 1;
                    std::thread::sleep(ms(10));
                }
                renewals
            });
            asker.ask(&ALL, std::time::Duration::from_micros(500), end);
            asker.catch_up();
            renewer.join().unwrap()
        });
        for question in ALL {
            let (asked, answers) = asker.counts(question);
            let silence = asker.longest_silence(question);
            println!(
                "{refresh:?}, {renewals} renewals, {question:?}: {answers} of {asked}, longest silence {silence:?}"
            );
            assert!(asked > 100, "{refresh:?} {question:?} was not asked often enough");
            // A packet that is judged at the very instant of a replacement may be lost.
            let lost = if refresh == Refresh::Replace { 2 } else { 0 };
            assert!(answers + lost >= asked, "{refresh:?} {question:?}: {answers} of {asked}");
        }
    }
}

#[test]
fn a_lease_whose_term_is_over_is_not_renewed() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let (mut asker, mut switch) = (wire.asker(), open(&wire.holder, "vipd"));
    switch.guard(BLUE, &VIPS[..1]).unwrap();
    switch.guard(GREEN, &VIPS[1..]).unwrap();
    let mut late = leases(&[BLUE, GREEN], ms(60_000));
    late[1].term.until = Instant::now();
    let renewal = switch.renew(&late, Instant::now).unwrap();
    assert_eq!((renewal.renewed, renewal.too_late), (1, 1));
    assert_answers(&mut asker, &each([true, true, false, false]), "the IPv4 address only");
}

#[test]
fn an_address_can_change_over_to_another_lease() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let (mut asker, mut switch) = (wire.asker(), open(&wire.holder, "vipd"));
    switch.guard(BLUE, &VIPS).unwrap();
    renew(&mut switch, &[BLUE], ms(60_000));
    switch.guard(GREEN, &VIPS[1..]).unwrap();
    assert_answers(&mut asker, &each([true, true, false, false]), "the other lease does not run");
    renew(&mut switch, &[GREEN], ms(60_000));
    switch.silence(&[BLUE]).unwrap();
    assert_answers(&mut asker, &each([false, false, true, true]), "the other lease runs, the first does not");
    let listed: Vec<_> = switch.list().unwrap().iter().map(|one| (one.address, one.lease)).collect();
    assert_eq!(listed, [(VIPS[0], Some(BLUE)), (VIPS[1], Some(GREEN))]);
}

#[test]
fn a_renewal_that_was_held_up_silences_its_addresses() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let (mut asker, mut switch) = (wire.asker(), open(&wire.holder, "vipd"));
    switch.guard(BLUE, &VIPS).unwrap();
    let mut timed = leases(&[BLUE], ms(60_000));
    for lease in &mut timed {
        lease.term.latest = lease.term.until + ms(5000);
    }
    // As if the process had been stopped for 6 s between reading the clock and sending.
    let start = Instant::now();
    let readings = std::cell::Cell::new(0);
    let clock = || start + std::time::Duration::from_secs(6 * readings.replace(readings.get() + 1));
    let error = switch.renew(&timed, clock).unwrap_err();
    assert_eq!(error.to_string(), "a renewal was held up for 6000 ms, so its addresses were silenced");
    assert_answers(&mut asker, &all(false), "silenced");
}
