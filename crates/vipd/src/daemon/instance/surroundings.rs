//! What the host, the configuration and the dependencies of an instance mean for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use vrrp::{Priority, Shutdown};

use super::place::{self, Place, Unready};
use super::{Brain, Deaf, Effect, Instance, LeasePlan, Leased, Limiter, Managed, Mode, Observed, Vip, What, config};

impl Instance {
    /// Takes another configuration of the same instance, and keeps its state.
    ///
    /// Addresses that are in both stay; the others come or go. What is `held_elsewhere` is another instance's.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        observed: &Observed,
        config: config::Instance,
        plan: Option<LeasePlan>,
        held_elsewhere: impl Fn(&Vip) -> bool,
        out: &mut Vec<Effect>,
    ) {
        // What it lacked may be what has been mended.
        if let Some(deaf) = &mut self.deaf {
            (deaf.again, self.setbacks) = (now, 0);
        }
        let (before, leased) = (std::mem::take(&mut self.vips), self.leased().to_vec());
        let prolong = self.prolong.filter(|_| plan == self.plan);
        let restarts = self.restores.clone();
        self.restores = if config.restore_limit == self.config.restore_limit {
            restarts
        } else {
            Limiter::new(config.restore_limit as usize, Duration::from_secs(60))
        };
        let promised = self.plan().copied().filter(|_| self.held && config.vrrp().is_some());
        (self.config, self.plan, self.promised) = (config, plan, promised);
        if let (Brain::Elected(elected), Mode::Vrrp(vrrp)) = (&mut self.brain, &self.config.mode) {
            elected.reconfigure(&self.config, vrrp);
        }
        if let Ok(place) = place::find(&self.config, observed) {
            self.settle(place);
        }
        let stay: BTreeSet<_> = self.vips.iter().cloned().collect();
        for gone in before.iter().filter(|vip| !stay.contains(vip)) {
            if held_elsewhere(gone) {
                self.leave(std::slice::from_ref(gone));
            } else {
                self.holder.release(gone.clone());
                self.retiring.push(Leased::new(gone.net.addr(), gone.link));
            }
        }
        if self.held {
            out.push(Effect::Adopt);
            if let Brain::Managed(Managed::Held(held)) = &mut self.brain {
                held.renew(now, self.plan.as_ref());
            }
            // An operator's address that is new to this host is asked for first; an election needs no more than an heir.
            let is_managed = matches!(self.brain, Brain::Managed(_));
            let is_here = |vip: &&Vip| !is_managed || observed.addresses.get(vip.link, vip.net).is_some();
            self.vips.iter().filter(is_here).for_each(|vip| self.holder.hold(vip.clone()));
        }
        if !self.leased().is_empty() {
            out.push(Effect::Guard);
        } else if !leased.is_empty() {
            out.push(Effect::Retire(leased));
            // And the kernel is to keep them for ever.
            out.push(Effect::Prolong(before.into_iter().filter(|vip| stay.contains(vip)).collect()));
        }
        self.plan_work(observed);
        match &self.brain {
            Brain::Managed(Managed::Held(_)) => self.ask_for_the_rest(now, observed, None, false, out),
            Brain::Managed(Managed::Probing(probing)) => {
                let ticket = probing.ticket;
                self.begin_to_hold(now, observed, ticket, false, out);
            }
            Brain::Managed(Managed::Released | Managed::Parked) | Brain::Elected(_) => {}
        }
        // Addresses that come from elsewhere may have little of their lifetime left.
        self.prolong = prolong.or_else(|| self.next_prolongation(now).map(|_| (now, 0)));
        self.govern(now, observed, out);
    }

    pub(super) fn observe(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        self.holder.forget_gone(observed);
        let found = place::find(&self.config, observed);
        let moved = match (&self.place, &found) {
            (Ok(before), Ok(after)) => (before.link, &before.carrier) != (after.link, &after.carrier),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => true,
            (Err(before), Err(after)) => before != after,
        };
        if moved {
            // Out of the old place first, with its addresses, before there is a new one.
            if self.place.is_ok() {
                self.place = Err(found.as_ref().err().copied().unwrap_or(Unready::Missing));
                self.moves += 1;
                self.govern(now, observed, out);
            }
            match found {
                Ok(place) => self.settle(place),
                Err(unready) => {
                    self.place = Err(unready);
                    self.moves += 1;
                }
            }
        } else if let Ok(place) = found {
            let other_mac = self.place.as_ref().is_ok_and(|before| before.mac != place.mac);
            self.take_place(place);
            if self.held && other_mac {
                // The neighbours know the old one.
                self.announce_all(now);
            }
        }
        if self.deaf.is_none() {
            self.want_bearer(observed, out);
        }
        self.govern(now, observed, out);
        self.look_after(now, observed, out);
    }

    /// Asks for the interface with the virtual MAC address when that is all that is missing.
    pub(super) fn want_bearer(&self, observed: &Observed, out: &mut Vec<Effect>) {
        let link = observed.link(self.config.interface.as_str());
        if let (Err(Unready::NoBearer), Some(link)) = (&self.place, link) {
            out.extend(place::bearer(&self.config, link).map(Effect::Bear));
        }
    }

    /// Makes a home of an interface.
    pub(super) fn settle(&mut self, place: Place) {
        let carrier = &place.carrier;
        self.vips = self.config.held().map(|net| Vip { net, link: carrier.link, dev: carrier.dev.clone() }).collect();
        self.leased = self.vips.iter().map(|vip| Leased::new(vip.net.addr(), vip.link)).collect();
        self.take_place(place);
        self.moves += 1;
    }

    fn take_place(&mut self, place: Place) {
        let known = self.place.as_ref().is_ok_and(|before| before.own_peers == place.own_peers);
        if !known && !place.own_peers.is_empty() {
            let (name, own) = (&self.config.name, &place.own_peers);
            tracing::info!(instance = %name, ?own, "unicast peers that are addresses of this host are left out");
        }
        self.place = Ok(place);
    }

    /// Begins, ends or goes on, by whether it can run.
    pub(super) fn govern(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        let obstacle = match (&self.place, &self.deaf, self.faults.first()) {
            (Err(Unready::NoBearer), Some(Deaf { why, .. }), _) => Some((why.clone(), Shutdown::InterfaceDown)),
            (Err(unready), _, _) => Some((unready.to_string(), Shutdown::InterfaceDown)),
            (Ok(_), Some(Deaf { why, .. }), _) => Some((why.clone(), Shutdown::Fault)),
            (Ok(_), None, Some(fault)) => Some((fault.clone(), Shutdown::Fault)),
            (Ok(_), None, None) => None,
        };
        let reason = obstacle.as_ref().map(|(reason, _)| reason.clone());
        if reason != self.waiting_for {
            if let Some(reason) = reason.clone() {
                out.push(Effect::Report(What::Waiting { reason }));
            }
            self.waiting_for = reason;
        }
        let why = obstacle.map(|(_, why)| why);
        match &self.brain {
            Brain::Elected(_) => self.govern_router(now, observed, why, out),
            Brain::Managed(_) => self.govern_managed(now, observed, why, out),
        }
    }

    pub(super) fn depend(
        &mut self,
        now: Instant,
        observed: &Observed,
        faults: &[String],
        priority: Priority,
        out: &mut Vec<Effect>,
    ) {
        if self.faults != faults {
            self.faults = faults.to_vec();
        }
        if let Brain::Elected(elected) = &mut self.brain
            && elected.priority != priority
        {
            let from = std::mem::replace(&mut elected.priority, priority).get();
            out.push(Effect::Report(What::Priority { from, to: priority.get() }));
        }
        self.govern(now, observed, out);
    }
}
