//! A small model of a site behind the one edge trait: it knows every command of the table, and nothing else.
//!
//! After each command it asserts what may never be: two writable servers that can be reached, two holders of the VIP, a
//! GoCD server on a database that takes no writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bc_model::inventory::Inventory;

use crate::clock::Clock;
use crate::command::{At, Command, artifacts, fencing, gocd, maintenance, postgresql, reseed, standby, vip};
use crate::hosts::{Ended, Hosts, Output, Unreached};
use crate::judge::{Check, Mode};
use crate::place::Place;
use crate::plan::Decision;

use super::turnstile::{Order, Turnstile};

/// Everything that can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Hosts that have power.
    pub(super) on: BTreeSet<String>,
    /// Hosts that run and do not answer.
    pub(super) hung: BTreeSet<String>,
    /// PostgreSQL by host.
    pub(super) servers: BTreeMap<String, Server>,
    /// Hosts on which GoCD runs.
    pub(super) gocd: BTreeSet<String>,
    /// Those of them that are in maintenance mode.
    pub(super) maintenance: BTreeSet<String>,
    /// Runs in the artifact store, and runs that were moved aside; the database knows those up to 6.
    pub(super) artifacts: [BTreeSet<u32>; 2],
    /// Hosts that hold the VIP.
    pub(super) vip: BTreeSet<String>,
    /// Version of the GoCD files by host.
    pub(super) files: BTreeMap<String, u32>,
    /// Whether the fence devices do what they are told.
    pub(super) fence_works: bool,
    /// The timeline that `fence` knows of.
    pub(super) known_timeline: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) running: bool,
    /// Whether it came up as a standby; the signal file is read only then.
    pub(super) standby: bool,
    pub(super) data: Data,
    pub(super) copy: Option<Data>,
    pub(super) kept: Option<Data>,
    pub(super) slots: BTreeSet<String>,
    /// Whether a commit waits for a standby.
    pub(super) waits: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) signal: bool,
    pub(super) timeline: u32,
    pub(super) written: u32,
    pub(super) clean: bool,
    pub(super) follows: Option<String>,
}

impl Server {
    const fn writable(&self) -> bool {
        self.running && !self.standby
    }
}

/// The state that an operation starts from.
pub(super) fn site(serving: Place, inventory: &Inventory) -> State {
    let (from, to) = (serving, serving.other());
    let data = |signal, follows: Option<&str>| Data {
        signal,
        timeline: 1,
        written: 5,
        clean: false,
        follows: follows.map(str::to_owned),
    };
    let server = |data: Data, slots: &[&str]| Server {
        running: true,
        standby: data.signal,
        waits: data.signal,
        data,
        copy: None,
        kept: None,
        slots: slots.iter().map(|slot| (*slot).to_owned()).collect(),
    };
    let (pg_from, pg_to) = (from.postgresql(inventory), to.postgresql(inventory));
    State {
        on: inventory.hosts.keys().cloned().collect(),
        hung: BTreeSet::new(),
        servers: BTreeMap::from([
            (pg_from.to_owned(), server(data(false, None), &[pg_to])),
            (pg_to.to_owned(), server(data(true, Some(pg_from)), &[])),
        ]),
        gocd: BTreeSet::from([from.gocd(inventory).to_owned()]),
        maintenance: BTreeSet::new(),
        artifacts: [BTreeSet::from([5, 6, 7]), BTreeSet::new()],
        vip: BTreeSet::from([from.gocd(inventory).to_owned()]),
        files: BTreeMap::from([(from.gocd(inventory).to_owned(), 2), (to.gocd(inventory).to_owned(), 1)]),
        fence_works: true,
        known_timeline: 1,
    }
}

impl State {
    /// Power is lost, and with it everything that ran.
    pub(super) fn off(&mut self, host: &str) {
        self.on.remove(host);
        self.hung.remove(host);
        self.gocd.remove(host);
        self.maintenance.remove(host);
        self.vip.remove(host);
        if let Some(server) = self.servers.get_mut(host) {
            server.running = false;
        }
    }

    fn writable(&self) -> Vec<&String> {
        self.servers
            .iter()
            .filter(|(host, server)| server.writable() && !self.hung.contains(*host))
            .map(|(host, _)| host)
            .collect()
    }

    fn assert_safe(&self, inventory: &Inventory) {
        assert!(self.writable().len() < 2, "two writable servers: {self:?}");
        let holders = self.vip.iter().filter(|host| !self.hung.contains(*host)).count();
        assert!(holders < 2, "two holders of the VIP: {self:?}");
        for place in Place::BOTH {
            let (go, pg) = (place.gocd(inventory), place.postgresql(inventory));
            let other = &self.servers[place.other().postgresql(inventory)];
            let promoted_elsewhere = other.writable() && other.data.timeline > self.servers[pg].data.timeline;
            let answers = self.gocd.contains(go) && !self.hung.contains(go);
            assert!(!(answers && promoted_elsewhere), "GoCD on {go} serves an old database: {self:?}");
        }
    }
}

/// What is to happen at one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// It fails, and changes nothing.
    Fails,
    /// It and all that follow fail.
    FailsOn,
    /// The connection is lost before it began.
    LostBefore,
    /// The connection is lost after it was done.
    LostAfter,
    /// bcctl is killed before it began.
    KilledBefore,
    /// bcctl is killed after it was done.
    KilledAfter,
}

/// The panic that stands for SIGKILL.
pub(super) struct Killed;

type Effect = Box<dyn Fn(&mut State) -> Output + Send + Sync>;

/// The model.
pub(super) struct Model {
    inventory: Inventory,
    pub(super) state: Mutex<State>,
    /// Commands that were run, in order: host and script.
    pub(super) log: Mutex<Vec<Command>>,
    verbs: Vec<(Command, bool, Effect)>,
    pub(super) mishap: Mutex<Option<(usize, Mishap)>>,
    changes: Mutex<usize>,
    /// Length of the journal now.
    pub(super) journal: AtomicUsize,
    /// Length of the journal at each change that was tried: so much of it is on the host where it was tried.
    pub(super) copied: Mutex<Vec<usize>>,
    /// Who goes on when several steps are at work.
    pub(super) turnstile: Turnstile,
}

fn ok(text: &str) -> Output {
    Output { end: Ended::Exit(0), stdout: text.to_owned(), stderr: String::new() }
}

fn fails(text: &str) -> Output {
    Output { end: Ended::Exit(1), stdout: String::new(), stderr: text.to_owned() }
}

fn holds(holds: bool) -> Output {
    if holds { ok("") } else { fails("it does not hold") }
}

fn truth(holds: bool, facts: &str) -> Output {
    ok(&format!("{}\n{facts}", if holds { "t" } else { "f" }))
}

impl Model {
    /// A model that knows the commands of `decision`, and whose `n`-th change meets with a mishap.
    pub(super) fn new(
        inventory: &Inventory,
        decision: &Decision,
        state: State,
        mishap: Option<(usize, Mishap)>,
        order: Order,
    ) -> Self {
        let mut model = Self {
            inventory: inventory.clone(),
            state: Mutex::new(state),
            log: Mutex::new(Vec::new()),
            verbs: Vec::new(),
            mishap: Mutex::new(mishap),
            changes: Mutex::new(0),
            journal: AtomicUsize::default(),
            copied: Mutex::default(),
            turnstile: Turnstile::new(order),
        };
        model.learn(decision);
        model
    }

    /// How many commands have changed something, or tried to.
    pub(super) fn changes(&self) -> usize {
        *self.changes.lock().expect("no thread panicked")
    }

    fn look(&mut self, check: Check, effect: impl Fn(&mut State) -> Output + Send + Sync + 'static) {
        self.verbs.push((check.commands[0].clone(), false, Box::new(effect)));
    }

    fn change(&mut self, command: Command, effect: impl Fn(&mut State) -> Output + Send + Sync + 'static) {
        self.verbs.push((command, true, Box::new(effect)));
    }

    fn learn(&mut self, decision: &Decision) {
        let inventory = self.inventory.clone();
        for place in Place::BOTH {
            self.learn_server(&inventory, decision, place.postgresql(&inventory), place.other().postgresql(&inventory));
            self.learn_gocd(&inventory, &decision.operation, place);
            for host in place.hosts(&inventory) {
                self.learn_power(&inventory, decision, &host);
            }
        }
    }

    fn learn_server(&mut self, inventory: &Inventory, decision: &Decision, host: &str, peer: &str) {
        let (h, p) = (host.to_owned(), peer.to_owned());
        macro_rules! server {
            (|$state:ident, $server:ident| $body:expr) => {{
                let (h, _p) = (h.clone(), p.clone());
                move |$state: &mut State| {
                    let $server = $state.servers.get_mut(&h).expect("a server");
                    $body
                }
            }};
        }
        self.change(postgresql::let_it_stop(inventory, host), |_| ok(""));
        self.change(postgresql::checkpoint(inventory, host), server!(|state, server| holds(server.running)));
        let arm = standby::arm(inventory, host, peer);
        let follow = p.clone();
        let set = h.clone();
        self.change(arm[0].clone(), move |state| {
            let server = state.servers.get_mut(&set).expect("a server");
            server.data.follows = Some(follow.clone());
            holds(server.running)
        });
        self.change(
            arm[1].clone(),
            server!(|state, server| {
                server.data.signal = true;
                ok("")
            }),
        );
        let follow = p.clone();
        self.change(
            standby::arm_stopped(inventory, host, peer),
            server!(|state, server| {
                assert!(!server.running, "its settings are changed behind its back");
                (server.data.signal, server.data.follows) = (true, Some(follow.clone()));
                ok("")
            }),
        );
        let follow = p.clone();
        let look = h.clone();
        self.look(standby::armed(inventory, host, peer), move |state| {
            let data = &state.servers[&look].data;
            holds(data.signal && data.follows.as_ref() == Some(&follow))
        });
        self.change(
            standby::disarm(inventory, host),
            server!(|state, server| {
                server.data.signal = false;
                ok("")
            }),
        );
        self.look(standby::disarmed(inventory, host), server!(|state, server| holds(!server.data.signal)));
        self.change(
            postgresql::start(inventory, host),
            server!(|state, server| {
                if !server.running {
                    server.standby = server.data.signal;
                    server.data.clean = false;
                }
                server.running = true;
                ok("")
            }),
        );
        self.change(
            postgresql::stop(inventory, host),
            server!(|state, server| {
                server.data.clean |= server.running;
                server.running = false;
                ok("")
            }),
        );
        self.look(postgresql::stopped(inventory, host), server!(|state, server| holds(!server.running)));
        self.look(
            postgresql::shut_down(inventory, host),
            server!(|state, server| {
                if server.running || !server.data.clean {
                    return fails("cluster state: in production");
                }
                ok(&format!("checkpoint=0/{}\ntimeline={}\n", server.data.written, server.data.timeline))
            }),
        );
        self.look(
            postgresql::still_shut_down(inventory, host),
            server!(|state, server| holds(!server.running && server.data.clean)),
        );
        self.look(
            postgresql::replayed_checkpoint(inventory, host),
            server!(|state, server| truth(server.running && server.standby, "replayed=0/6")),
        );
        self.look(
            postgresql::replayed_all(inventory, host),
            server!(|state, server| truth(server.running, "received=0/5\nreplayed=0/5")),
        );
        self.look(
            postgresql::in_recovery(inventory, host),
            server!(|state, server| truth(server.running && server.standby, "")),
        );
        self.look(postgresql::primary(inventory, host), server!(|state, server| truth(server.writable(), "")));
        self.change(
            postgresql::promote(inventory, host),
            server!(|state, server| {
                if !server.running || !server.standby {
                    return fails("recovery is not in progress");
                }
                assert!(!server.waits, "the first commit would wait for ever");
                server.data.signal = false;
                server.standby = false;
                server.data.timeline += 1;
                ok("t")
            }),
        );
        for from in ["checkpoint", "replayed"] {
            let old = decision.timeline;
            self.look(
                postgresql::promoted(inventory, host, old, from),
                server!(|state, server| {
                    truth(
                        server.writable() && server.data.timeline > old,
                        &format!("new_timeline={}", server.data.timeline),
                    )
                }),
            );
        }
        for reserve in [true, false] {
            let [clear, checkpoint, slot] =
                postgresql::settle(inventory, host, peer, reserve).try_into().expect("three commands");
            self.change(clear, server!(|state, server| holds(server.writable())));
            assert_eq!(checkpoint, postgresql::checkpoint(inventory, host));
            let name = postgresql::slot(peer);
            self.change(
                slot,
                server!(|state, server| {
                    server.slots.insert(name.clone());
                    holds(server.running)
                }),
            );
        }
        self.change(
            postgresql::wait_for_nobody(inventory, host),
            server!(|state, server| {
                server.waits = false;
                holds(server.running)
            }),
        );
        self.look(
            postgresql::waits_for_nobody(inventory, host),
            server!(|state, server| truth(server.running && !server.waits, "")),
        );
        let name = postgresql::slot(peer);
        self.look(
            postgresql::settled(inventory, host, peer),
            server!(|state, server| truth(server.writable() && server.slots.contains(&name), "")),
        );
        let name = postgresql::slot(peer);
        self.look(
            postgresql::has_slot(inventory, host, peer),
            server!(|state, server| truth(server.running && server.slots.contains(&name), "")),
        );
        let name = postgresql::slot(peer);
        self.look(
            postgresql::no_slot(inventory, host, peer),
            server!(|state, server| truth(server.running && !server.slots.contains(&name), "")),
        );
        let name = postgresql::slot(peer);
        self.change(
            postgresql::drop_slot(inventory, host, peer),
            server!(|state, server| {
                server.slots.remove(&name);
                holds(server.running)
            }),
        );
        let (one, two) = (h.clone(), p.clone());
        let streams = move |state: &mut State| {
            let (primary, standby) = (&state.servers[&one], &state.servers[&two]);
            let follows = standby.running && standby.standby && standby.data.follows.as_ref() == Some(&one);
            let same = standby.data.timeline <= primary.data.timeline;
            truth(primary.writable() && follows && same, "")
        };
        for check in postgresql::streams(inventory, host, peer) {
            self.look(check, streams.clone());
        }
        let operation = decision.operation.as_str();
        let source = p.clone();
        let target = h.clone();
        self.change(reseed::copy(inventory, host, peer, operation), move |state| {
            let source_data = state.servers[&source].data.clone();
            let running = state.servers[&source].writable();
            let server = state.servers.get_mut(&target).expect("a server");
            if server.copy.is_none() && server.kept.is_none() {
                server.copy = Some(Data { signal: true, follows: Some(source.clone()), clean: false, ..source_data });
            }
            holds(running)
        });
        self.look(
            reseed::copied(inventory, host, operation),
            server!(|state, server| holds(server.copy.is_some() || server.kept.is_some())),
        );
        self.change(
            reseed::remove_copy(inventory, host, operation),
            server!(|state, server| {
                server.copy = None;
                ok("")
            }),
        );
        self.look(reseed::no_copy(inventory, host, operation), server!(|state, server| holds(server.copy.is_none())));
        self.change(
            reseed::swap(inventory, host, operation),
            server!(|state, server| {
                assert!(!server.running, "the data directory of a running server is renamed");
                match server.copy.take() {
                    Some(copy) => {
                        server.kept = Some(std::mem::replace(&mut server.data, copy));
                        ok("")
                    }
                    None => fails("there is no copy"),
                }
            }),
        );
        self.look(
            reseed::swapped(inventory, host, operation),
            server!(|state, server| holds(server.kept.is_some() && server.copy.is_none())),
        );
        for command in reseed::meter(inventory, host, peer, operation) {
            self.verbs.push((command, false, Box::new(|_| ok("done=1\ntotal=2\n"))));
        }
        if let Some(reseed) = &decision.reseed {
            self.look(reseed::room(inventory, host, operation, reseed.needed), |_| ok(""));
        }
    }

    fn learn_gocd(&mut self, inventory: &Inventory, operation: &str, place: Place) {
        let (host, peer) = (place.gocd(inventory), place.other().gocd(inventory));
        let database = place.postgresql(inventory).to_owned();
        let h = host.to_owned();
        macro_rules! host {
            (|$state:ident, $host:ident| $body:expr) => {{
                let $host = h.clone();
                move |$state: &mut State| $body
            }};
        }
        let runs = h.clone();
        self.change(gocd::start(inventory, host), move |state| {
            let writable = state.servers[&database].writable();
            if writable {
                state.gocd.insert(runs.clone());
            }
            holds(writable)
        });
        self.learn_maintenance(inventory, host, place.postgresql(inventory));
        self.learn_artifacts(inventory, operation, host, place.postgresql(inventory));
        self.change(
            gocd::stop(inventory, host),
            host!(|state, host| {
                state.gocd.remove(&host);
                state.maintenance.remove(&host);
                ok("")
            }),
        );
        self.look(gocd::started(inventory, host), host!(|state, host| holds(state.gocd.contains(&host))));
        self.look(gocd::stopped(inventory, host), host!(|state, host| holds(!state.gocd.contains(&host))));
        self.look(gocd::ready(inventory, host), host!(|state, host| holds(state.gocd.contains(&host))));
        self.change(gocd::wait_ready(inventory, host), host!(|state, host| holds(state.gocd.contains(&host))));
        self.look(
            gocd::answers_at_vip(inventory, host),
            host!(|state, host| holds(state.gocd.contains(&host) && state.vip.contains(&host))),
        );
        let from = peer.to_owned();
        self.change(
            gocd::pull(inventory, host),
            host!(|state, host| {
                let version = state.files[&from];
                state.files.insert(host.clone(), version);
                ok("{}")
            }),
        );
        self.verbs.push((gocd::standbyd(inventory, host, "manifest --json"), false, Box::new(host!(|state, host| {
            let version = state.files[&host];
            ok(&format!(
                r#"{{"schema":1,"files":[{{"id":"cipher.aes","size":1,"sha256":"{version}"}},{{"id":"cruise-config.xml","size":1,"sha256":"{version}"}}]}}"#
            ))
        }))));
        let fenced = [None, Some(peer), Some(host)];
        for fenced in fenced {
            self.change(
                vip::assign(inventory, host, fenced),
                host!(|state, host| {
                    state.vip.insert(host.clone());
                    ok("")
                }),
            );
        }
        self.change(
            vip::unassign(inventory, host),
            host!(|state, host| {
                state.vip.remove(&host);
                ok("")
            }),
        );
        let address = inventory.vip.address;
        self.look(
            vip::held(inventory, host),
            host!(|state, host| {
                let held = format!(r#"{{"address":"{address}","interface":"eth0","placed-by-vipd":true}}"#);
                ok(&format!(
                    r#"{{"schema":1,"addresses":[{}]}}"#,
                    if state.vip.contains(&host) { held.as_str() } else { "" }
                ))
            }),
        );
    }

    fn learn_maintenance(&mut self, inventory: &Inventory, host: &str, database: &str) {
        if !maintenance::is_used(inventory) {
            return;
        }
        let h = host.to_owned();
        macro_rules! host {
            (|$state:ident, $host:ident| $body:expr) => {{
                let $host = h.clone();
                move |$state: &mut State| $body
            }};
        }
        let database = database.to_owned();
        self.change(
            maintenance::start(inventory, host),
            host!(|state, host| {
                let writable = state.servers[&database].writable();
                if writable && state.gocd.insert(host.clone()) {
                    state.maintenance.insert(host.clone());
                }
                holds(writable)
            }),
        );
        for (command, on) in
            [(maintenance::enable(inventory, host), true), (maintenance::disable(inventory, host), false)]
        {
            self.change(
                command,
                host!(|state, host| {
                    if !state.gocd.contains(&host) {
                        return fails("connection refused");
                    }
                    if on {
                        state.maintenance.insert(host.clone())
                    } else {
                        state.maintenance.remove(&host)
                    };
                    ok("")
                }),
            );
        }
        // It changes nothing, and whether it was patient is not what the step is for.
        self.verbs.push((maintenance::wait_for_jobs(inventory, host), false, Box::new(|_| ok(""))));
        self.look(
            maintenance::is(inventory, host, Mode::On),
            host!(|state, host| {
                if !state.gocd.contains(&host) {
                    return fails("connection refused");
                }
                ok(&format!(r#"{{"is_maintenance_mode":{}}}"#, state.maintenance.contains(&host)))
            }),
        );
        self.look(
            maintenance::dashboard_loaded(inventory, host),
            host!(|state, host| holds(state.gocd.contains(&host))),
        );
        if let Some((command, check)) = maintenance::forget(inventory, host) {
            self.change(command, |_| ok(""));
            self.look(check, |_| ok(""));
        }
    }

    fn learn_artifacts(&mut self, inventory: &Inventory, operation: &str, host: &str, primary: &str) {
        let [folders, counters] =
            artifacts::compared(inventory, host, primary).commands.try_into().expect("two commands");
        self.verbs.push((
            folders,
            false,
            Box::new(|state| {
                let runs: String = state.artifacts[0].iter().map(|run| format!("d p/{run}\n")).collect();
                ok(&format!("store /s\nd p\n{runs}"))
            }),
        ));
        self.verbs.push((counters, false, Box::new(|_| ok("p 6\n"))));
        let h = host.to_owned();
        self.change(artifacts::quarantine(inventory, host, operation), move |state| {
            assert!(!state.gocd.contains(&h), "artifacts are moved while GoCD runs");
            let [store, aside] = &mut state.artifacts;
            aside.extend(store.split_off(&7));
            ok("")
        });
        self.look(artifacts::quarantined(inventory, host, operation), |state| holds(!state.artifacts[0].contains(&7)));
    }

    fn learn_power(&mut self, inventory: &Inventory, decision: &Decision, host: &str) {
        let report = |state: &State, host: &str, action: &str| {
            let is = if state.on.contains(host) { "on" } else { "off" };
            let confirmed = action == "status" || action == is;
            let text = format!(
                r#"{{"schema":2,"at":"2026-11-21T20:30:00Z","node":"{host}","action":"{action}","reason":"","by":"","state":"{is}","confirmed":{confirmed},"grade":"A","required":"B","evidence":[]}}"#
            );
            Output { end: Ended::Exit(if confirmed { 0 } else { 5 }), stdout: text, stderr: String::new() }
        };
        let h = host.to_owned();
        self.change(fencing::off(inventory, decision, host), move |state| {
            if state.fence_works {
                state.off(&h);
            }
            report(state, &h, "off")
        });
        let h = host.to_owned();
        self.change(fencing::on(inventory, decision, host), move |state| {
            state.on.insert(h.clone());
            report(state, &h, "on")
        });
        let h = host.to_owned();
        self.look(fencing::is_off(inventory, host), move |state| report(state, &h, "status"));
        self.verbs.push((Command::on(host, "true"), false, Box::new(|_| ok(""))));
        let Some((raise, known)) = fencing::publish(inventory, decision, host) else { return };
        let system = decision.system_identifier.clone().expect("a cluster that is known");
        self.look(known, move |state| {
            let timeline = state.known_timeline;
            ok(&format!(
                r#"{{"schema":2,"tokens":{{"pg1":{{"system-identifier":"{system}","timeline":{timeline},"epoch":1,"id":"x","expires":"2999-01-01T00:00:00Z"}}}}}}"#
            ))
        });
        let h = host.to_owned();
        self.change(raise, move |state| {
            let server = &state.servers[&h];
            assert!(server.writable(), "what is not promoted yet is made known");
            state.known_timeline = server.data.timeline;
            ok("")
        });
    }
}

impl Hosts for Model {
    fn run(&self, command: &Command, _: Duration) -> Output {
        self.turnstile.pass();
        self.log.lock().expect("no thread panicked").push(command.clone());
        let mut state = self.state.lock().expect("no thread panicked");
        if let At::Host(host) = &command.at
            && (!state.on.contains(host) || state.hung.contains(host))
        {
            let end = Ended::Unreached(Unreached::NoAnswer);
            return Output { end, stdout: String::new(), stderr: format!("{host} does not answer") };
        }
        let known =
            self.verbs.iter().find(|(known, ..)| known.at == command.at && command.script.ends_with(&known.script));
        let Some((_, changes, effect)) = known else { panic!("the model does not know this command: {command:?}") };
        let mishap = if *changes {
            let mut count = self.changes.lock().expect("no thread panicked");
            *count += 1;
            self.copied.lock().expect("no thread panicked").push(self.journal.load(Ordering::Relaxed));
            self.mishap
                .lock()
                .expect("no thread panicked")
                .filter(|(at, mishap)| at == &*count || (*mishap == Mishap::FailsOn && *count > *at))
                .map(|(_, mishap)| mishap)
        } else {
            None
        };
        let lost = Output {
            end: Ended::Unreached(Unreached::NoAnswer),
            stdout: String::new(),
            stderr: "connection lost".to_owned(),
        };
        let output = match mishap {
            Some(Mishap::Fails | Mishap::FailsOn) => return fails("it was told to fail"),
            Some(Mishap::LostBefore) => return lost,
            Some(Mishap::KilledBefore) => {
                drop(state);
                self.turnstile.kill()
            }
            _ => effect(&mut state),
        };
        state.assert_safe(&self.inventory);
        match mishap {
            Some(Mishap::LostAfter) => lost,
            Some(Mishap::KilledAfter) => {
                drop(state);
                self.turnstile.kill()
            }
            _ => output,
        }
    }
}

/// A clock that moves only when somebody waits.
#[derive(Debug, Default)]
pub(super) struct FakeClock(Mutex<Duration>);

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        *self.0.lock().expect("no thread panicked")
    }

    fn pause(&self, time: Duration) {
        *self.0.lock().expect("no thread panicked") += time;
    }
}
