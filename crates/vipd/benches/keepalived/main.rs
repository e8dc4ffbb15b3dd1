//! vipd against the installed keepalived, in turn, in one run, on one wire. See docs/bench.md.
//!
//! ```text
//!   arguments ─▶ for each bench: for each run: for vipd, then keepalived: measure on a new Site ─▶ Table ─▶ text or JSON
//! ```
//!
//! Nothing is measured by the programs themselves, and nothing by when this one was scheduled: times are the kernel's stamps
//! on the frames that a third host sees.

#![expect(clippy::disallowed_methods, reason = "a bench measures, and waits for the wire with deadlines")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken bed ends the bench, with the place")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program of its own that prints a table")]
#![expect(unreachable_pub, reason = "modules of one program; pub says what the others use")]

mod assign;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/bed/mod.rs"]
mod bed;
mod crash;
mod footprint;
mod monitor;
mod outage;
mod scale;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use bed::router::{Instance, Make, Setting};
use clap::{Parser, ValueEnum};
use table::{Row, Table};

/// Measures vipd against the installed keepalived on network namespaces, and prints medians and ratios.
#[derive(Parser)]
#[command(after_help = "Examples:\n  cargo bench -p vipd --bench keepalived\n  \
    cargo bench -p vipd --bench keepalived -- assign crash --runs 11\n  \
    cargo bench -p vipd --bench keepalived -- --json > bench.json")]
struct Arguments {
    /// What to measure; everything if none is named
    #[arg(value_enum)]
    benches: Vec<Bench>,
    /// How often; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Print the table as JSON, with every sample
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a limit is missed
    #[arg(long, conflicts_with = "only")]
    strict: bool,
    /// Measure one program only: without a ratio, to find out why a number is what it is
    #[arg(long, value_enum)]
    only: Option<Program>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured alone.
#[derive(Clone, Copy, ValueEnum)]
enum Program {
    Vipd,
    Keepalived,
}

impl From<Program> for Make {
    fn from(program: Program) -> Self {
        match program {
            Program::Vipd => Self::Vipd,
            Program::Keepalived => Self::Keepalived,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// `vipd assign --no-probe` against `ip address add` and `arping -U -c 1`
    Assign,
    /// SIGKILL and SIGSTOP of the Active: how long two answer, and when the other takes over
    Crash,
    /// Link cut and graceful stop at 1 s, 100 ms and 20 ms: how long a client gets no answer
    Outage,
    /// 4,001 addresses
    Scale,
    /// Memory and CPU at 1 and at 255 instances
    Footprint,
}

impl Bench {
    fn row_sets(self) -> Vec<Box<dyn RowSet>> {
        match self {
            Self::Assign => vec![Box::new(assign::Assign)],
            Self::Crash => crash::Crash::ALL.into_iter().map(|crash| Box::new(crash) as Box<dyn RowSet>).collect(),
            Self::Outage => outage::Outage::all().map(|outage| Box::new(outage) as Box<dyn RowSet>).collect(),
            Self::Scale => vec![Box::new(scale::Scale)],
            Self::Footprint => vec![Box::new(footprint::Footprint(1)), Box::new(footprint::Footprint(255))],
        }
    }
}

/// Rows of the table that are measured together.
trait RowSet {
    /// Empty rows, with their limits.
    fn rows(&self) -> Vec<Row>;
    /// One number for each row. `share` from 0 to 1 says where in an advertisement interval the fault is to strike, so that
    /// both programs meet it at the same moments.
    fn measure(&self, make: Make, share: f64) -> Vec<f64>;
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let makes = arguments.only.map_or(vec![Make::Vipd, Make::Keepalived], |program| vec![program.into()]);
    if !makes.iter().all(|make| make.is_installed()) {
        return ExitCode::from(2);
    }
    let benches =
        if arguments.benches.is_empty() { Bench::value_variants().to_vec() } else { arguments.benches.clone() };
    let mut table = Table::new(arguments.runs);
    for set in benches.iter().flat_map(|bench| bench.row_sets()) {
        let mut rows = set.rows();
        for run in 0..arguments.runs {
            for &make in &makes {
                eprintln!("{}: run {} of {}, {make:?}", rows[0].bench, run + 1, arguments.runs);
                let numbers = set.measure(make, (f64::from(run) + 0.5) / f64::from(arguments.runs));
                for (row, number) in rows.iter_mut().zip(numbers) {
                    row.samples(make).push(number);
                }
            }
        }
        if !arguments.json {
            rows.iter().for_each(|row| println!("{row}"));
        }
        table.rows.extend(rows);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&table).unwrap());
    }
    let missed = table.rows.iter().filter(|row| row.verdict() == Some(false)).count();
    if missed > 0 {
        eprintln!("{missed} of {} limits missed", table.rows.iter().filter(|row| row.verdict().is_some()).count());
    }
    ExitCode::from(u8::from(arguments.strict && missed > 0))
}

/// A router with one virtual IP.
fn setting(interval: Duration, priority: u8) -> Setting {
    let instance = Instance { vrid: VRID, addresses: vec![format!("{VIP}/24")], unadvertised: Vec::new() };
    Setting { version: 3, interval, priority, preempt: true, virtual_mac: false, instances: vec![instance] }
}

const VRID: u8 = 51;
const VIP: std::net::Ipv4Addr = std::net::Ipv4Addr::new(198, 18, 5, 200);

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
