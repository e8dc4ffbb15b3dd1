//! The loop: waits for whatever comes first, and lets the instances decide.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use vrrp::StateName;

use super::check::{Ran, Verdict};
use super::control::{Call, Caller, Listener, Reply};
use super::depend::{self, Standing};
use super::edge::Edge;
use super::effect::{Effect, Input, Ticket};
use super::error::DaemonError;
use super::event::What;
use super::hook::{Failed, Runner};
use super::instance::Instance;
use super::metrics::Server;
use super::place;
use super::roster::Roster;
use super::stream::Stream;
use super::watchdog::Watchdog;
use crate::clock::{self, Alarm};
use crate::config::{Config, Mode, Name};
use crate::kernel;
use crate::kernel::Observed;
use crate::kernel::monitor::Monitor;
use crate::kernel::netlink::Netlink;
use crate::lease::Leased;

mod calls;
mod reload;
mod start;

/// How long the end may take.
const END: Duration = Duration::from_secs(10);
/// Changes of the host that are taken in before anything else has its turn.
const CHANGES: usize = 512;
/// How soon the host is looked at again after that has failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How soon an address for metrics that could not be bound is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(3);
/// Requests and results that may wait for the loop.
const WAITING: usize = 64;

/// The daemon.
pub struct Service {
    file: PathBuf,
    /// Where it listens whatever the configuration says (`--socket`).
    socket: Option<PathBuf>,
    config: Config,
    instances: BTreeMap<Name, Instance>,
    /// Instances that are no longer configured, until they have let go.
    leaving: Vec<Instance>,
    /// `None`: an instance has moved since it was made.
    roster: Option<Roster>,
    /// Sockets or interfaces may be there that nobody needs any more.
    untidy: bool,
    /// Packets or frames are left that no wire will tell of again.
    unread: bool,
    /// Members of a sync group may stand differently.
    uneven: bool,
    observed: Observed,
    /// What is observed is not all there is; when to look at the whole host.
    look_again: Option<Instant>,
    netlink: Netlink,
    monitor: Monitor,
    edge: Edge,
    stream: Stream,
    checks: BTreeMap<Name, (Verdict, AbortHandle)>,
    ran: (mpsc::Sender<Ran>, mpsc::Receiver<Ran>),
    hook: Runner,
    hook_failed: mpsc::Receiver<Failed>,
    listener: Listener,
    metrics: Option<Server>,
    /// Why metrics are not served where they should be, and when that is tried again.
    unserved: Option<(String, Instant)>,
    calls: (mpsc::Sender<Call>, mpsc::Receiver<Call>),
    /// Who waits for an instance's answer.
    tickets: BTreeMap<Ticket, (oneshot::Sender<Reply>, Option<Caller>)>,
    next_ticket: u64,
    next_lease: NonZeroU32,
    /// What is to be guarded no longer.
    retiring: Vec<Leased>,
    /// What is told when a reload is done.
    withheld: Option<Withheld>,
    /// What instances are still to be told.
    queue: VecDeque<(Name, Input<'static>)>,
    spare: Spare,
    alarm: Alarm,
    signals: Signals,
    watchdog: Watchdog,
}

/// What there is to tell of a reload. A successor comes before its predecessor goes, and has the same name: whoever follows the
/// name must be left with what the successor is.
#[derive(Default)]
struct Withheld {
    /// Of instances that end.
    of_the_ending: Vec<(Option<Name>, What)>,
    of_the_others: Vec<(Option<Name>, What)>,
}

/// Empty lists that are filled in every turn: what goes on for ever allocates nothing.
#[derive(Default)]
struct Spare {
    effects: Vec<Effect>,
    next: Vec<Effect>,
    back: Vec<Input<'static>>,
    due: Vec<Name>,
    reports: Vec<What>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What came first.
enum Wake {
    /// Something to read, or a deadline, or nothing.
    Look,
    Change(kernel::Change),
    Stop,
    Reload,
    Call(Call),
    Ran(Ran),
    HookFailed(Failed),
}

impl Service {
    /// Runs until a signal says stop; then everything has been let go of.
    ///
    /// # Errors
    /// Something that it cannot go on without failed; what was held has been let go of all the same.
    pub async fn run(mut self) -> Result<(), DaemonError> {
        loop {
            self.catch_up().await?;
            self.tick(clock::now());
            self.bring_together(clock::now());
            self.renew_due();
            self.drain(clock::now());
            self.sleep_until(self.deadline(clock::now()))?;
            match self.wait().await {
                Wake::Look => {}
                Wake::Change(change) => self.take(change),
                Wake::Stop => break,
                Wake::Reload => {
                    let _ = self.reload();
                }
                Wake::Call(call) => self.answer(call),
                Wake::Ran(ran) => self.judge(&ran),
                Wake::HookFailed(Failed { seq, error }) => self.report(None, What::HookFailed { about: seq, error }),
            }
        }
        self.end().await
    }

    /// Lets go of everything, in order.
    async fn end(mut self) -> Result<(), DaemonError> {
        self.watchdog.stopping();
        let now = clock::now();
        let names: Vec<_> = self.instances.keys().cloned().collect();
        names.into_iter().for_each(|name| self.feed(now, &name, Input::Stop("stopped")));
        while self.instances.values().chain(&self.leaving).any(|instance| !instance.is_idle()) {
            let again = clock::now();
            if again >= now + END {
                tracing::error!("some addresses are still there; see vipd status");
                break;
            }
            self.tick(again);
        }
        self.report(None, What::Stopped);
        let Self { hook, edge, listener, hook_failed, .. } = self;
        drop((edge, listener, hook_failed));
        // Each run is limited; all of them together are, too.
        let _ = tokio::time::timeout(END, hook.finish()).await;
        Ok(())
    }

    // ── waiting ───────────────────────────────────────────────────────────────────────────────────────────────────

    async fn wait(&mut self) -> Wake {
        let Self { edge, alarm, monitor, signals, calls, ran, hook_failed, unread, .. } = self;
        tokio::select! {
            biased;
            () = poll_fn(|context| alarm.poll(context)) => Wake::Look,
            change = monitor.next() => Wake::Change(change),
            _ = signals.terminate.recv() => Wake::Stop,
            _ = signals.interrupt.recv() => Wake::Stop,
            _ = signals.hangup.recv() => Wake::Reload,
            Some(call) = calls.1.recv() => Wake::Call(call),
            Some(ran) = ran.1.recv() => Wake::Ran(ran),
            Some(failed) = hook_failed.recv() => Wake::HookFailed(failed),
            // Last, or a flood would leave the others no turn. What has come in is read at the start of each.
            () = poll_fn(|context| edge.poll_ready(context)) => Wake::Look,
            () = std::future::ready(()), if *unread => Wake::Look,
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let instances = self.instances.values().chain(&self.leaving);
        instances
            .filter_map(|instance| instance.deadline(now))
            .chain(self.watchdog.deadline())
            .chain(self.look_again)
            .chain(self.unserved.as_ref().map(|(_, again)| *again))
            .min()
    }

    fn sleep_until(&self, deadline: Option<Instant>) -> Result<(), DaemonError> {
        self.alarm.set(deadline).map_err(|source| DaemonError::Kernel { what: "setting a timer", source })
    }

    /// Everything that has come in goes before any deadline: a timer that is due means that nobody was heard until now.
    async fn catch_up(&mut self) -> Result<(), DaemonError> {
        if let Some(change) = self.monitor.try_next() {
            self.take(change);
        }
        let now = clock::now();
        let (mut heard, mut strays, mut moved) = (std::mem::take(&mut self.queue), 0, false);
        let Self { edge, instances, observed, roster, uneven, .. } = self;
        let roster = roster.get_or_insert_with(|| Roster::of(instances.values()));
        let mut effects: Vec<(Name, Vec<Effect>)> = Vec::new();
        let more_packets = edge.read_packets(|link, datagram| {
            let family = datagram.endpoints.family();
            let name = crate::raw::vrid_of(datagram).and_then(|vrid| roster.router(link, vrid, family));
            match name.and_then(|name| instances.get_mut(name)) {
                Some(instance) => {
                    let mut out = Vec::new();
                    let before = (instance.whereabouts(), instance.standing());
                    instance.handle(now, observed, Input::Datagram(datagram), &mut out);
                    moved |= instance.whereabouts() != before.0;
                    *uneven |= instance.standing() != before.1;
                    if !out.is_empty() {
                        effects.push((instance.config().name.clone(), out));
                    }
                }
                None => strays += 1,
            }
        });
        let more_claims = edge.read_claims(|link, claim| {
            let meant = roster.with_address(link, claim.address);
            heard.extend(meant.map(|name| (name.clone(), Input::Claim(claim))));
        });
        (0..strays).for_each(|_| self.edge.count_stray());
        self.queue = heard;
        if moved {
            self.moved();
        }
        for (name, mut effects) in effects {
            self.carry_out(now, &name, &mut effects);
        }
        self.drain(now);
        self.unread = more_packets || more_claims;
        if self.unread {
            // Others have their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Lets each sync group become Active as a whole, or let go as a whole.
    fn bring_together(&mut self, now: Instant) {
        while std::mem::take(&mut self.uneven) {
            for group in self.config.sync_groups.values() {
                let standing = |name| self.instances.get(name).map_or(Standing::Out, Instance::standing);
                let members: Vec<_> = group.instances.iter().map(standing).collect();
                let Some((whom, input)) = depend::bring_together(&members) else { continue };
                let mut told = group.instances.iter().zip(members).filter(|(_, standing)| *standing == whom);
                if whom == Standing::Ready {
                    // One after the other: where it cannot advertise, the rest must not have taken over already.
                    self.queue.extend(told.next().map(|(name, _)| (name.clone(), input)));
                } else {
                    self.queue.extend(told.map(|(name, _)| (name.clone(), input.clone())));
                }
            }
            self.drain(now);
        }
    }

    fn tick(&mut self, now: Instant) {
        let is_due = |instance: &Instance| instance.deadline(now).is_some_and(|deadline| deadline <= now);
        let mut due = std::mem::take(&mut self.spare.due);
        due.extend(self.instances.values().filter(|one| is_due(one)).map(|one| one.config().name.clone()));
        for name in due.drain(..) {
            self.feed(now, &name, Input::Timer);
        }
        self.spare.due = due;
        for mut instance in std::mem::take(&mut self.leaving) {
            let mut effects = Vec::new();
            instance.handle(now, &self.observed, Input::Timer, &mut effects);
            self.carry_out_for(now, &mut instance, &mut effects);
            if instance.is_idle() {
                self.retiring.extend(instance.leased());
                self.untidy = true;
            } else {
                self.leaving.push(instance);
            }
            self.retire_unguarded(None);
        }
        self.watchdog.pat(now);
        if self.look_again.is_some_and(|at| at <= now) && self.look_up() {
            self.look_around(now);
        }
        if self.unserved.as_ref().is_some_and(|(_, again)| *again <= now) {
            self.serve_metrics(now);
        }
        if std::mem::take(&mut self.untidy) {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        let Self { edge, instances, leaving, observed, .. } = self;
        let all = || instances.values().chain(leaving.iter());
        let at = |one: &Instance| Some((one.place()?.link, crate::raw::is_v6(one.config().family())));
        let needed: BTreeSet<_> = all().filter_map(at).collect();
        let watched: BTreeSet<_> = all().filter(|one| one.listens()).filter_map(at).map(|(link, _)| link).collect();
        let borne: Vec<_> = all().filter_map(|one| place::bearer_of(one.config(), observed)).collect();
        edge.tidy(
            |link, family| needed.contains(&(link, crate::raw::is_v6(family))),
            |link| watched.contains(&link),
            |bearer| borne.contains(bearer),
        );
    }

    /// An instance has another place or other addresses, or has come or gone.
    fn moved(&mut self) {
        (self.roster, self.untidy) = (None, true);
    }

    fn take(&mut self, change: kernel::Change) {
        let mut differs = false;
        let mut next = Some(change);
        let mut left = CHANGES;
        while let Some(change) = next {
            differs |= if change == kernel::Change::Lost { self.look_up() } else { self.observed.take(change) };
            left -= 1;
            next = if left > 0 { self.monitor.try_next() } else { None };
        }
        if differs {
            self.look_around(clock::now());
        }
    }

    /// Observes the whole host anew; false if it changes so much that it cannot be seen, then it is tried again.
    fn look_up(&mut self) -> bool {
        self.monitor.forget();
        match self.netlink.observe() {
            Ok(observed) => (self.observed, self.look_again) = (observed, None),
            Err(error) => {
                tracing::warn!(%error, "links and addresses were not listed; looking again in {LOOK_AGAIN:?}");
                self.look_again = Some(clock::now() + LOOK_AGAIN);
            }
        }
        self.look_again.is_none()
    }

    /// Tells every instance that the host, or what it depends on, is different.
    fn look_around(&mut self, now: Instant) {
        let names: Vec<_> = self.instances.keys().cloned().collect();
        for name in &names {
            self.feed(now, name, Input::Observed);
        }
        self.weigh(now);
    }

    fn weigh(&mut self, now: Instant) {
        let verdicts: BTreeMap<_, _> =
            self.checks.iter().map(|(name, (verdict, _))| (name.clone(), verdict.clone())).collect();
        let routers = depend::routers(&self.config, &self.observed);
        let names: Vec<_> = self.instances.keys().cloned().collect();
        for name in names {
            let Some(instance) = self.config.instances.get(&name) else { continue };
            let Mode::Vrrp(vrrp) = &instance.mode else { continue };
            let holds = self.instances.get(&name).is_some_and(Instance::holds);
            let depends = depend::judge(instance, vrrp, &self.config, &routers, &verdicts, &self.observed, holds);
            self.feed(now, &name, Input::Depends { faults: &depends.faults, priority: depends.priority });
        }
    }

    fn judge(&mut self, ran: &Ran) {
        let Some(check) = self.config.checks.get(&ran.name) else { return };
        let Some((verdict, _)) = self.checks.get_mut(&ran.name) else { return };
        if verdict.take(check, ran.failed.as_deref()) {
            let (name, up) = (ran.name.to_string(), ran.failed.is_none());
            self.report(None, What::Check { name, up, why: ran.failed.clone() });
            self.weigh(clock::now());
        }
    }

    // ── instances ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn feed(&mut self, now: Instant, name: &Name, input: Input<'_>) {
        self.feed_one(now, name, input);
        self.drain(now);
    }

    fn feed_one(&mut self, now: Instant, name: &Name, input: Input<'_>) {
        let Some(instance) = self.instances.get_mut(name) else { return };
        let mut effects = std::mem::take(&mut self.spare.effects);
        let before = (instance.whereabouts(), instance.standing());
        // What nobody waits for any more is not begun.
        if let Some(ticket) = instance.asks_for()
            && self.tickets.get(&ticket).is_some_and(|(_, client)| client.as_ref().is_some_and(Caller::is_gone))
        {
            self.tickets.remove(&ticket);
            tracing::warn!(instance = %name, "the client hung up before the addresses were acquired; its command is dropped");
            instance.handle(now, &self.observed, Input::Abandoned(ticket), &mut effects);
        }
        instance.handle(now, &self.observed, input, &mut effects);
        self.uneven |= instance.standing() != before.1;
        if instance.whereabouts() != before.0 {
            self.moved();
        }
        self.carry_out(now, name, &mut effects);
        self.spare.effects = effects;
    }

    fn renew_due(&mut self) {
        let mut lost = Vec::new();
        self.edge.renew_due(&mut lost);
        self.queue.extend(lost);
    }

    /// What effects lead to, until nothing more follows.
    fn drain(&mut self, now: Instant) {
        while let Some((name, input)) = self.queue.pop_front() {
            self.feed_one(now, &name, input);
        }
    }

    fn carry_out(&mut self, now: Instant, name: &Name, effects: &mut Vec<Effect>) {
        // Set aside while the rest of the daemon works for one of them.
        let mut instances = std::mem::take(&mut self.instances);
        if let Some(instance) = instances.get_mut(name) {
            self.carry_out_for(now, instance, effects);
        }
        self.instances = instances;
        self.retire_unguarded(Some(name));
    }

    /// Guards what `owner` has let go of no longer, unless another instance guards it by now.
    fn retire_unguarded(&mut self, owner: Option<&Name>) {
        if self.retiring.is_empty() {
            return;
        }
        let others = || self.instances.values().filter(|other| Some(&other.config().name) != owner);
        let guarded = |leased: &Leased| others().any(|other| other.leased().contains(leased));
        let unguarded: Vec<_> = self.retiring.drain(..).filter(|leased| !guarded(leased)).collect();
        self.edge.retire(&unguarded);
    }

    fn carry_out_for(&mut self, now: Instant, instance: &mut Instance, effects: &mut Vec<Effect>) {
        let name = instance.config().name.clone();
        let (mut back, mut reports) = (std::mem::take(&mut self.spare.back), std::mem::take(&mut self.spare.reports));
        let mut next = std::mem::take(&mut self.spare.next);
        let before = instance.whereabouts();
        // Taken from its end.
        effects.reverse();
        while let Some(effect) = effects.pop() {
            match effect {
                // Writing a log must not hold up an announcement: what is told is told when all is done.
                Effect::Report(what) => reports.push(what),
                Effect::Answer(ticket, result) => self.reply(ticket, result),
                Effect::Retire(leased) => self.retiring.extend(leased),
                effect => {
                    if matches!(effect, Effect::Announce(_)) {
                        self.renew_due();
                    }
                    self.edge.carry_out(instance, &effect, &mut self.observed, &mut back);
                }
            }
            for input in back.drain(..) {
                match input {
                    // What follows builds on it.
                    Input::Sent(_) | Input::Unsent(_) | Input::Changed(_) => {
                        let held = instance.holds();
                        instance.handle(now, &self.observed, input, &mut next);
                        if held && !instance.holds() {
                            effects.retain(Effect::outlasts_a_step_back);
                        }
                    }
                    input => self.queue.push_back((name.clone(), input)),
                }
            }
            effects.extend(next.drain(..).rev());
        }
        if instance.whereabouts() != before {
            self.moved();
        }
        for what in reports.drain(..) {
            self.follow(instance, &what);
            self.report(Some(&name), what);
        }
        (self.spare.back, self.spare.reports, self.spare.next) = (back, reports, next);
    }

    /// The other members of a sync group let go with one of them.
    fn follow(&mut self, instance: &Instance, what: &What) {
        let What::Transition { from, to, .. } = what else { return };
        let active = StateName::Active.to_string();
        if *from != active || *to == active {
            return;
        }
        if self.instances.contains_key(&instance.config().name) {
            // It goes, and one of the same name has taken its place.
            return;
        }
        for fellow in depend::fellows(instance.config(), &self.config) {
            self.queue.push_back((fellow.name.clone(), Input::StepDown));
        }
    }

    fn report(&mut self, instance: Option<&Name>, what: What) {
        if let Some(withheld) = &mut self.withheld {
            withheld.of_the_others.push((instance.cloned(), what));
            return;
        }
        let about_hook = matches!(what, What::HookFailed { .. });
        let event = self.stream.report(instance.map(ToString::to_string), what);
        if about_hook {
            return;
        }
        if let Err(Failed { seq, error }) = self.hook.push(event) {
            self.report(None, What::HookFailed { about: seq, error });
        }
    }
}
