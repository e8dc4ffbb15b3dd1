//! Holding addresses and letting go of them, piece by piece.

use std::time::Instant;

use vrrp::{Priority, StepDown};

use super::place::Place;
use super::{CHUNK, Effect, Instance, Leased, Observed, Vip, What, holder};

impl Instance {
    /// The addresses are to be there.
    pub(super) fn acquire(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        self.held = true;
        self.retiring.clear();
        self.vips.iter().for_each(|vip| self.holder.hold(vip.clone()));
        if !self.leased().is_empty() {
            out.push(Effect::Guard);
            out.push(Effect::Renew);
        }
        if self.is_borne() {
            out.push(Effect::Carry(true));
        }
        let there: Vec<_> =
            self.vips.iter().filter(|vip| observed.addresses.get(vip.link, vip.net).is_some()).cloned().collect();
        self.announcer.placed(now, there.iter().map(|vip| vip.net.addr()));
        self.plan_work(observed);
        // What is there may have the lifetime of another lease.
        self.prolong = self.next_prolongation(now).map(|next| if there.is_empty() { next } else { (now, 0) });
        let there: Vec<_> = there.into_iter().filter(|vip| !self.is_own(vip, observed)).collect();
        if self.plan.is_none() && !there.is_empty() {
            out.push(Effect::Prolong(there));
        }
    }

    /// Whether we own the address (priority 255) and the interface has it by itself: it is there whatever we do.
    fn is_own(&self, vip: &Vip, observed: &Observed) -> bool {
        let is_owner = self.priority().is_some_and(Priority::is_owner);
        is_owner && observed.addresses.get(vip.link, vip.net).is_some_and(|address| !address.is_ours())
    }

    /// An address that goes on answering when it is given away.
    pub(super) fn stays(&self, observed: &Observed) -> Option<&Vip> {
        self.vips.iter().find(|vip| self.is_own(vip, observed))
    }

    /// Addresses are another instance's from now on: nothing is to be done about them here.
    pub(super) fn leave(&mut self, vips: &[Vip]) {
        for vip in vips {
            self.holder.forget(vip);
            let leased = Leased::new(vip.net.addr(), vip.link);
            self.retiring.retain(|retiring| *retiring != leased);
        }
    }

    /// The addresses must not be there: silent at once, removed soon.
    pub(super) fn release(&mut self, observed: &Observed, out: &mut Vec<Effect>) {
        self.announcer.cancel();
        self.placing.clear();
        (self.prolong, self.promised, self.anchor) = (None, None, None);
        if std::mem::replace(&mut self.held, false) {
            out.push(Effect::Silence);
        }
        // RFC 9568 §6.4.2: a Backup does not accept packets to the virtual router's MAC address.
        if self.is_borne() {
            out.push(Effect::Carry(false));
        }
        // The owner's addresses are the interface's own; what had to be added has gone with the silence.
        let is_owner = self.priority().is_some_and(Priority::is_owner);
        for vip in &self.vips {
            if is_owner {
                self.holder.forget(vip);
            } else {
                self.holder.release(vip.clone());
            }
        }
        self.plan_work(observed);
        if self.work.is_empty() {
            self.settled(out);
        }
    }

    /// Whether an interface of its own carries its addresses.
    fn is_borne(&self) -> bool {
        self.place.as_ref().is_ok_and(|place| place.carrier.bearer.is_some())
    }

    /// What is left to do after what has been observed. Announcing is the announcer's.
    pub(super) fn plan_work(&mut self, observed: &Observed) {
        self.holder.forget_gone(observed);
        let work = self.holder.reconcile(observed).into_iter();
        self.work = work.filter(|effect| !matches!(effect, holder::Effect::Announce(_))).collect();
        if self.work.is_empty() {
            self.announcer.complete();
        }
    }

    pub(super) fn next_prolongation(&self, now: Instant) -> Option<(Instant, usize)> {
        self.plan().filter(|_| self.held).map(|plan| (now + plan.renew_address_every, 0))
    }

    /// Somebody else may have removed addresses that we hold.
    pub(super) fn look_after(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        if !self.held || !self.work.is_empty() {
            return;
        }
        let carries = |place: &Place| observed.link_by_index(place.carrier.link).is_some_and(|link| link.up);
        if self.is_borne() && !self.place.as_ref().is_ok_and(carries) {
            out.push(Effect::Carry(true));
            self.announce_all(now);
        }
        self.plan_work(observed);
        let missing: Vec<_> = self
            .work
            .iter()
            .filter_map(|effect| if let holder::Effect::Add(vip) = effect { Some(vip.net) } else { None })
            .collect();
        if missing.is_empty() {
            return;
        }
        if self.restores.admit(now) {
            self.restores_done += 1;
            out.push(Effect::Report(What::Restored { addresses: missing }));
        } else {
            let reason = "somebody else removes them, more often than restore-limit allows";
            out.push(Effect::Report(What::AddressLost { addresses: missing, reason: reason.into() }));
            self.give_up(now, observed, StepDown::AddressLost, reason, out);
        }
    }

    /// A piece of the holder's work.
    pub(super) fn do_work(&mut self, out: &mut Vec<Effect>) {
        if self.work.is_empty() {
            return;
        }
        let chunk: Vec<_> = self.work.drain(..self.work.len().min(CHUNK)).collect();
        let added = |effect: &holder::Effect| match effect {
            holder::Effect::Add(vip) => Some(vip.net.addr()),
            holder::Effect::Announce(_) | holder::Effect::Remove(_) | holder::Effect::PromoteSecondaries { .. } => None,
        };
        self.placing.push_back(chunk.iter().filter_map(added).collect());
        out.push(Effect::Change(chunk));
    }

    /// A piece of the work has been tried: what has gone is forgotten, what has come is announced.
    pub(super) fn changed(
        &mut self,
        now: Instant,
        observed: &Observed,
        refused: &[(Vip, String)],
        out: &mut Vec<Effect>,
    ) {
        self.holder.forget_gone(observed);
        let placed = self.placing.pop_front().unwrap_or_default();
        if self.held {
            if let Some((_, reason)) = refused.first() {
                let addresses = refused.iter().map(|(vip, _)| vip.net).collect();
                out.push(Effect::Report(What::AddressLost { addresses, reason: reason.clone() }));
                return self.give_up(now, observed, StepDown::AddressLost, reason, out);
            }
            if !placed.is_empty() {
                self.announcer.placed(now, placed);
            }
        }
        if self.work.is_empty() && self.placing.is_empty() {
            self.announcer.complete();
            self.settled(out);
        }
        out.extend(self.announcer.take(now).map(Effect::Announce));
    }

    /// Announces all that is held anew.
    pub(super) fn announce_all(&mut self, now: Instant) {
        let all: Vec<_> = self.holding().map(|vip| vip.net.addr()).collect();
        self.announcer.announce(now, all);
    }

    /// Gives some addresses their whole lifetime again; the others in the next turns.
    pub(super) fn prolong_some(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (Some((at, from)), Some(plan), true) = (self.prolong, self.plan().copied(), self.work.is_empty()) else {
            return;
        };
        if now < at {
            return;
        }
        let next = self.vips.len().min(from + CHUNK);
        let some: Vec<_> =
            self.vips[from.min(next)..next].iter().filter(|vip| self.holder.holds(vip)).cloned().collect();
        if !some.is_empty() {
            out.push(Effect::Prolong(some));
        }
        self.prolong = Some(if next < self.vips.len() { (at, next) } else { (now + plan.renew_address_every, 0) });
    }
}
