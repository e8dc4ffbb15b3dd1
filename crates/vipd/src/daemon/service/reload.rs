//! From the configuration that is to the one that is to be: only what differs changes.

use std::num::NonZeroU32;
use std::time::Instant;

use super::Service;
use crate::clock;
use crate::config::{self, Change, Config, How, Name};
use crate::daemon::check;
use crate::daemon::effect::Input;
use crate::daemon::event::What;
use crate::daemon::instance::Instance;
use crate::daemon::metrics::Server;
use crate::lease::{LeaseId, LeasePlan};

impl Service {
    /// Reads the file again; all of it is taken, or nothing.
    pub(super) fn reload(&mut self) -> Result<usize, String> {
        self.watchdog.reloading();
        let loaded = Config::load(&self.file).map_err(|error| error.to_string());
        let result = match loaded {
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

    pub(super) fn change_to(&mut self, config: Config) -> usize {
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

    pub(super) fn begin(&mut self, instance: &config::Instance, now: Instant) {
        let plan = self.plan(instance);
        let lease = LeaseId(self.next_lease);
        self.next_lease = self.next_lease.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.instances.insert(instance.name.clone(), Instance::new(instance.clone(), plan, lease, now));
    }

    pub(super) fn reshape(&mut self, now: Instant, from: &Name, to: &config::Instance) {
        let plan = self.plan(to);
        let Some(mut instance) = self.instances.remove(from) else { return };
        let mut effects = Vec::new();
        instance.reconfigure(now, &self.observed, to.clone(), plan, &mut effects);
        self.instances.insert(to.name.clone(), instance);
        self.carry_out(now, &to.name, &mut effects);
        self.drain(now);
    }

    pub(super) fn retire(&mut self, now: Instant, name: &Name) {
        self.feed(now, name, Input::Stop);
        self.leaving.extend(self.instances.remove(name));
    }

    pub(super) fn plan(&self, instance: &config::Instance) -> Option<LeasePlan> {
        // A checked configuration has a plan wherever there is a dead-man switch; without one, seconds may be too coarse.
        instance.lease_plan(self.edge.enforcement()).unwrap_or_default()
    }
}
