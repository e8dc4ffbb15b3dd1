//! Announcing many addresses: every one once before any is repeated in any form, in bursts that leave room for adverts. Pure.
//!
//! ```text
//!  placed ──▶ [a b c … z]   round 0: requests a b c … z, replies a b c … z      round 1: the same     round 2
//!                           as they come                                        150 ms after the start  450 ms
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::announce::{Form, ROUNDS, forms};

/// Frames of one burst: as many as there are addresses added in one go, so that announcing keeps pace with adding.
pub const BURST: usize = 128;
/// From one full burst to the next; in between there is time for everything else.
pub const GAP: Duration = Duration::from_millis(2);

/// The announcements of one instance that are still to go out.
#[derive(Clone, Debug, Default)]
pub struct Announcer {
    addresses: Vec<IpAddr>,
    /// `None`: nothing to announce.
    schedule: Option<Schedule>,
}

/// Addresses that are to be announced now, each with one frame of this form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The form.
    pub form: Form,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    started: Instant,
    /// Not before.
    next: Instant,
    round: usize,
    /// Which form of this round.
    form: usize,
    /// Addresses that have gone out in this form.
    sent: usize,
    /// Whether no more addresses come.
    complete: bool,
    /// Whether all of it is to be done once more.
    again: bool,
}

impl Schedule {
    const fn new(now: Instant) -> Self {
        Self { started: now, next: now, round: 0, form: 0, sent: 0, complete: false, again: false }
    }

    const fn has_begun(&self) -> bool {
        self.round > 0 || self.form > 0 || self.sent > 0
    }

    /// When the next burst of these is due.
    fn deadline(&self, addresses: &[IpAddr]) -> Option<Instant> {
        if self.sent < addresses.len() {
            return Some(self.next);
        }
        if !self.complete || addresses.is_empty() {
            return None;
        }
        if self.form + 1 < forms_of(addresses).len() {
            return Some(self.next);
        }
        let round = ROUNDS.get(self.round + 1).map(|offset| self.next.max(self.started + *offset));
        round.or_else(|| self.again.then_some(self.next))
    }

    fn is_over(&self, addresses: &[IpAddr]) -> bool {
        self.complete && self.deadline(addresses).is_none()
    }
}

fn forms_of(addresses: &[IpAddr]) -> &'static [Form] {
    addresses.first().map_or(&[], |address| forms(*address))
}

impl Announcer {
    /// These are configured now, and may be announced. All are of one family. What has missed the beginning of what is
    /// under way is announced in full after that.
    pub fn placed(&mut self, now: Instant, addresses: impl IntoIterator<Item = IpAddr>) {
        match &mut self.schedule {
            Some(schedule) if !schedule.is_over(&self.addresses) => {
                schedule.again |= schedule.round > 0 || schedule.form > 0;
            }
            Some(_) | None => {
                self.addresses.clear();
                self.schedule = Some(Schedule::new(now));
            }
        }
        self.addresses.extend(addresses);
    }

    /// All of these anew: at once, or after what is under way, which is never cut short.
    pub fn announce(&mut self, now: Instant, addresses: impl IntoIterator<Item = IpAddr>) {
        let begun = self.schedule.filter(|schedule| !schedule.is_over(&self.addresses) && schedule.has_begun());
        let known: BTreeSet<_> =
            if begun.is_some() { self.addresses.iter().copied().collect() } else { BTreeSet::new() };
        if begun.is_none() {
            self.cancel();
        }
        self.placed(now, addresses.into_iter().filter(|address| !known.contains(address)));
        if let Some(schedule) = &mut self.schedule {
            schedule.again |= begun.is_some();
            schedule.complete = true;
        }
    }

    /// No more will be placed: they may be repeated.
    pub const fn complete(&mut self) {
        if let Some(schedule) = &mut self.schedule {
            schedule.complete = true;
        }
    }

    /// Forgets what has not gone out.
    pub fn cancel(&mut self) {
        self.addresses.clear();
        self.schedule = None;
    }

    /// When the next burst is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.schedule?.deadline(&self.addresses)
    }

    /// A burst that is due.
    pub fn take(&mut self, now: Instant) -> Option<Burst> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        let forms = forms_of(&self.addresses);
        let schedule = self.schedule.as_mut()?;
        if schedule.sent == self.addresses.len() {
            schedule.sent = 0;
            schedule.form += 1;
            if schedule.form == forms.len() {
                schedule.form = 0;
                schedule.round += 1;
            }
            if schedule.round == ROUNDS.len() {
                *schedule = Schedule { complete: true, ..Schedule::new(now) };
            }
        }
        let addresses: Vec<_> = self.addresses.iter().skip(schedule.sent).take(BURST).copied().collect();
        schedule.sent += addresses.len();
        schedule.next = if addresses.len() < BURST { now } else { now + GAP };
        Some(Burst { form: *forms.get(schedule.form)?, addresses })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test picks its start of time")]

    use super::*;
    use crate::frame::arp::Operation;

    fn addresses(count: u16) -> Vec<IpAddr> {
        (0..count).map(|n| IpAddr::from([198, 18, n.to_be_bytes()[0], n.to_be_bytes()[1]])).collect()
    }

    fn drain(announcer: &mut Announcer) -> Vec<(Instant, Burst)> {
        let next = || announcer.deadline().and_then(|at| announcer.take(at).map(|burst| (at, burst)));
        std::iter::from_fn(next).take(10_000).collect()
    }

    const REQUEST: Form = Form::Arp(Operation::Request);
    const REPLY: Form = Form::Arp(Operation::Reply);

    #[test]
    fn every_address_is_announced_once_before_any_is_repeated_in_any_form() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.announce(start, addresses(4001));
        let one = |burst: Burst| burst.addresses.into_iter().map(move |address| (burst.form, address));
        let all: Vec<_> = drain(&mut announcer).into_iter().flat_map(|(_, burst)| one(burst)).collect();
        assert_eq!(all.len(), 6 * 4001);
        for (pass, form) in all.chunks(4001).zip([REQUEST, REPLY, REQUEST, REPLY, REQUEST, REPLY]) {
            assert!(pass.iter().copied().eq(addresses(4001).into_iter().map(|address| (form, address))));
        }
    }

    #[test]
    fn an_ipv6_address_is_announced_in_one_form() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.announce(start, ["fd00::200".parse().unwrap()]);
        let at: Vec<_> = drain(&mut announcer).iter().map(|(at, burst)| (*at - start, burst.form)).collect();
        assert_eq!(at, ROUNDS.map(|offset| (offset, Form::Advertisement)));
    }

    #[test]
    fn full_bursts_are_spaced_and_rounds_keep_their_times() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.announce(start, addresses(200));
        let at: Vec<_> = drain(&mut announcer).iter().map(|(at, burst)| (*at - start, burst.addresses.len())).collect();
        let round = |offset| [(offset, 128), (offset + GAP, 72), (offset + GAP, 128), (offset + GAP * 2, 72)];
        assert_eq!(at, [round(ROUNDS[0]), round(ROUNDS[1]), round(ROUNDS[2])].concat());
    }

    #[test]
    fn what_is_not_configured_yet_is_neither_announced_nor_repeated() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.placed(start, []);
        assert_eq!(announcer.deadline(), None);
        announcer.placed(start, addresses(1));
        assert_eq!(announcer.take(start), Some(Burst { form: REQUEST, addresses: addresses(1) }));
        assert_eq!(announcer.deadline(), None, "another address may come, and comes first");
        announcer.placed(start, addresses(2).into_iter().skip(1));
        assert_eq!(announcer.take(start), Some(Burst { form: REQUEST, addresses: addresses(2)[1..].to_vec() }));
        announcer.complete();
        assert_eq!(announcer.take(start), Some(Burst { form: REPLY, addresses: addresses(2) }));
        announcer.cancel();
        assert_eq!(announcer.deadline(), None);
    }

    #[test]
    fn what_is_under_way_is_never_cut_short_and_what_came_late_is_announced_in_full() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.announce(start, addresses(300));
        let first = announcer.take(start).unwrap();
        assert_eq!(first.addresses, addresses(300)[..BURST]);
        // However often it is asked for.
        for _ in 0..3 {
            announcer.announce(start, addresses(301));
        }
        let all: Vec<_> = drain(&mut announcer).into_iter().map(|(_, burst)| burst).collect();
        assert_eq!(all[0].addresses, addresses(300)[BURST..2 * BURST], "it goes on");
        let said = |address: IpAddr, form| {
            all.iter().filter(|burst| burst.form == form && burst.addresses.contains(&address)).count()
        };
        let [old, new] = [addresses(300)[299], addresses(301)[300]];
        assert_eq!([said(old, REQUEST), said(old, REPLY)], [6, 6], "once more, and not three times");
        assert_eq!([said(new, REQUEST), said(new, REPLY)], [6, 6]);
    }

    #[test]
    fn what_is_placed_after_the_end_is_announced_alone_and_in_full() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.announce(start, addresses(2));
        drain(&mut announcer);
        announcer.placed(start + ROUNDS[2] * 2, addresses(3).into_iter().skip(2));
        announcer.complete();
        let all: Vec<_> = drain(&mut announcer).into_iter().map(|(_, burst)| burst).collect();
        let one = |form| Burst { form, addresses: addresses(3)[2..].to_vec() };
        assert_eq!(all, [REQUEST, REPLY, REQUEST, REPLY, REQUEST, REPLY].map(one));
    }
}
