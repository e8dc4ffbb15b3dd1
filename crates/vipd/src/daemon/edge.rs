//! Carries out what instances want: the one place of the daemon that touches the kernel and the wire.
//!
//! Every effect is done when [`Edge::carry_out`] returns. Whatever is held when the edge is dropped, by a panic or at the
//! end, is let go of.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vrrp::{AdvertPriority, Family};

use super::announcer::Burst;
use super::effect::{Effect, Input};
use super::instance::Instance;
use super::renewal;
use crate::clock;
use crate::config::Name;
use crate::frame::{self, claim::Claim};
use crate::holder::{self, Vip};
use crate::kernel::batch::{Changes, Request};
use crate::kernel::bearer::{self, Bearer, Borne};
use crate::kernel::{self, Address, Observed, TAG};
use crate::lease::{Admission, DeadMan, Enforcement, Lease, LeaseError, LeaseId, Leased, TableName};
use crate::raw::{self, RawSocket};
use crate::wire::Wire;

/// Frames that are read from one wire before anything else has its turn.
const FRAMES: usize = 256;

/// The kernel and the wires.
pub struct Edge {
    changes: Changes,
    dead_man: Option<DeadMan>,
    sockets: BTreeMap<(u32, bool), RawSocket>,
    wires: BTreeMap<u32, Wire>,
    /// What we have added and not removed.
    placed: BTreeSet<(u32, IpNet)>,
    buffer: Box<[u8]>,
    /// An advertisement as a whole frame.
    frame: Vec<u8>,
    /// The interfaces with virtual MAC addresses that we have made.
    bearers: Vec<Borne>,
    /// The leases that may run, and until when they do.
    leases: BTreeMap<NonZeroU32, Option<Instant>>,
    /// Leases that are to be renewed, all of them in one transaction.
    due: Vec<Lease>,
    /// The instances that they belong to, in the same order.
    whose: Vec<Name>,
    counters: Counters,
    /// Instances whose last advertisement did not go out to everybody.
    failing: BTreeSet<Name>,
}

/// What the edge has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements that were sent.
    pub advertisements: u64,
    /// Advertisements that could not be sent.
    pub unsent: u64,
    /// Frames that announced an address.
    pub announcements: u64,
    /// Packets for no virtual router of ours.
    pub strays: u64,
    /// Packets whose IP header is wrong, so that nobody can say whose they are.
    pub malformed: vrrp::Counters,
    /// Renewals of leases.
    pub renewals: u64,
}

impl Edge {
    /// Opens the kernel; the switch is not there on every host, then the error says why.
    ///
    /// # Errors
    /// There is no rtnetlink.
    pub fn open() -> io::Result<(Self, Option<LeaseError>)> {
        let (dead_man, missing) = match DeadMan::open(TableName::default()) {
            Ok(dead_man) => (Some(dead_man), None),
            Err(error) => (None, Some(error)),
        };
        let edge = Self {
            changes: Changes::open()?,
            dead_man,
            sockets: BTreeMap::new(),
            wires: BTreeMap::new(),
            placed: BTreeSet::new(),
            buffer: vec![0; raw::LONGEST].into(),
            frame: Vec::new(),
            bearers: Vec::new(),
            leases: BTreeMap::new(),
            due: Vec::new(),
            whose: Vec::new(),
            counters: Counters::default(),
            failing: BTreeSet::new(),
        };
        Ok((edge, missing))
    }

    /// What can enforce a lease here.
    #[must_use]
    pub const fn enforcement(&self) -> Enforcement {
        if self.dead_man.is_some() { Enforcement::DeadMan } else { Enforcement::AddressLifetime }
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Removes what a dead daemon left: interfaces with virtual MAC addresses, and all that is on them; addresses with our tag that `configured` names or that have a lifetime, which only
    /// a daemon gives; and what is guarded in vain.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn sweep(&mut self, observed: &mut Observed, configured: &[(u32, IpNet)]) -> Result<Vec<IpNet>, String> {
        let bearers = bearer::all(observed);
        bearer::remove_all(&bearers, |_| false, &mut self.changes).map_err(|error| error.to_string())?;
        for Borne { bearer, .. } in &bearers {
            if let Some(index) = bearer.find(observed).map(|link| link.index) {
                tracing::warn!(interface = bearer.name, "removed what an earlier vipd had left");
                observed.take(kernel::Change::LinkGone(index));
            }
        }
        let left = |address: &&Address| {
            address.is_ours() && (address.valid_for.is_some() || configured.contains(&(address.link, address.net)))
        };
        let left: Vec<_> = observed.addresses.iter().filter(left).map(|address| (address.link, address.net)).collect();
        let requests: Vec<_> = left.iter().map(|&(link, net)| Request::Remove { net, link }).collect();
        self.change(&requests, observed).into_iter().try_for_each(|(_, error)| Err(error.to_string()))?;
        if let Some(dead_man) = &mut self.dead_man {
            let there: Vec<IpAddr> = observed.addresses.iter().map(|address| address.net.addr()).collect();
            dead_man.sweep(&there).map_err(|error| error.to_string())?;
        }
        Ok(left.into_iter().map(|(_, net)| net).collect())
    }

    /// Carries out one effect of `instance`; what the instance must know of it is put into `back`.
    pub fn carry_out(
        &mut self,
        instance: &Instance,
        effect: &Effect,
        observed: &mut Observed,
        back: &mut Vec<Input<'static>>,
    ) {
        match effect {
            Effect::Listen => {
                if let Err(error) = self.listen(instance) {
                    back.push(Input::Deaf(format!("cannot hear the peers: {error}")));
                }
                // Before it is needed, so that the first announcement need not wait for it.
                if let Err(error) = self.wire(instance, observed) {
                    tracing::debug!(instance = %instance.config().name, %error, "the wire");
                }
            }
            Effect::Guard => self.guard(instance, back),
            Effect::Advertise(priority) => back.extend(self.advertise(instance, *priority, observed)),
            Effect::Bear(bearer) => {
                self.bearers.retain(|other| other.bearer != *bearer);
                let sibling = self.bearers.iter().find(|other| other.bearer.parent == bearer.parent);
                match bearer.make(sibling.and_then(|sibling| sibling.before), &mut self.changes, observed) {
                    Ok(borne) => self.bearers.push(borne),
                    Err(error) => {
                        back.push(Input::Deaf(format!("the interface {} was not made: {error}", bearer.name)))
                    }
                }
            }
            Effect::Carry(up) => self.carry(instance, *up, observed),
            Effect::Adopt => self.adopt(instance, back),
            Effect::Renew => self.renew(instance, instance.anchor(clock::now())),
            Effect::Silence => self.silence(instance, observed),
            Effect::Retire(leased) => self.retire(leased),
            Effect::Change(work) => self.work(instance, work, observed, back),
            Effect::Prolong(vips) => {
                let request = |vip: &Vip| Self::addition(instance, vip);
                let requests: Vec<_> = vips.iter().map(request).collect();
                for (_, error) in self.change(&requests, observed) {
                    tracing::warn!(instance = %instance.config().name, %error, "an address was not prolonged");
                }
            }
            Effect::Announce(burst) => self.announce(instance, burst, observed),
            Effect::ListenFor(addresses) => {
                let listened = self.wire(instance, observed).and_then(|wire| {
                    addresses.iter().try_for_each(|address| wire.listen_for(*address)).map_err(|e| e.to_string())
                });
                if let Err(error) = listened {
                    tracing::warn!(instance = %instance.config().name, %error, "cannot hear all that is said");
                }
            }
            Effect::Send(frame) => {
                let sent = self.wire(instance, observed).and_then(|wire| wire.send(frame).map_err(|e| e.to_string()));
                if let Err(error) = sent {
                    tracing::warn!(instance = %instance.config().name, %error, "cannot send");
                }
            }
            Effect::Report(_) | Effect::Answer(..) => {}
        }
    }

    /// Guards addresses that have been removed no longer.
    pub fn retire(&mut self, leased: &[Leased]) {
        if let Some(dead_man) = &mut self.dead_man
            && let Err(error) = dead_man.retire(leased)
        {
            tracing::warn!(%error, "addresses that are gone stay guarded");
        }
    }

    /// Closes what no instance needs any more; on the wires that are not `watched` nothing is heard.
    pub fn tidy(
        &mut self,
        needed: impl Fn(u32, Family) -> bool,
        watched: impl Fn(u32) -> bool,
        borne: impl Fn(&Bearer) -> bool,
    ) {
        let unneeded: Vec<_> = self.bearers.extract_if(.., |one| !borne(&one.bearer)).collect();
        self.unbear(&unneeded);
        self.sockets.retain(|&(link, v6), _| needed(link, if v6 { Family::V6 } else { Family::V4 }));
        self.wires.retain(|&link, _| needed(link, Family::V4) || needed(link, Family::V6));
        self.wires.iter_mut().filter(|(link, _)| !watched(**link)).for_each(|(_, wire)| wire.deafen());
    }

    /// Reads the VRRP packets that have come in; `take` is told interface, family and packet. True if more may have come meanwhile.
    pub fn read_packets(&mut self, mut take: impl FnMut(u32, &vrrp::wire::Datagram<'_>)) -> bool {
        let mut more = false;
        let Self { sockets, buffer, counters, .. } = self;
        for (&(link, _), socket) in sockets {
            let read = socket.receive(buffer, |packet| match packet {
                Ok(datagram) => take(link, &datagram),
                Err(why) => {
                    counters.malformed.count_discard(why);
                    tracing::debug!(link, %why, "discard");
                }
            });
            match read {
                Ok(may_have_more) => more |= may_have_more,
                // The interface went down or away; the monitor says so too.
                Err(error) => tracing::debug!(link, %error, "receive"),
            }
        }
        more
    }

    /// Reads what was said about addresses on the wires that are open; true if there may be more.
    pub fn read_claims(&mut self, mut take: impl FnMut(u32, Claim)) -> bool {
        let mut more = false;
        for (&link, wire) in &mut self.wires {
            let mut left = FRAMES;
            while left > 0 {
                match wire.try_receive() {
                    Ok(Some(frame)) => {
                        if let Some(claim) = Claim::parse(frame) {
                            take(link, claim);
                        }
                        left -= 1;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(link, %error, "listen");
                        break;
                    }
                }
            }
            more |= left == 0;
        }
        more
    }

    /// Counts a packet for no virtual router of ours.
    pub const fn count_stray(&mut self) {
        self.counters.strays += 1;
    }

    /// Ready when there may be something to read.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let sockets = self.sockets.values().filter(|socket| socket.poll_ready(context).is_ready()).count();
        let wires = self.wires.values().filter(|wire| wire.poll_ready(context).is_ready()).count();
        if sockets + wires > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn listen(&mut self, instance: &Instance) -> io::Result<()> {
        let Some(place) = instance.place() else { return Err(io::Error::from(io::ErrorKind::NotFound)) };
        let family = instance.config().family();
        if let Entry::Vacant(none) = self.sockets.entry((place.link, raw::is_v6(family))) {
            none.insert(RawSocket::open(place.link, instance.config().interface.as_str(), family)?);
        }
        Ok(())
    }

    fn guard(&mut self, instance: &Instance, back: &mut Vec<Input<'static>>) {
        let admission = instance.admission();
        match &mut self.dead_man {
            Some(dead_man) if !instance.leased().is_empty() => {
                let admitted = dead_man.admit(instance.lease(), admission);
                if let Err(error) = admitted.and_then(|()| dead_man.guard(instance.lease(), instance.leased())) {
                    back.push(Input::LeaseLost(clock::now(), error.to_string()));
                }
            }
            Some(_) | None if admission == Admission::All => {}
            Some(_) | None => {
                let why = "accept = false needs nftables, which keep packets to the addresses out";
                back.push(Input::Deaf(why.to_owned()));
            }
        }
    }

    /// Sends an advertisement to every destination; what the instance must know of it, unless it was a resignation.
    fn advertise(
        &mut self,
        instance: &Instance,
        priority: AdvertPriority,
        observed: &Observed,
    ) -> Option<Input<'static>> {
        let place = instance.place()?;
        if place.carrier.bearer.is_some()
            && let Err(error) = self.wire(instance, observed)
        {
            tracing::warn!(instance = %instance.config().name, %error, "cannot advertise from the virtual MAC address");
        }
        let Some(socket) = self.sockets.get(&(place.link, raw::is_v6(instance.config().family()))) else {
            return Some(Input::Unsent("there is no socket".to_owned()));
        };
        let mut wire = self.wires.get_mut(&place.link).filter(|_| place.carrier.bearer.is_some());
        let (at, mut sent, mut failed) = (clock::now(), 0, None);
        let written = instance.advertisements(priority, &mut self.buffer, |endpoints, message| {
            // A switch learns where the virtual router is from the source of its advertisements (RFC 9568 §7.3).
            let result = match &mut wire {
                Some(wire) if frame::vrrp::write(&mut self.frame, place.mac, endpoints, message) => {
                    wire.send(&self.frame).map_err(|error| error.to_string())
                }
                Some(_) | None => socket.send(endpoints, message).map_err(|error| error.to_string()),
            };
            match result {
                Ok(()) => sent += 1,
                Err(error) => failed = Some(error),
            }
        });
        self.counters.advertisements += sent;
        let failed = failed.or(written.err().map(|error| error.to_string()));
        let name = &instance.config().name;
        if let Some(error) = &failed {
            self.counters.unsent += 1;
            // One of several peers may be out of reach for ever.
            if self.failing.insert(name.clone()) {
                tracing::warn!(instance = %name, %error, "an advertisement was not sent; said when it begins");
            }
        } else {
            self.failing.remove(name);
        }
        let told = if sent > 0 { Input::Sent(at) } else { Input::Unsent(failed.unwrap_or_default()) };
        (priority != AdvertPriority::Resigning).then_some(told)
    }

    /// Renews one lease before its addresses come under its guard, so that there is no gap between two guards.
    fn adopt(&mut self, instance: &Instance, back: &mut Vec<Input<'static>>) {
        let now = clock::now();
        let term = instance.plan().and_then(|plan| plan.term(instance.anchor(now).unwrap_or(now)));
        let (Some(dead_man), Some(term)) = (&mut self.dead_man, term) else { return };
        let until = self.leases.entry(instance.lease().0).or_default();
        match dead_man.renew(&[Lease { id: instance.lease(), term }], clock::now) {
            Ok(_) => *until = Some(term.until),
            Err(error) => back.push(Input::LeaseLost(clock::now(), error.to_string())),
        }
    }

    /// Sets the interface with the virtual MAC address up or down, and brings the view of it up to date.
    fn carry(&mut self, instance: &Instance, up: bool, observed: &mut Observed) {
        let Some(carrier) = instance.place().map(|place| &place.carrier) else { return };
        let Some(bearer) = &carrier.bearer else { return };
        match bearer.set_up(up, &mut self.changes) {
            Ok(()) => {
                if let Some(link) = observed.links.iter_mut().find(|link| link.index == carrier.link) {
                    link.up = up;
                }
            }
            Err(error) if kernel::is_gone(&error) => {}
            Err(error) => {
                let name = &instance.config().name;
                tracing::error!(instance = %name, interface = bearer.name, up, %error, "was not set up or down");
            }
        }
    }

    /// Removes interfaces with virtual MAC addresses.
    fn unbear(&mut self, bornes: &[Borne]) {
        let Self { bearers, changes, .. } = self;
        let stays = |gone: &Bearer| bearers.iter().any(|other| other.bearer.parent == gone.parent);
        if let Err(error) = bearer::remove_all(bornes, stays, changes) {
            tracing::error!(%error, "an interface with a virtual MAC address was not removed");
        }
    }

    fn renew(&mut self, instance: &Instance, anchor: Option<Instant>) {
        let (Some(plan), Some(anchor), true) = (instance.plan(), anchor, self.dead_man.is_some()) else { return };
        let Some(term) = plan.term(anchor) else { return };
        self.leases.entry(instance.lease().0).or_default();
        self.due.push(Lease { id: instance.lease(), term });
        self.whose.push(instance.config().name.clone());
    }

    /// Renews what is due. To be called before anybody is told that an address is here, and before waiting.
    pub fn renew_due(&mut self, back: &mut Vec<(Name, Input<'static>)>) {
        let Some(dead_man) = self.dead_man.as_mut().filter(|_| !self.due.is_empty()) else { return };
        self.counters.renewals += self.due.len() as u64;
        let result = dead_man.renew(&self.due, clock::now);
        let now = clock::now();
        for (lease, name) in self.due.iter().zip(&self.whose) {
            let Some(until) = self.leases.get_mut(&lease.id.0) else { continue };
            match renewal::judge(result.as_ref().map(|_| ()), lease.term, *until, now) {
                Ok(renewed) => *until = renewed,
                Err(lost) => back.push((name.clone(), lost)),
            }
        }
        match result {
            Ok(renewal) if renewal.reinstalled => {
                tracing::warn!("somebody removed vipd's nftables; they were made anew");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "leases were not renewed"),
        }
        self.due.clear();
        self.whose.clear();
    }

    /// The dead-man switch does it in one transaction; without it, only removing the addresses does it.
    fn silence(&mut self, instance: &Instance, observed: &mut Observed) {
        while let Some(at) = self.due.iter().position(|lease| lease.id == instance.lease()) {
            self.due.remove(at);
            self.whose.remove(at);
        }
        if let Some(until) = self.leases.get_mut(&instance.lease().0) {
            *until = None;
        }
        let silenced = match &mut self.dead_man {
            Some(dead_man) if !instance.leased().is_empty() => dead_man.silence(&[instance.lease()]),
            Some(_) | None => Err(LeaseError::Unanswered),
        };
        if silenced.is_err() {
            let ours = instance.vips().iter().filter(|vip| self.placed.contains(&(vip.link, vip.net)));
            let mut holder = holder::Holder::default();
            ours.for_each(|vip| holder.release(vip.clone()));
            let work = holder.reconcile(observed);
            self.work(instance, &work, observed, &mut Vec::new());
        }
    }

    fn work(
        &mut self,
        instance: &Instance,
        work: &[holder::Effect],
        observed: &mut Observed,
        back: &mut Vec<Input<'static>>,
    ) {
        let mut requests = Vec::with_capacity(work.len());
        for effect in work {
            match effect {
                holder::Effect::Add(vip) => requests.push(Self::addition(instance, vip)),
                holder::Effect::Remove(vip) => requests.push(Request::Remove { net: vip.net, link: vip.link }),
                holder::Effect::PromoteSecondaries { link, on, .. } => {
                    requests.push(Request::Promote { link: *link, on: *on });
                }
                holder::Effect::Announce(_) => {}
            }
        }
        let mut not_added = Vec::new();
        for (request, error) in self.change(&requests, observed) {
            match request {
                Request::Add { net, link, .. } => {
                    let dev = instance.place().map(|place| place.carrier.dev.clone()).unwrap_or_default();
                    let vip = Vip { net, link, dev };
                    not_added.push((vip, error.to_string()));
                }
                Request::Remove { net, .. } => {
                    tracing::error!(instance = %instance.config().name, %net, %error, "an address was not removed");
                }
                Request::Promote { .. } => {
                    tracing::warn!(instance = %instance.config().name, %error, "promote_secondaries was not set");
                }
            }
        }
        back.push(Input::Changed(not_added));
    }

    fn addition(instance: &Instance, vip: &Vip) -> Request {
        let lifetimes = instance.plan().map(|plan| plan.lifetimes(vip.net.addr().is_ipv6()));
        let borne = instance.place().is_some_and(|place| place.carrier.bearer.is_some());
        // The way to the neighbours stays that of the interface itself. A link-local address has no other.
        let route = !borne || crate::address::is_link_local_v6(vip.net.addr());
        Request::Add { net: vip.net, link: vip.link, lifetimes, route }
    }

    /// Makes changes, and brings the view of the host up to date with those that were made.
    fn change(&mut self, requests: &[Request], observed: &mut Observed) -> Vec<(Request, io::Error)> {
        let mut refused: Vec<(usize, io::Error)> = Vec::new();
        // None is sure to have been done then; what may have been added counts as placed, so that it is removed some time.
        let unsure = self.changes.carry_out(requests, |at, error| refused.push((at, error))).err();
        let mut failures = Vec::new();
        let mut refused = refused.into_iter().peekable();
        for (at, request) in requests.iter().enumerate() {
            let error = refused.next_if(|(refused, _)| *refused == at).map(|(_, error)| error);
            if let (None, Some(unsure)) = (&error, &unsure) {
                failures.push((*request, io::Error::new(unsure.kind(), unsure.to_string())));
            }
            match (request, error) {
                // Gone is gone, whoever did it, and however the interface went.
                (Request::Remove { net, link }, Some(error)) if kernel::is_gone(&error) => {
                    self.note_gone(*net, *link, observed)
                }
                (_, Some(error)) => failures.push((*request, error)),
                (Request::Add { net, link, lifetimes, .. }, None) => {
                    self.placed.insert((*link, *net));
                    let secondary =
                        net.addr().is_ipv4() && observed.addresses.in_subnet(*link, *net).any(|one| one.net != *net);
                    observed.take(kernel::Change::Address(Address {
                        net: *net,
                        link: *link,
                        tag: Some(TAG),
                        secondary,
                        tentative: false,
                        duplicate: false,
                        valid_for: lifetimes.map(|lifetimes| Duration::from_secs(u64::from(lifetimes.valid))),
                    }));
                }
                (Request::Remove { net, link }, None) if unsure.is_none() => self.note_gone(*net, *link, observed),
                (Request::Remove { .. } | Request::Promote { .. }, None) => {}
            }
        }
        failures
    }

    fn note_gone(&mut self, net: IpNet, link: u32, observed: &mut Observed) {
        self.placed.remove(&(link, net));
        observed.take(kernel::Change::AddressGone { net, link });
    }

    fn announce(&mut self, instance: &Instance, burst: &Burst, observed: &Observed) {
        let Some((mac, router)) = instance.place().map(|place| (place.mac, place.router)) else { return };
        let mut frames = burst.addresses.iter().filter_map(|address| burst.form.frame(*address, mac, router));
        let mut sent = 0;
        let result = self.wire(instance, observed).and_then(|wire| {
            let mut send = |frame: Vec<u8>| wire.send(&frame).map(|()| sent += 1).map_err(|error| error.to_string());
            frames.try_for_each(&mut send)?;
            // And what others say to that.
            wire.hear().map_err(|error| error.to_string())
        });
        self.counters.announcements += sent;
        if let Err(error) = result {
            tracing::warn!(instance = %instance.config().name, %error, "an announcement was not sent");
        }
    }

    fn wire(&mut self, instance: &Instance, observed: &Observed) -> Result<&mut Wire, String> {
        let link = instance.place().and_then(|place| observed.link_by_index(place.link));
        let link = link.ok_or_else(|| "the interface is not ready".to_owned())?;
        match self.wires.entry(link.index) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(none) => {
                let wire = Wire::open(link).and_then(Wire::watched);
                Ok(none.insert(wire.map_err(|error| error.to_string())?))
            }
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let placed: Vec<_> = std::mem::take(&mut self.placed).into_iter().collect();
        if let Some(dead_man) = &mut self.dead_man {
            let leases: Vec<_> = self.leases.keys().copied().map(LeaseId).collect();
            // If it fails, the leases lapse by themselves.
            let _ = dead_man.silence(&leases);
        }
        let requests: Vec<_> = placed.iter().map(|&(link, net)| Request::Remove { net, link }).collect();
        let mut left = 0;
        let result = self.changes.carry_out(&requests, |_, error| left += usize::from(!kernel::is_gone(&error)));
        let bearers = std::mem::take(&mut self.bearers);
        self.unbear(&bearers);
        if left == 0
            && result.is_ok()
            && let Some(dead_man) = &mut self.dead_man
        {
            // With the addresses gone there is nothing to guard.
            let _ = dead_man.remove();
        }
    }
}
