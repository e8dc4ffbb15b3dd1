//! Does anybody on the wire have this address already? The questions, when to ask them, and the verdict. Pure.
//!
//! ```text
//!  start            probe 1          probe 2          probe 3                     free
//!    │   0 – 1 unit    │  1 – 2 units   │  1 – 2 units   │   the rest, ≥ 2 units   │
//!    ├─────────────────┼────────────────┼────────────────┼─────────────────────────┤   total: always 7 units
//!    └──── a claim by another host, at any moment: in use, at once ────────────────┘
//! ```
//!
//! These are the proportions of RFC 5227 §1.1 (`PROBE_WAIT` 1 s, `PROBE_MIN` 1 s, `PROBE_MAX` 2 s, `ANNOUNCE_WAIT` 2 s),
//! so a total of 7 s is RFC 5227 to the letter. The default is a tenth of that; why: decision 0010.
//! For IPv6 the question is that of duplicate address detection (RFC 4862 §5.4), on the same schedule.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use pnet::util::MacAddr;

use crate::frame::arp::Arp;
use crate::frame::claim::Claim;
use crate::frame::ndp;

/// How many questions are asked (RFC 5227 §1.1, `PROBE_NUM`).
pub const PROBES: usize = 3;
/// The whole probe, unless `--probe-time` says otherwise.
pub const DEFAULT_TIME: Duration = Duration::from_millis(700);

/// What the driver has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Put this frame on the wire, then ask again.
    Send(Vec<u8>),
    /// Listen until then.
    Listen(Instant),
    /// It is over.
    Verdict(Verdict),
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody claimed the address in the whole time.
    Free,
    /// Somebody did.
    InUse(Claim),
}

/// One probe for one address on one interface.
#[derive(Clone, Debug)]
pub struct Probe {
    target: IpAddr,
    own: MacAddr,
    /// Hardware addresses of this host: what they claim is no conflict (RFC 5227 §2.1.1).
    ours: Vec<MacAddr>,
    /// When each question is due.
    due: [Instant; PROBES],
    asked: usize,
    end: Instant,
    conflict: Option<Claim>,
}

impl Probe {
    /// A probe that begins at `now` and takes `total` if nobody answers.
    ///
    /// `own` is the address of the interface, `ours` those of all interfaces of the host; `jitter` is any random
    /// number.
    #[must_use]
    pub fn new(target: IpAddr, own: MacAddr, ours: Vec<MacAddr>, total: Duration, jitter: u64, now: Instant) -> Self {
        let unit = total / 7;
        // Three independent fractions of a unit, in 65536ths.
        let [a, b, c, d, e, f, ..] = jitter.to_le_bytes();
        let [a, b, c] = [[a, b], [c, d], [e, f]].map(|part| unit * u32::from(u16::from_le_bytes(part)) / 65536);
        let first = now + a;
        let second = first + unit + b;
        let third = second + unit + c;
        Self { target, own, ours, due: [first, second, third], asked: 0, end: now + total, conflict: None }
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> Next {
        if let Some(claim) = self.conflict {
            return Next::Verdict(Verdict::InUse(claim));
        }
        match self.due.get(self.asked) {
            Some(&due) if due <= now => {
                self.asked += 1;
                if self.asked == PROBES {
                    // A driver that was held up must still listen after the last question.
                    self.end = self.end.max(now + (self.end - due));
                }
                Next::Send(question(self.own, self.target))
            }
            Some(&due) => Next::Listen(due),
            None if self.end <= now => Next::Verdict(Verdict::Free),
            None => Next::Listen(self.end),
        }
    }

    /// Takes in a frame that was heard. Everything but another host's claim to the address is ignored.
    pub fn hear(&mut self, frame: &[u8]) {
        if let Some(claim) = Claim::parse(frame) {
            self.hear_claim(claim);
        }
    }

    /// The same for a frame that has been read.
    pub fn hear_claim(&mut self, claim: Claim) {
        if claim.address == self.target && !self.ours.contains(&claim.mac) {
            self.conflict.get_or_insert(claim);
        }
    }

    /// When [`next`](Self::next) has something new to say, unless a claim is heard before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.due.get(self.asked).copied().unwrap_or(self.end)
    }
}

/// The frame that asks for `target`.
#[must_use]
pub fn question(own: MacAddr, target: IpAddr) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => Arp::probe(own, target).emit(),
        IpAddr::V6(target) => ndp::probe(own, target),
    }
}

#[cfg(test)]
mod tests;
