//! The loop: waits for whatever comes first, and lets the instances decide.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bc_model::vip::{InstanceStatus, VipStatus};
use ipnet::IpNet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use vrrp::{Family, StateName};

use super::check::{self, Ran, Verdict};
use super::control::{Call, Listener, Reply};
use super::depend;
use super::edge::Edge;
use super::effect::{Command, Effect, Input, Refusal, Ticket};
use super::error::DaemonError;
use super::event::What;
use super::hook::{Failed, Runner};
use super::instance::Instance;
use super::metrics::{self, Server};
use super::privilege;
use super::protocol::{Answer, Request};
use super::stream::Stream;
use super::watchdog::Watchdog;
use crate::clock::{self, Alarm};
use crate::config::{self, Change, Config, How, Mode, Name, describe_lease};
use crate::kernel;
use crate::kernel::Observed;
use crate::kernel::monitor::Monitor;
use crate::kernel::netlink::Netlink;
use crate::lease::LeaseId;
use crate::verbs::status;

/// How long the end may take.
const END: Duration = Duration::from_secs(10);
/// Requests and results that may wait for the loop.
const WAITING: usize = 64;

/// The daemon.
pub struct Service {
    file: PathBuf,
    config: Config,
    instances: BTreeMap<Name, Instance>,
    /// Instances that are no longer configured, until they have let go.
    leaving: Vec<Instance>,
    observed: Observed,
    netlink: Netlink,
    monitor: Monitor,
    edge: Edge,
    stream: Stream,
    checks: BTreeMap<Name, (Verdict, AbortHandle)>,
    ran: (mpsc::Sender<Ran>, mpsc::Receiver<Ran>),
    hook: Runner,
    hook_failed: mpsc::Receiver<Failed>,
    listener: Option<Listener>,
    metrics: Option<Server>,
    calls: (mpsc::Sender<Call>, mpsc::Receiver<Call>),
    /// Who waits for an instance's answer.
    tickets: BTreeMap<Ticket, oneshot::Sender<Reply>>,
    next_ticket: u64,
    next_lease: NonZeroU32,
    /// What instances are still to be told.
    queue: VecDeque<(Name, Input<'static>)>,
    alarm: Alarm,
    signals: Signals,
    watchdog: Watchdog,
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
    /// The kernel speaks to us no more.
    Deaf,
}

impl Service {
    /// Gets everything ready; `socket` is used instead of the one that `config` names. Nothing is held yet, and what a dead daemon left is gone.
    ///
    /// # Errors
    /// Anything that is needed and not there.
    pub async fn start(file: PathBuf, config: Config, socket: Option<PathBuf>) -> Result<Self, DaemonError> {
        let kernel = |what: &'static str| move |source| DaemonError::Kernel { what, source };
        let (monitor, netlink) = Monitor::open().map_err(kernel("listening to rtnetlink"))?;
        let observed = netlink.observe().await.map_err(kernel("listing links and addresses"))?;
        let with_lease = config.instances.values().any(|instance| instance.lease != config::LeaseSetting::Off);
        let (edge, missing) = Edge::open().map_err(kernel("opening rtnetlink"))?;
        let listen = |kind| signal(kind).map_err(kernel("waiting for signals"));
        let signals = Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        };
        let (failures, hook_failed) = mpsc::channel(WAITING);
        let mut service = Self {
            instances: BTreeMap::new(),
            leaving: Vec::new(),
            observed,
            netlink,
            monitor,
            edge,
            stream: Stream::default(),
            checks: BTreeMap::new(),
            ran: mpsc::channel(WAITING),
            hook: Runner::start(failures),
            hook_failed,
            listener: None,
            metrics: None,
            calls: mpsc::channel(WAITING),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            next_lease: NonZeroU32::MIN,
            queue: VecDeque::new(),
            alarm: Alarm::new().map_err(kernel("setting a timer"))?,
            signals,
            watchdog: Watchdog::from_environment(clock::now()),
            file,
            config: Config::default(),
        };
        service.sweep(&config)?;
        service.listen(&config, socket)?;
        let switches_user = config.checks.values().any(|check| check.user.is_some());
        privilege::drop_others(switches_user).map_err(DaemonError::Privilege)?;
        if let Some(missing) = missing.filter(|_| with_lease) {
            let what = "the dead-man switch".to_owned();
            service.report(None, What::Failed { what, error: missing.to_string() });
        }
        // The first configuration is a reload of an empty one.
        service.change_to(config);
        service.report(None, What::Started { instances: service.instances.len() });
        service.watchdog.ready();
        Ok(service)
    }

    /// Runs until a signal says stop; then everything has been let go of.
    ///
    /// # Errors
    /// Something that it cannot go on without failed; what was held has been let go of all the same.
    pub async fn run(mut self) -> Result<(), DaemonError> {
        loop {
            self.catch_up().await?;
            self.tick(clock::now());
            self.renew_due();
            self.drain(clock::now());
            self.sleep_until(self.deadline(clock::now()))?;
            match self.wait().await {
                Wake::Look => {}
                Wake::Change(change) => self.take(change).await?,
                Wake::Stop => break,
                Wake::Reload => {
                    let _ = self.reload();
                }
                Wake::Call(call) => self.answer(call),
                Wake::Ran(ran) => self.judge(&ran),
                Wake::HookFailed(Failed { seq, error }) => self.report(None, What::HookFailed { seq, error }),
                Wake::Deaf => {
                    let source = io::Error::from(io::ErrorKind::BrokenPipe);
                    return Err(DaemonError::Kernel { what: "listening to rtnetlink", source });
                }
            }
        }
        self.end().await
    }

    /// Lets go of everything, in order.
    async fn end(mut self) -> Result<(), DaemonError> {
        self.watchdog.stopping();
        let now = clock::now();
        let names: Vec<_> = self.instances.keys().cloned().collect();
        names.into_iter().for_each(|name| self.feed(now, &name, Input::Stop));
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
        let Self { edge, alarm, monitor, signals, calls, ran, hook_failed, .. } = self;
        tokio::select! {
            biased;
            () = poll_fn(|context| edge.poll_ready(context)) => Wake::Look,
            () = poll_fn(|context| alarm.poll(context)) => Wake::Look,
            change = monitor.next() => change.map_or(Wake::Deaf, Wake::Change),
            _ = signals.terminate.recv() => Wake::Stop,
            _ = signals.interrupt.recv() => Wake::Stop,
            _ = signals.hangup.recv() => Wake::Reload,
            Some(call) = calls.1.recv() => Wake::Call(call),
            Some(ran) = ran.1.recv() => Wake::Ran(ran),
            Some(failed) = hook_failed.recv() => Wake::HookFailed(failed),
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let instances = self.instances.values().chain(&self.leaving);
        instances.filter_map(|instance| instance.deadline(now)).chain(self.watchdog.deadline()).min()
    }

    fn sleep_until(&self, deadline: Option<Instant>) -> Result<(), DaemonError> {
        self.alarm.set(deadline).map_err(|source| DaemonError::Kernel { what: "setting a timer", source })
    }

    /// Everything that has come in goes before any deadline: a timer that is due means that nobody was heard until now.
    async fn catch_up(&mut self) -> Result<(), DaemonError> {
        while let Some(change) = self.monitor.try_next() {
            self.take(change).await?;
        }
        let now = clock::now();
        let (mut heard, mut strays) = (std::mem::take(&mut self.queue), 0);
        let Self { edge, instances, observed, .. } = self;
        let mut effects: Vec<(Name, Vec<Effect>)> = Vec::new();
        edge.read_packets(|link, datagram| {
            let family = datagram.endpoints.family();
            let vrid = crate::raw::vrid_of(datagram);
            let is_it = |instance: &&mut Instance| {
                instance.place().is_some_and(|place| place.link == link)
                    && instance.config().family() == family
                    && instance.config().vrrp().is_some_and(|vrrp| Some(vrrp.vrid.get()) == vrid)
            };
            match instances.values_mut().find(is_it) {
                Some(instance) => {
                    let mut out = Vec::new();
                    instance.handle(now, observed, Input::Datagram(datagram), &mut out);
                    if !out.is_empty() {
                        effects.push((instance.config().name.clone(), out));
                    }
                }
                None => strays += 1,
            }
        });
        let more = edge.read_claims(|link, claim| {
            let there = instances.values().filter(|instance| instance.place().is_some_and(|place| place.link == link));
            let meant = there.filter(|instance| instance.vips().iter().any(|vip| vip.net.addr() == claim.address));
            heard.extend(meant.map(|instance| (instance.config().name.clone(), Input::Claim(claim))));
        });
        (0..strays).for_each(|_| self.edge.count_stray());
        self.queue = heard;
        for (name, effects) in effects {
            self.carry_out(now, &name, effects);
        }
        self.drain(now);
        if more {
            // Others have their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn tick(&mut self, now: Instant) {
        let is_due = |instance: &Instance| instance.deadline(now).is_some_and(|deadline| deadline <= now);
        let due: Vec<_> =
            self.instances.values().filter(|one| is_due(one)).map(|one| one.config().name.clone()).collect();
        for name in due {
            self.feed(now, &name, Input::Timer);
        }
        for mut instance in std::mem::take(&mut self.leaving) {
            let mut effects = Vec::new();
            instance.handle(now, &self.observed, Input::Timer, &mut effects);
            self.carry_out_for(now, &mut instance, effects);
            if instance.is_idle() {
                let configured = |leased| self.instances.values().any(|other| other.leased().contains(leased));
                let leased: Vec<_> = instance.leased().iter().filter(|one| !configured(one)).copied().collect();
                self.edge.retire(&leased);
            } else {
                self.leaving.push(instance);
            }
        }
        self.watchdog.pat(now);
        let Self { edge, instances, leaving, .. } = self;
        let at = |instance: &Instance, link| instance.place().is_some_and(|place| place.link == link);
        let all = || instances.values().chain(leaving.iter());
        edge.tidy(
            |link, family: Family| all().any(|one| at(one, link) && one.config().family() == family),
            |link| all().any(|one| at(one, link) && one.listens()),
        );
    }

    async fn take(&mut self, change: kernel::Change) -> Result<(), DaemonError> {
        let mut differs = false;
        let mut next = Some(change);
        while let Some(change) = next {
            if change == kernel::Change::Lost {
                let observed = self.netlink.observe().await;
                let kernel = |source| DaemonError::Kernel { what: "listing links and addresses", source };
                self.observed = observed.map_err(kernel)?;
                differs = true;
            } else {
                differs |= self.observed.take(change);
            }
            next = self.monitor.try_next();
        }
        if differs {
            self.look_around(clock::now());
        }
        Ok(())
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
            self.checks.iter().map(|(name, (verdict, _))| (name.clone(), *verdict)).collect();
        let names: Vec<_> = self.instances.keys().cloned().collect();
        for name in names {
            let Some(instance) = self.config.instances.get(&name) else { continue };
            let Mode::Vrrp(vrrp) = &instance.mode else { continue };
            let depends = depend::judge(instance, vrrp, &self.config, &verdicts, &self.observed);
            self.feed(now, &name, Input::Depends { faults: &depends.faults, priority: depends.priority });
        }
    }

    fn judge(&mut self, ran: &Ran) {
        let Some(check) = self.config.checks.get(&ran.name) else { return };
        let Some((verdict, _)) = self.checks.get_mut(&ran.name) else { return };
        if verdict.take(check, ran.succeeded) {
            let up = ran.succeeded;
            self.report(None, What::Check { name: ran.name.to_string(), up });
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
        let mut effects = Vec::new();
        instance.handle(now, &self.observed, input, &mut effects);
        self.carry_out(now, name, effects);
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

    fn carry_out(&mut self, now: Instant, name: &Name, effects: Vec<Effect>) {
        // Taken out while the rest of the daemon works for it.
        let Some(mut instance) = self.instances.remove(name) else { return };
        self.carry_out_for(now, &mut instance, effects);
        self.instances.insert(name.clone(), instance);
    }

    fn carry_out_for(&mut self, now: Instant, instance: &mut Instance, effects: Vec<Effect>) {
        let name = instance.config().name.clone();
        let mut back = Vec::new();
        for effect in effects {
            match effect {
                Effect::Report(what) => {
                    self.follow(instance, &what);
                    self.report(Some(&name), what);
                }
                Effect::Answer(ticket, result) => self.reply(ticket, result),
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
                    Input::Sent(_) => instance.handle(now, &self.observed, input, &mut Vec::new()),
                    input => self.queue.push_back((name.clone(), input)),
                }
            }
        }
    }

    /// The other members of a sync group do what one of them did.
    fn follow(&mut self, instance: &Instance, what: &What) {
        let What::Transition { from, to, .. } = what else { return };
        let active = StateName::Active.to_string();
        let (was, is) = (*from == active, *to == active);
        if was == is {
            return;
        }
        for fellow in depend::fellows(instance.config(), &self.config) {
            let input = if is { Input::TakeOver } else { Input::StepDown };
            self.queue.push_back((fellow.name.clone(), input));
        }
    }

    fn report(&mut self, instance: Option<&Name>, what: What) {
        let about_hook = matches!(what, What::HookFailed { .. });
        let event = self.stream.report(instance.map(ToString::to_string), what);
        if about_hook {
            return;
        }
        if let Err(Failed { seq, error }) = self.hook.push(event) {
            self.report(None, What::HookFailed { seq, error });
        }
    }

    // ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────

    fn answer(&mut self, call: Call) {
        let Call { request, reply } = call;
        let now = clock::now();
        let (instance, command) = match request {
            Request::Status => return send(reply, Answer::Status { status: self.status(now) }),
            Request::Events { recent } => {
                let (past, coming) = self.stream.subscribe(recent);
                let _ = reply.send(Reply::Stream(past, coming));
                return;
            }
            Request::Metrics => {
                let text = metrics::render(&self.status(now), self.edge.counters());
                return send(reply, Answer::Metrics { text });
            }
            Request::Reload => {
                let answer = match self.reload() {
                    Ok(0) => Answer::Done { message: "nothing has changed".to_owned() },
                    Ok(changes) => Answer::Done { message: format!("reloaded: {changes} changes") },
                    Err(error) => Answer::Refused { error, hint: Some("nothing was changed".to_owned()) },
                };
                return send(reply, answer);
            }
            Request::Acquire { instance, force } => (instance, Command::Acquire { force }),
            Request::Release { instance } => (instance, Command::Release),
            Request::Handover { instance } => (instance, Command::Handover),
        };
        let Some(name) = Name::new(&instance).filter(|name| self.instances.contains_key(name)) else {
            let known: Vec<_> = self.instances.keys().map(ToString::to_string).collect();
            let hint = Some(format!("there is {}", known.join(", "))).filter(|_| !known.is_empty());
            return send(reply, Answer::Refused { error: format!("there is no instance {instance}"), hint });
        };
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.tickets.insert(ticket, reply);
        self.feed(now, &name, Input::Command(ticket, command));
    }

    fn reply(&mut self, ticket: Ticket, result: Result<String, Refusal>) {
        if let Some(reply) = self.tickets.remove(&ticket) {
            let refused = |Refusal { message, hint }| Answer::Refused { error: message, hint };
            send(reply, result.map_or_else(refused, |message| Answer::Done { message }));
        }
    }

    fn status(&self, now: Instant) -> VipStatus {
        let one = |instance: &Instance| {
            let config = instance.config();
            InstanceStatus {
                name: config.name.to_string(),
                mode: if config.vrrp().is_some() { "vrrp" } else { "managed" }.to_owned(),
                interface: config.interface.to_string(),
                state: instance.state().to_string(),
                state_age_ms: milliseconds(now.saturating_duration_since(instance.since())),
                waiting: instance.waiting_for().map(str::to_owned),
                virtual_router_id: config.vrrp().map(|vrrp| vrrp.vrid.get()),
                priority: instance.priority().map(vrrp::Priority::get),
                active: instance.heard(),
                addresses: config.held().collect(),
                lease: describe_lease(config, self.edge.enforcement()),
                received: instance.counters().accepted(),
                discarded: instance.counters().discarded_in_all(),
            }
        };
        let instances = self.instances.values().map(one).collect();
        VipStatus { instances: Some(instances), ..status::select(&[], &self.observed) }
    }

    // ── configuration ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Reads the file again; all of it is taken, or nothing.
    fn reload(&mut self) -> Result<usize, String> {
        self.watchdog.reloading();
        let loaded = Config::load(&self.file).map_err(|error| error.to_string());
        let result = match loaded.and_then(|config| super::error::supported(&config).map(|()| config)) {
            Ok(config) => {
                let changes = self.change_to(config);
                self.report(None, What::Reloaded { changes });
                Ok(changes)
            }
            Err(error) => {
                self.report(None, What::ReloadRefused { error: error.clone() });
                Err(error)
            }
        };
        self.watchdog.ready();
        result
    }

    fn change_to(&mut self, config: Config) -> usize {
        let now = clock::now();
        let changes = config::diff(&self.config, &config);
        self.config = config;
        for change in &changes {
            match change {
                Change::Hook(hook) => self.hook.set(hook.clone()),
                Change::Control(control) => {
                    if let Some(listener) = &self.listener {
                        listener.allow(control);
                    }
                }
                Change::SetCheck(check) => {
                    let handle = check::start(check.clone(), self.ran.0.clone());
                    let before = self.checks.remove(&check.name);
                    let verdict = before.map(|(verdict, handle)| {
                        handle.abort();
                        verdict
                    });
                    self.checks.insert(check.name.clone(), (verdict.unwrap_or_default(), handle));
                }
                Change::RemoveCheck(name) => {
                    if let Some((_, handle)) = self.checks.remove(name) {
                        handle.abort();
                    }
                }
                Change::Stop { name, .. } => self.retire(now, name),
                Change::Instance(change) => match change.how {
                    How::InPlace => self.reshape(now, &change.from, &change.to),
                    How::Restart => {
                        self.retire(now, &change.from);
                        self.begin(&change.to, now);
                    }
                },
                Change::Start(instance) => self.begin(instance, now),
                Change::Metrics(listen) => {
                    self.metrics = None;
                    match listen.map(|listen| Server::open(listen, self.calls.0.clone())).transpose() {
                        Ok(server) => self.metrics = server,
                        Err(error) => {
                            let (what, error) = ("serving metrics".to_owned(), error.to_string());
                            self.report(None, What::Failed { what, error });
                        }
                    }
                }
                Change::SetSyncGroup(_) | Change::RemoveSyncGroup(_) => {}
            }
        }
        self.look_around(now);
        changes.len()
    }

    fn begin(&mut self, instance: &config::Instance, now: Instant) {
        let plan = self.plan(instance);
        let lease = LeaseId(self.next_lease);
        self.next_lease = self.next_lease.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.instances.insert(instance.name.clone(), Instance::new(instance.clone(), plan, lease, now));
    }

    fn reshape(&mut self, now: Instant, from: &Name, to: &config::Instance) {
        let plan = self.plan(to);
        let Some(mut instance) = self.instances.remove(from) else { return };
        let mut effects = Vec::new();
        instance.reconfigure(now, &self.observed, to.clone(), plan, &mut effects);
        self.instances.insert(to.name.clone(), instance);
        self.carry_out(now, &to.name, effects);
        self.drain(now);
    }

    fn retire(&mut self, now: Instant, name: &Name) {
        self.feed(now, name, Input::Stop);
        self.leaving.extend(self.instances.remove(name));
    }

    fn plan(&self, instance: &config::Instance) -> Option<crate::lease::LeasePlan> {
        // A checked configuration has a plan wherever there is a dead-man switch; without one, seconds may be too coarse.
        instance.lease_plan(self.edge.enforcement()).unwrap_or_default()
    }

    fn sweep(&mut self, config: &Config) -> Result<(), DaemonError> {
        let place = |instance: &config::Instance| {
            let link = self.observed.link(instance.interface.as_str()).map(|link| link.index)?;
            Some(instance.held().map(move |net| (link, net)).collect::<Vec<(u32, IpNet)>>())
        };
        let configured: Vec<_> = config.instances.values().filter_map(place).flatten().collect();
        let swept = self.edge.sweep(&mut self.observed, &configured).map_err(DaemonError::Sweep)?;
        if !swept.is_empty() {
            tracing::warn!(addresses = ?swept, "removed what an earlier vipd had left");
        }
        Ok(())
    }

    fn listen(&mut self, config: &Config, socket: Option<PathBuf>) -> Result<(), DaemonError> {
        let path = socket.unwrap_or_else(|| config.control.socket.clone());
        let listener = Listener::open(&path, &config.control, self.calls.0.clone());
        let failed = |source| DaemonError::Socket { path, source };
        self.listener = Some(listener.map_err(failed)?);
        Ok(())
    }
}

fn send(reply: oneshot::Sender<Reply>, answer: Answer) {
    // The client may have hung up.
    let _ = reply.send(Reply::One(answer));
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
