//! Telling the neighbours where the address is now: which frames, and when. Pure.
//!
//! IPv4 says it twice per round, as request and as reply: some stacks and switches learn from one form only
//! (MetalLB#584, kube-vip#80). Three rounds, because a broadcast may be lost and nobody acknowledges it; spaced, so
//! that one lost burst does not take all of them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pnet::util::MacAddr;

use crate::frame::arp::{Arp, Operation};
use crate::frame::ndp;

/// When each round goes out, counted from the first.
pub const ROUNDS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(150), Duration::from_millis(450)];

/// In what forms an address is announced in one round, in this order.
#[must_use]
pub const fn forms(vip: IpAddr) -> &'static [Form] {
    match vip {
        IpAddr::V4(_) => &[Form::Arp(Operation::Request), Form::Arp(Operation::Reply)],
        IpAddr::V6(_) => &[Form::Advertisement],
    }
}

/// What an announcement looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Gratuitous ARP.
    Arp(Operation),
    /// An unsolicited Neighbor Advertisement.
    Advertisement,
}

impl Form {
    /// The frame that announces `vip` at `own`; none if the address is of the other family.
    #[must_use]
    pub fn frame(self, vip: IpAddr, own: MacAddr, router: bool) -> Option<Vec<u8>> {
        match (self, vip) {
            (Self::Arp(operation), IpAddr::V4(vip)) => Some(Arp::announcement(operation, own, vip).emit()),
            (Self::Advertisement, IpAddr::V6(vip)) => Some(ndp::announcement(own, vip, router)),
            (Self::Arp(_), IpAddr::V6(_)) | (Self::Advertisement, IpAddr::V4(_)) => None,
        }
    }
}

/// The frames of one round.
#[must_use]
pub fn round(vip: IpAddr, own: MacAddr, router: bool) -> Vec<Vec<u8>> {
    forms(vip).iter().filter_map(|form| form.frame(vip, own, router)).collect()
}

/// The rounds that are still to go out for one address.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    first: Instant,
    sent: usize,
}

impl Announcement {
    /// Announces from `now` on.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { first: now, sent: 0 }
    }

    /// When the next round is due; `None` once all have gone out.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        ROUNDS.get(self.sent).map(|&offset| self.first + offset)
    }

    /// Takes a due round; false if none is due at `now`.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        self.sent += usize::from(due);
        due
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test picks its start of time")]

    use super::*;

    #[test]
    fn an_ipv4_round_is_a_request_and_a_reply() {
        let own = MacAddr(2, 0, 0, 0, 0, 1);
        let vip = std::net::Ipv4Addr::new(198, 18, 5, 200);
        let frames = [Operation::Request, Operation::Reply].map(|form| Arp::announcement(form, own, vip).emit());
        assert_eq!(round(vip.into(), own, false), frames);
    }

    #[test]
    fn an_ipv6_round_is_one_advertisement() {
        let own = MacAddr(2, 0, 0, 0, 0, 1);
        let vip = "fd00::200".parse().unwrap();
        assert_eq!(round(IpAddr::V6(vip), own, true), [ndp::announcement(own, vip, true)]);
    }

    #[test]
    fn three_rounds_go_out_in_under_a_second_each_when_it_is_due() {
        let start = Instant::now();
        let mut announcement = Announcement::new(start);
        let mut at = Vec::new();
        while let Some(deadline) = announcement.deadline() {
            if deadline > start {
                assert!(!announcement.take(deadline - Duration::from_millis(1)), "not before it is due");
            }
            assert!(announcement.take(deadline));
            at.push(deadline - start);
        }
        assert_eq!(at, ROUNDS);
        assert!(!announcement.take(start + Duration::from_secs(60)), "and then nothing");
        assert!(ROUNDS[2] < Duration::from_secs(1));
    }
}
