#![expect(clippy::disallowed_methods, reason = "a test picks its start of time")]

use std::num::NonZeroU32;

use vrrp::AdvertPriority;

use super::*;
use crate::announce::Form;
use crate::config::Config;
use crate::daemon::announcer::Burst;
use crate::frame::arp::Operation;
use crate::kernel::{Address, Change, Link, TAG};
use crate::lease::Enforcement;

const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const OTHER: MacAddr = MacAddr(2, 0, 0, 0, 0, 2);

/// An instance on a host that does everything that it is told.
struct World {
    instance: Instance,
    observed: Observed,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(instance: &str, addresses: usize) -> Self {
        let (world, effects) = Self::begin(instance, addresses);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Advertise(_))), "silent at start: {effects:?}");
        world
    }

    fn begin(instance: &str, addresses: usize) -> (Self, Vec<Effect>) {
        Self::begin_on(host(), instance, addresses)
    }

    fn begin_on(observed: Observed, instance: &str, addresses: usize) -> (Self, Vec<Effect>) {
        let (config, plan) = configured(instance, addresses);
        let start = Instant::now();
        let lease = LeaseId(NonZeroU32::MIN);
        let mut world = Self { instance: Instance::new(config, plan, lease, start), observed, start, now: start };
        let effects = world.feed(0, Input::Observed);
        (world, effects)
    }

    /// Changes the configuration in place.
    fn reload(&mut self, milliseconds: u64, instance: &str, addresses: usize) -> Vec<Effect> {
        let (config, plan) = configured(instance, addresses);
        let (now, mut effects) = (self.start + Duration::from_millis(milliseconds), Vec::new());
        self.instance.reconfigure(now, &self.observed, config, plan, |_| false, &mut effects);
        effects
    }

    /// Tells it that an advertisement has gone out.
    fn sent(&mut self, milliseconds: u64) -> Vec<Effect> {
        self.feed(milliseconds, Input::Sent(self.start + Duration::from_millis(milliseconds)))
    }

    fn elected(addresses: usize) -> Self {
        Self::new(&vrrp(200, 100), addresses)
    }

    fn managed() -> Self {
        Self::new("mode = \"managed\"", 2)
    }

    /// Hands in an input, and does what the instance wants of the kernel.
    fn feed(&mut self, milliseconds: u64, input: Input<'_>) -> Vec<Effect> {
        self.now = self.start + Duration::from_millis(milliseconds);
        let mut effects = Vec::new();
        self.instance.handle(self.now, &self.observed, input, &mut effects);
        self.carry_out(effects)
    }

    /// As the service does: what follows from a change comes right after it.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut done = Vec::new();
        for effect in effects {
            let changes = if let Effect::Change(work) = &effect {
                work.iter().for_each(|one| self.change(one));
                true
            } else {
                false
            };
            done.push(effect);
            if changes {
                let mut next = Vec::new();
                self.instance.handle(self.now, &self.observed, Input::Changed(Vec::new()), &mut next);
                done.extend(self.carry_out(next));
            }
        }
        done
    }

    fn change(&mut self, effect: &holder::Effect) {
        match effect {
            holder::Effect::Add(vip) => {
                self.observed.take(Change::Address(address(&vip.net.to_string(), Some(TAG))));
            }
            holder::Effect::Remove(vip) => {
                self.observed.take(Change::AddressGone { net: vip.net, link: vip.link });
            }
            holder::Effect::Announce(_) | holder::Effect::PromoteSecondaries { .. } => {}
        }
    }

    /// Lets time pass in the deadlines' own steps; returns the effects with their times.
    fn run_until(&mut self, milliseconds: u64) -> Vec<(u64, Effect)> {
        let mut all = Vec::new();
        let end = self.start + Duration::from_millis(milliseconds);
        for _ in 0..100_000 {
            let next = self.instance.deadline(self.now).map(|deadline| deadline.max(self.now));
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next;
            let at = u64::try_from((next - self.start).as_millis()).unwrap();
            let mut effects = Vec::new();
            self.instance.handle(next, &self.observed, Input::Timer, &mut effects);
            all.extend(self.carry_out(effects).into_iter().map(|effect| (at, effect)));
        }
        all
    }
}

fn configured(instance: &str, addresses: usize) -> (config::Instance, Option<LeasePlan>) {
    let vips: Vec<_> = (0..addresses).map(|n| format!("198.19.{}.{}/16", n / 250, n % 250 + 1)).collect();
    let text = format!("[[instance]]\nname = \"web\"\ninterface = \"eth0\"\naddresses = {vips:?}\n{instance}");
    let config = Config::parse("test", &text).unwrap().instances.into_values().next().unwrap();
    let plan = config.lease_plan(Enforcement::DeadMan).unwrap();
    (config, plan)
}

fn vrrp(priority: u8, interval_ms: u16) -> String {
    format!("mode = \"vrrp\"\nvirtual-router-id = 51\npriority = {priority}\nadvertisement-interval-ms = {interval_ms}")
}

fn host() -> Observed {
    let link = Link {
        index: 2,
        name: "eth0".into(),
        alternatives: Vec::new(),
        mac: Some(OWN),
        ethernet: true,
        up: true,
        carrier: true,
        port_of: None,
        promotes_secondaries: true,
        forwards_ipv6: false,
        disables_ipv6: false,
        ..Link::default()
    };
    Observed { links: vec![link], addresses: [address("198.19.255.10/16", None)].into_iter().collect() }
}

fn address(net: &str, tag: Option<u8>) -> Address {
    Address {
        net: net.parse().unwrap(),
        link: 2,
        tag,
        secondary: tag.is_some(),
        tentative: false,
        duplicate: false,
        valid_for: None,
    }
}

fn claim(address: &str, manner: Manner) -> Claim {
    Claim { address: address.parse().unwrap(), mac: OTHER, manner }
}

/// Without reports, whose words are not the point.
fn done(effects: impl IntoIterator<Item = Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Report(_))).collect()
}

const ADVERT: Effect = Effect::Advertise(AdvertPriority::Holding(match Priority::new(200) {
    Some(priority) => priority,
    None => Priority::OWNER,
}));

#[test]
fn a_take_over_advertises_guards_adds_and_then_announces() {
    let mut world = World::elected(2);
    let effects = world.run_until(330);
    let [vip, other] = world.instance.vips() else { panic!() };
    let addresses = || vec![vip.net.addr(), other.net.addr()];
    let announce = |form| Effect::Announce(Burst { form: Form::Arp(form), addresses: addresses() });
    let add = [vip, other].map(|vip| holder::Effect::Add(vip.clone()));
    let expected = [
        ADVERT,
        Effect::Guard,
        Effect::Renew,
        Effect::Change(add.to_vec()),
        announce(Operation::Request),
        announce(Operation::Reply),
    ];
    assert_eq!(done(effects.into_iter().map(|(_, effect)| effect)), expected);
}

#[test]
fn the_end_silences_resigns_once_and_removes() {
    let mut world = World::elected(1);
    world.run_until(330);
    let effects = world.feed(340, Input::Stop("stopped"));
    let expected = [Effect::Silence, Effect::Advertise(AdvertPriority::Resigning)];
    assert_eq!(done(effects), expected);
    assert!(!world.instance.is_idle(), "the addresses are still there");
    let effects = done(world.run_until(341).into_iter().map(|(_, effect)| effect));
    assert!(matches!(effects.as_slice(), [Effect::Change(_)]), "{effects:?}");
    assert!(world.instance.is_idle());
    assert_eq!(world.observed, host(), "nothing of ours is left");
}

#[test]
fn adverts_are_in_time_however_many_addresses_there_are() {
    let mut world = World::elected(250);
    let effects = world.run_until(1500);
    let adverts: Vec<_> = effects.iter().filter(|(_, effect)| *effect == ADVERT).map(|(at, _)| *at).collect();
    assert!(adverts.windows(2).all(|two| two[1] - two[0] == 100), "{adverts:?}");
    for (_, effect) in &effects {
        if let Effect::Change(work) = effect {
            assert!(work.len() <= CHUNK);
        }
    }
    let announced = |effect: &Effect| if let Effect::Announce(some) = effect { some.addresses.len() } else { 0 };
    let frames: usize = effects.iter().map(|(_, effect)| announced(effect)).sum();
    assert_eq!(frames, 250 * 2 * crate::announce::ROUNDS.len());
}

#[test]
fn a_lost_interface_is_left_without_a_word() {
    let mut world = World::elected(1);
    world.run_until(330);
    world.observed.links[0].carrier = false;
    let effects = world.feed(340, Input::Observed);
    assert_eq!(done(effects), [Effect::Silence], "nothing may be left in a queue");
    assert_eq!(world.instance.waiting_for(), Some("the interface has no carrier"));
    world.observed.links[0].carrier = true;
    let effects = world.feed(5000, Input::Observed);
    assert!(effects.contains(&Effect::Listen), "{effects:?}");
    assert_eq!(world.instance.state(), StateName::Backup, "it begins anew");
}

#[test]
fn an_end_is_told_with_what_led_to_it() {
    let reason = |effects: Vec<Effect>| {
        effects.into_iter().find_map(|effect| match effect {
            Effect::Report(What::Transition { from, reason, .. }) if from == "Active" => Some(reason),
            _ => None,
        })
    };
    let mut world = World::elected(1);
    world.run_until(330);
    let own: Vec<_> =
        world.observed.addresses.iter().map(|one| one.net).filter(|net| net.to_string().contains(".255.")).collect();
    world.observed.take(Change::AddressGone { net: own[0], link: 2 });
    let told = reason(world.feed(340, Input::Observed));
    assert_eq!(told.as_deref(), Some("the interface has no IPv4 address of its own"));

    let mut world = World::elected(1);
    world.run_until(330);
    let priority = world.instance.priority().unwrap();
    let told = reason(world.feed(340, Input::Depends { faults: &["check c is down".to_owned()], priority }));
    assert_eq!(told.as_deref(), Some("check c is down"));

    let mut world = World::elected(1);
    world.run_until(330);
    let told = reason(world.feed(340, Input::Stop("replaced by a reload")));
    assert_eq!(told.as_deref(), Some("replaced by a reload"));
}

#[test]
fn an_address_on_its_way_back_is_not_forgotten_when_the_link_goes_again() {
    let mut world = World::managed();
    world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: true }));
    world.run_until(600);
    assert!(world.instance.holds());
    // The second time in the middle of asking whether another host has it.
    for (at, carrier) in [(1000, false), (1100, true), (1200, false), (1300, true)] {
        world.observed.links[0].carrier = carrier;
        world.feed(at, Input::Observed);
        assert!(!world.instance.holds(), "{at}");
    }
    world.run_until(5000);
    assert!(world.instance.holds());
}

#[test]
fn a_reload_does_not_wait_for_the_next_attempt_to_advertise() {
    let mut world = World::elected(1);
    world.run_until(325);
    world.feed(325, Input::Unsent("held up".into()));
    assert_eq!(world.instance.state(), StateName::Initialize);
    world.reload(400, &vrrp(200, 90), 1);
    world.run_until(410);
    assert_eq!(world.instance.state(), StateName::Backup, "{:?}", world.instance.waiting_for());
}

#[test]
fn a_lost_lease_is_a_step_back_and_not_a_resignation() {
    let mut world = World::elected(1);
    world.run_until(330);
    let effects = done(world.feed(340, Input::LeaseLost(world.start, "held up".into())));
    assert_eq!(effects, [Effect::Silence]);
    assert_eq!(world.instance.state(), StateName::Backup);
}

/// The turn of the loop began at 340 ms, and it was held up in the middle of it.
#[test]
fn whoever_was_held_up_listens_from_when_it_is_seen() {
    let mut world = World::elected(1);
    world.run_until(330);
    let seen = world.start + Duration::from_millis(1400);
    world.feed(340, Input::LeaseLost(seen, "held up".into()));
    assert_eq!(world.instance.state(), StateName::Backup);
    world.run_until(1400 + 300);
    assert_eq!(world.instance.state(), StateName::Backup, "an Active_Down_Interval is longer than three intervals");
    world.run_until(1400 + 330);
    assert_eq!(world.instance.state(), StateName::Active);
}

#[test]
fn an_address_that_was_removed_is_put_back_and_announced_until_the_limit() {
    let mut world = World::new("mode = \"managed\"\nrestore-limit = 2", 1);
    world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: true }));
    world.run_until(600);
    let net = world.instance.vips()[0].net;
    for time in 1..=3 {
        world.observed.take(Change::AddressGone { net, link: 2 });
        let at = 1000 * time;
        let effects = world.feed(at, Input::Observed);
        if time <= 2 {
            assert!(matches!(effects.as_slice(), [Effect::Report(What::Restored { .. })]), "{effects:?}");
            let effects = world.run_until(at + 10);
            assert!(effects.iter().any(|(_, effect)| matches!(effect, Effect::Announce(_))), "{effects:?}");
        } else {
            assert!(effects.contains(&Effect::Silence), "{effects:?}");
            assert!(!world.instance.holds());
        }
    }
}

#[test]
fn a_managed_instance_asks_before_it_holds() {
    let mut world = World::managed();
    let effects = world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: false }));
    assert!(!world.instance.holds(), "{effects:?}");
    let effects = world.run_until(800);
    let answer = effects.iter().find_map(|(at, effect)| match effect {
        Effect::Answer(ticket, result) => Some((*at >= 700, *ticket, result.clone())),
        _ => None,
    });
    assert_eq!(answer, Some((true, Ticket(1), Ok("web acquired".to_owned()))));
}

#[test]
fn whoever_has_gone_while_it_was_asked_gets_nothing() {
    let mut world = World::managed();
    world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: false }));
    assert_eq!(world.instance.asks_for(), Some(Ticket(1)));
    world.run_until(600);
    world.feed(610, Input::Abandoned(Ticket(2)));
    assert_eq!(world.instance.asks_for(), Some(Ticket(1)), "that was somebody else");
    world.feed(620, Input::Abandoned(Ticket(1)));
    world.run_until(2000);
    assert!(!world.instance.holds());
}

#[test]
fn a_managed_instance_refuses_what_another_host_has() {
    let mut world = World::managed();
    world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: false }));
    let effects = world.feed(100, Input::Claim(claim("198.19.0.2", Manner::Answered)));
    let Some(Effect::Answer(Ticket(1), Err(refusal))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(
        refusal.message,
        "198.19.0.2 is in use by 02:00:00:00:00:02 on eth0; unassign it there, or fence that host"
    );
    assert!(world.run_until(2000).is_empty(), "and that is all");
}

#[test]
fn another_hosts_claim_is_defended_against_once_a_second_or_given_in_to() {
    for (policy, gives_in) in [("defend", false), ("release", true)] {
        let mut world = World::new(&format!("mode = \"managed\"\non-conflict = {policy:?}"), 1);
        world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: true }));
        world.run_until(600);
        let probing = world.feed(700, Input::Claim(claim("198.19.0.1", Manner::Probing)));
        assert_eq!(probing, [], "the kernel answers that");
        let first = world.feed(701, Input::Claim(claim("198.19.0.1", Manner::Announced)));
        assert!(matches!(first.first(), Some(Effect::Report(What::Conflict { .. }))), "{first:?}");
        assert_eq!(first.contains(&Effect::Silence), gives_in);
        assert_eq!(world.feed(800, Input::Claim(claim("198.19.0.1", Manner::Announced))), []);
        assert_eq!(world.instance.holds(), !gives_in);
        // What came too soon is made up for: it may have been the last word that the neighbours heard.
        world.run_until(1700);
        let again = world.run_until(1702);
        let conflict = |(_, effect): &(u64, Effect)| matches!(effect, Effect::Report(What::Conflict { .. }));
        assert_eq!(again.iter().any(conflict), !gives_in, "{again:?}");
        assert_eq!(again.iter().any(|(_, effect)| matches!(effect, Effect::Announce(_))), !gives_in, "{again:?}");
        assert!(!world.run_until(5000).iter().any(conflict), "once");
    }
}

#[test]
fn an_elected_instance_that_gives_in_tries_again_ever_more_rarely() {
    let mut world = World::new(&format!("{}\non-conflict = \"release\"", vrrp(200, 100)), 1);
    let mut out_for = Vec::new();
    let mut at = 0;
    for _ in 0..7 {
        while !world.instance.holds() {
            at += 10;
            world.run_until(at);
        }
        // The switches take a moment to show it, or another host claims it now and then.
        at += 1500;
        world.run_until(at);
        let effects = world.feed(at, Input::Claim(claim("198.19.0.1", Manner::Announced)));
        assert!(effects.contains(&Effect::Advertise(AdvertPriority::Resigning)), "{effects:?}");
        assert_eq!(world.instance.waiting_for(), Some("198.19.0.1 is in use by 02:00:00:00:00:02"));
        let from = at;
        while world.instance.waiting_for().is_some() {
            at += 10;
            world.run_until(at);
        }
        out_for.push((at - from) / 1000);
    }
    assert_eq!((out_for, world.instance.conflicts()), (vec![1, 2, 4, 8, 16, 32, 32], 7));
}

#[test]
fn a_lease_that_is_not_renewed_is_tried_again_ever_more_rarely() {
    let mut world = World::elected(1);
    let mut held_at = Vec::new();
    for at in (0..20_000).step_by(10) {
        world.run_until(at);
        if world.instance.holds() {
            held_at.push(at);
            world.feed(at, Input::Unrenewed("the lease is not renewed: no".into()));
        }
    }
    let pauses: Vec<_> = held_at.windows(2).map(|two| (two[1] - two[0]) / 1000).collect();
    assert_eq!(pauses, [1, 2, 4, 8]);
}

#[test]
fn whoever_gave_in_says_so_until_an_operator_decides() {
    let mut world = World::new("mode = \"managed\"\non-conflict = \"release\"", 1);
    let acquire = || Input::Command(Ticket(1), Command::Acquire { force: true });
    for then in [acquire(), Input::Command(Ticket(2), Command::Release)] {
        world.feed(0, acquire());
        world.run_until(2000);
        world.feed(2000, Input::Claim(claim("198.19.0.1", Manner::Announced)));
        let says = "let go: 198.19.0.1 is in use by 02:00:00:00:00:02; vipd acquire web asks again";
        assert_eq!(world.instance.waiting_for(), Some(says));
        world.feed(2100, then);
        assert_eq!(world.instance.waiting_for(), None);
        world.feed(2200, Input::Command(Ticket(3), Command::Release));
        world.run_until(4000);
        world = World::new("mode = \"managed\"\non-conflict = \"release\"", 1);
    }
}

#[test]
fn a_managed_instance_that_was_stalled_asks_again() {
    let mut world = World::managed();
    world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: true }));
    world.run_until(600);
    let effects = world.feed(10_000, Input::Timer);
    assert!(effects.contains(&Effect::Silence), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ListenFor(_))), "{effects:?}");
    assert!(!world.instance.holds());
    let told = world.run_until(11_000);
    assert!(world.instance.holds(), "nobody had taken them");
    let reason = told.into_iter().find_map(|(_, effect)| match effect {
        Effect::Report(What::Transition { reason, .. }) => Some(reason),
        _ => None,
    });
    assert_eq!(reason.as_deref(), Some("held before, and nobody else has the addresses"));
}

#[test]
fn what_the_kernel_took_away_during_a_stall_is_not_put_back() {
    for mut world in [World::elected(1), World::managed()] {
        if world.instance.priority().is_none() {
            world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: true }));
        }
        world.run_until(500);
        assert!(world.instance.holds());
        let net = world.instance.vips()[0].net;
        world.observed.take(Change::AddressGone { net, link: 2 });
        let effects = world.feed(20_000, Input::Observed);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Report(What::Restored { .. }))), "{effects:?}");
        assert!(effects.contains(&Effect::Silence), "{effects:?}");
        assert!(!world.instance.holds(), "another host may have them");
    }
}

#[test]
fn a_take_over_that_nobody_was_told_of_is_none() {
    let mut world = World::elected(1);
    world.run_until(325);
    let effects = done(world.feed(325, Input::Unsent("held up".into())));
    assert_eq!(effects, [Effect::Silence, Effect::Advertise(AdvertPriority::Resigning)]);
    assert_eq!(world.instance.waiting_for(), Some("cannot advertise: held up"));
    let effects = world.run_until(1324);
    assert!(matches!(effects.as_slice(), [(_, Effect::Change(_))]), "what was added is removed: {effects:?}");
    assert_eq!(world.observed, host());
    world.run_until(1700);
    assert!(world.instance.holds(), "it has listened, and tries again");
    world.feed(1700, Input::Unsent("held up".into()));
    world.run_until(3600);
    assert!(world.instance.waiting_for().is_some(), "each time a little later: its sync group goes with it");
    world.run_until(4100);
    assert!(world.instance.holds());
    world.sent(4100);
    world.feed(5000, Input::Unsent("held up".into()));
    world.run_until(8990);
    assert!(world.instance.waiting_for().is_some(), "a moment of success is none");
    world.run_until(9500);
    assert!(world.instance.holds());
    world.run_until(70_000);
    world.feed(70_000, Input::Unsent("held up".into()));
    world.run_until(71_100);
    assert_eq!(world.instance.waiting_for(), None, "from the beginning after a minute of calm");
}

#[test]
fn whoever_cannot_advertise_any_more_holds_until_a_peer_may_take_over() {
    let mut world = World::elected(1);
    world.run_until(330);
    world.sent(325);
    for at in [425, 525] {
        assert_eq!(world.feed(at, Input::Unsent("held up".into())), [], "{at}: the peers wait");
    }
    let effects = done(world.feed(626, Input::Unsent("held up".into())));
    assert_eq!(effects.first(), Some(&Effect::Silence));
    assert!(!world.instance.holds());
    assert_eq!(world.sent(627), [], "what is said after that renews no lease");
}

#[test]
fn the_lease_is_longer_only_when_the_peers_have_been_told_to_wait_longer() {
    let mut world = World::elected(1);
    world.run_until(330);
    world.sent(325);
    let before = *world.instance.plan().unwrap();
    world.reload(340, &vrrp(200, 5000), 1);
    assert_eq!(world.instance.plan(), Some(&before), "the peers still count with the last advertisement");
    let effects = world.run_until(425);
    assert!(effects.iter().any(|(_, effect)| *effect == ADVERT), "and hear the next in time: {effects:?}");
    assert_eq!(world.sent(426), [Effect::Renew]);
    let after = *world.instance.plan().unwrap();
    assert!(after.silent_within > before.silent_within, "{after:?}");
    let effects = world.run_until(430);
    assert!(effects.iter().any(|(_, effect)| matches!(effect, Effect::Prolong(_))), "the same for the addresses");

    world.reload(440, &vrrp(200, 100), 1);
    assert_eq!(world.instance.plan(), Some(&before), "it is shorter at once");
}

#[test]
fn a_shorter_managed_lease_is_renewed_as_often_from_the_reload_on() {
    let mut world = World::new("mode = \"managed\"\nlease = \"60s\"", 1);
    world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: true }));
    world.run_until(600);
    world.reload(1000, "mode = \"managed\"\nlease = \"2s\"", 1);
    let renewed: Vec<_> = world.run_until(3000).into_iter().filter(|(_, effect)| *effect == Effect::Renew).collect();
    assert_eq!(renewed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1500, 2000, 2500, 3000]);
}

#[test]
fn an_owner_that_has_let_go_does_not_put_its_address_back() {
    let (mut world, effects) = World::begin(&vrrp(255, 100), 1);
    assert!(matches!(effects.as_slice(), [.., Effect::Report(What::Transition { .. })]), "{effects:?}");
    world.run_until(10);
    let net = world.instance.vips()[0].net;
    assert!(world.observed.addresses.get(2, net).is_some());
    world.feed(700, Input::Command(Ticket(1), Command::Handover));
    // Without a lease the kernel is silenced by removing what we had added.
    world.observed.take(Change::AddressGone { net, link: 2 });
    world.reload(750, &vrrp(255, 110), 1);
    world.feed(760, Input::Stop("stopped"));
    let effects = world.run_until(770);
    assert!(!effects.iter().any(|(_, effect)| matches!(effect, Effect::Change(_))), "{effects:?}");
}

#[test]
fn an_owners_own_address_is_not_touched_and_not_handed_over() {
    let own = || ["198.19.255.10/16", "198.19.0.1/16"].map(|net| address(net, None)).into_iter().collect();
    let observed = || Observed { addresses: own(), ..host() };
    let (mut world, _) = World::begin_on(observed(), &vrrp(255, 100), 1);
    let mut effects: Vec<_> = world.run_until(600).into_iter().map(|(_, effect)| effect).collect();
    let refused = world.feed(610, Input::Command(Ticket(1), Command::Handover));
    assert!(matches!(refused.as_slice(), [Effect::Answer(_, Err(_))]), "{refused:?}");
    assert_eq!(world.feed(620, Input::StepDown), [], "it would go on answering for it beside a peer");
    assert_eq!(world.instance.state(), StateName::Active);
    effects.extend(world.feed(630, Input::Stop("stopped")));
    effects.extend(world.run_until(700).into_iter().map(|(_, effect)| effect));
    let touched = |effect: &Effect| matches!(effect, Effect::Prolong(_) | Effect::Change(_));
    assert!(!effects.iter().any(touched), "{effects:?}");
    assert_eq!(world.observed, observed());
}

#[test]
fn an_address_that_has_gone_as_it_should_is_anybodys() {
    for reloaded_at in [10, 340] {
        let mut world = World::elected(2);
        world.run_until(reloaded_at);
        world.reload(reloaded_at, &vrrp(200, 100), 1);
        world.run_until(450);
        assert!(world.instance.holds());
        world.observed.take(Change::Address(address("198.19.0.2/16", None)));
        world.feed(460, Input::Observed);
        let effects = world.run_until(470);
        let removed = effects.iter().any(|(_, effect)| matches!(effect, Effect::Change(_)));
        assert!(!removed, "reloaded at {reloaded_at}: {effects:?}");
    }
}

#[test]
fn a_released_address_is_guarded_no_longer_even_if_somebody_else_removed_it() {
    let mut world = World::managed();
    world.feed(0, Input::Command(Ticket(1), Command::Acquire { force: true }));
    world.run_until(600);
    let vips = world.instance.vips().to_vec();
    for vip in &vips {
        world.observed.take(Change::AddressGone { net: vip.net, link: 2 });
    }
    let effects = world.feed(700, Input::Command(Ticket(2), Command::Release));
    let retired = effects.iter().any(|effect| matches!(effect, Effect::Retire(leased) if leased.len() == vips.len()));
    assert!(retired, "{effects:?}");
}

#[test]
fn what_it_lacks_is_told_when_it_changes_and_not_at_every_attempt() {
    let mut world = World::elected(1);
    let mut told = Vec::new();
    let mut attempts = 0;
    // Listening fails for three seconds, for one reason and then for another.
    for at in (0..6000).step_by(10) {
        let input = if at == 0 { Input::Deaf("this".into()) } else { Input::Timer };
        let mut effects = world.feed(at, input);
        if effects.contains(&Effect::Listen) && at < 3000 {
            attempts += 1;
            effects.extend(world.feed(at, Input::Deaf(if at < 1500 { "this" } else { "that" }.into())));
        }
        told.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Report(What::Waiting { reason }) => Some((at, reason)),
            Effect::Report(What::Transition { to, .. }) => Some((at, to)),
            _ => None,
        }));
    }
    let expected = [(0, "this"), (0, "Initialize"), (2000, "that"), (3010, "Backup")];
    let told: Vec<_> = told.iter().map(|(at, what)| (*at, what.as_str())).collect();
    assert_eq!(told[..4], expected, "after {attempts} attempts: {told:?}");
    assert_eq!(told[4].1, "Active");
    assert_eq!(attempts, 2);
}

#[test]
fn a_handover_that_nobody_takes_is_refused_when_it_holds_again() {
    let mut world = World::elected(1);
    world.run_until(400);
    let effects = world.feed(410, Input::Command(Ticket(1), Command::Handover));
    assert!(effects.contains(&Effect::Silence), "{effects:?}");
    let answer = |effects: Vec<(u64, Effect)>| {
        effects.into_iter().find_map(|(at, effect)| match effect {
            Effect::Answer(ticket, result) => Some((at, ticket, result.map_err(|refusal| refusal.message))),
            _ => None,
        })
    };
    let refused = "web: no peer took the addresses; they are held here again".to_owned();
    assert_eq!(answer(world.run_until(1000)), Some((731, Ticket(1), Err(refused))));
    assert!(world.instance.holds());
}

#[test]
fn a_handover_that_takes_long_says_so_before_the_client_gives_up() {
    let mut world = World::new(&vrrp(200, 20_000), 1);
    world.run_until(70_000);
    assert!(world.instance.holds());
    world.feed(70_000, Input::Command(Ticket(1), Command::Handover));
    let effects = world.run_until(85_000);
    let [.., (80_000, Effect::Answer(Ticket(1), Ok(text)))] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(text.contains("no peer has advertised yet"), "{text}");
}

/// Whom it would advertise to.
fn destinations(world: &World) -> Vec<String> {
    let (mut buffer, mut all) = ([0; 1500], Vec::new());
    let mut note = |endpoints: vrrp::wire::Endpoints, _: &[u8]| match endpoints {
        vrrp::wire::Endpoints::V4 { destination, .. } => all.push(destination.to_string()),
        vrrp::wire::Endpoints::V6 { destination, .. } => all.push(destination.to_string()),
    };
    world.instance.advertisements(AdvertPriority::Resigning, &mut buffer, &mut note).unwrap();
    all
}

#[test]
fn a_unicast_peer_that_is_this_host_is_left_out_and_without_another_there_is_nobody_to_agree_with() {
    let unicast = |peers: &str| format!("{}\n[instance.unicast]\npeers = {peers}\n", vrrp(200, 100));
    // The same file on both hosts.
    let mut world = World::new(&unicast("[\"198.19.255.10\", \"198.19.255.11\"]"), 1);
    world.run_until(330);
    assert!(world.instance.holds());
    assert_eq!(destinations(&world), ["198.19.255.11"]);

    // The other one becomes ours as well, on another interface.
    let elsewhere = Address { link: 3, ..address("198.19.255.11/32", None) };
    world.observed.take(Change::Address(elsewhere));
    world.feed(400, Input::Observed);
    world.run_until(500);
    assert!(!world.instance.holds());
    assert_eq!(world.instance.waiting_for(), Some("every unicast peer is an address of this host"));
    world.observed.take(Change::AddressGone { net: "198.19.255.11/32".parse().unwrap(), link: 3 });
    world.feed(600, Input::Observed);
    assert_eq!((world.instance.waiting_for(), world.instance.state()), (None, StateName::Backup));

    let mut alone = World::new(&unicast("[\"198.19.255.10\"]"), 1);
    alone.run_until(5000);
    assert!(!alone.instance.holds());
    assert_eq!(alone.instance.waiting_for(), Some("every unicast peer is an address of this host"));
}

#[test]
fn a_link_local_peer_is_this_host_only_on_the_link_that_it_is_on() {
    let text = "[[instance]]\nname = \"web\"\ninterface = \"eth0\"\naddresses = [\"fe80::33/64\"]\nmode = \"vrrp\"\n\
                virtual-router-id = 51\n[instance.unicast]\npeers = [\"fe80::2\"]\n";
    let config = Config::parse("test", text).unwrap().instances.into_values().next().unwrap();
    let mut observed = host();
    observed.addresses.extend([Address { link: 3, ..address("fe80::2/64", None) }]);
    assert_eq!(place::own_peers(&config, &observed), Vec::<IpAddr>::new());
    observed.addresses.extend([Address { duplicate: true, ..address("fe80::2/64", None) }]);
    assert_eq!(place::own_peers(&config, &observed), Vec::<IpAddr>::new(), "the other host's");
    observed.addresses.extend([address("fe80::2/64", None)]);
    assert_eq!(place::own_peers(&config, &observed), ["fe80::2".parse::<IpAddr>().unwrap()]);
}
