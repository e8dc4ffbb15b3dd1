//! The state of a managed instance: what an operator wants, and how far that is. Pure.
//!
//! ```text
//!            acquire                    all probes: free
//!  Released ────────▶ Probing ────────────────────────────▶ Held
//!     ▲                  │  ▲                                 │
//!     ├──────────────────┘  └── the interface is back ── Parked ◀─ interface down, stalled too long
//!     │    in use                                             │
//!     └───────────────────────── release ─────────────────────┘
//! ```

use std::time::Instant;

use pnet::util::MacAddr;

use super::effect::{Effect, Ticket};
use crate::frame::claim::Claim;
use crate::holder::Vip;
use crate::lease::LeasePlan;
use crate::probe::{DEFAULT_TIME, Next, Probe, Verdict};

/// The state of a managed instance.
#[derive(Clone, Debug, Default)]
pub enum Managed {
    /// It holds nothing.
    #[default]
    Released,
    /// It asks whether another host has the addresses.
    Probing(Probing),
    /// It holds its addresses.
    Held(Held),
    /// It is to hold its addresses, but must ask first when the interface is there.
    Parked,
}

/// Probes that run.
#[derive(Clone, Debug)]
pub struct Probing {
    probes: Vec<Probe>,
    /// Who waits for the result; nobody if the addresses were held before.
    pub ticket: Option<Ticket>,
}

/// Addresses that are held.
#[derive(Clone, Debug)]
pub struct Held {
    /// When the lease is to be renewed; `None` without a lease.
    pub renew_at: Option<Instant>,
    /// When the kernel has let go unless it is renewed.
    pub believed_until: Option<Instant>,
    /// Who waits until all addresses are in place.
    pub ticket: Option<Ticket>,
    /// Asks for addresses that came later.
    pub asking: Option<Probing>,
}

impl Managed {
    /// The probes that run, if any do.
    pub fn probing(&mut self) -> Option<&mut Probing> {
        match self {
            Self::Probing(probing) => Some(probing),
            Self::Held(held) => held.asking.as_mut(),
            Self::Released | Self::Parked => None,
        }
    }
}

impl Probing {
    /// Asks for `vips` from `now` on.
    #[must_use]
    pub fn new(
        vips: &[Vip],
        own: MacAddr,
        ours: &[MacAddr],
        jitter: u64,
        now: Instant,
        ticket: Option<Ticket>,
    ) -> Self {
        let probe = |vip: &Vip| Probe::new(vip.net.addr(), own, ours.to_vec(), DEFAULT_TIME, jitter, now);
        Self { probes: vips.iter().map(probe).collect(), ticket }
    }

    /// Takes in what another host said.
    pub fn hear(&mut self, claim: Claim) {
        self.probes.iter_mut().for_each(|probe| probe.hear_claim(claim));
    }

    /// Puts what is due into `out`.
    ///
    /// # Errors
    /// When to call again, as long as it runs.
    pub fn advance(&mut self, now: Instant, out: &mut Vec<Effect>) -> Result<Verdict, Instant> {
        let mut again: Option<Instant> = None;
        for probe in &mut self.probes {
            loop {
                match probe.next(now) {
                    Next::Send(frame) => out.push(Effect::Send(frame)),
                    Next::Verdict(Verdict::InUse(claim)) => return Ok(Verdict::InUse(claim)),
                    Next::Verdict(Verdict::Free) => break,
                    Next::Listen(until) => {
                        again = Some(again.map_or(until, |other| other.min(until)));
                        break;
                    }
                }
            }
        }
        again.map_or(Ok(Verdict::Free), Err)
    }

    /// When to call [`advance`](Self::advance).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.probes.iter().map(Probe::deadline).min()
    }
}

impl Held {
    /// Held under a lease that is renewed `now`, if there is one.
    #[must_use]
    pub fn new(now: Instant, plan: Option<&LeasePlan>, ticket: Option<Ticket>) -> Self {
        let mut held = Self { renew_at: None, believed_until: None, ticket, asking: None };
        held.renew(now, plan);
        held
    }

    /// The lease is renewed `now`.
    pub fn renew(&mut self, now: Instant, plan: Option<&LeasePlan>) {
        self.renew_at = plan.map(|plan| now + plan.renew_every);
        self.believed_until = plan.map(|plan| now + plan.silent_within);
    }
}
