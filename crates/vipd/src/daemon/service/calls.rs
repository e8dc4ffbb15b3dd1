//! Requests that come in over the control socket, and their answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bc_model::vip::{CheckStatus, InstanceStatus, VipStatus};
use tokio::sync::oneshot;
use vrrp::{Discard, Notice};

use super::Service;
use super::reload::ReloadError;
use crate::clock;
use crate::config::{Name, describe, describe_lease};
use crate::daemon::control::{Call, Caller, Reply};
use crate::daemon::depend;
use crate::daemon::effect::{Command, Input, Refusal, Ticket};
use crate::daemon::instance::Instance;
use crate::daemon::metrics;
use crate::daemon::protocol::{Answer, Request};
use crate::verbs::status;

impl Service {
    pub(super) fn answer(&mut self, call: Call) {
        let Call { request, reply, client } = call;
        let now = clock::now();
        // It may have come in long ago, while we did not run: whoever was told that it failed has gone on without it.
        if request.changes() && client.as_ref().is_some_and(Caller::is_gone) {
            tracing::warn!(?request, "the client has hung up; its command is dropped");
            return;
        }
        let (instance, command) = match request {
            Request::Status => return send(reply, Answer::Status { status: self.status(now) }),
            Request::Events { recent } => {
                let (past, coming) = self.stream.subscribe(recent);
                let _ = reply.send(Reply::Stream(past, coming));
                return;
            }
            Request::Metrics => {
                let text = metrics::render(&self.status(now), &self.checks_up(), self.edge.counters());
                return send(reply, Answer::Metrics { text });
            }
            Request::Reload => {
                let answer = match self.reload() {
                    Ok(changes) => {
                        let warning = self.unserved.as_ref().map(|(why, _)| format!("; warning: {why}"));
                        Answer::Done { message: describe(&changes) + &warning.unwrap_or_default() }
                    }
                    Err(ReloadError::Wrong(error)) => Answer::Wrong { error },
                    Err(ReloadError::Refused(error)) => {
                        Answer::Refused { error, hint: Some("nothing was changed".to_owned()) }
                    }
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
        self.tickets.insert(ticket, (reply, client));
        self.feed(now, &name, Input::Command(ticket, command));
    }

    pub(super) fn reply(&mut self, ticket: Ticket, result: Result<String, Refusal>) {
        if let Some((reply, _)) = self.tickets.remove(&ticket) {
            let refused = |Refusal { message, hint }| Answer::Refused { error: message, hint };
            send(reply, result.map_or_else(refused, |message| Answer::Done { message }));
        }
    }

    /// Those that have run.
    fn checks_up(&self) -> Vec<(&Name, bool)> {
        self.checks.iter().filter_map(|(name, (verdict, _))| Some((name, verdict.up?))).collect()
    }

    pub(super) fn status(&self, now: Instant) -> VipStatus {
        let one = |instance: &Instance| {
            let config = instance.config();
            let is_up = |name: &Name| self.checks.get(name).and_then(|(verdict, _)| verdict.up);
            let weighing = config.vrrp().filter(|vrrp| !vrrp.priority.is_owner());
            let weighing = weighing.map(|vrrp| depend::weighing(vrrp, is_up, &self.observed)).unwrap_or_default();
            let weights: BTreeMap<_, _> = weighing
                .into_iter()
                .map(|(what, weight, up)| (what, weight.when(up)))
                .filter(|one| one.1 != 0)
                .collect();
            let check = |name: &Name| {
                let why = self.checks.get(name).and_then(|(verdict, _)| verdict.why.clone());
                CheckStatus { name: name.to_string(), up: is_up(name), why }
            };
            InstanceStatus {
                name: config.name.to_string(),
                mode: if config.vrrp().is_some() { "vrrp" } else { "managed" }.to_owned(),
                interface: config.interface.to_string(),
                state: instance.state().to_string(),
                state_age_ms: milliseconds(now.saturating_duration_since(instance.since())),
                waiting: instance.waiting_for().map(str::to_owned),
                virtual_router_id: config.vrrp().map(|vrrp| vrrp.vrid.get()),
                priority: instance.priority().map(vrrp::Priority::get),
                configured_priority: config.vrrp().filter(|_| !weights.is_empty()).map(|vrrp| vrrp.priority.get()),
                weights,
                checks: config.vrrp().into_iter().flat_map(|vrrp| &vrrp.checks).map(|at| check(&at.what)).collect(),
                active: instance.heard(),
                addresses: config.held().collect(),
                lease: describe_lease(config, self.edge.enforcement()),
                received: instance.counters().accepted(),
                discarded: instance.counters().discarded_in_all(),
                discards: counted(Discard::ALL.map(|why| (why.label(), instance.counters().discarded(why)))),
                conflicts: instance.conflicts(),
                restores: instance.restores(),
                notices: counted(Notice::ALL.map(|what| (what.label(), instance.counters().noticed(what)))),
            }
        };
        let instances = self.instances.values().map(one).collect();
        VipStatus { instances: Some(instances), ..status::select(&[], &self.observed, &[]) }
    }
}

fn send(reply: oneshot::Sender<Reply>, answer: Answer) {
    // The client may have hung up.
    let _ = reply.send(Reply::One(answer));
}

/// Those that have happened.
fn counted<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(label, count)| (label.to_owned(), count)).collect()
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
