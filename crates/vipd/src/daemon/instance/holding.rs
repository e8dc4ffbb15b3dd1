//! Holding addresses and letting go of them, piece by piece.

use std::time::Instant;

use vrrp::StepDown;

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
        self.announcer.begin(now);
        let is_there = |vip: &&Vip| observed.addresses.get(vip.link, vip.net).is_some();
        let there: Vec<_> = self.vips.iter().filter(is_there).cloned().collect();
        self.announcer.placed(there.iter().map(|vip| vip.net.addr()));
        self.plan_work(observed);
        // What is there may have the lifetime of another lease.
        self.prolong = self.next_prolongation(now).map(|next| if there.is_empty() { next } else { (now, 0) });
        if self.plan.is_none() && !there.is_empty() {
            out.push(Effect::Prolong(there));
        }
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
        self.prolong = None;
        if std::mem::replace(&mut self.held, false) {
            out.push(Effect::Silence);
        }
        // RFC 9568 §6.4.2: a Backup does not accept packets to the virtual router's MAC address.
        if self.is_borne() {
            out.push(Effect::Carry(false));
        }
        // The owner's addresses are the interface's own.
        if self.priority().is_none_or(|priority| !priority.is_owner()) {
            self.vips.iter().for_each(|vip| self.holder.release(vip.clone()));
        }
        self.plan_work(observed);
    }

    /// Whether an interface of its own carries its addresses.
    fn is_borne(&self) -> bool {
        self.place.as_ref().is_ok_and(|place| place.carrier.bearer.is_some())
    }

    /// What is left to do after what has been observed. Announcing is the announcer's.
    pub(super) fn plan_work(&mut self, observed: &Observed) {
        let work = self.holder.reconcile(observed).into_iter();
        self.work = work.filter(|effect| !matches!(effect, holder::Effect::Announce(_))).collect();
        if self.work.is_empty() {
            self.announcer.complete();
        }
    }

    pub(super) fn next_prolongation(&self, now: Instant) -> Option<(Instant, usize)> {
        self.plan.filter(|_| self.held).map(|plan| (now + plan.renew_address_every, 0))
    }

    /// Somebody else may have removed addresses that we hold.
    pub(super) fn look_after(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        if !self.held || !self.work.is_empty() {
            return;
        }
        let carries = |place: &Place| observed.link_by_index(place.carrier.link).is_some_and(|link| link.up);
        if self.is_borne() && !self.place.as_ref().is_ok_and(carries) {
            out.push(Effect::Carry(true));
            self.announcer.begin(now);
            self.announcer.placed(self.vips.iter().map(|vip| vip.net.addr()));
            self.announcer.complete();
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
            out.push(Effect::Report(What::Restored { addresses: missing }));
            self.announcer.begin(now);
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
        if self.held {
            let added = |effect: &holder::Effect| match effect {
                holder::Effect::Add(vip) => Some(vip.net.addr()),
                holder::Effect::Announce(_) | holder::Effect::Remove(_) | holder::Effect::PromoteSecondaries { .. } => {
                    None
                }
            };
            self.announcer.placed(chunk.iter().filter_map(added));
        }
        out.push(Effect::Change(chunk));
        if self.work.is_empty() {
            self.announcer.complete();
            self.settled(out);
        }
    }

    /// Gives some addresses their whole lifetime again; the others in the next turns.
    pub(super) fn prolong_some(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (Some((at, from)), Some(plan), true) = (self.prolong, self.plan, self.work.is_empty()) else { return };
        if now < at {
            return;
        }
        let some: Vec<_> = self.vips.iter().skip(from).take(CHUNK).cloned().collect();
        let next = from + some.len();
        if !some.is_empty() {
            out.push(Effect::Prolong(some));
        }
        self.prolong = Some(if next < self.vips.len() { (at, next) } else { (now + plan.renew_address_every, 0) });
    }
}
