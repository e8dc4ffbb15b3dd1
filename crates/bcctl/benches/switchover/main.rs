//! Planned switchovers under write load: bcctl, and the installed repmgr, pg_auto_failover and Patroni beside it.
//!
//! Method, quantities and their limits: `docs/bench-switchover.md`.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]
#![expect(clippy::expect_used, reason = "what the tests' site cannot set up ends the bench")]

mod client;
mod figures;
mod ours;
mod pair;
mod peers;
#[path = "../../tests/site/mod.rs"]
mod site;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use client::{Connection, Writer};
use figures::{gaps, lost, median, quantity};
use pair::{Pair, settle};

/// What one tool has shown.
struct Shown {
    name: String,
    /// Last row acknowledged by the old primary to the first by the new one, in seconds.
    gaps: Vec<f64>,
    /// The tool's command, in seconds.
    commands: Vec<f64>,
    acknowledged: usize,
    lost: usize,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut runs, mut only, mut strict, mut verbose) = (10_usize, Vec::new(), false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => runs = arguments.next().context("--runs N")?.parse()?,
            "--only" => only.push(arguments.next().context("--only bcctl|repmgr|pg_auto_failover|patroni")?),
            "--strict" => strict = true,
            "--verbose" => verbose = true,
            other => bail!("unknown: {other}; known: --runs N, --only TOOL, --strict, --verbose"),
        }
    }
    if let Some(reason) = site::missing() {
        bail!("{reason}");
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let mut all: Vec<Shown> = Vec::new();
    for name in ["bcctl", "repmgr", "pg_auto_failover", "patroni"] {
        if !wanted(name) {
            continue;
        }
        let directory = peers::directory()?;
        let shown = match name {
            "bcctl" => measure(&mut ours::Ours::start(verbose), runs),
            "repmgr" => peers::repmgr::Repmgr::start(directory.path()).and_then(|mut pair| measure(&mut pair, runs)),
            "pg_auto_failover" => {
                peers::autofailover::AutoFailover::start(directory.path()).and_then(|mut pair| measure(&mut pair, runs))
            }
            _ => peers::patroni::Patroni::start(directory.path()).and_then(|mut pair| measure(&mut pair, runs)),
        };
        let shown = shown.with_context(|| name.to_owned())?;
        row(&shown, all.first());
        all.push(shown);
    }
    if strict { judge(&all) } else { Ok(()) }
}

fn measure(pair: &mut impl Pair, runs: usize) -> Result<Shown> {
    let ports = pair.ports();
    let first = settle(ports)?;
    Connection::open(ports[first])?.query("CREATE TABLE bench (id bigint PRIMARY KEY)")?;
    let writer = Writer::start(ports);
    let mut commands = Vec::new();
    for _ in 0..runs {
        let from = settle(ports)?;
        writer.wait_for(200)?;
        let start = Instant::now();
        pair.switch(1 - from)?;
        commands.push(start.elapsed().as_secs_f64());
        let now = settle(ports)?;
        if now == from {
            bail!("the primary is where it was");
        }
    }
    let acks = writer.stop();
    let last = settle(ports)?;
    let lost = lost(&acks, ports[last])?;
    Ok(Shown { name: pair.name(), gaps: gaps(&acks), commands, acknowledged: acks.len(), lost })
}

fn row(shown: &Shown, ours: Option<&Shown>) {
    let ratio = ours.map_or(String::new(), |ours| {
        format!(
            "; bcctl/this: gap {:.2}, command {:.2}",
            median(&ours.gaps) / median(&shown.gaps),
            median(&ours.commands) / median(&shown.commands)
        )
    });
    println!(
        "{:24} n {:3}  client gap {}  command {}  acknowledged {}, lost {}{ratio}",
        shown.name,
        shown.gaps.len(),
        quantity(&shown.gaps),
        quantity(&shown.commands),
        shown.acknowledged,
        shown.lost
    );
}

/// What `--strict` asks for.
fn judge(all: &[Shown]) -> Result<()> {
    let find = |name: &str| all.iter().find(|shown| shown.name.starts_with(name));
    let ours = find("bcctl").context("bcctl was not measured")?;
    let mut missed = Vec::new();
    if ours.lost > 0 {
        missed.push(format!("{} acknowledged rows lost", ours.lost));
    }
    if median(&ours.gaps) >= 0.30 {
        missed.push("the client's gap is not under 0.30 s".to_owned());
    }
    if let Some(repmgr) = find("repmgr") {
        if median(&ours.gaps) >= median(&repmgr.gaps) {
            missed.push("the client's gap is not under repmgr's".to_owned());
        }
        if median(&ours.commands) >= median(&repmgr.commands) {
            missed.push("the command's time is not under repmgr's".to_owned());
        }
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("; ")) }
}
