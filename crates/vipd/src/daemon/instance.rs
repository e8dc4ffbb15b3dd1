//! One instance: from what happens to what is to be done. Pure; the edge carries it out.
//!
//! ```text
//!                ┌───────────────── Instance::handle(now, observed, input) ────────────────────┐
//!  input ───────▶│ Router (election) or Managed (operator) ──▶ held or not ──▶ Holder ──▶ work │──▶ effects, in order
//!  deadline ◀────│        fit to run? (Place, faults)            lease, Announcer, Limiter     │
//!                └─────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Whatever takes long is cut into pieces, and what is left of it is a deadline like any other: thousands of addresses are
//! added between adverts, and announced between them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pnet::util::MacAddr;
use vrrp::{
    Action, Actions, AdvertPriority, Counters, Discard, Notice, Priority, Router, Settings, Shutdown, StateName,
    StepDown, VirtualRouter,
};

use super::announcer::Announcer;
use super::depend::Standing;
use super::effect::{Command, Effect, Input, Refusal, Ticket};
use super::event::What;
use super::limiter::{Hush, Limiter};
use super::managed::{Held, Managed, Probing};
use super::place::{self, Place, Unready};
use crate::config::{self, Mode, OnConflict, Vrrp};
use crate::frame::claim::{Claim, Manner};
use crate::holder::{self, Holder, Vip};
use crate::kernel::Observed;
use crate::lease::{Admission, LeaseId, LeasePlan, Leased};
use crate::probe::Verdict;

mod elected;
mod holding;
mod operated;
mod surroundings;

/// Changes of addresses that are made in one go.
const CHUNK: usize = 128;
/// How often another host's claim leads to an event and an announcement.
const DEFENCE: Duration = Duration::from_secs(1);
/// How often the log is told of packets that have the same thing wrong with them (RFC 9568 §7.1).
const SAID: Duration = Duration::from_secs(60);
/// How many times that doubles while it has to step out again: to half a minute.
const DOUBLINGS: u32 = 5;
/// After how long in one state that counts from the beginning.
const CALM: Duration = Duration::from_secs(60);
/// How long whoever hands over waits for a peer to take over: less than `vipd handover` waits for its answer.
const HANDOVER: Duration = Duration::from_secs(10);
/// How soon a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// One instance.
#[derive(Clone, Debug)]
pub struct Instance {
    config: config::Instance,
    plan: Option<LeasePlan>,
    /// The plan that the last advertisement goes with, from a reload to the next advertisement.
    promised: Option<LeasePlan>,
    /// What the dead-man switch knows its addresses by.
    lease: LeaseId,
    /// Time 0 of the router's clock.
    origin: Instant,
    place: Result<Place, Unready>,
    /// How often its place or its addresses have changed.
    moves: u64,
    brain: Brain,
    /// What is down and must not be.
    faults: Vec<String>,
    deaf: Option<Deaf>,
    /// How often it has stepped out lately.
    setbacks: u32,
    /// Reported when it changes.
    waiting_for: Option<String>,
    /// Why a managed instance has let go by itself, until it is acquired or released.
    let_go: Option<String>,
    /// Claims of other hosts that were reported.
    conflicts: u64,
    /// How often addresses that somebody removed were put back.
    restores_done: u64,
    /// Why it ends.
    ending: Option<&'static str>,
    /// Its addresses at its place.
    vips: Vec<Vip>,
    leased: Vec<Leased>,
    /// Guarded until they have been removed.
    retiring: Vec<Leased>,
    holder: Holder,
    /// Whether the addresses are to be there.
    held: bool,
    /// Whether it is to hold from the start what another instance of ours holds until now.
    adopts: bool,
    /// What of the holder's work is left.
    work: VecDeque<holder::Effect>,
    /// What is being done: for each piece the addresses that it adds.
    placing: VecDeque<Vec<IpAddr>>,
    /// When the addresses get their whole lifetime again, and from which on.
    prolong: Option<(Instant, usize)>,
    announcer: Announcer,
    restores: Limiter,
    defence: Limiter,
    /// The last claim that came too soon after another; it is answered for all of them.
    owed: Option<Claim>,
    /// Who waits for what comes of a handover, and until when at most.
    handing: Option<(Ticket, Instant)>,
    /// When the last advertisement went out, since it has held.
    anchor: Option<Instant>,
    counters: Counters,
    /// What was said lately about packets that were discarded, and about others.
    discarded: Hush<{ Discard::ALL.len() }>,
    noticed: Hush<{ Notice::ALL.len() }>,
    since: Instant,
}

/// It cannot hear its peers, or speak to them.
#[derive(Clone, Debug)]
struct Deaf {
    why: String,
    /// When to try again.
    again: Instant,
    /// What it lacked has been asked for again. Unless it is refused again, it begins with the next turn.
    asked: bool,
}

/// Who decides.
#[derive(Clone, Debug)]
enum Brain {
    /// The protocol.
    Elected(Box<Elected>),
    /// An operator.
    Managed(Managed),
}

#[derive(Clone, Debug)]
struct Elected {
    router: Router,
    /// What of the configuration is not the router's.
    config: Vrrp,
    /// After all weights.
    priority: Priority,
    addresses: Advertised,
}

/// The advertised addresses in the form of the wire.
#[derive(Clone, Debug)]
enum Advertised {
    V4(Vec<[u8; 4]>),
    V6(Vec<[u8; 16]>),
}

impl Instance {
    /// An instance that has not begun. `plan` is what the kernel is to enforce, `now` the start of its clock.
    #[must_use]
    pub fn new(config: config::Instance, plan: Option<LeasePlan>, lease: LeaseId, now: Instant) -> Self {
        let brain = match &config.mode {
            Mode::Managed => Brain::Managed(Managed::Released),
            Mode::Vrrp(vrrp) => Brain::Elected(Box::new(Elected::new(&config, vrrp))),
        };
        Self {
            restores: Limiter::new(config.restore_limit as usize, Duration::from_secs(60)),
            defence: Limiter::new(1, DEFENCE),
            owed: None,
            place: Err(Unready::Missing),
            moves: 0,
            faults: Vec::new(),
            deaf: None,
            setbacks: 0,
            waiting_for: None,
            let_go: None,
            conflicts: 0,
            restores_done: 0,
            ending: None,
            vips: Vec::new(),
            leased: Vec::new(),
            retiring: Vec::new(),
            holder: Holder::default(),
            held: false,
            adopts: false,
            work: VecDeque::new(),
            placing: VecDeque::new(),
            prolong: None,
            announcer: Announcer::default(),
            handing: None,
            anchor: None,
            counters: Counters::ZERO,
            discarded: Hush::new(SAID),
            noticed: Hush::new(SAID),
            since: now,
            origin: now,
            config,
            plan,
            promised: None,
            lease,
            brain,
        }
    }

    /// The same, for addresses that another instance of this daemon holds and gives up for it: it holds them as soon as it
    /// begins, so that they are never gone.
    #[must_use]
    pub fn adopting(self) -> Self {
        Self { adopts: true, ..self }
    }

    /// Leaves addresses to another instance, which holds them already: they are neither silenced nor removed here. Returns
    /// them.
    pub fn hand_on(&mut self, to_another: impl Fn(&Vip) -> bool) -> Vec<Vip> {
        let (handed, kept) = std::mem::take(&mut self.vips).into_iter().partition(|vip| to_another(vip));
        self.vips = kept;
        self.moves += 1;
        self.leased = self.vips.iter().map(|vip| Leased::new(vip.net.addr(), vip.link)).collect();
        self.leave(&handed);
        handed
    }

    /// Takes one input, and puts what is to be done into `out`, in order.
    pub fn handle(&mut self, now: Instant, observed: &Observed, input: Input<'_>, out: &mut Vec<Effect>) {
        if !matches!(input, Input::Sent(_) | Input::Unsent(_) | Input::Changed(_)) {
            self.notice_stall(now, observed, out);
        }
        match input {
            Input::Observed => self.observe(now, observed, out),
            Input::Depends { faults, priority } => self.depend(now, observed, faults, priority, out),
            Input::Datagram(datagram) => self.hear(now, observed, datagram, out),
            Input::Resigned => self.hear_predecessor(now, observed, out),
            Input::Claim(claim) => self.meet(now, observed, claim, out),
            Input::Timer => self.tick(now, observed, out),
            Input::Command(ticket, command) => self.obey(now, observed, ticket, command, out),
            Input::Abandoned(ticket) => self.abandon(now, observed, ticket, out),
            Input::TakeOver => self.ask_router(now, observed, vrrp::Input::TakeOver, out),
            Input::StepDown => self.step_down(now, observed, StepDown::SyncGroup, out),
            Input::Sent(at) => self.sent(at, out),
            Input::Unsent(why) => self.not_sent(now, observed, &why, out),
            Input::Changed(refused) => self.changed(now, observed, &refused, out),
            Input::Deaf(why) => {
                self.deaf = Some(Deaf { why, again: now + RETRY, asked: false });
                self.govern(now, observed, out);
            }
            Input::Unrenewed(why) if self.held => self.step_out(now, observed, why, out),
            Input::Unrenewed(_) => {}
            Input::LeaseLost(at, why) => {
                out.push(Effect::Report(What::Failed { what: "renewing the lease".into(), error: why }));
                self.step_back(now.max(at), observed, out);
            }
            Input::Stop(why) => self.stop(now, observed, why, out),
        }
        self.follow_handover(now, out);
    }

    /// When to call [`handle`](Self::handle) with [`Input::Timer`].
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let brain = match &self.brain {
            Brain::Elected(elected) => elected.router.deadline().map(|at| self.to_clock(at)),
            Brain::Managed(managed) => managed.deadline(),
        };
        let work = (!self.work.is_empty()).then_some(now);
        let deaf = self.deaf.as_ref().map(|deaf| deaf.again);
        let prolong = self.prolong.map(|(at, _)| at).filter(|_| self.work.is_empty());
        let handing = self.handing.map(|(_, until)| until);
        let owed = self.owed.map(|_| self.defence.next().unwrap_or(now));
        [brain, work, deaf, prolong, handing, owed, self.announcer.deadline()].into_iter().flatten().min()
    }

    /// Whether nothing is left to do after [`Input::Stop`].
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.work.is_empty() && !self.held
    }

    /// Whether it must hear what other hosts say about its addresses.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.held || matches!(self.brain, Brain::Managed(Managed::Probing(_)))
    }

    /// Who waits for what has not begun yet: addresses that it asks about on the wire.
    #[must_use]
    pub fn asks_for(&self) -> Option<Ticket> {
        match &self.brain {
            Brain::Managed(Managed::Probing(probing)) => probing.ticket,
            Brain::Managed(Managed::Held(held)) => held.asking.as_ref().and_then(|asking| asking.ticket),
            Brain::Managed(Managed::Released | Managed::Parked) | Brain::Elected(_) => None,
        }
    }

    /// Different whenever its place, its addresses, or what it must hear have changed.
    #[must_use]
    pub fn whereabouts(&self) -> (u64, bool) {
        (self.moves, self.listens())
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &config::Instance {
        &self.config
    }

    /// Its interface, if that can carry it.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref().ok()
    }

    /// Its addresses on its interface; empty as long as it has none.
    #[must_use]
    pub fn vips(&self) -> &[Vip] {
        &self.vips
    }

    /// Those that are to be there.
    pub fn holding(&self) -> impl Iterator<Item = &Vip> {
        self.vips.iter().filter(|vip| self.held && self.holder.holds(vip))
    }

    /// All its addresses as the lease knows them; empty without a lease.
    #[must_use]
    pub fn leased(&self) -> &[Leased] {
        if self.plan.is_some() { &self.leased } else { &[] }
    }

    /// The lease of all of them.
    #[must_use]
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// What is let in for its addresses while it holds them.
    #[must_use]
    pub fn admission(&self) -> Admission {
        match self.config.vrrp() {
            Some(vrrp) if !vrrp.accept && !vrrp.priority.is_owner() => Admission::Discovery,
            Some(_) | None => Admission::All,
        }
    }

    /// What the kernel is to enforce: no more than the peers have been told to wait.
    #[must_use]
    pub fn plan(&self) -> Option<&LeasePlan> {
        let plan = self.plan.as_ref()?;
        let promised = self.promised.as_ref().filter(|promised| promised.silent_within < plan.silent_within);
        Some(promised.unwrap_or(plan))
    }

    /// Whether the addresses are to be there.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.held
    }

    /// From when the term of a lease that is renewed `now` counts: from the last advertisement, if there are peers.
    #[must_use]
    pub fn anchor(&self, now: Instant) -> Option<Instant> {
        match self.brain {
            Brain::Elected(_) => self.anchor,
            Brain::Managed(_) => Some(now),
        }
    }

    /// What became of the packets that came in for it.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Its state, in the words of RFC 9568; a managed instance that holds is Active, else Backup.
    #[must_use]
    pub fn state(&self) -> StateName {
        match &self.brain {
            Brain::Elected(elected) => elected.router.state().name(),
            Brain::Managed(Managed::Held(_)) => StateName::Active,
            Brain::Managed(Managed::Released | Managed::Probing(_) | Managed::Parked) => StateName::Backup,
        }
    }

    /// How it stands in its sync group.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Brain::Elected(elected) = &self.brain else { return Standing::Out };
        match elected.router.state() {
            vrrp::State::Initialize => Standing::Out,
            vrrp::State::Active(_) => Standing::Active,
            vrrp::State::Backup(backup) if backup.ready => Standing::Ready,
            vrrp::State::Backup(backup) => match backup.heard.map(|heard| heard.priority) {
                Some(AdvertPriority::Holding(_)) => Standing::Bearing,
                Some(AdvertPriority::Resigning) | None => Standing::Waiting,
            },
        }
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// What it waits for, if it cannot run, or not alone.
    #[must_use]
    pub fn waiting_for(&self) -> Option<&str> {
        let together = "another member of the sync group hears an Active router, or cannot run";
        let waiting = self.waiting_for.as_deref().or((self.standing() == Standing::Ready).then_some(together));
        waiting.or(self.let_go.as_deref())
    }

    /// How often another host has claimed one of its addresses, said once a second.
    #[must_use]
    pub const fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// How often addresses that somebody removed were put back.
    #[must_use]
    pub const fn restores(&self) -> u64 {
        self.restores_done
    }

    /// Its priority after all weights; a managed instance has none.
    #[must_use]
    pub fn priority(&self) -> Option<Priority> {
        match &self.brain {
            Brain::Elected(elected) => Some(elected.priority),
            Brain::Managed(_) => None,
        }
    }

    /// The router that is Active, as far as we have heard.
    #[must_use]
    pub fn heard(&self) -> Option<IpAddr> {
        match &self.brain {
            Brain::Elected(elected) => match elected.router.state() {
                vrrp::State::Backup(backup) => backup.heard.map(|heard| heard.source),
                vrrp::State::Initialize | vrrp::State::Active(_) => None,
            },
            Brain::Managed(_) => None,
        }
    }

    /// Another host says that an address is its own.
    fn meet(&mut self, now: Instant, observed: &Observed, claim: Claim, out: &mut Vec<Effect>) {
        if let Brain::Managed(managed) = &mut self.brain
            && let Some(probing) = managed.probing()
        {
            probing.hear(claim);
            self.tick(now, observed, out);
        }
        let ours = self.holding().any(|vip| vip.net.addr() == claim.address);
        // The kernel answers a probe, and that settles it.
        if !ours || claim.manner == Manner::Probing || is_own(claim.mac, observed, self.virtual_mac()) {
            return;
        }
        self.owed = None;
        if !self.defence.admit(now) {
            // Nobody may be left to say it again, and the neighbours believe it.
            self.owed = Some(claim);
            return;
        }
        self.conflicts += 1;
        out.push(Effect::Report(What::Conflict {
            address: claim.address,
            mac: claim.mac.to_string(),
            how: claim.manner.as_str().to_owned(),
        }));
        match self.config.on_conflict {
            OnConflict::Defend => {
                // It may have announced more of them: one claim a second is answered, for all.
                self.announce_all(now);
            }
            OnConflict::Release => {
                let why = format!("{} is in use by {}", claim.address, claim.mac);
                match self.brain {
                    // It would go on answering.
                    Brain::Elected(_) if self.stays(observed).is_some() => {}
                    Brain::Elected(_) => self.step_out(now, observed, why, out),
                    Brain::Managed(_) => self.give_up(now, observed, StepDown::AddressConflict, &why, out),
                }
            }
        }
    }

    /// The virtual router's MAC address: another router of ours may use it, so it is nobody else's.
    fn virtual_mac(&self) -> Option<MacAddr> {
        self.config.vrrp().filter(|vrrp| vrrp.virtual_mac).map(|vrrp| vrrp.vrid.mac(self.config.family()).into())
    }

    /// Lets go for good: an election goes on without us, an operator must decide anew.
    fn give_up(&mut self, now: Instant, observed: &Observed, why: StepDown, reason: &str, out: &mut Vec<Effect>) {
        match self.brain {
            Brain::Elected(_) => self.step_down(now, observed, why, out),
            Brain::Managed(_) => {
                self.let_go = Some(format!("let go: {reason}; vipd acquire {} asks again", self.config.name));
                self.withdraw(now, observed, Managed::Released, reason, out);
            }
        }
    }

    /// Lets go of what only another attempt can show to be over. Each time it waits longer before that: its sync group goes with
    /// it, and the neighbours hear of it.
    fn step_out(&mut self, now: Instant, observed: &Observed, why: String, out: &mut Vec<Effect>) {
        if self.deaf.is_none() && now.saturating_duration_since(self.since) >= CALM {
            self.setbacks = 0;
        }
        let again = now + RETRY * 2_u32.pow(self.setbacks.min(DOUBLINGS));
        self.setbacks = self.setbacks.saturating_add(1);
        self.deaf = Some(Deaf { why, again, asked: false });
        self.govern(now, observed, out);
    }

    /// Yields to a peer; not with an address that would go on answering beside it.
    fn step_down(&mut self, now: Instant, observed: &Observed, why: StepDown, out: &mut Vec<Effect>) {
        if self.stays(observed).is_none() {
            self.ask_router(now, observed, vrrp::Input::StepDown(why), out);
        }
    }

    /// Before anything is done on the strength of what we knew: have we been stalled for longer than the others wait?
    fn notice_stall(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        match &self.brain {
            Brain::Elected(elected) => {
                // The router finds out from the time, whatever it is told.
                let settings = *elected.router.settings();
                if self.held {
                    self.ask_router(now, observed, vrrp::Input::Reconfigured(settings), out);
                }
            }
            Brain::Managed(Managed::Held(held)) if held.believed_until.is_some_and(|until| until <= now) => {
                self.step_back(now, observed, out);
            }
            Brain::Managed(_) => {}
        }
    }

    /// We did not run for too long: let go, and look again before holding.
    fn step_back(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        match self.brain {
            Brain::Elected(_) => self.ask_router(now, observed, vrrp::Input::LateWakeup, out),
            Brain::Managed(_) => {
                self.withdraw(now, observed, Managed::Parked, "was not running for longer than the lease", out);
                self.govern(now, observed, out);
            }
        }
    }

    fn stop(&mut self, now: Instant, observed: &Observed, why: &'static str, out: &mut Vec<Effect>) {
        self.ending = Some(why);
        match self.brain {
            Brain::Elected(_) => self.ask_router(now, observed, vrrp::Input::Shutdown(Shutdown::Stopped), out),
            Brain::Managed(_) => self.withdraw(now, observed, Managed::Released, why, out),
        }
        // What a predecessor left goes too.
        self.release(observed, out);
    }

    // ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    fn tick(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        match &self.brain {
            Brain::Elected(_) => self.ask_router(now, observed, vrrp::Input::Timer, out),
            Brain::Managed(_) => self.tick_managed(now, observed, out),
        }
        if let Some(deaf) = self.deaf.as_mut().filter(|deaf| deaf.again <= now) {
            if std::mem::replace(&mut deaf.asked, true) {
                self.observe(now, observed, out);
                self.deaf = None;
                self.govern(now, observed, out);
            } else {
                // It still waits: as long as the answer is the same there is nothing to tell.
                self.ask_again(observed, out);
            }
        }
        if let Some(claim) = self.owed.take_if(|_| self.defence.next().is_none_or(|at| at <= now)) {
            self.meet(now, observed, claim, out);
        }
        self.do_work(out);
        self.prolong_some(now, out);
        out.extend(self.announcer.take(now).map(Effect::Announce));
    }

    fn transition(&mut self, now: Instant, from: StateName, to: StateName, reason: String, out: &mut Vec<Effect>) {
        self.since = now;
        out.push(Effect::Report(What::Transition { from: from.to_string(), to: to.to_string(), reason }));
    }

    fn to_clock(&self, at: vrrp::Instant) -> Instant {
        self.origin + Duration::from_nanos(at.as_nanos())
    }
}

/// Whether this host itself has that hardware address.
fn is_own(mac: MacAddr, observed: &Observed, virtual_mac: Option<MacAddr>) -> bool {
    virtual_mac == Some(mac) || observed.links.iter().any(|link| link.mac == Some(mac))
}

#[cfg(test)]
mod tests;
