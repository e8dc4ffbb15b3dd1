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
}

impl World {
    fn new(instance: &str, addresses: usize) -> Self {
        let vips: Vec<_> = (0..addresses).map(|n| format!("198.19.{}.{}/16", n / 250, n % 250 + 1)).collect();
        let text = format!("[[instance]]\nname = \"web\"\ninterface = \"eth0\"\naddresses = {vips:?}\n{instance}");
        let config = Config::parse("test", &text).unwrap();
        let config = config.instances.into_values().next().unwrap();
        let plan = config.lease_plan(Enforcement::DeadMan).unwrap();
        let start = Instant::now();
        let lease = LeaseId(NonZeroU32::MIN);
        let mut world = Self { instance: Instance::new(config, plan, lease, start), observed: host(), start };
        let effects = world.feed(0, Input::Observed);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Advertise(_))), "silent at start: {effects:?}");
        world
    }

    fn elected(addresses: usize) -> Self {
        let vrrp = "mode = \"vrrp\"\nvirtual-router-id = 51\npriority = 200\nadvertisement-interval-ms = 100";
        Self::new(vrrp, addresses)
    }

    fn managed() -> Self {
        Self::new("mode = \"managed\"", 2)
    }

    /// Hands in an input, and does what the instance wants of the kernel.
    fn feed(&mut self, milliseconds: u64, input: Input<'_>) -> Vec<Effect> {
        let now = self.start + Duration::from_millis(milliseconds);
        let mut effects = Vec::new();
        self.instance.handle(now, &self.observed, input, &mut effects);
        for effect in &effects {
            if let Effect::Change(work) = effect {
                work.iter().for_each(|one| self.change(one));
            }
        }
        effects
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
        let mut now = self.start;
        for _ in 0..100_000 {
            let Some(next) = self.instance.deadline(now).map(|deadline| deadline.max(now)).filter(|next| *next <= end)
            else {
                break;
            };
            now = next;
            let at = u64::try_from((now - self.start).as_millis()).unwrap();
            let mut effects = Vec::new();
            self.instance.handle(now, &self.observed, Input::Timer, &mut effects);
            for effect in effects {
                if let Effect::Change(work) = &effect {
                    work.iter().for_each(|one| self.change(one));
                }
                all.push((at, effect));
            }
        }
        all
    }
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
    let effects = world.feed(340, Input::Stop);
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
fn a_lost_lease_is_a_step_back_and_not_a_resignation() {
    let mut world = World::elected(1);
    world.run_until(330);
    let effects = done(world.feed(340, Input::LeaseLost("held up".into())));
    assert_eq!(effects, [Effect::Silence]);
    assert_eq!(world.instance.state(), StateName::Backup);
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
    world.run_until(11_000);
    assert!(world.instance.holds(), "nobody had taken them");
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
