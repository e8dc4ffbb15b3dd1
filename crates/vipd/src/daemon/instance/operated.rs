//! The half of an instance that an operator decides about.

use std::time::Instant;

use vrrp::StateName;

use super::{
    Brain, Claim, Command, Effect, Held, Instance, Managed, Observed, Probing, Refusal, Shutdown, StepDown, Ticket,
    Verdict,
};

impl Managed {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Released | Self::Parked => None,
            Self::Probing(probing) => probing.deadline(),
            Self::Held(held) => held.renew_at,
        }
    }
}

impl Instance {
    /// Carries out a command, or refuses it.
    pub(super) fn obey(
        &mut self,
        now: Instant,
        observed: &Observed,
        ticket: Ticket,
        command: Command,
        out: &mut Vec<Effect>,
    ) {
        let name = &self.config.name;
        let refuse = |message: String, hint: Option<String>| Effect::Answer(ticket, Err(Refusal { message, hint }));
        match (&self.brain, command) {
            (Brain::Elected(_), Command::Acquire { .. } | Command::Release) => {
                let hint = format!("vipd handover {name}, on the host where it is Active, gives it to a peer");
                out.push(refuse(format!("{name} is elected (mode = \"vrrp\"), not managed"), Some(hint)));
            }
            (Brain::Managed(_), Command::Handover) => {
                let hint = format!("vipd release {name} here, then vipd acquire {name} on the other host");
                out.push(refuse(format!("{name} is managed; nobody takes it over by himself"), Some(hint)));
            }
            (Brain::Elected(_), Command::Handover) => {
                if self.state() == StateName::Active {
                    self.ask_router(now, observed, vrrp::Input::StepDown(StepDown::Handover), out);
                    out.push(Effect::Answer(ticket, Ok(format!("{} handed over", self.config.name))));
                } else {
                    out.push(refuse(format!("{name} is {} here, not Active", self.state()), None));
                }
            }
            (Brain::Managed(Managed::Released), Command::Acquire { force }) => {
                self.begin_to_hold(now, observed, Some(ticket), force, out);
            }
            (Brain::Managed(Managed::Held(_)), Command::Acquire { .. }) => {
                self.announcer.begin(now);
                self.announcer.placed(self.vips.iter().map(|vip| vip.net.addr()));
                self.announcer.complete();
                out.push(Effect::Answer(ticket, Ok(format!("{name} is already held; announced again"))));
            }
            (Brain::Managed(Managed::Probing(_) | Managed::Parked), Command::Acquire { .. }) => {
                let reason = self.waiting_for.as_deref().unwrap_or("it is being acquired");
                out.push(refuse(format!("{name}: {reason}"), None));
            }
            (Brain::Managed(Managed::Released), Command::Release) => {
                out.push(Effect::Answer(ticket, Ok(format!("{name} is not held here; nothing to do"))));
            }
            (Brain::Managed(Managed::Held(_) | Managed::Probing(_) | Managed::Parked), Command::Release) => {
                let answer = Effect::Answer(ticket, Ok(format!("{name} released")));
                self.withdraw(now, observed, Managed::Released, "released on request", out);
                // Done when it is done: all of it, however much that is.
                while !self.work.is_empty() {
                    self.do_work(out);
                }
                out.push(answer);
            }
        }
    }

    /// Asks on the wire, or with `force` holds at once.
    fn begin_to_hold(
        &mut self,
        now: Instant,
        observed: &Observed,
        ticket: Option<Ticket>,
        force: bool,
        out: &mut Vec<Effect>,
    ) {
        let name = &self.config.name;
        let Ok(place) = &self.place else {
            if let Some(ticket) = ticket {
                let message =
                    format!("{name}: {}", self.waiting_for.as_deref().unwrap_or("the interface is not ready"));
                out.push(Effect::Answer(ticket, Err(Refusal { message, hint: None })));
            }
            return;
        };
        if force {
            return self.hold(now, observed, ticket, "acquired on request", out);
        }
        let ours: Vec<_> = observed.links.iter().filter_map(|link| link.mac).collect();
        out.push(Effect::ListenFor(self.vips.iter().map(|vip| vip.net.addr()).collect()));
        // Any number that differs from host to host and from time to time.
        let octets = place.mac.octets();
        let jitter = u64::from_le_bytes([octets[5], octets[4], octets[3], octets[2], octets[1], octets[0], 0, 0])
            ^ u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        self.brain = Brain::Managed(Managed::Probing(Probing::new(&self.vips, place.mac, &ours, jitter, now, ticket)));
        self.tick_managed(now, observed, out);
    }

    fn hold(&mut self, now: Instant, observed: &Observed, ticket: Option<Ticket>, reason: &str, out: &mut Vec<Effect>) {
        let lease = self.plan.map(|plan| (plan.renew_every, plan.silent_within));
        self.brain = Brain::Managed(Managed::Held(Held::new(now, lease, ticket)));
        self.acquire(now, observed, out);
        self.transition(now, StateName::Backup, StateName::Active, reason.to_owned(), out);
        if self.work.is_empty() {
            self.settled(out);
        }
    }

    pub(super) fn tick_managed(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        let Brain::Managed(managed) = &mut self.brain else { return };
        match managed {
            Managed::Released | Managed::Parked => {}
            Managed::Probing(probing) => match probing.advance(now, out) {
                Err(_) => {}
                Ok(Verdict::Free) => {
                    let ticket = probing.ticket;
                    self.hold(now, observed, ticket, "acquired on request", out);
                }
                Ok(Verdict::InUse(claim)) => {
                    let ticket = probing.ticket;
                    self.lose_to(claim, ticket, out);
                }
            },
            Managed::Held(held) => {
                if held.renew_at.is_some_and(|at| at <= now)
                    && let Some(plan) = self.plan
                {
                    *held = Held::new(now, Some((plan.renew_every, plan.silent_within)), held.ticket);
                    out.push(Effect::Renew);
                }
            }
        }
    }

    /// Another host has an address.
    fn lose_to(&mut self, claim: Claim, ticket: Option<Ticket>, out: &mut Vec<Effect>) {
        self.brain = Brain::Managed(Managed::Released);
        out.push(Effect::Report(super::What::Conflict {
            address: claim.address,
            mac: claim.mac.to_string(),
            how: claim.manner.as_str().to_owned(),
        }));
        if let Some(ticket) = ticket {
            let dev = &self.config.interface;
            let message =
                format!("{} is in use by {} on {dev}; unassign it there, or fence that host", claim.address, claim.mac);
            out.push(Effect::Answer(ticket, Err(Refusal { message, hint: None })));
        }
    }

    /// Lets go, and becomes `next`.
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        observed: &Observed,
        next: Managed,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let before = std::mem::replace(&mut self.brain, Brain::Managed(next));
        let ticket = match before {
            Brain::Managed(Managed::Held(Held { ticket, .. })) => ticket,
            Brain::Managed(Managed::Probing(probing)) => probing.ticket,
            Brain::Managed(Managed::Released | Managed::Parked) | Brain::Elected(_) => None,
        };
        if let Some(ticket) = ticket {
            out.push(Effect::Answer(ticket, Err(Refusal { message: reason.to_owned(), hint: None })));
        }
        if self.held {
            self.release(observed, out);
            self.transition(now, StateName::Active, StateName::Backup, reason.to_owned(), out);
        }
    }

    /// Holds only where it can be heard; comes back by asking first.
    pub(super) fn govern_managed(
        &mut self,
        now: Instant,
        observed: &Observed,
        obstacle: Option<Shutdown>,
        out: &mut Vec<Effect>,
    ) {
        let Brain::Managed(managed) = &self.brain else { return };
        match (managed, obstacle) {
            (Managed::Held(_), Some(_)) => {
                let reason = self.waiting_for.clone().unwrap_or_default();
                self.withdraw(now, observed, Managed::Parked, &reason, out);
            }
            (Managed::Probing(_), Some(_)) => {
                let reason = self.waiting_for.clone().unwrap_or_default();
                self.withdraw(now, observed, Managed::Released, &reason, out);
            }
            (Managed::Released, None) if self.adopts => {
                self.adopts = false;
                out.push(Effect::Adopt);
                self.hold(now, observed, None, "held before the configuration changed", out);
            }
            (Managed::Parked, None) => self.begin_to_hold(now, observed, None, false, out),
            (Managed::Released | Managed::Parked, Some(_))
            | (Managed::Released | Managed::Held(_) | Managed::Probing(_), None) => {}
        }
    }

    /// All addresses are in place, or gone.
    pub(super) fn settled(&mut self, out: &mut Vec<Effect>) {
        let name = &self.config.name;
        match &mut self.brain {
            Brain::Managed(Managed::Held(held)) => {
                if let Some(ticket) = held.ticket.take() {
                    out.push(Effect::Answer(ticket, Ok(format!("{name} acquired"))));
                }
            }
            // Nobody guards the addresses of an instance that is not held: `vipd assign` may take them.
            Brain::Managed(Managed::Released | Managed::Parked) => self.retiring = self.leased().to_vec(),
            Brain::Managed(Managed::Probing(_)) | Brain::Elected(_) => {}
        }
        if !self.retiring.is_empty() {
            out.push(Effect::Retire(std::mem::take(&mut self.retiring)));
        }
    }
}
