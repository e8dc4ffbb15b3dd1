//! The half of an instance that an operator decides about.

use std::time::Instant;

use vrrp::{AdvertPriority, Backup, Heard, State, StateName};

use super::{
    Brain, Claim, Command, Effect, HANDOVER, Held, Instance, Managed, Observed, Probing, Refusal, Shutdown, StepDown,
    Ticket, Verdict, Vip,
};

impl Managed {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Released | Self::Parked => None,
            Self::Probing(probing) => probing.deadline(),
            Self::Held(held) => {
                let asking = held.asking.as_ref().and_then(Probing::deadline);
                held.renew_at.into_iter().chain(asking).min()
            }
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
                if let Some(own) = self.stays(observed) {
                    let message = format!("{name}: {own} is the interface's own, and would go on answering here");
                    let hint = "take the interface down, or stop the host, when a peer is to have it".to_owned();
                    out.push(refuse(message, Some(hint)));
                } else if self.state() == StateName::Active {
                    self.step_down(now, observed, StepDown::Handover, out);
                    self.handing = Some((ticket, now + HANDOVER));
                } else {
                    out.push(refuse(format!("{name} is {} here, not Active", self.state()), None));
                }
            }
            (Brain::Managed(Managed::Released), Command::Acquire { force }) => {
                self.begin_to_hold(now, observed, Some(ticket), force, out);
            }
            (Brain::Managed(Managed::Held(held)), Command::Acquire { force }) if held.asking.is_none() => {
                if self.vips.iter().all(|vip| self.holder.holds(vip)) {
                    out.push(Effect::Answer(ticket, Ok(format!("{name} is already held; announced again"))));
                    self.announce_all(now);
                } else {
                    self.ask_for_the_rest(now, observed, Some(ticket), force, out);
                }
            }
            (Brain::Managed(Managed::Held(_) | Managed::Probing(_) | Managed::Parked), Command::Acquire { .. }) => {
                let reason = self.waiting_for.as_deref().unwrap_or("it is being acquired");
                out.push(refuse(format!("{name}: {reason}"), None));
            }
            (Brain::Managed(Managed::Released), Command::Release) => {
                self.let_go = None;
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

    /// Asks no longer on behalf of whoever has gone.
    pub(super) fn abandon(&mut self, now: Instant, observed: &Observed, ticket: Ticket, out: &mut Vec<Effect>) {
        if self.asks_for() != Some(ticket) {
            return;
        }
        if let Brain::Managed(Managed::Held(held)) = &mut self.brain {
            held.asking = None;
        } else {
            self.withdraw(now, observed, Managed::Released, "whoever asked for it has gone", out);
        }
    }

    /// Tells whoever handed over what has come of it, as soon as that is known.
    pub(super) fn follow_handover(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (Some((ticket, until)), Brain::Elected(elected)) = (self.handing, &self.brain) else { return };
        let name = &self.config.name;
        let refused = |message| Err(Refusal { message, hint: None });
        let result = match elected.router.state() {
            State::Backup(Backup {
                heard: Some(Heard { priority: AdvertPriority::Holding(_), source, .. }), ..
            }) => Ok(format!("{name} handed over to {source}")),
            State::Backup(_) if now < until => return,
            State::Backup(_) => Ok(format!("{name} let go of; no peer has advertised yet, see vipd events")),
            State::Active(_) => refused(format!("{name}: no peer took the addresses; they are held here again")),
            State::Initialize => refused(format!("{name}: let go of, and ended before a peer was heard")),
        };
        self.handing = None;
        out.push(Effect::Answer(ticket, result));
    }

    /// Asks on the wire, or with `force` holds at once.
    pub(super) fn begin_to_hold(
        &mut self,
        now: Instant,
        observed: &Observed,
        ticket: Option<Ticket>,
        force: bool,
        out: &mut Vec<Effect>,
    ) {
        let name = &self.config.name;
        if self.place.is_err() {
            if let Some(ticket) = ticket {
                let message =
                    format!("{name}: {}", self.waiting_for.as_deref().unwrap_or("the interface is not ready"));
                out.push(Effect::Answer(ticket, Err(Refusal { message, hint: None })));
            }
            return;
        }
        if force {
            return self.hold(now, observed, ticket, "acquired on request", out);
        }
        if let Some(probing) = self.ask_for(&self.vips, now, observed, ticket, out) {
            self.brain = Brain::Managed(Managed::Probing(probing));
            self.tick_managed(now, observed, out);
        }
    }

    /// Holds those of its addresses that it does not hold yet as well, if nobody else has one, or with `force`.
    pub(super) fn ask_for_the_rest(
        &mut self,
        now: Instant,
        observed: &Observed,
        ticket: Option<Ticket>,
        force: bool,
        out: &mut Vec<Effect>,
    ) {
        let rest: Vec<_> = self.vips.iter().filter(|vip| !self.holder.holds(vip)).cloned().collect();
        if force || rest.is_empty() {
            return self.hold_the_rest(observed, ticket, out);
        }
        let before = if let Brain::Managed(Managed::Held(held)) = &mut self.brain { held.asking.take() } else { None };
        let ticket = ticket.or_else(|| before.and_then(|before| before.ticket));
        let probing = self.ask_for(&rest, now, observed, ticket, out);
        if let Brain::Managed(Managed::Held(held)) = &mut self.brain {
            held.asking = probing;
            self.tick_managed(now, observed, out);
        }
    }

    fn hold_the_rest(&mut self, observed: &Observed, ticket: Option<Ticket>, out: &mut Vec<Effect>) {
        if let Brain::Managed(Managed::Held(held)) = &mut self.brain {
            held.ticket = held.ticket.or(ticket);
        }
        self.vips.iter().for_each(|vip| self.holder.hold(vip.clone()));
        self.plan_work(observed);
        if self.work.is_empty() {
            self.settled(out);
        }
    }

    /// Probes for `vips`; `None` without an interface.
    fn ask_for(
        &self,
        vips: &[Vip],
        now: Instant,
        observed: &Observed,
        ticket: Option<Ticket>,
        out: &mut Vec<Effect>,
    ) -> Option<Probing> {
        let place = self.place.as_ref().ok()?;
        let ours = observed.own_macs();
        out.push(Effect::ListenFor(vips.iter().map(|vip| vip.net.addr()).collect()));
        // Any number that differs from host to host and from time to time.
        let octets = place.mac.octets();
        let jitter = u64::from_le_bytes([octets[5], octets[4], octets[3], octets[2], octets[1], octets[0], 0, 0])
            ^ u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        Some(Probing::new(vips, place.mac, &ours, jitter, now, ticket))
    }

    fn hold(&mut self, now: Instant, observed: &Observed, ticket: Option<Ticket>, reason: &str, out: &mut Vec<Effect>) {
        self.brain = Brain::Managed(Managed::Held(Held::new(now, self.plan.as_ref(), ticket)));
        self.let_go = None;
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
            Managed::Probing(probing) => {
                let (verdict, ticket) = (probing.advance(now, out), probing.ticket);
                match verdict {
                    Err(_) => {}
                    Ok(Verdict::Free) => {
                        let anew = "held before, and nobody else has the addresses";
                        let reason = if ticket.is_some() { "acquired on request" } else { anew };
                        self.hold(now, observed, ticket, reason, out);
                    }
                    Ok(Verdict::InUse(claim)) => {
                        *managed = Managed::Released;
                        self.lose_to(claim, ticket, out);
                    }
                }
            }
            Managed::Held(held) => {
                if held.renew_at.is_some_and(|at| at <= now) {
                    held.renew(now, self.plan.as_ref());
                    out.push(Effect::Renew);
                }
                let Some(asking) = &mut held.asking else { return };
                let (verdict, ticket) = (asking.advance(now, out), asking.ticket);
                held.asking.take_if(|_| verdict.is_ok());
                match verdict {
                    Err(_) => {}
                    Ok(Verdict::Free) => self.hold_the_rest(observed, ticket, out),
                    Ok(Verdict::InUse(claim)) => self.lose_to(claim, ticket, out),
                }
            }
        }
    }

    /// Another host has an address.
    fn lose_to(&mut self, claim: Claim, ticket: Option<Ticket>, out: &mut Vec<Effect>) {
        self.conflicts += 1;
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
            Brain::Managed(Managed::Held(Held { ticket, asking, .. })) => {
                ticket.or_else(|| asking.and_then(|asking| asking.ticket))
            }
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
            (Managed::Probing(probing), Some(_)) => {
                // Whoever asked is told; on its way back, when nobody has asked, it goes on waiting.
                let next = if probing.ticket.is_some() { Managed::Released } else { Managed::Parked };
                let reason = self.waiting_for.clone().unwrap_or_default();
                self.withdraw(now, observed, next, &reason, out);
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
