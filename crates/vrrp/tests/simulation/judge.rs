//! What must hold, and from when on.
//!
//! Let `I` be the longest Advertisement_Interval in the world and `D` the time on the wire. A network is *quiet* from the
//! moment when nothing is lost, cut, frozen or killed any more and every packet sent before has arrived or is lost.
//!
//! | from quiet on, after | it must hold, until the quiet ends |
//! |---|---|
//! | `I + 3 D` | two routers are Active together for at most `2 D` at a time: as long as the winner's advertisement travels |
//! | `4 I` (an Active_Down_Interval at its longest) and the startup delay | at every moment some router is Active |
//! | then the preempt delay and `12 I` | exactly one is Active, and nothing changes |
//!
//! Each is stretched by the worst clock. The issue says "one Active again within one interval after healing": for *two*
//! Active routers the interval is Advertisement_Interval, the first line. When *none* is Active no router can know it
//! before its Active_Down_Interval is over; that is the second line. And a router that preempts is Active together with the
//! one that it preempts while its first advertisement travels; without a second channel that cannot be otherwise.

use crate::clock::Time;
use crate::network::HOSTS;

/// A rule that was broken, when, and how.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) at: Time,
    pub(crate) rule: &'static str,
}

/// From when on each rule holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) at_most_one: Time,
    pub(crate) at_least_one: Time,
    pub(crate) settled: Time,
}

impl Deadlines {
    /// No rule holds: the network is not quiet.
    pub(crate) const STORM: Self = Self { at_most_one: Time::MAX, at_least_one: Time::MAX, settled: Time::MAX };
}

pub(crate) struct Judge {
    /// Since when each host is Active.
    active: [Option<Time>; HOSTS],
    deadlines: Deadlines,
    longest_overlap: Time,
}

impl Judge {
    pub(crate) fn new(longest_overlap: Time) -> Self {
        Self { active: [None; HOSTS], deadlines: Deadlines::STORM, longest_overlap }
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = usize> {
        self.active.iter().enumerate().filter_map(|(host, since)| since.map(|_| host))
    }

    /// New rules from now on.
    pub(crate) fn expect(&mut self, now: Time, deadlines: Deadlines) -> Result<(), Violation> {
        self.check(now)?;
        self.deadlines = deadlines;
        Ok(())
    }

    /// A host is or is no longer Active.
    pub(crate) fn note(&mut self, now: Time, host: usize, active: bool) -> Result<(), Violation> {
        if self.active[host].is_some() == active {
            return Ok(());
        }
        self.check(now)?;
        if now > self.deadlines.settled {
            return Err(Violation { at: now, rule: "in a quiet network that has settled nothing changes" });
        }
        self.active[host] = active.then_some(now);
        Ok(())
    }

    /// Whether what has been so until now was as it must be.
    pub(crate) fn check(&self, now: Time) -> Result<(), Violation> {
        let Deadlines { at_most_one, at_least_one, settled } = self.deadlines;
        let mut since: [Time; HOSTS] = [0; HOSTS];
        let mut count = 0;
        for from in self.active.iter().flatten() {
            since[count] = *from;
            count += 1;
        }
        if count == 1 {
            return Ok(());
        }
        // Two are Active together since the later of them is; the longest such pair is the two oldest.
        since[..count].sort_unstable();
        let rule = if count == 0 {
            if now <= at_least_one {
                return Ok(());
            }
            "in a quiet network one router is Active"
        } else if now > settled {
            "in a quiet network that has settled only one router is Active"
        } else if now > since[1].max(at_most_one).saturating_add(self.longest_overlap) {
            "in a quiet network two routers are Active only while an advertisement travels"
        } else {
            return Ok(());
        };
        Err(Violation { at: now, rule })
    }
}
