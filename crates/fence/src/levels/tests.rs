//! The levels against devices that follow a script, on a clock that only the devices and the pauses move.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::agent::Preview;
use NodeState::{Off, On, Unknown};

/// Time that passes only when somebody says so.
#[derive(Default)]
struct ScriptedClock(Mutex<Duration>);

impl Clock for ScriptedClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn pause(&self, length: Duration) {
        *self.0.lock().unwrap() += length;
    }
}

/// Answers `status` from a list, the last entry for ever; claims success for everything else.
struct Scripted<'a> {
    clock: &'a ScriptedClock,
    answers: Mutex<VecDeque<NodeState>>,
    obeys: bool,
    takes: Duration,
    turns_on: bool,
    grade: Grade,
}

impl<'a> Scripted<'a> {
    fn new(clock: &'a ScriptedClock, answers: &[NodeState]) -> Self {
        let answers = Mutex::new(answers.iter().copied().collect());
        Self { clock, answers, obeys: true, takes: Duration::from_millis(100), turns_on: true, grade: Grade::A }
    }
}

impl Agent for Scripted<'_> {
    fn call(&self, call: &Call<'_>) -> Answer {
        self.clock.pause(self.takes.min(call.limit));
        if self.takes >= call.limit {
            return Answer::unknown("no answer");
        }
        let state = match call.action {
            Action::Off => Off,
            Action::On => On,
            Action::Status | Action::Monitor => {
                let mut answers = self.answers.lock().unwrap();
                if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0] }
            }
        };
        let state = if self.obeys || call.action == Action::Status { state } else { Unknown };
        Answer { state, obeyed: self.obeys, at_most: None, detail: "scripted".into() }
    }

    fn preview(&self, _action: Action, _node: &str) -> Preview {
        Preview { command: vec![], stdin: vec![] }
    }

    fn turns_on(&self) -> bool {
        self.turns_on
    }

    fn grade(&self) -> Grade {
        self.grade
    }

    fn needs_the_host(&self) -> bool {
        self.grade == Grade::D
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const NEED: Need = Need { silent: Grade::B, answering: Grade::D };

/// Carries out a request on a node whose levels are made of these devices, named a, b, c, …
fn carry(action: FenceAction, clock: &ScriptedClock, levels: &[&[&Scripted<'_>]]) -> Outcome {
    let names = ["a", "b", "c", "d"];
    let mut next = names.iter();
    let levels = levels
        .iter()
        .map(|level| {
            level
                .iter()
                .map(|agent| Device { name: next.next().unwrap(), timeout: TIMEOUT, grade: agent.grade, agent: *agent })
                .collect()
        })
        .collect();
    carry_out(
        action,
        &Node { name: "pg1", levels, need: NEED },
        &Means {
            clock,
            waiting: &|_| {},
            answered: &|_| {},
            ledger: &NoLedger,
            look_first: false,
            stop: &Stop::default(),
        },
    )
}

fn calls(outcome: &Outcome) -> Vec<String> {
    outcome.evidence.iter().map(|e| format!("{}{} {}={}", e.level, e.device, e.action, e.state)).collect()
}

#[test]
fn off_is_believed_after_status_said_off_twice() {
    let clock = ScriptedClock::default();
    let a = Scripted::new(&clock, &[Off]);
    let outcome = carry(FenceAction::Off, &clock, &[&[&a]]);
    assert_eq!((outcome.state, outcome.confirmed), (Off, true));
    assert_eq!(calls(&outcome), ["1a off=off", "1a status=off", "1a status=off"]);
}

#[test]
fn a_device_is_asked_until_the_power_has_fallen() {
    let clock = ScriptedClock::default();
    let a = Scripted::new(&clock, &[On, Unknown, On, Off]);
    assert!(carry(FenceAction::Off, &clock, &[&[&a]]).confirmed);
}

#[test]
fn a_device_that_claims_success_but_stays_on_is_not_off() {
    let clock = ScriptedClock::default();
    let a = Scripted::new(&clock, &[On]);
    let outcome = carry(FenceAction::Off, &clock, &[&[&a]]);
    assert_eq!((outcome.state, outcome.confirmed), (On, false));
    assert!(clock.now() >= TIMEOUT / 2 && clock.now() <= TIMEOUT, "it took {:?}", clock.now());
}

#[test]
fn a_device_that_cannot_say_is_not_off() {
    let clock = ScriptedClock::default();
    let a = Scripted::new(&clock, &[Unknown]);
    let outcome = carry(FenceAction::Off, &clock, &[&[&a]]);
    assert_eq!((outcome.state, outcome.confirmed), (Unknown, false));
}

#[test]
fn a_device_that_hangs_costs_its_timeout_once_and_is_not_off() {
    let clock = ScriptedClock::default();
    let a = Scripted { takes: Duration::from_secs(600), ..Scripted::new(&clock, &[Off]) };
    let outcome = carry(FenceAction::Off, &clock, &[&[&a]]);
    assert_eq!((outcome.state, outcome.confirmed), (Unknown, false));
    assert!(clock.now() <= TIMEOUT, "it took {:?}", clock.now());
}

#[test]
fn a_device_that_fails_to_act_but_reads_off_is_off() {
    let clock = ScriptedClock::default();
    let a = Scripted { obeys: false, ..Scripted::new(&clock, &[Off]) };
    let outcome = carry(FenceAction::Off, &clock, &[&[&a]]);
    assert!(outcome.confirmed);
    assert_eq!(calls(&outcome), ["1a off=unknown", "1a status=off", "1a status=off"]);
}

#[test]
fn a_device_that_says_on_after_it_said_off_is_not_off() {
    let clock = ScriptedClock::default();
    let a = Scripted::new(&clock, &[Off, On]);
    let outcome = carry(FenceAction::Off, &clock, &[&[&a]]);
    assert_eq!((outcome.state, outcome.confirmed), (On, false));
}

#[test]
fn every_device_of_a_level_must_be_off() {
    let clock = ScriptedClock::default();
    let (a, b) = (Scripted::new(&clock, &[Off]), Scripted::new(&clock, &[Unknown]));
    let outcome = carry(FenceAction::Off, &clock, &[&[&a, &b]]);
    assert_eq!((outcome.state, outcome.confirmed), (Unknown, false), "one supply is off, the other cannot say");
}

#[test]
fn the_first_supply_coming_back_while_the_second_goes_off_is_not_off() {
    let clock = ScriptedClock::default();
    let (a, b) = (Scripted::new(&clock, &[Off, On]), Scripted::new(&clock, &[Off]));
    let outcome = carry(FenceAction::Off, &clock, &[&[&a, &b]]);
    assert_eq!((outcome.state, outcome.confirmed), (On, false));
}

#[test]
fn the_next_level_is_tried_when_a_level_fails_and_only_then() {
    let clock = ScriptedClock::default();
    let (a, b, c) = (Scripted::new(&clock, &[Unknown]), Scripted::new(&clock, &[Off]), Scripted::new(&clock, &[Off]));
    let outcome = carry(FenceAction::Off, &clock, &[&[&a], &[&b], &[&c]]);
    assert!(outcome.confirmed);
    let asked: Vec<&str> = outcome.evidence.iter().map(|e| e.device.as_str()).collect();
    assert!(asked.contains(&"a") && asked.contains(&"b") && !asked.contains(&"c"), "{asked:?}");
}

#[test]
fn a_wish_to_stop_is_never_a_success() {
    let clock = ScriptedClock::default();
    let a = Scripted::new(&clock, &[Off]);
    let stop = Stop::default();
    stop.request();
    let node = Node {
        name: "pg1",
        levels: vec![vec![Device { name: "a", timeout: TIMEOUT, grade: Grade::A, agent: &a }]],
        need: NEED,
    };
    let outcome = carry_out(
        FenceAction::Off,
        &node,
        &Means {
            clock: &clock,
            waiting: &|_| {},
            answered: &|_| {},
            ledger: &NoLedger,
            look_first: false,
            stop: &stop,
        },
    );
    assert_eq!((outcome.state, outcome.confirmed), (Unknown, false));
    assert_eq!(calls(&outcome), [""; 0], "nothing is asked any more");
}

#[test]
fn status_says_on_if_any_device_does_and_off_if_a_whole_level_does() {
    let table: [(&[&[NodeState]], NodeState); 7] = [
        (&[&[Off]], Off),
        (&[&[On]], On),
        (&[&[Unknown]], Unknown),
        (&[&[Off, On]], On),
        (&[&[Off, Unknown]], Unknown),
        (&[&[Unknown], &[Off]], Off),
        (&[&[On], &[Off]], On),
    ];
    for (levels, state) in table {
        let clock = ScriptedClock::default();
        let agents: Vec<Vec<Scripted<'_>>> =
            levels.iter().map(|level| level.iter().map(|answer| Scripted::new(&clock, &[*answer])).collect()).collect();
        let borrowed: Vec<Vec<&Scripted<'_>>> = agents.iter().map(|level| level.iter().collect()).collect();
        let slices: Vec<&[&Scripted<'_>]> = borrowed.iter().map(Vec::as_slice).collect();
        let outcome = carry(FenceAction::Status, &clock, &slices);
        assert_eq!((outcome.state, outcome.confirmed), (state, state != Unknown), "{levels:?}");
    }
}

#[test]
fn on_turns_on_whatever_off_may_have_used() {
    let clock = ScriptedClock::default();
    let (a, b) = (Scripted::new(&clock, &[Off, On]), Scripted::new(&clock, &[On]));
    let ssh = Scripted { turns_on: false, ..Scripted::new(&clock, &[Off]) };
    let outcome = carry(FenceAction::On, &clock, &[&[&a], &[&ssh], &[&b]]);
    assert_eq!((outcome.state, outcome.confirmed), (On, true));
    assert_eq!(calls(&outcome), ["1a on=on", "1a status=off", "1a status=on", "3c on=on", "3c status=on"]);
}

#[test]
fn on_is_not_confirmed_while_a_device_says_off_or_none_can() {
    let clock = ScriptedClock::default();
    let (a, b) = (Scripted::new(&clock, &[On]), Scripted::new(&clock, &[Off]));
    assert_eq!(carry(FenceAction::On, &clock, &[&[&a], &[&b]]).state, Off);
    let ssh = Scripted { turns_on: false, ..Scripted::new(&clock, &[Off]) };
    let outcome = carry(FenceAction::On, &clock, &[&[&ssh]]);
    assert_eq!((outcome.state, outcome.confirmed, outcome.evidence.len()), (Unknown, false, 0));
}

fn of_grade<'a>(clock: &'a ScriptedClock, grade: Grade, answers: &[NodeState]) -> Scripted<'a> {
    Scripted { grade, ..Scripted::new(clock, answers) }
}

#[test]
fn a_level_proves_what_its_weakest_device_proves_and_too_little_is_not_off() {
    let clock = ScriptedClock::default();
    let (power, watchdog) = (of_grade(&clock, Grade::A, &[Off]), of_grade(&clock, Grade::C, &[Off]));
    let outcome = carry(FenceAction::Off, &clock, &[&[&power, &watchdog]]);
    assert_eq!((outcome.state, outcome.confirmed), (Off, false));
    assert_eq!((outcome.grade, outcome.required), (Grade::C, Grade::B));
}

#[test]
fn a_level_that_proves_too_little_leads_to_the_next_one() {
    let clock = ScriptedClock::default();
    let (watchdog, fabric) = (of_grade(&clock, Grade::C, &[Off]), of_grade(&clock, Grade::B, &[Off]));
    let outcome = carry(FenceAction::Off, &clock, &[&[&watchdog], &[&fabric]]);
    assert_eq!((outcome.confirmed, outcome.grade, outcome.required), (true, Grade::B, Grade::B));
}

#[test]
fn a_host_that_answers_needs_less() {
    let clock = ScriptedClock::default();
    let host = of_grade(&clock, Grade::D, &[Off]);
    let outcome = carry(FenceAction::Off, &clock, &[&[&host]]);
    assert_eq!((outcome.confirmed, outcome.grade, outcome.required), (true, Grade::D, Grade::D));
}

#[test]
fn power_that_is_on_where_another_switch_says_off_is_not_off() {
    let clock = ScriptedClock::default();
    let (bmc, outlet) = (of_grade(&clock, Grade::A, &[On]), of_grade(&clock, Grade::A, &[Off]));
    let outcome = carry(FenceAction::Off, &clock, &[&[&bmc], &[&outlet]]);
    assert_eq!(
        (outcome.state, outcome.confirmed, outcome.grade),
        (On, false, Grade::X),
        "the wrong outlet was switched"
    );
    assert!(outcome.contradictions[0].starts_with("a says on"), "{:?}", outcome.contradictions);
}

#[test]
fn power_that_is_on_does_not_refute_a_stopped_or_isolated_host() {
    for grade in [Grade::B, Grade::D] {
        let clock = ScriptedClock::default();
        let (bmc, other) = (of_grade(&clock, Grade::A, &[On]), of_grade(&clock, grade, &[Off]));
        for action in [FenceAction::Off, FenceAction::Status] {
            let outcome = carry(action, &clock, &[&[&bmc], &[&other]]);
            assert_eq!((outcome.state, outcome.confirmed, outcome.grade), (Off, true, grade), "{action}");
        }
    }
}

#[test]
fn services_that_run_refute_everything() {
    for grade in [Grade::A, Grade::B, Grade::C] {
        let clock = ScriptedClock::default();
        let (host, other) = (of_grade(&clock, Grade::D, &[On]), of_grade(&clock, grade, &[Off]));
        for action in [FenceAction::Off, FenceAction::Status] {
            let outcome = carry(action, &clock, &[&[&host], &[&other]]);
            assert_eq!((outcome.state, outcome.grade), (On, Grade::X), "{action} {grade}");
            assert_eq!(outcome.contradictions.len(), 1);
        }
    }
}
