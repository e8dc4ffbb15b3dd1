//! The way home of a database of 2 GB: `bcctl failback`, and beside it the eight steps of GoCD's page done by hand.
//!
//! Method, quantities and their limits: `docs/bench-failback.md`.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]
#![expect(clippy::expect_used, reason = "what the tests' site cannot set up ends the bench")]

mod by_hand;
#[path = "../switchover/client.rs"]
mod client;
#[path = "../switchover/figures.rs"]
mod figures;
#[path = "../switchover/ours.rs"]
mod ours;
#[path = "../switchover/pair.rs"]
mod pair;
#[path = "../../tests/site/mod.rs"]
mod site;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use by_hand::Took;
use client::{Ack, Writer};
use figures::{lost, median, quantity};
use ours::Ours;
use pair::{Pair as _, settle};
use site::Site;

/// How the site comes home.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Bcctl,
    ByHand,
    /// With a checkpoint in the window in which both servers have the same last byte.
    ByHandAndTimer,
}

/// What a way home has shown, run by run.
struct Shown {
    name: &'static str,
    /// Between two acknowledged rows, the longest, in seconds.
    outages: Vec<f64>,
    /// From its beginning to its end, in seconds.
    totals: Vec<f64>,
    acknowledged: usize,
    lost: usize,
    /// What is there afterwards, and what the steps took.
    words: Vec<String>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut runs, mut megabytes, mut verbose, mut strict) = (3_usize, 2000_u64, false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => runs = arguments.next().context("--runs N")?.parse()?,
            "--megabytes" => megabytes = arguments.next().context("--megabytes N")?.parse()?,
            "--strict" => strict = true,
            "--verbose" => verbose = true,
            other => bail!("unknown: {other}; known: --runs N, --megabytes N, --strict, --verbose"),
        }
    }
    if let Some(reason) = site::missing() {
        bail!("{reason}");
    }
    let ours = Ours::start(verbose);
    fill(ours.site(), megabytes)?;
    println!("{} on pg1; load {}", ours.site().sql("pg1", SIZE), load());
    let mut all = Vec::new();
    for (way, name, runs) in [
        (Way::Bcctl, "bcctl failback", runs),
        (Way::ByHand, "eight steps by hand", runs),
        (Way::ByHandAndTimer, "… and one checkpoint", 1),
    ] {
        let mut shown = Shown { name, outages: vec![], totals: vec![], acknowledged: 0, lost: 0, words: vec![] };
        for _ in 0..runs {
            measure(&ours, way, &mut shown).context(name)?;
        }
        row(&shown, all.first());
        all.push(shown);
    }
    println!("load {}", load());
    if strict { judge(&all) } else { Ok(()) }
}

const SIZE: &str = "SELECT pg_size_pretty(pg_database_size('postgres'))";

/// Rows of about a kilobyte.
fn fill(site: &Site, megabytes: u64) -> Result<()> {
    for setting in ["max_slot_wal_keep_size = '-1'", "max_wal_size = '4GB'"] {
        site.sql("pg1", &format!("ALTER SYSTEM SET {setting}"));
    }
    site.sql("pg1", "SELECT pg_reload_conf()");
    let rows = megabytes * 1000;
    site.sql(
        "pg1",
        &format!("CREATE TABLE filler AS SELECT n, repeat(md5(n::text), 28) AS t FROM generate_series(1, {rows}) AS n"),
    );
    site.sql("pg1", "VACUUM filler");
    site.sql("pg1", "CHECKPOINT");
    settle(site.ports()).map(drop)
}

/// Home is lost, away serves, home is back: and now the way home.
fn measure(ours: &Ours, way: Way, shown: &mut Shown) -> Result<()> {
    let site = ours.site();
    let ports = ours.ports();
    if settle(ports)? != 0 {
        bail!("home does not serve");
    }
    site.sql("pg1", "DROP TABLE IF EXISTS bench");
    site.sql("pg1", "CREATE TABLE bench (id bigint PRIMARY KEY)");
    settle(ports)?;
    site.kill_server("pg1");
    for lost in ["gocd/go1", "vip/go1"] {
        std::fs::remove_file(site.path(lost))?;
    }
    ours.run(&["failover", "--yes"])?;
    for back in ["pg1", "go1"] {
        site.plug_in(back);
    }

    let writer = Writer::start(ports);
    writer.wait_for(1000)?;
    let begun = Instant::now();
    let took = match way {
        Way::Bcctl => ours.run(&["failback", "--yes"]).map(|()| Took::new()),
        Way::ByHand | Way::ByHandAndTimer => by_hand::failback(site, &writer, way == Way::ByHandAndTimer),
    };
    let total = begun.elapsed().as_secs_f64();
    let written = took.and_then(|took| writer.wait_for(1000).map(|()| took));
    let acks = writer.stop();
    let took = written?;
    shown.totals.push(total);
    shown.outages.push(longest(&acks));
    shown.acknowledged += acks.len();
    shown.lost += lost(&acks, ports[0])?;
    shown.words.push(aftermath(site, &acks, &took)?);
    tidy(ours, way)
}

/// The longest time between two acknowledged rows, in seconds.
fn longest(acks: &[Ack]) -> f64 {
    acks.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at).as_secs_f64()).fold(0.0, f64::max)
}

/// Whether one server follows the other, on which timelines they are, and which rows only one of them has.
fn aftermath(site: &Site, acks: &[Ack], took: &Took) -> Result<String> {
    let ports = site.ports();
    let deadline = Instant::now() + Duration::from_secs(20);
    let streams = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pg2' AND state = 'streaming' AND replay_lsn >= pg_current_wal_lsn()";
    let mut follows = false;
    while !follows && Instant::now() < deadline {
        follows = site.sql("pg1", streams) == "1";
        std::thread::sleep(Duration::from_millis(200));
    }
    let [one, two] = ["pg1", "pg2"].map(|host| {
        site.sql(host, "CHECKPOINT");
        site.sql(host, "SELECT timeline_id FROM pg_control_checkpoint()")
    });
    let follows = if follows { "pg2 follows pg1" } else { "pg2 DOES NOT FOLLOW pg1" };
    let mut words = format!("{follows}; timeline of pg1 {one}, of pg2 {two}; not on pg2: {}", lost(acks, ports[1])?);
    if !took.is_empty() {
        let took: Vec<String> = took.iter().map(|(step, took)| format!("{step} {took:.1} s")).collect();
        words.push_str(&format!(" ({})", took.join(", ")));
    }
    Ok(words)
}

/// Home serves and away follows, as before the first run.
fn tidy(ours: &Ours, way: Way) -> Result<()> {
    let site = ours.site();
    if way != Way::Bcctl {
        site.service("pg2", "stop");
        ours.run(&["rejoin", "pg2", "--yes"])?;
    }
    settle(ours.ports())?;
    for entry in std::fs::read_dir(site.path("."))?.flatten() {
        // What a re-seed keeps: two gigabytes each time.
        if entry.file_name().to_string_lossy().contains(".old-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn row(shown: &Shown, ours: Option<&Shown>) {
    let ratio = ours.map_or(String::new(), |ours| {
        format!("; bcctl/this: outage {:.3}", median(&ours.outages) / median(&shown.outages))
    });
    println!(
        "{:20} n {}  no write acknowledged for {}  whole {}  acknowledged {}, lost {}{ratio}",
        shown.name,
        shown.outages.len(),
        quantity(&shown.outages),
        quantity(&shown.totals),
        shown.acknowledged,
        shown.lost
    );
    shown.words.iter().for_each(|words| println!("    {words}"));
}

/// Writes stop for the switchover only.
fn judge(all: &[Shown]) -> Result<()> {
    let [ours, by_hand, ..] = all else { bail!("not measured") };
    let mut missed = Vec::new();
    if ours.lost > 0 {
        missed.push(format!("{} acknowledged rows lost", ours.lost));
    }
    if ours.words.iter().any(|words| words.contains("DOES NOT FOLLOW")) {
        missed.push("the standby does not follow".to_owned());
    }
    if median(&ours.outages) >= 1.0 {
        missed.push("no write was acknowledged for a second or more".to_owned());
    }
    if median(&ours.outages) >= median(&by_hand.outages) {
        missed.push("the outage is not under the one by hand".to_owned());
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("; ")) }
}

/// What else the machine does.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .map(|text| text.split(' ').take(3).collect::<Vec<_>>().join(" "))
        .unwrap_or_default()
}
