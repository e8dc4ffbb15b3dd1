//! Whole operations on a model of a site: the straight way, every failure, every kill.

mod model;
mod turnstile;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bc_model::inventory::Inventory;
use bc_model::journal::{Entry, Event, Intent, Journal, Outcome, SCHEMA};
use jiff::Timestamp;

use super::{End, Execution, Progress};
use crate::command::postgresql;
use crate::observe::tests::inventory;
use crate::place::Place;
use crate::plan::{Decision, Reseed};
use crate::steps::{Step, groups, table};

use model::{FakeClock, Killed, Mishap, Model, State, site};
use turnstile::{ORDERS, Order};

fn decision(intent: Intent) -> Decision {
    let (to, fence, power_on, reseed): (_, &[&str], &[&str], _) = match intent {
        Intent::Switchover => (Place::Away, &[], &[], None),
        Intent::Failover => (Place::Away, &["go1", "pg1"], &[], None),
        Intent::Failback => (Place::Home, &[], &["go1", "pg1"], Some(Reseed { needed: 1, rewind: false })),
        Intent::Rejoin => (Place::Home, &[], &["pg1"], Some(Reseed { needed: 1, rewind: false })),
        Intent::PromoteOnly | Intent::VipOnly => (Place::Away, &[], &[], None),
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Decision {
        operation: "20261121T203000Z-test".to_owned(),
        intent,
        to,
        timeline: 1,
        system_identifier: Some("7300000000000000001".to_owned()),
        fence: names(fence),
        fence_together: true,
        power_on: names(power_on),
        reseed,
        salvage_first: false,
        publish: intent != Intent::VipOnly && intent != Intent::Rejoin,
        quarantine: true,
    }
}

/// The site before the operation: healthy; or home hangs; or home is off after a failover.
fn before(intent: Intent, inventory: &Inventory) -> State {
    match intent {
        Intent::Switchover | Intent::VipOnly => site(Place::Home, inventory),
        // Somebody has stopped GoCD and the primary.
        Intent::PromoteOnly => {
            let mut state = site(Place::Home, inventory);
            state.gocd.clear();
            let server = state.servers.get_mut("pg1").expect("a server");
            (server.running, server.data.clean) = (false, true);
            state
        }
        Intent::Failover => {
            let mut state = site(Place::Home, inventory);
            state.hung.extend(["pg1".to_owned(), "go1".to_owned()]);
            state
        }
        Intent::Failback | Intent::Rejoin => {
            let mut state = site(Place::Away, inventory);
            let server = state.servers.get_mut("pg1").expect("a server");
            // The old primary, with rows of its own.
            server.data = model::Data { signal: false, timeline: 1, written: 9, clean: false, follows: None };
            state.off("pg1");
            if intent == Intent::Failback {
                state.off("go1");
            }
            state
        }
    }
}

fn planned(decision: &Decision, steps: &[Step]) -> Event {
    Event::Planned {
        schema: SCHEMA,
        operation: decision.operation.clone(),
        site: "gocd".to_owned(),
        intent: decision.intent,
        by: "test".to_owned(),
        steps: steps.iter().map(Step::planned).collect(),
        decision: serde_json::to_value(decision).expect("JSON"),
        notes: vec![],
        overrides: vec![],
    }
}

/// An operation, its journal as text, and the site it works on.
struct Operation {
    steps: Vec<Step>,
    journal: String,
    model: Model,
    stop: AtomicBool,
    /// bcctl dies when it is about to write this event, counted from 1.
    dies_at_event: Option<usize>,
}

impl Operation {
    fn new(intent: Intent, mishap: Option<(usize, Mishap)>) -> Self {
        Self::ordered(intent, Order::First, mishap)
    }

    fn ordered(intent: Intent, order: Order, mishap: Option<(usize, Mishap)>) -> Self {
        Self::at(&decision(intent), before(intent, &inventory()), order, mishap)
    }

    fn at(decision: &Decision, state: State, order: Order, mishap: Option<(usize, Mishap)>) -> Self {
        let inventory = inventory();
        let steps = table(&inventory, decision);
        let journal = line(planned(decision, &steps));
        Self {
            steps,
            journal,
            model: Model::new(&inventory, decision, state, mishap, order),
            stop: AtomicBool::new(false),
            dies_at_event: None,
        }
    }

    /// Runs bcctl once; nothing if it was killed.
    fn run(&mut self) -> Option<End> {
        let journal = Journal::parse(&self.journal).expect("readable");
        let clock = FakeClock::default();
        let dies = self.dies_at_event;
        self.model.journal.store(self.journal.len(), Ordering::Relaxed);
        let (model, turnstile) = (&self.model, &self.model.turnstile);
        turnstile.start();
        let text = Mutex::new((0, std::mem::take(&mut self.journal)));
        let record = |event: Event| {
            turnstile.pass();
            let mut text = text.lock().expect("no thread panicked");
            text.0 += 1;
            if dies == Some(text.0) {
                drop(text);
                turnstile.kill();
            }
            text.1.push_str(&line(event));
            model.journal.store(text.1.len(), Ordering::Relaxed);
            Ok(())
        };
        let tell = |told: Progress<'_>| match told {
            Progress::Began { number, step, .. } => {
                let group = groups(&self.steps).find(|group| group.contains(step)).expect("a step of the table");
                turnstile.arrive(number, group.len());
            }
            Progress::Done { .. } | Progress::Skipped { .. } | Progress::Failed { .. } => turnstile.leave(),
            Progress::Waiting { .. } | Progress::Undoing { .. } | Progress::Undone { .. } => {}
        };
        let execution = Execution { hosts: model, clock: &clock, record: &record, tell: &tell, stop: &self.stop };
        let end = catch_unwind(AssertUnwindSafe(|| execution.execute(&self.steps, &journal)));
        self.journal = text.into_inner().expect("no thread panicked").1;
        match end {
            Ok(end) => Some(end.expect("the journal can be written")),
            Err(panic) if panic.is::<Killed>() => None,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn journal(&self) -> Journal {
        Journal::parse(&self.journal).expect("readable")
    }

    fn state(&self) -> State {
        self.model.state.lock().expect("no thread panicked").clone()
    }

    /// Ids of the steps with an event of this kind, in order.
    fn events(&self, kind: fn(&Event) -> Option<&String>) -> Vec<String> {
        self.journal().entries.iter().filter_map(|entry| kind(&entry.event).cloned()).collect()
    }

    fn finished(&self) -> Vec<String> {
        self.events(|event| match event {
            Event::Done { step, .. } | Event::Skipped { step, .. } => Some(step),
            _ => None,
        })
    }
}

fn line(event: Event) -> String {
    Entry { at: Timestamp::UNIX_EPOCH, event }.to_line().expect("JSON")
}

/// What an operation that met with nothing ends in.
fn undisturbed(intent: Intent) -> (State, usize) {
    let mut operation = Operation::new(intent, None);
    assert_eq!(operation.run(), Some(End::Done));
    (operation.state(), operation.model.changes())
}

const INTENTS: [Intent; 6] =
    [Intent::Switchover, Intent::Failover, Intent::Failback, Intent::Rejoin, Intent::PromoteOnly, Intent::VipOnly];

#[test]
fn a_switchover_changes_places() {
    let (state, _) = undisturbed(Intent::Switchover);
    assert_eq!(
        (state.vip.len(), state.vip.contains("go2"), state.gocd.contains("go2"), state.gocd.len()),
        (1, true, true, 1)
    );
    assert_eq!((state.servers["pg2"].data.timeline, state.servers["pg2"].data.signal), (2, false));
    assert!(state.servers["pg1"].running && state.servers["pg1"].data.signal, "the old primary follows");
    assert!(state.servers["pg1"].slots.is_empty() && state.servers["pg2"].slots.contains("pg1"));
    assert_eq!(state.files["go2"], 2, "the configuration went along");
    assert!(state.maintenance.is_empty(), "GoCD was let go");
    assert!(state.artifacts[1].is_empty(), "nothing is lost, so nothing is moved");
}

#[test]
fn a_failover_leaves_the_old_place_off() {
    let (state, _) = undisturbed(Intent::Failover);
    assert_eq!(state.on.iter().map(String::as_str).collect::<Vec<_>>(), ["go2", "pg2"]);
    assert!(state.vip.contains("go2") && state.gocd.contains("go2") && !state.servers["pg2"].data.signal);
    assert!(state.maintenance.is_empty(), "GoCD was let go");
    let [store, aside] = state.artifacts.map(|runs| runs.into_iter().collect::<Vec<u32>>());
    assert_eq!((store, aside), (vec![5, 6], vec![7]), "what the database does not know is aside");
}

#[test]
fn a_failback_copies_goes_home_and_keeps_the_old_data() {
    let (state, _) = undisturbed(Intent::Failback);
    assert!(state.vip.contains("go1") && state.gocd.contains("go1") && state.vip.len() == 1 && state.gocd.len() == 1);
    let home = &state.servers["pg1"];
    assert_eq!((home.data.timeline, home.data.written), (2, 5), "it holds the serving server's rows");
    assert_eq!(home.kept.as_ref().expect("kept").written, 9, "and its own are kept");
    assert!(state.servers["pg2"].running && state.servers["pg2"].data.signal, "the away server follows");
}

#[test]
fn the_order_is_the_one_of_the_runbook() {
    let mut operation = Operation::new(Intent::Failover, None);
    operation.run();
    assert_eq!(
        operation.finished(),
        [
            "fence-gocd",
            "fence-postgresql",
            "replay",
            "asynchronous",
            "promote",
            "counters",
            "quarantine",
            "settle",
            "start-gocd",
            "gocd-ready",
            "gocd-quiet",
            "gocd-loaded",
            "assign-vip",
            "release",
            "publish-token",
            "verify"
        ]
    );
    let mut operation = Operation::new(Intent::Switchover, None);
    operation.run();
    assert_eq!(
        operation.finished(),
        [
            "checkpoint",
            "asynchronous",
            "quiesce",
            "stop-gocd",
            "unassign-vip",
            "sync-config",
            "arm",
            "stop-postgresql",
            "replay",
            "promote",
            "settle",
            "start-gocd",
            "gocd-ready",
            "gocd-quiet",
            "gocd-loaded",
            "assign-vip",
            "release",
            "follow",
            "publish-token",
            "verify"
        ]
    );
    let mut operation = Operation::new(Intent::Failback, None);
    operation.run();
    assert_eq!(
        operation.finished()[..9],
        [
            "power-on-go1",
            "power-on-pg1",
            "rejoin-quiet",
            "rejoin-stop",
            "rejoin-slot",
            "rejoin-copy",
            "rejoin-swap",
            "rejoin-start",
            "rejoin-stream"
        ]
    );
}

#[test]
fn begin_is_written_before_anything_is_changed() {
    for (intent, order) in every_order() {
        let mut operation = Operation::ordered(intent, order, None);
        operation.run();
        let begun = operation.events(|event| match event {
            Event::Begin { step } => Some(step),
            _ => None,
        });
        for step in operation.steps.iter().filter(|step| !step.run.is_empty()) {
            let ran = operation.model.log.lock().expect("no thread panicked").iter().any(|command| {
                step.run.iter().any(|run| run.at == command.at && command.script.ends_with(&run.script))
            });
            assert!(!ran || begun.contains(&step.id), "{} ran without begin", step.id);
        }
    }
}

#[test]
fn a_failure_before_the_promotion_leads_back_to_where_it_began() {
    let inventory = inventory();
    for (order, mishap) in ORDERS.into_iter().flat_map(|order| [(order, Mishap::Fails), (order, Mishap::LostBefore)]) {
        let mut ends = 0;
        for at in 1.. {
            let mut operation = Operation::ordered(Intent::Switchover, order, Some((at, mishap)));
            let end = operation.run().expect("nobody kills it");
            if operation.journal().past_point_of_no_return() {
                break;
            }
            ends += 1;
            let End::Undone { step, .. } = end else { panic!("{mishap:?} at change {at}: {end:?}") };
            assert_eq!(operation.journal().outcome(), Some(Outcome::Undone));
            let mut state = operation.state();
            // What may differ: a fresh copy of the files, and settings that mean nothing without the signal file.
            state.files = before(Intent::Switchover, &inventory).files;
            state.servers.get_mut("pg1").expect("a server").data.follows = None;
            state.servers.get_mut("pg2").expect("a server").waits = true;
            assert_eq!(
                state,
                before(Intent::Switchover, &inventory),
                "{order:?}, {mishap:?} at change {at}, in {step}"
            );
        }
        assert_eq!(ends, 9, "checkpoint, nobody to wait for, maintenance mode, GoCD, VIP, files, two to arm, stop");
    }
}

#[test]
fn a_connection_lost_after_the_deed_is_no_failure() {
    for (intent, order) in every_order() {
        let (end_state, changes) = undisturbed(intent);
        for at in 1..=changes {
            let mut operation = Operation::ordered(intent, order, Some((at, Mishap::LostAfter)));
            let end = operation.run();
            // A step of several commands may have lost the later ones: then it is a failure as any other.
            if end == Some(End::Done) {
                assert_eq!(operation.state(), end_state, "{intent} {order:?}, change {at}");
            }
        }
    }
}

#[test]
fn a_failure_after_the_promotion_leaves_only_forward() {
    for (intent, order) in every_order() {
        let (end_state, changes) = undisturbed(intent);
        let mut past = 0;
        for at in 1..=changes {
            let mut operation = Operation::ordered(intent, order, Some((at, Mishap::Fails)));
            let end = operation.run().expect("nobody kills it");
            if !operation.journal().past_point_of_no_return() {
                continue;
            }
            past += 1;
            let failed = operation.events(|event| match event {
                Event::Failed { step, .. } => Some(step),
                _ => None,
            });
            if failed == ["publish-token"] {
                // A best effort.
                assert_eq!(end, End::Done, "{intent} {order:?}, change {at}");
                continue;
            }
            assert!(matches!(end, End::HalfWay { past: true, .. }), "{intent} {order:?}, change {at}: {end:?}");
            assert_eq!(operation.journal().outcome(), None);
            assert_eq!(operation.run(), Some(End::Done), "{intent} {order:?}, resumed after change {at}");
            assert_eq!(operation.state(), end_state, "{intent} {order:?}, change {at}");
        }
        let promotes = !matches!(intent, Intent::Rejoin | Intent::VipOnly);
        assert!(past >= 4 || !promotes, "{intent} {order:?}: {past}");
    }
}

/// Every operation in every order that the steps of its groups may come in.
fn every_order() -> impl Iterator<Item = (Intent, Order)> {
    INTENTS.into_iter().flat_map(|intent| ORDERS.into_iter().map(move |order| (intent, order)))
}

#[test]
fn killed_at_any_command_and_resumed_it_ends_the_same() {
    for (intent, order) in every_order() {
        let (end_state, changes) = undisturbed(intent);
        for mishap in [Mishap::KilledBefore, Mishap::KilledAfter] {
            for at in 1..=changes {
                let mut operation = Operation::ordered(intent, order, Some((at, mishap)));
                assert_eq!(operation.run(), None, "{intent} {order:?}: killed at change {at}");
                assert_eq!(
                    operation.run(),
                    Some(End::Done),
                    "{intent} {order:?}: {mishap:?} at change {at}: {}",
                    operation.journal
                );
                assert_eq!(operation.state(), end_state, "{intent} {order:?}: {mishap:?} at change {at}");
            }
        }
    }
}

#[test]
fn killed_at_any_command_and_resumed_from_a_copy_on_a_host_it_ends_the_same() {
    for (intent, order) in every_order() {
        let (end_state, changes) = undisturbed(intent);
        for mishap in [Mishap::KilledBefore, Mishap::KilledAfter] {
            for at in 1..=changes {
                let mut operation = Operation::ordered(intent, order, Some((at, mishap)));
                assert_eq!(operation.run(), None, "{intent} {order:?}: killed at change {at}");
                // The operator's machine is lost. A host has what was written before the last thing that was done on it; if
                // that one is lost as well, then another has what was written before the one before it.
                let copied = operation.model.copied.lock().expect("no thread panicked").clone();
                let (end, promoting) = (operation.journal.clone(), operation.journal().past_point_of_no_return());
                let latest = *copied.last().expect("a change was tried");
                let (journal, state) = (end[..latest].to_owned(), operation.state());
                assert_eq!(Journal::parse(&journal).expect("whole lines").past_point_of_no_return(), promoting);
                operation.journal = journal;
                assert_eq!(
                    operation.run(),
                    Some(End::Done),
                    "{intent} {order:?}: {mishap:?} at change {at}: {}",
                    operation.journal
                );
                assert_eq!(
                    operation.state(),
                    end_state,
                    "{intent} {order:?}: {mishap:?} at change {at}, from {state:?}"
                );
            }
        }
    }
}

#[test]
fn killed_at_any_line_of_the_journal_and_resumed_it_ends_the_same() {
    for (intent, order) in every_order() {
        let (end_state, _) = undisturbed(intent);
        for at in 1.. {
            let mut operation = Operation::ordered(intent, order, None);
            operation.dies_at_event = Some(at);
            if operation.run().is_some() {
                assert!(at > 6, "there are more lines than that");
                break;
            }
            // The line was being written: half of it is there.
            operation.journal.push_str("{\"at\":\"1970-01-01T00:00:00.000Z\",\"ev");
            let whole = operation.journal().whole;
            operation.journal.truncate(whole);
            operation.dies_at_event = None;
            assert_eq!(operation.run(), Some(End::Done), "{intent} {order:?}: line {at}");
            assert_eq!(operation.state(), end_state, "{intent} {order:?}: line {at}");
        }
    }
}

#[test]
fn resumed_again_and_again_it_promotes_once() {
    for (intent, order) in every_order() {
        let (_, changes) = undisturbed(intent);
        for at in 1..=changes {
            let mut operation = Operation::ordered(intent, order, Some((at, Mishap::KilledAfter)));
            operation.run();
            operation.run();
            // The finished line is lost, so a third one runs through all of it.
            let end = operation.journal.trim_end().rfind('\n').map_or(0, |newline| newline + 1);
            operation.journal.truncate(end);
            assert_eq!(operation.run(), Some(End::Done), "{intent} {order:?}: change {at}");
            let promotions = operation
                .model
                .log
                .lock()
                .expect("no thread panicked")
                .iter()
                .filter(|command| command.script.contains("pg_promote"))
                .count();
            let timelines = operation.state().servers.values().map(|server| server.data.timeline).max();
            assert!(
                promotions <= 2
                    && timelines == undisturbed(intent).0.servers.values().map(|server| server.data.timeline).max(),
                "{intent} {order:?}: change {at}: {promotions} calls, timeline {timelines:?}"
            );
        }
    }
}

#[test]
fn a_fence_that_does_not_work_stops_everything_and_nothing_is_touched() {
    let inventory = inventory();
    let mut state = before(Intent::Failover, &inventory);
    state.fence_works = false;
    let one_by_one = Decision { fence_together: false, ..decision(Intent::Failover) };
    let mut operation = Operation::at(&one_by_one, state.clone(), Order::First, None);
    let end = operation.run().expect("nobody kills it");
    let End::NotFenced { step, error } = end else { panic!("{end:?}") };
    assert_eq!((step.as_str(), error.as_str()), ("fence-gocd", "state of go1 is on"));
    assert_eq!(operation.state(), state);
    assert_eq!(operation.journal().outcome(), Some(Outcome::NotFenced));
}

#[test]
fn nothing_is_promoted_when_a_fenced_node_comes_back() {
    let mut operation = Operation::new(Intent::Failover, None);
    operation.dies_at_event = Some(5);
    assert_eq!(operation.run(), None);
    assert_eq!(operation.journal().last_done(), Some("fence-postgresql"));
    {
        // Somebody presses the button, and the device does not work any more.
        let mut state = operation.model.state.lock().expect("no thread panicked");
        state.on.insert("pg1".to_owned());
        state.fence_works = false;
    }
    operation.dies_at_event = None;
    let Some(End::NotFenced { error, .. }) = operation.run() else { panic!("{:?}", operation.journal()) };
    assert!(error.contains("state of pg1 is on; go1 stays off; `fence on go1`"), "{error}");
    assert!(operation.state().servers["pg2"].data.signal, "the standby is still a standby");
}

#[test]
fn a_failover_that_cannot_promote_stays_half_way_with_the_old_place_off() {
    // The third change is the promotion itself; what comes before it only waits, so the standby is taken away.
    let mut operation = Operation::new(Intent::Failover, None);
    operation.model.state.lock().expect("no thread panicked").servers.get_mut("pg2").expect("a server").running = false;
    let end = operation.run().expect("nobody kills it");
    let End::HalfWay { step, stays, past, .. } = end else { panic!("{end:?}") };
    assert_eq!((step.as_str(), past), ("replay", false));
    assert_eq!(stays.len(), 2, "both hosts stay off: {stays:?}");
    operation.model.state.lock().expect("no thread panicked").servers.get_mut("pg2").expect("a server").running = true;
    assert_eq!(operation.run(), Some(End::Done), "and resume goes on");
}

#[test]
fn a_person_stops_it_between_two_steps() {
    let mut operation = Operation::new(Intent::Switchover, None);
    operation.stop = AtomicBool::new(true);
    assert_eq!(operation.run(), Some(End::Interrupted { next: "checkpoint".to_owned(), past: false }));
    operation.stop = AtomicBool::new(false);
    assert_eq!(operation.run(), Some(End::Done));
}

#[test]
fn past_the_promotion_an_unreachable_primary_is_not_guessed_about() {
    let mut operation = Operation::new(Intent::Switchover, None);
    operation.dies_at_event = Some(20);
    assert_eq!(operation.run(), None);
    assert!(operation.journal().past_point_of_no_return());
    operation.model.state.lock().expect("no thread panicked").hung.insert("pg2".to_owned());
    operation.dies_at_event = None;
    let before = operation.state();
    assert!(matches!(operation.run(), Some(End::HalfWay { past: true, .. })));
    assert_eq!(operation.state(), before, "nothing is done on a guess");
}

#[test]
fn the_way_back_goes_the_last_first() {
    let mut operation = Operation::new(Intent::Switchover, Some((9, Mishap::Fails)));
    let end = operation.run().expect("nobody kills it");
    assert!(matches!(&end, End::Undone { step, .. } if step == "stop-postgresql"), "{end:?}");
    let undone = operation.events(|event| match event {
        Event::Undone { step, .. } => Some(step),
        _ => None,
    });
    assert_eq!(
        undone,
        ["stop-postgresql", "arm", "sync-config", "unassign-vip", "stop-gocd", "quiesce", "asynchronous", "checkpoint"]
    );
}

#[test]
fn what_cannot_be_put_back_is_said_and_the_operation_stays_open() {
    let mut operation = Operation::new(Intent::Switchover, Some((9, Mishap::FailsOn)));
    let end = operation.run().expect("nobody kills it");
    let End::HalfWay { stays, past: false, .. } = end else { panic!("{end:?}") };
    assert_eq!(stays.len(), 4, "arm, the VIP, GoCD, its mode: {stays:?}");
    assert!(stays[0].starts_with("could not make pg1 a primary again"), "{stays:?}");
    assert_eq!(operation.journal().outcome(), None);
    // The reason is gone: forward works.
    *operation.model.mishap.lock().expect("no thread panicked") = None;
    assert_eq!(operation.run(), Some(End::Done));
}

#[test]
fn the_others_of_a_group_go_on_to_their_end_when_one_fails_and_then_all_is_put_back() {
    let mut operation = Operation::ordered(Intent::Switchover, Order::InTurn, None);
    // The fifth change is the first of the group: the VIP is not released.
    operation.model.mishap.lock().expect("no thread panicked").replace((5, Mishap::Fails));
    let end = operation.run().expect("nobody kills it");
    assert!(matches!(&end, End::Undone { step, .. } if step == "unassign-vip"), "{end:?}");
    let told: Vec<String> = operation
        .journal()
        .entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Begin { step } => Some(format!("begin {step}")),
            Event::Done { step, .. } => Some(format!("done {step}")),
            Event::Failed { step, .. } => Some(format!("failed {step}")),
            Event::Undone { step, .. } => Some(format!("undone {step}")),
            _ => None,
        })
        .skip_while(|line| line != "begin unassign-vip")
        .collect();
    let place = |line: &str| told.iter().position(|told| told == line).unwrap_or_else(|| panic!("no {line}: {told:?}"));
    for step in ["unassign-vip", "sync-config", "arm"] {
        assert!(place(&format!("begin {step}")) < 3, "they begin together: {told:?}");
    }
    assert!(place("failed unassign-vip") < place("undone arm"), "{told:?}");
    assert!(place("done sync-config") < place("undone arm") && place("done arm") < place("undone arm"), "{told:?}");
    assert!(place("undone arm") < place("undone unassign-vip"), "the last first: {told:?}");
    assert!(!told.iter().any(|line| line == "begin stop-postgresql"), "{told:?}");
}

#[test]
fn when_two_of_a_group_fail_both_are_named() {
    let mut operation = Operation::ordered(Intent::Switchover, Order::InTurn, Some((5, Mishap::FailsOn)));
    let end = operation.run().expect("nobody kills it");
    let End::HalfWay { step, error, past: false, .. } = end else { panic!("{end:?}") };
    assert_eq!(step, "unassign-vip");
    assert!(error.contains("; and sync-config: ") && error.contains("; and arm: "), "{error}");
}

#[test]
fn of_two_fences_at_once_one_that_cannot_be_proven_ends_it_and_nothing_is_promoted() {
    for order in ORDERS {
        let mut operation = Operation::ordered(Intent::Failover, order, None);
        operation.model.state.lock().expect("no thread panicked").fence_works = false;
        let Some(End::NotFenced { step, error }) = operation.run() else { panic!("{order:?}") };
        assert_eq!(
            (step.as_str(), error.as_str()),
            ("fence-gocd", "state of go1 is on; and fence-postgresql: state of pg1 is on")
        );
        assert!(operation.state().servers["pg2"].data.signal, "the standby is still a standby");
    }
}

#[test]
fn a_best_effort_that_cannot_begin_or_fails_is_recorded_and_the_operation_goes_on() {
    let inventory = inventory();
    let not_yet = || vec![postgresql::primary(&inventory, "pg2")];
    for (require, fails) in [(not_yet(), false), (Vec::new(), true)] {
        let mut operation = Operation::new(Intent::Failover, None);
        let at = operation.steps.iter().position(|step| step.id == "replay").expect("a step");
        let run = vec![postgresql::checkpoint(&inventory, "pg1")];
        let replay = operation.steps[at].clone();
        let step = Step { id: "salvage".to_owned(), best_effort: true, require, checks: not_yet(), run, ..replay };
        operation.steps.insert(at, step);
        assert_eq!(operation.run(), Some(End::Done));
        let failed = operation.events(|event| match event {
            Event::Failed { step, .. } => Some(step),
            _ => None,
        });
        assert_eq!(failed.contains(&"salvage".to_owned()), fails);
        assert_eq!(operation.finished().contains(&"salvage".to_owned()), !fails, "skipped, and why");
        assert!(operation.finished().contains(&"verify".to_owned()));
    }
}

#[test]
fn a_fence_that_cannot_be_told_of_the_new_timeline_keeps_no_operation_from_its_end() {
    for intent in [Intent::Switchover, Intent::Failover, Intent::PromoteOnly] {
        let all = {
            let mut operation = Operation::new(intent, None);
            assert_eq!(operation.run(), Some(End::Done), "{intent}");
            operation.model.changes()
        };
        let failed = |operation: &Operation| {
            operation.events(|event| match event {
                Event::Failed { step, .. } => Some(step),
                _ => None,
            })
        };
        // The one change that is fence's.
        let told = (1..=all).rev().find_map(|change| {
            let mut operation = Operation::new(intent, Some((change, Mishap::Fails)));
            let end = operation.run();
            (failed(&operation) == ["publish-token"]).then_some((end, operation))
        });
        let Some((end, operation)) = told else { panic!("{intent}: nothing is told to fence") };
        assert_eq!(end, Some(End::Done), "{intent}");
        assert_eq!(operation.state().known_timeline, 1, "{intent}: it does not know");
        let last = if intent == Intent::PromoteOnly { "settle" } else { "verify" };
        assert!(operation.finished().contains(&last.to_owned()), "{intent}");
        let words = operation.events(|event| match event {
            Event::Finished { words, .. } => Some(words),
            _ => None,
        });
        assert_eq!(words, ["every step is done but publish-token: it was told to fail"], "{intent}");
    }
}
