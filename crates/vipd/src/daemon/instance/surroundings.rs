//! What the host, the configuration and the dependencies of an instance mean for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use vrrp::{Priority, Shutdown};

use super::place::{self, Place, Unready};
use super::{Brain, Effect, Instance, LeasePlan, Leased, Limiter, Mode, Observed, Vip, What, config};

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
        let (before, leased) = (std::mem::take(&mut self.vips), self.leased().to_vec());
        let prolong = self.prolong.filter(|_| plan == self.plan);
        let restarts = self.restores.clone();
        self.restores = if config.restore_limit == self.config.restore_limit {
            restarts
        } else {
            Limiter::new(config.restore_limit as usize, Duration::from_secs(60))
        };
        (self.config, self.plan) = (config, plan);
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
            self.vips.iter().for_each(|vip| self.holder.hold(vip.clone()));
        }
        if !self.leased().is_empty() {
            out.push(Effect::Guard);
        } else if !leased.is_empty() {
            out.push(Effect::Retire(leased));
            // And the kernel is to keep them for ever.
            out.push(Effect::Prolong(before.into_iter().filter(|vip| stay.contains(vip)).collect()));
        }
        self.plan_work(observed);
        // Addresses that come from elsewhere may have little of their lifetime left.
        self.prolong = prolong.or_else(|| self.next_prolongation(now).map(|_| (now, 0)));
        self.govern(now, observed, out);
    }

    pub(super) fn observe(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        let found = place::find(&self.config, observed);
        let moved = match (&self.place, &found) {
            (Ok(before), Ok(after)) => {
                (before.link, before.mac, &before.carrier) != (after.link, after.mac, &after.carrier)
            }
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
            self.place = Ok(place);
        }
        self.want_bearer(observed, out);
        self.govern(now, observed, out);
        self.look_after(now, observed, out);
    }

    /// Asks for the interface with the virtual MAC address when that is all that is missing.
    fn want_bearer(&self, observed: &Observed, out: &mut Vec<Effect>) {
        let link = observed.link(self.config.interface.as_str());
        if let (Err(Unready::NoBearer), None, Some(link)) = (&self.place, &self.deaf, link) {
            out.extend(place::bearer(&self.config, link).map(Effect::Bear));
        }
    }

    /// Makes a home of an interface.
    pub(super) fn settle(&mut self, place: Place) {
        let carrier = &place.carrier;
        self.vips = self.config.held().map(|net| Vip { net, link: carrier.link, dev: carrier.dev.clone() }).collect();
        self.leased = self.vips.iter().map(|vip| Leased::new(vip.net.addr(), vip.link)).collect();
        self.place = Ok(place);
        self.moves += 1;
    }

    /// Begins, ends or goes on, by whether it can run.
    pub(super) fn govern(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        let obstacle = match (&self.place, &self.deaf, self.faults.first()) {
            (Err(Unready::NoBearer), Some((why, _)), _) => Some((why.clone(), Shutdown::InterfaceDown)),
            (Err(unready), _, _) => Some((unready.to_string(), Shutdown::InterfaceDown)),
            (Ok(_), Some((why, _)), _) => Some((why.clone(), Shutdown::Fault)),
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
