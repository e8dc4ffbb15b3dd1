//! Whole requests in a world of their own, in which the program can die between any two steps.

use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize};

use bc_model::fencing::Token;

use super::*;
use crate::agent::{Action, Agent, Answer, Call, Preview};
use crate::brake::Brake;
use crate::config::{Policy, RightCommand};
use crate::history::chain;
use crate::levels::Device;

/// What unwinds when the program dies; no panic, so nothing is printed.
struct Death;

/// Counts the steps that the program takes, and lets it die at one of them.
struct Fate {
    steps: AtomicUsize,
    dies_at: usize,
}

impl Fate {
    fn at(dies_at: usize) -> Self {
        Self { steps: AtomicUsize::new(0), dies_at }
    }

    /// Whether this is the step.
    fn has_come(&self) -> bool {
        self.steps.fetch_add(1, Ordering::Relaxed) == self.dies_at
    }

    fn step(&self) {
        if self.has_come() {
            resume_unwind(Box::new(Death));
        }
    }
}

/// A disk on which every write can end before, in the middle, or after.
struct MortalDisk<'a>(&'a Fate);

impl Disk for MortalDisk<'_> {
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.0.step();
        for part in [1, bytes.len() / 2] {
            if self.0.has_come() {
                file.write_all(&bytes[..part])?;
                resume_unwind(Box::new(Death));
            }
        }
        file.write_all(bytes)?;
        self.0.step();
        Ok(())
    }

    fn sync(&self, _file: &File) -> io::Result<()> {
        // The kernel outlives the program: what was written is there.
        self.0.step();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step();
        fs::rename(from, to)?;
        self.0.step();
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        self.0.step();
        Ok(())
    }
}

/// A power switch that counts how often the power went off, and how often it was told to.
struct Switch {
    on: Mutex<bool>,
    went_off: AtomicUsize,
    told: AtomicUsize,
    works: bool,
}

impl Switch {
    fn new() -> Self {
        Self { on: Mutex::new(true), went_off: AtomicUsize::new(0), told: AtomicUsize::new(0), works: true }
    }

    fn broken() -> Self {
        Self { works: false, ..Self::new() }
    }

    fn is_on(&self) -> bool {
        *self.on.lock().unwrap()
    }

    fn turn(&self, on: bool) {
        if self.works {
            let was_on = std::mem::replace(&mut *self.on.lock().unwrap(), on);
            self.went_off.fetch_add(usize::from(was_on && !on), Ordering::Relaxed);
        }
    }
}

/// The switch as a run of the program sees it.
struct Mortal<'a> {
    fate: &'a Fate,
    switch: &'a Switch,
    /// Comes after each call.
    after: &'a (dyn Fn(Action) + Sync),
    grade: Grade,
}

impl Agent for Mortal<'_> {
    fn call(&self, call: &Call<'_>) -> Answer {
        self.fate.step();
        let state = match call.action {
            Action::Off | Action::On => {
                self.switch.told.fetch_add(1, Ordering::Relaxed);
                self.switch.turn(call.action == Action::On);
                if call.action == Action::Off { NodeState::Off } else { NodeState::On }
            }
            _ if !self.switch.works => NodeState::Unknown,
            _ if self.switch.is_on() => NodeState::On,
            _ => NodeState::Off,
        };
        (self.after)(call.action);
        self.fate.step();
        Answer { state, obeyed: state != NodeState::Unknown, at_most: None, detail: "scripted".into() }
    }

    fn preview(&self, _action: Action, _node: &str) -> Preview {
        Preview { command: vec![], stdin: vec![] }
    }

    fn turns_on(&self) -> bool {
        true
    }

    fn grade(&self) -> Grade {
        self.grade
    }
}

/// Time that passes by pauses alone.
#[derive(Default)]
struct Pauses(Mutex<Duration>);

impl Clock for Pauses {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn pause(&self, length: Duration) {
        *self.0.lock().unwrap() += length;
    }
}

fn policy() -> Policy {
    Policy {
        need: Need { silent: Grade::B, answering: Grade::D },
        require_token: false,
        right: None,
        brake: Brake { fences: 0, window: Duration::from_secs(600) },
    }
}

fn token(text: &str) -> Token {
    format!("{text}/2026-11-21T20:35:00Z").parse().unwrap()
}

/// A directory with a history, and a day that moves on by a millisecond whenever somebody asks for the time.
struct Stage {
    directory: tempfile::TempDir,
    ms: AtomicI64,
    policy: Policy,
    grade: Grade,
    slept: Pauses,
    delay: [Duration; 2],
    this_node: Option<&'static str>,
}

impl Stage {
    fn new() -> Self {
        Self {
            // In memory if possible: thousands of runs would wait for a disk that others use, too.
            directory: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
            ms: AtomicI64::new(0),
            policy: policy(),
            grade: Grade::A,
            slept: Pauses::default(),
            delay: [Duration::ZERO; 2],
            this_node: None,
        }
    }

    fn history(&self) -> PathBuf {
        self.directory.path().join("history.jsonl")
    }

    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-11-21T20:30:00Z".parse().unwrap();
        start + SignedDuration::from_millis(self.ms.fetch_add(1, Ordering::Relaxed))
    }

    /// One run of the program; `None` if it died.
    fn run(&self, fate: &Fate, levels: &[&[&Switch]], order: &Order) -> Option<Result<FenceReport, Error>> {
        self.run_with(fate, levels, order, &|_| {})
    }

    fn run_with(
        &self,
        fate: &Fate,
        levels: &[&[&Switch]],
        order: &Order,
        after: &(dyn Fn(Action) + Sync),
    ) -> Option<Result<FenceReport, Error>> {
        let mortal = |switch| Mortal { fate, switch, after, grade: self.grade };
        let agents: Vec<Vec<Mortal<'_>>> =
            levels.iter().map(|level| level.iter().map(|switch| mortal(*switch)).collect()).collect();
        let names = ["a", "b", "c"];
        let timeout = Duration::from_secs(10);
        let device = |(name, agent)| Device { name, timeout, grade: self.grade, agent };
        let mut next = names.into_iter();
        let levels = agents
            .iter()
            .map(|level| next.by_ref().zip(level.iter().map(|agent| agent as &dyn Agent)).map(device).collect())
            .collect();
        let node = Node { name: "pg1", levels, need: self.policy.need };
        let (disk, today, stop) = (MortalDisk(fate), || self.now(), Stop::default());
        let world =
            World { disk: &disk, clock: &self.slept, today: &today, stop: &stop, say: &|_| {}, host: "operator" };
        let history = self.history();
        let setting = Setting { history: &history, policy: &self.policy, this_node: self.this_node };
        let target = Target { node, delay: self.delay };
        match catch_unwind(AssertUnwindSafe(|| carry_in(&world, setting, target, order))) {
            Ok(result) => Some(result),
            Err(cause) if cause.is::<Death>() => None,
            Err(cause) => resume_unwind(cause),
        }
    }

    fn live(&self, levels: &[&[&Switch]], order: &Order) -> Result<FenceReport, Error> {
        self.run(&Fate::at(usize::MAX), levels, order).unwrap()
    }

    fn kinds(&self) -> Vec<&'static str> {
        let kind = |(_, line): &(usize, HistoryLine)| match line {
            HistoryLine::Intent(_) => "intent",
            HistoryLine::Attempt(_) => "attempt",
            HistoryLine::Observed(_) => "observed",
            HistoryLine::Verdict(_) => "verdict",
            HistoryLine::Torn(_) => "torn",
            HistoryLine::Token(_) => "token",
        };
        history::read(&self.history()).unwrap().lines.iter().map(kind).collect()
    }
}

fn off() -> Order {
    Order { token: Some(token("7/4/17/a")), ..Order::new("pg1", FenceAction::Off, "test") }
}

fn on() -> Order {
    Order::new("pg1", FenceAction::On, "test")
}

#[test]
fn a_fence_is_written_down_as_intent_attempt_observed_verdict() {
    let (stage, power) = (Stage::new(), Switch::new());
    let report = stage.live(&[&[&power]], &off()).unwrap();
    assert_eq!((report.state, report.confirmed, report.grade), (NodeState::Off, true, Grade::A));
    assert_eq!(stage.kinds(), ["intent", "attempt", "observed", "observed", "verdict"]);
    assert_eq!(Tokens::beside(&stage.history()).highest("pg1").unwrap(), off().token);
}

/// Lets the program die at every step of a fence, one after the other, and runs it again each time; how many steps there were.
fn die_everywhere(build: fn() -> Vec<Vec<Switch>>, second_death: bool) -> usize {
    let mut deaths = 0;
    for dies_at in 0.. {
        let (steps, survived) = die_at(build, dies_at, usize::MAX);
        if survived {
            return deaths;
        }
        deaths += 1;
        // The run that continues may die as well, at each of its steps.
        for again in 0..if second_death { steps } else { 0 } {
            die_at(build, dies_at, again);
        }
    }
    deaths
}

/// The steps of the run that followed the first death, and whether there was none.
fn die_at(build: fn() -> Vec<Vec<Switch>>, first: usize, second: usize) -> (usize, bool) {
    let (stage, switches) = (Stage::new(), build());
    let levels: Vec<Vec<&Switch>> = switches.iter().map(|level| level.iter().collect()).collect();
    let levels: Vec<&[&Switch]> = levels.iter().map(Vec::as_slice).collect();
    let survived = stage.run(&Fate::at(first), &levels, &off()).is_some();
    let fate = Fate::at(second);
    let report = match stage.run(&fate, &levels, &off()) {
        Some(report) => report.unwrap(),
        None => stage.live(&levels, &off()).unwrap(),
    };
    let place = format!("died at step {first} and {second}: {:?}", stage.kinds());
    assert_eq!((report.state, report.confirmed, report.grade), (NodeState::Off, true, Grade::A), "{place}");
    for switch in switches.iter().flatten().filter(|switch| switch.works) {
        assert_eq!((switch.is_on(), switch.went_off.load(Ordering::Relaxed)), (false, 1), "{place}");
        // Once for each request: a run that continues one that was killed does not tell again what was obeyed already.
        let verdicts = stage.kinds().iter().filter(|kind| **kind == "verdict").count();
        assert!(switch.told.load(Ordering::Relaxed) <= verdicts, "{place}");
    }
    let bytes = fs::read(stage.history()).unwrap();
    let chain = chain::verify(&bytes, None);
    assert_eq!((chain.flaws.len(), chain.unfinished), (0, 0), "{place}: {chain:?}");
    assert_eq!(stage.kinds().last(), Some(&"verdict"), "{place}");
    (fate.steps.load(Ordering::Relaxed), survived)
}

#[test]
fn killed_at_every_step_and_run_again_it_ends_the_same_without_a_second_power_cycle() {
    let steps = die_everywhere(|| vec![vec![Switch::new()]], true);
    assert!(steps > 30, "only {steps} steps were tried");
}

#[test]
fn killed_at_every_step_of_a_fence_of_two_supplies_behind_a_broken_level_it_ends_the_same() {
    let steps = die_everywhere(|| vec![vec![Switch::broken()], vec![Switch::new(), Switch::new()]], false);
    assert!(steps > 60, "only {steps} steps were tried");
}

#[test]
fn what_is_not_killed_is_told_every_time_it_is_asked() {
    let (stage, power) = (Stage::new(), Switch::new());
    stage.live(&[&[&power]], &off()).unwrap();
    stage.live(&[&[&power]], &off()).unwrap();
    assert_eq!(power.told.load(Ordering::Relaxed), 2, "off is idempotent; a look alone would believe a stale answer");
}

#[test]
fn within_the_tolerance_it_looks_instead_of_turning_off_again() {
    let (stage, power) = (Stage::new(), Switch::new());
    let tolerant = Order { tolerance: Some(Duration::from_secs(30)), ..off() };
    stage.live(&[&[&power]], &tolerant).unwrap();
    assert!(stage.live(&[&[&power]], &tolerant).unwrap().confirmed);
    assert_eq!(power.told.load(Ordering::Relaxed), 1);
    // Somebody pressed the button meanwhile: the look finds it, and the power goes off again.
    power.turn(true);
    assert!(stage.live(&[&[&power]], &tolerant).unwrap().confirmed);
    assert_eq!((power.is_on(), power.told.load(Ordering::Relaxed)), (false, 2));
    stage.live(&[&[&power]], &on()).unwrap();
    stage.live(&[&[&power]], &tolerant).unwrap();
    assert_eq!(power.told.load(Ordering::Relaxed), 4, "it was turned on since");
}

#[test]
fn a_delayed_request_with_an_old_token_is_refused_after_the_promotion() {
    let (stage, old, new) = (Stage::new(), Switch::new(), Switch::new());
    // pg1 is fenced and pg2 promoted; what pg1's side decided on before arrives now.
    stage.live(&[&[&old]], &off()).unwrap();
    let tokens = Tokens::beside(&stage.history());
    tokens.admit(&RealDisk, "pg2", &token("7/5/18/promoted"), stage.now()).unwrap();
    for stale in ["7/4/17/a", "7/4/99/late", "7/5/17/late"] {
        let order = Order { token: Some(token(stale)), ..off() };
        let error = stage.live(&[&[&new]], &order).unwrap_err();
        assert!(matches!(error, Error::Right(RightError::Stale { .. })), "{stale}: {error}");
    }
    assert!(new.is_on());
    let late = Order { token: Some("7/5/18/late/2026-11-21T20:30:00Z".parse().unwrap()), ..off() };
    assert!(stage.live(&[&[&new]], &late).unwrap_err().to_string().contains("it has expired"));
    assert_eq!(new.told.load(Ordering::Relaxed), 0);
}

#[test]
fn the_right_is_looked_at_again_before_each_device() {
    let (stage, first, second) = (Stage::new(), Switch::new(), Switch::new());
    let tokens = Tokens::beside(&stage.history());
    let overtaken = |action| {
        if action == Action::Off {
            tokens.admit(&RealDisk, "pg2", &token("7/5/1/promoted"), stage.now()).unwrap();
        }
    };
    let never = Fate::at(usize::MAX);
    let report = stage.run_with(&never, &[&[&first, &second]], &off(), &overtaken).unwrap().unwrap();
    assert_eq!((report.confirmed, first.is_on(), second.is_on()), (false, false, true));
    assert!(report.evidence.last().unwrap().detail.contains("a later one has been seen"), "{:?}", report.evidence);
    assert_eq!(second.told.load(Ordering::Relaxed), 0);
}

#[test]
fn a_right_command_that_says_no_is_a_refusal() {
    let (mut stage, power) = (Stage::new(), Switch::new());
    let script = "echo \"$FENCE_NODE $FENCE_ACTION $FENCE_TOKEN\"; exit 1";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    stage.policy.right = Some(RightCommand { argv, timeout: Duration::from_secs(10) });
    let error = stage.live(&[&[&power]], &off()).unwrap_err().to_string();
    assert!(error.contains("/bin/sh: exit 1: pg1 off 7/4/17/a/2026-11-21T20:35:00Z"), "{error}");
    assert_eq!((power.is_on(), power.told.load(Ordering::Relaxed)), (true, 0));
    assert_eq!(stage.kinds(), ["intent", "attempt", "verdict"]);
}

#[test]
fn a_storm_is_braked_and_the_brake_can_be_overridden() {
    let (mut stage, power) = (Stage::new(), Switch::new());
    stage.policy.brake = Brake { fences: 2, window: Duration::from_secs(60) };
    for _ in 0..2 {
        stage.live(&[&[&power]], &off()).unwrap();
        stage.live(&[&[&power]], &on()).unwrap();
    }
    assert!(matches!(stage.live(&[&[&power]], &off()), Err(Error::Braked(_))));
    assert!(power.is_on());
    assert!(stage.live(&[&[&power]], &Order { override_brake: true, ..off() }).unwrap().confirmed);
}

#[test]
fn a_host_does_not_fence_itself_unless_told_to() {
    let (mut stage, power) = (Stage::new(), Switch::new());
    stage.this_node = Some("pg1");
    assert!(matches!(stage.live(&[&[&power]], &off()), Err(Error::Right(RightError::Itself(_)))));
    assert!(power.is_on());
    assert!(stage.live(&[&[&power]], &Order { may_be_self: true, ..off() }).unwrap().confirmed);
}

#[test]
fn a_token_can_be_demanded() {
    let (mut stage, power) = (Stage::new(), Switch::new());
    stage.policy.require_token = true;
    let error = stage.live(&[&[&power]], &Order { token: None, ..off() }).unwrap_err();
    assert!(matches!(error, Error::Right(RightError::NoToken(_))), "{error}");
    assert!(power.is_on());
}

#[test]
fn a_delay_comes_before_the_first_call_and_outside_the_devices_time() {
    let (mut stage, power) = (Stage::new(), Switch::new());
    stage.delay = [Duration::from_secs(60), Duration::from_secs(30)];
    assert!(stage.live(&[&[&power]], &off()).unwrap().confirmed);
    let slept = stage.slept.now();
    assert!((60..=91).contains(&slept.as_secs()), "{slept:?}");
    stage.live(&[&[&power]], &Order { no_delay: true, ..off() }).unwrap();
    stage.live(&[&[&power]], &on()).unwrap();
    assert!(stage.slept.now() - slept < Duration::from_secs(5));
}

#[test]
fn a_grade_that_is_required_beyond_policy_is_not_reached_by_less() {
    let (mut stage, power) = (Stage::new(), Switch::new());
    stage.grade = Grade::B;
    assert!(stage.live(&[&[&power]], &off()).unwrap().confirmed);
    let report = stage.live(&[&[&power]], &Order { require: Some(Grade::A), ..off() }).unwrap();
    assert_eq!((report.confirmed, report.grade, report.required), (false, Grade::B, Grade::A));
}

#[test]
fn a_persons_word_counts_only_where_policy_is_content_with_it_and_until_the_node_is_turned_on() {
    let word = |stage: &Stage| {
        let line = HistoryLine::Verdict(FenceReport {
            schema: FenceReport::SCHEMA,
            at: stage.now(),
            ended: None,
            node: "pg1".into(),
            action: FenceAction::Off,
            reason: "I pulled the plug".into(),
            by: "alice@operator".into(),
            state: NodeState::Unknown,
            confirmed: false,
            grade: Grade::E,
            required: Grade::B,
            contradictions: vec![],
            token: None,
            merged: false,
            evidence: vec![],
        });
        history::append(&RealDisk, &stage.history(), &line, stage.now(), Durable::Now).unwrap();
    };
    for (need, confirmed) in [(Grade::B, false), (Grade::E, true)] {
        let (mut stage, dead) = (Stage::new(), Switch::broken());
        stage.policy.need = Need { silent: need, answering: need };
        word(&stage);
        let report = stage.live(&[&[&dead]], &off()).unwrap();
        assert_eq!((report.confirmed, report.grade), (confirmed, Grade::E));
        stage.live(&[&[&dead]], &on()).unwrap();
        assert_eq!(stage.live(&[&[&dead]], &off()).unwrap().grade, Grade::X, "it was turned on since");
        let live = Switch::new();
        live.turn(true);
        word(&stage);
        assert_eq!(stage.live(&[&[&live]], &off()).unwrap().grade, Grade::A, "a device says more than a person");
    }
}
