//! From the configuration that is to the one that is to be: only what differs changes.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Instant;

use ipnet::IpNet;
use vrrp::StateName;

use super::{BIND_AGAIN, Service, Withheld};
use crate::clock;
use crate::config::{self, Change, Config, How, Loaded, Mode, Name};
use crate::daemon::check;
use crate::daemon::control::Listener;
use crate::daemon::effect::Input;
use crate::daemon::event::What;
use crate::daemon::host::ThisHost;
use crate::daemon::instance::Instance;
use crate::daemon::metrics::Server;
use crate::holder::Vip;
use crate::lease::{LeaseId, LeasePlan, Leased};

/// Why the configuration that was is still the one that is.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    /// The file is wrong or cannot be read.
    #[error("{0}")]
    Wrong(String),
    /// The file is right, and the host is in the way.
    #[error("{0}")]
    Refused(String),
}

impl Service {
    /// Reads the file again; all of it is taken, or nothing.
    pub(super) fn reload(&mut self) -> Result<Vec<Change>, ReloadError> {
        self.watchdog.reloading();
        let host = ThisHost { listens_elsewhere: self.socket.is_some() };
        let loaded = Config::load_for(&self.file, &host).map_err(|error| ReloadError::Wrong(error.to_string()));
        let bound = |loaded: Loaded| self.rebind(&loaded.config).map_err(ReloadError::Refused).map(|()| loaded);
        let result = match loaded.and_then(bound) {
            Ok(Loaded { config, warnings }) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                let changes = self.change_to(config);
                self.report(None, What::Reloaded { changes: changes.len() });
                Ok(changes)
            }
            Err(error) => {
                self.report(None, What::ReloadRefused { error: error.to_string() });
                Err(error)
            }
        };
        self.watchdog.ready();
        result
    }

    /// Listens where the new configuration says; where it does not say otherwise, or `--socket` does, nothing changes.
    fn rebind(&mut self, config: &Config) -> Result<(), String> {
        let path = &config.control.socket;
        if self.socket.is_some() || *path == self.config.control.socket {
            return Ok(());
        }
        let listener = Listener::open(path, &config.control, self.calls.0.clone());
        self.listener = listener.map_err(|error| format!("control socket {}: {error}", path.display()))?;
        Ok(())
    }

    /// Whoever begins or grows comes before whoever ends or shrinks, and takes over from him what he holds: an address that
    /// stays is guarded by a lease that runs, and configured, all the time.
    pub(super) fn change_to(&mut self, config: Config) -> Vec<Change> {
        let now = clock::now();
        let changes = config::diff(&self.config, &config);
        self.config = config;
        self.withheld = Some(Withheld::default());
        let (mut ending, mut beginning, mut reshaping) = (Vec::new(), Vec::new(), Vec::new());
        let mut succeeding = Vec::new();
        for change in &changes {
            match change {
                Change::Hook(hook) => self.hook.set(hook.clone()),
                Change::Control(control) => self.listener.allow(control),
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
                Change::Stop { name, .. } => ending.extend(self.instances.remove(name)),
                Change::Instance(change) => match change.how {
                    How::InPlace => reshaping.push(change),
                    How::Restart => {
                        let before = self.instances.remove(&change.from);
                        succeeding
                            .extend(before.iter().filter(|old| succeeds(old, &change.to)).map(|_| &change.to.name));
                        ending.extend(before);
                        beginning.push(&change.to);
                    }
                },
                Change::Start(instance) => beginning.push(instance),
                Change::Metrics(_) => {
                    (self.metrics, self.unserved) = (None, None);
                    self.serve_metrics(now);
                }
                Change::SetSyncGroup(_) => self.uneven = true,
                // Its members go on by themselves.
                Change::RemoveSyncGroup(_) => {}
            }
        }
        let holders = self.instances.values().chain(&ending);
        let held: BTreeSet<_> = holders.flat_map(Instance::holding).map(|vip| (vip.dev.clone(), vip.net)).collect();
        for instance in beginning {
            let dev = instance.interface.to_string();
            let is_held = |net: IpNet| held.contains(&(dev.clone(), net));
            // A managed address that is new must be asked for first; an election needs no more than an heir.
            let adopts = match instance.mode {
                Mode::Managed => instance.held().all(is_held),
                Mode::Vrrp(_) => instance.held().any(is_held),
            };
            // Whoever has another MAC address holds nothing before the old one has let go.
            self.begin(instance, adopts && !succeeding.contains(&&instance.name), now);
        }
        succeeding.iter().for_each(|name| self.settle(now, name));
        // A name may be another's until it has been reshaped.
        let mut reshaped: Vec<_> = Vec::new();
        for change in reshaping {
            reshaped.extend(self.instances.remove(&change.from).map(|instance| (instance, &change.to)));
        }
        self.reshape(now, reshaped);
        for instance in ending {
            self.retire(now, instance);
        }
        succeeding.iter().for_each(|name| self.feed(now, name, Input::Resigned));
        let Withheld { of_the_ending, of_the_others } = self.withheld.take().unwrap_or_default();
        for (name, what) in of_the_ending.into_iter().chain(of_the_others) {
            self.report(name.as_ref(), what);
        }
        self.moved();
        self.look_around(now);
        changes
    }

    /// Serves metrics where the configuration says. If that fails it is said once, and tried again.
    pub(super) fn serve_metrics(&mut self, now: Instant) {
        let before = self.unserved.take();
        let Some(listen) = self.config.metrics else { return };
        match Server::open(listen, self.calls.0.clone()) {
            Ok(server) => {
                self.metrics = Some(server);
                if before.is_some() {
                    tracing::info!(%listen, "metrics are served now");
                }
            }
            Err(error) => {
                let (what, error) = (format!("serving metrics at {listen}"), format!("{error}; tried again and again"));
                self.unserved = Some((format!("{what}: {error}"), now + BIND_AGAIN));
                if before.is_none() {
                    self.report(None, What::Failed { what, error });
                }
            }
        }
    }

    fn begin(&mut self, instance: &config::Instance, adopts: bool, now: Instant) {
        let plan = self.plan(instance);
        let lease = LeaseId(self.next_lease);
        self.next_lease = self.next_lease.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let begun = Instance::new(instance.clone(), plan, lease, now);
        self.instances.insert(instance.name.clone(), if adopts { begun.adopting() } else { begun });
        if adopts {
            self.feed(now, &instance.name, Input::Observed);
        }
    }

    /// Lets a new instance find its place, and listen there, before its predecessor resigns.
    fn settle(&mut self, now: Instant, name: &Name) {
        self.feed(now, name, Input::Observed);
        // It may have asked for an interface of its own.
        if let Ok(observed) = self.netlink.observe() {
            self.observed = observed;
            self.feed(now, name, Input::Observed);
        }
    }

    fn reshape(&mut self, now: Instant, mut instances: Vec<(Instance, &config::Instance)>) {
        // Those that hold, with all that they are to hold: each knows what it need not let go of.
        let holders = instances.iter().filter(|(instance, _)| instance.holds());
        let mut coming: BTreeMap<(String, IpNet), Vec<Name>> = BTreeMap::new();
        for (_, to) in holders {
            for net in to.held() {
                coming.entry((to.interface.to_string(), net)).or_default().push(to.name.clone());
            }
        }
        let held = self.held();
        let mut work = Vec::new();
        for (instance, to) in &mut instances {
            let plan = self.plan(to);
            let mut effects = Vec::new();
            let held_elsewhere = |vip: &Vip| {
                let to_others = coming.get(&(vip.dev.clone(), vip.net)).into_iter().flatten();
                to_others.filter(|name| **name != to.name).count() > 0 || held.contains(vip)
            };
            instance.reconfigure(now, &self.observed, (*to).clone(), plan, held_elsewhere, &mut effects);
            work.push((to.name.clone(), effects));
        }
        for (instance, to) in instances {
            self.instances.insert(to.name.clone(), instance);
        }
        for (name, mut effects) in work {
            self.carry_out(now, &name, &mut effects);
        }
        self.drain(now);
    }

    /// Lets an instance go, but for the addresses that another one holds by now.
    fn retire(&mut self, now: Instant, mut instance: Instance) {
        let held = self.held();
        let handed = instance.hand_on(|vip| held.contains(vip));
        self.retiring.extend(handed.iter().map(|vip| Leased::new(vip.net.addr(), vip.link)));
        let mut effects = Vec::new();
        let goes_on = self.instances.contains_key(&instance.config().name);
        let why = if goes_on { "replaced by a reload" } else { "gone from the configuration" };
        instance.handle(now, &self.observed, Input::Stop(why), &mut effects);
        let before = self.withheld.as_mut().map(|withheld| std::mem::take(&mut withheld.of_the_others));
        self.carry_out_for(now, &mut instance, &mut effects);
        if let (Some(withheld), Some(before)) = (&mut self.withheld, before) {
            withheld.of_the_ending.append(&mut std::mem::replace(&mut withheld.of_the_others, before));
        }
        self.retire_unguarded(None);
        self.leaving.push(instance);
        self.drain(now);
    }

    /// The addresses that our instances hold.
    fn held(&self) -> BTreeSet<Vip> {
        self.instances.values().flat_map(Instance::holding).cloned().collect()
    }

    pub(super) fn plan(&self, instance: &config::Instance) -> Option<LeasePlan> {
        // A checked configuration has a plan wherever there is a dead-man switch; without one, seconds may be too coarse.
        instance.lease_plan(self.edge.enforcement()).unwrap_or_default()
    }
}

/// Whether the new instance is Backup of the one that goes, and hears it resign: the same virtual router on the same link.
fn succeeds(old: &Instance, new: &config::Instance) -> bool {
    let before = old.config();
    let same_link = before.interface == new.interface && before.family() == new.family();
    let same_router = before.vrrp().zip(new.vrrp()).is_some_and(|(before, after)| {
        before.vrid == after.vrid && before.interval.version() == after.interval.version()
    });
    same_link && same_router && old.state() == StateName::Active
}
