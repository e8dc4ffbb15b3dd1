//! How long a lease is, and how often it is renewed. Pure.
//!
//! ```text
//!  advert sent          next adverts, each followed by a renewal          peers take over
//!  │ renewal                                                                     │
//!  ├─┴───────────────────────────────────────────────────────────────┤▒▒▒▒▒▒▒▒▒▒▒┤
//!  0                                                     dead_man_timeout      limit
//!                                                        nothing is heard      Active_Down_Interval
//! ```
//!
//! The term of a lease is counted from the last advert, because that is when the peers' Active_Down_Timer starts
//! (RFC 9568 §6.4.2), not from the renewal, which comes later.

use std::fmt;
use std::time::{Duration, Instant};

use thiserror::Error;

/// What enforces a lease on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// nf_tables with timeouts in milliseconds ([`super::DeadMan`]); the address lifetime only clears away.
    DeadMan,
    /// The address lifetime alone, in whole seconds.
    AddressLifetime,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The limit leaves no room for two renewals.
    #[error("a lease of {limit:?} is too short to be renewed every {renew_every:?}")]
    TooShort {
        /// What was asked for.
        limit: Duration,
        /// How often it would be renewed.
        renew_every: Duration,
    },
    /// The limit is longer than makes sense.
    #[error("a lease of {limit:?} is longer than {:?}", LeasePlan::LONGEST)]
    TooLong {
        /// What was asked for.
        limit: Duration,
    },
}

/// The lease of an instance's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePlan {
    /// `valid_lft` of the addresses, in whole seconds.
    pub kernel_address_lifetime: Duration,
    /// How often the addresses are replaced in order to renew that: after the first advert that is due then.
    pub renew_address_every: Duration,
    /// How long an address is live after the last advert; `None`: no dead-man switch here.
    pub dead_man_timeout: Option<Duration>,
    /// How often the lease is renewed. With a dead-man switch: after every advert; else as the addresses.
    pub renew_every: Duration,
    /// Within what time after the last advert (or the last renewal, if there are no peers) nothing is heard from the address.
    pub silent_within: Duration,
    /// The earliest that a peer takes over after the last advert (Active_Down_Interval); `None`: nobody does by himself.
    pub takeover_after: Option<Duration>,
}

/// The lifetimes of an address, in seconds, as RTM_NEWADDR takes them (`IFA_CACHEINFO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// `valid_lft`
    pub valid: u32,
    /// `preferred_lft`: 0 for IPv6, so that the host never chooses the address as a source by itself.
    pub preferred: u32,
}

impl LeasePlan {
    /// The limit of managed instances unless configured otherwise.
    pub const MANAGED: Duration = Duration::from_secs(2);
    /// The longest limit that is accepted: beyond this a lease protects nobody.
    pub const LONGEST: Duration = Duration::from_secs(600);
    /// By how much the kernel may be late in removing an address whose lifetime is over (measured: 0.40 s).
    pub const LIFETIME_OVERRUN: Duration = Duration::from_millis(500);
    /// With a dead-man switch the address need not go quickly, only at last.
    const CLEARED_AWAY: Duration = Duration::from_secs(10);

    /// A lease that is over before any peer takes over.
    ///
    /// `active_down_interval` is the *peers'*: 3 × the interval plus *their* Skew_Time, which is shortest for the highest
    /// priority. Unless their priorities are known, pass 3 × `advertisement_interval`.
    ///
    /// # Errors
    /// [`PlanError`] if a peer waits for fewer than two intervals, or too long.
    pub fn elected(
        advertisement_interval: Duration,
        active_down_interval: Duration,
        enforcement: Enforcement,
    ) -> Result<Self, PlanError> {
        Self::new(active_down_interval, advertisement_interval, Some(active_down_interval), enforcement)
    }

    /// A lease that is over `limit` after the last renewal; for addresses that no peer takes by himself.
    ///
    /// # Errors
    /// [`PlanError`] if `limit` is below 40 ms or above [`Self::LONGEST`].
    pub fn managed(limit: Duration, enforcement: Enforcement) -> Result<Self, PlanError> {
        Self::new(limit, (limit / 4).max(Duration::from_millis(10)), None, enforcement)
    }

    fn new(
        limit: Duration,
        renew_every: Duration,
        takeover_after: Option<Duration>,
        enforcement: Enforcement,
    ) -> Result<Self, PlanError> {
        if limit > Self::LONGEST {
            return Err(PlanError::TooLong { limit });
        }
        // For the time between an advert and its renewal, and between the clock's reading and the kernel's.
        let margin = (limit / 16).max(Duration::from_millis(5));
        let timeout = limit.saturating_sub(margin);
        if renew_every.is_zero() || timeout < renew_every * 2 {
            return Err(PlanError::TooShort { limit, renew_every });
        }
        Ok(match enforcement {
            Enforcement::DeadMan => {
                let lifetime = Duration::from_secs(limit.as_secs() + 1).max(Self::CLEARED_AWAY);
                Self {
                    kernel_address_lifetime: lifetime,
                    renew_address_every: lifetime / 4,
                    dead_man_timeout: Some(timeout),
                    renew_every,
                    silent_within: limit,
                    takeover_after,
                }
            }
            Enforcement::AddressLifetime => {
                let whole_seconds = limit.saturating_sub(Self::LIFETIME_OVERRUN).as_secs().max(1);
                let lifetime = Duration::from_secs(whole_seconds);
                Self {
                    kernel_address_lifetime: lifetime,
                    renew_address_every: lifetime / 4,
                    dead_man_timeout: None,
                    renew_every: lifetime / 4,
                    silent_within: lifetime + Self::LIFETIME_OVERRUN,
                    takeover_after,
                }
            }
        })
    }

    /// The term of a renewal that follows the advert sent at `anchor` (managed: that is made at `anchor`).
    ///
    /// `None` without a dead-man switch.
    #[must_use]
    pub fn term(&self, anchor: Instant) -> Option<Term> {
        self.dead_man_timeout.map(|timeout| Term { until: anchor + timeout, latest: anchor + self.silent_within })
    }

    /// The lifetimes to add or replace the addresses with.
    #[must_use]
    pub fn lifetimes(&self, ipv6: bool) -> Lifetimes {
        let valid = u32::try_from(self.kernel_address_lifetime.as_secs()).unwrap_or(u32::MAX);
        Lifetimes { valid, preferred: if ipv6 { 0 } else { valid } }
    }

    /// For how long two hosts may answer for an address at worst, if this one's vipd is killed, stopped or hangs.
    #[must_use]
    pub fn overlap(&self) -> Duration {
        self.takeover_after.map_or(Duration::ZERO, |takeover| self.silent_within.saturating_sub(takeover))
    }

    /// In plain words what the kernel enforces, and within how many milliseconds: for `vipd status` and `vipd check`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for LeasePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = if self.takeover_after.is_some() { "its last advert" } else { "its last renewal" };
        write!(f, "if vipd is killed, stopped or hangs, the kernel ")?;
        if let Some(timeout) = self.dead_man_timeout {
            write!(f, "stops answering for the addresses {} ms after {since} (dead-man switch)", timeout.as_millis())?;
            write!(f, " and removes them within {} ms", self.kernel_gone_within().as_millis())?;
        } else {
            write!(f, "removes the addresses within {} ms after {since}", self.silent_within.as_millis())?;
            write!(f, " (address lifetime; no dead-man switch here)")?;
        }
        match self.takeover_after {
            None => write!(f, "; nobody takes them over by himself"),
            Some(takeover) if self.overlap().is_zero() => {
                write!(f, "; no peer takes over before {} ms", takeover.as_millis())
            }
            Some(takeover) => write!(
                f,
                "; a peer may take over after {} ms, so for up to {} ms two hosts may answer",
                takeover.as_millis(),
                self.overlap().as_millis()
            ),
        }?;
        write!(f, "; a freeze of the whole machine is not covered, only fencing covers that")
    }
}

impl LeasePlan {
    /// By when the kernel has removed the addresses after their last renewal.
    fn kernel_gone_within(&self) -> Duration {
        self.kernel_address_lifetime + Self::LIFETIME_OVERRUN
    }
}

/// The end of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// When the kernel is to let go.
    pub until: Instant,
    /// When it must have let go, whatever happens: a peer may take over now.
    pub latest: Instant,
}

impl Term {
    /// The timeout for a renewal that is made `now`, in whole milliseconds; `None` if it is too late for one.
    pub(super) fn milliseconds(&self, now: Instant) -> Option<u64> {
        let left = self.until.saturating_duration_since(now).as_millis();
        u64::try_from(left).ok().filter(|&left| left > 0)
    }

    /// Whether a renewal that was timed at `before`, and was through at `after`, may last longer than it must not.
    pub(super) fn is_outlived(&self, before: Instant, after: Instant) -> bool {
        // The kernel started to count at some instant between the two.
        self.until > before && self.until + after.saturating_duration_since(before) > self.latest
    }
}

#[cfg(test)]
mod tests;
