//! Each device in each situation: what came of it, what it proved, and what the machine really did.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod cells;
mod leaks;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bc_model::fencing::Grade;

use crate::bench::Bench;
use crate::emulators::machine::Machine;

/// One line of the matrix.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    device: &'static str,
    situation: &'static str,
    exit: i32,
    grade: Grade,
    /// Whether the machine runs afterwards.
    runs: bool,
    /// Why, in words.
    why: &'static str,
    took: Duration,
}

/// What a case may not be: success without evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// Exit 0 only if the machine is off.
    Known,
    /// A device that lies, alone: nobody can know.
    Hidden,
}

/// A group of cases: one device on one machine.
pub(crate) struct Group<'a> {
    device: &'static str,
    machine: &'a Machine,
    leaks: &'a leaks::Watch,
    rows: Vec<Row>,
}

impl<'a> Group<'a> {
    fn new(device: &'static str, machine: &'a Machine, leaks: &'a leaks::Watch) -> Self {
        Self { device, machine, leaks, rows: Vec::new() }
    }

    /// Runs `fence off` of a machine that is on, against these devices, and writes down what came of it.
    #[expect(clippy::disallowed_methods, reason = "the matrix has a column with the time")]
    fn case(&mut self, situation: &'static str, why: &'static str, bench: Bench, limit: u64, truth: Truth) {
        assert!(self.machine.runs(), "{} {situation}: the machine is off before", self.device);
        let begun = Instant::now();
        let said = bench.fence(&["off", "pg1", "--reason", "matrix", "--json"]);
        let took = begun.elapsed();
        let report = said.report();
        let runs = self.machine.runs();
        let (what, exit) = (format!("{} {situation}", self.device), said.code.unwrap_or(-1));
        let most = Duration::from_secs(limit) + slack();
        assert!(took <= most, "{what}: took {took:?}, the limit is {limit} s: {said:?}");
        assert_eq!(exit == 0, report.confirmed, "{what}: {said:?}");
        if truth == Truth::Known {
            assert!(exit != 0 || !runs, "{what}: exit 0, and the machine runs: {said:?}");
        }
        self.leaks.look_at(&what, &format!("{}{}", said.stdout, said.stderr));
        self.leaks.look_at(&what, &fs::read_to_string(bench.path("history.jsonl")).unwrap());
        self.rows.push(Row { device: self.device, situation, exit, grade: report.grade, runs, why, took });
        self.machine.switch(true);
    }
}

/// Whether the document is written anew.
fn writes() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// What a call may take beyond the timeouts of its devices: the document says one second. All groups run at once, so on a busy machine
/// a process may come to its turn late; what keeps no deadline takes far longer than this, or never ends.
fn slack() -> Duration {
    Duration::from_secs(if writes() { 1 } else { 15 })
}

/// Runs them all, compares the document, and looks for secrets.
pub(crate) fn run() {
    let leaks = leaks::Watch::start();
    let rows: Vec<Option<Vec<Row>>> = thread::scope(|scope| {
        let groups = cells::ALL.map(|group| {
            let leaks = &leaks;
            scope.spawn(move || group(leaks))
        });
        groups.into_iter().map(|group| group.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    leaks.end();
    let complete = rows.iter().all(Option::is_some);
    let rows: Vec<Row> = rows.into_iter().flatten().flatten().collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fence-matrix.md");
    if writes() {
        assert!(complete, "a device of the matrix could not be tried on this machine");
        fs::write(&file, document(&rows)).unwrap();
    }
    let documented = fs::read_to_string(&file).unwrap_or_default();
    let found = lines(&document(&rows));
    let expected = lines(&documented);
    for line in &found {
        assert!(
            expected.contains(line),
            "not in docs/fence-matrix.md (UPDATE=1 writes it):\n{line:?}\n{}",
            document(&rows)
        );
    }
    assert!(!complete || expected.len() == found.len(), "docs/fence-matrix.md has more rows than there are");
}

/// The rows without their times.
fn lines(document: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = document.lines().filter(|line| line.starts_with("| ")).map(cells);
    rows.map(|mut cells| {
        if cells.len() > 6 {
            cells.remove(6);
        }
        cells
    })
    .collect()
}

fn document(rows: &[Row]) -> String {
    let mut text = String::from(include_str!("head.md"));
    text.push_str("| device | situation | exit | grade | machine | time | why |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let Row { device, situation, exit, grade, why, .. } = row;
        let machine = if row.runs { "runs" } else { "off" };
        let took = row.took.as_secs_f64();
        let _ = writeln!(text, "| {device} | {situation} | {exit} | {grade} | {machine} | {took:.1} s | {why} |");
    }
    text
}
