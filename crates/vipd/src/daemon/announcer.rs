//! Announcing many addresses: every one once before any is repeated, in bursts that leave room for adverts. Pure.
//!
//! ```text
//!  placed ──▶ [a b c … z]      round 0: a b c … z      round 1: a b c … z      round 2
//!                              as they come            150 ms after the start  450 ms
//! ```

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::announce::ROUNDS;

/// Addresses of one burst.
pub const BURST: usize = 64;
/// From one burst to the next; in between there is time for everything else.
pub const GAP: Duration = Duration::from_millis(2);

/// The announcements of one instance that are still to go out.
#[derive(Clone, Debug, Default)]
pub struct Announcer {
    addresses: Vec<IpAddr>,
    /// `None`: nothing to announce.
    schedule: Option<Schedule>,
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    started: Instant,
    /// Not before.
    next: Instant,
    round: usize,
    /// Addresses of this round that have gone out.
    sent: usize,
    /// Whether more addresses may come.
    complete: bool,
}

impl Announcer {
    /// Begins anew, with no address yet.
    pub fn begin(&mut self, now: Instant) {
        self.addresses.clear();
        self.schedule = Some(Schedule { started: now, next: now, round: 0, sent: 0, complete: false });
    }

    /// These are configured now, and may be announced.
    pub fn placed(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.addresses.extend(addresses);
    }

    /// No more will be placed: rounds may be repeated.
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
        let schedule = self.schedule?;
        if schedule.sent < self.addresses.len() {
            return Some(schedule.next);
        }
        let again = ROUNDS.get(schedule.round + 1).filter(|_| schedule.complete && !self.addresses.is_empty());
        again.map(|offset| schedule.next.max(schedule.started + *offset))
    }

    /// The addresses of a burst that is due; empty if none is.
    pub fn take(&mut self, now: Instant) -> Vec<IpAddr> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        let Some(schedule) = &mut self.schedule else { return Vec::new() };
        if schedule.sent == self.addresses.len() {
            schedule.round += 1;
            schedule.sent = 0;
        }
        let burst: Vec<_> = self.addresses.iter().skip(schedule.sent).take(BURST).copied().collect();
        schedule.sent += burst.len();
        schedule.next = now + GAP;
        burst
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test picks its start of time")]

    use super::*;

    fn addresses(count: u16) -> Vec<IpAddr> {
        (0..count).map(|n| IpAddr::from([198, 18, n.to_be_bytes()[0], n.to_be_bytes()[1]])).collect()
    }

    fn drain(announcer: &mut Announcer) -> Vec<(Instant, Vec<IpAddr>)> {
        std::iter::from_fn(|| announcer.deadline().map(|at| (at, announcer.take(at)))).take(10_000).collect()
    }

    #[test]
    fn every_address_is_announced_once_before_any_is_repeated() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.begin(start);
        announcer.placed(addresses(4001));
        announcer.complete();
        let all: Vec<_> = drain(&mut announcer).into_iter().flat_map(|(_, burst)| burst).collect();
        assert_eq!(all.len(), 3 * 4001);
        for round in all.chunks(4001) {
            assert_eq!(round, addresses(4001));
        }
    }

    #[test]
    fn bursts_are_spaced_and_rounds_keep_their_times() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.begin(start);
        announcer.placed(addresses(100));
        announcer.complete();
        let at: Vec<_> = drain(&mut announcer).iter().map(|(at, burst)| (*at - start, burst.len())).collect();
        let round = |offset| [(offset, 64), (offset + GAP, 36)];
        assert_eq!(at, [round(ROUNDS[0]), round(ROUNDS[1]), round(ROUNDS[2])].concat());
    }

    #[test]
    fn what_is_not_configured_yet_is_neither_announced_nor_repeated() {
        let start = Instant::now();
        let mut announcer = Announcer::default();
        announcer.begin(start);
        assert_eq!(announcer.deadline(), None);
        announcer.placed(addresses(1));
        assert_eq!(announcer.take(start), addresses(1));
        assert_eq!(announcer.deadline(), None, "another address may come, and comes first");
        announcer.placed(addresses(2).into_iter().skip(1));
        assert_eq!(announcer.take(start + GAP), addresses(2)[1..]);
        announcer.cancel();
        assert_eq!(announcer.deadline(), None);
    }
}
