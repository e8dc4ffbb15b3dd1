//! Two to five routers on a wire that loses, delays, duplicates and cuts, with hosts that freeze and die and clocks that
//! run at the wrong rate. What must hold, and from when on: `judge.rs`.
//!
//! ```text
//! VRRP_SIM_WORLDS=100000 cargo test -p vrrp --test simulation -- --nocapture     more worlds than the default
//! VRRP_SIM_SEED=4711     cargo test -p vrrp --test simulation -- --nocapture     one world; its last events if it fails
//! ```
#![expect(clippy::unwrap_used, reason = "a world that cannot be built is a fault of the test")]

use std::collections::BTreeMap;
use std::time::Duration;

mod clock;
mod flaw;
mod host;
mod judge;
mod network;
mod random;
mod scenario;
mod world;

use flaw::Flaw;
use scenario::{Summary, live, split};

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text:?}: {error}")))
}

/// Live through one world; after a violation once more, for the trace.
fn survive(seed: u64, flaw: Option<Flaw>) -> Summary {
    live(seed, flaw, false).unwrap_or_else(|(violation, _)| {
        let trace = live(seed, flaw, true).err().map(|(_, trace)| trace).unwrap_or_default();
        let at = Duration::from_nanos(violation.at);
        panic!("{trace}\nat {at:?}: broken: {}\nreplay with VRRP_SIM_SEED={seed}", violation.rule)
    })
}

/// For how long this thread has been on a CPU (proc(5), `schedstat`): whatever else the machine does, it costs nothing.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// What the worlds of one interval amounted to, and how long the machine took.
#[derive(Default)]
struct Pace {
    worlds: u32,
    virtual_time: Duration,
    advertisements: u64,
    cpu_time: Duration,
}

impl Pace {
    fn add(&mut self, world: &Summary, cpu_time: Duration) {
        self.worlds += 1;
        self.virtual_time += Duration::from_nanos(world.virtual_time);
        self.advertisements += world.advertisements;
        self.cpu_time += cpu_time;
    }

    /// Virtual seconds per second of CPU time.
    fn rate(&self) -> f64 {
        self.virtual_time.as_secs_f64() / self.cpu_time.as_secs_f64()
    }
}

#[test]
fn whatever_happened_a_quiet_network_has_one_active_router_again() {
    let seeds = match from_environment("VRRP_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("VRRP_SIM_WORLDS").unwrap_or(2_000),
    };
    let mut paces: BTreeMap<u64, Pace> = BTreeMap::new();
    for seed in seeds {
        let begin = on_cpu();
        let world = survive(seed, None);
        assert_eq!(world.discarded, 0, "the codec discards nothing that a router sent");
        paces.entry(world.longest_interval / 1_000_000).or_default().add(&world, on_cpu() - begin);
    }
    println!("interval   worlds   virtual seconds   advertisements       CPU time   virtual seconds per second");
    for (millis, pace) in &paces {
        println!(
            "{millis:>5} ms {:>8} {:>17.0} {:>16} {:>12.2} s {:>20.2e}",
            pace.worlds,
            pace.virtual_time.as_secs_f64(),
            pace.advertisements,
            pace.cpu_time.as_secs_f64(),
            pace.rate(),
        );
    }
    if let Some(at_one_second) = paces.get(&1_000).filter(|pace| pace.worlds >= 100) {
        assert!(
            at_one_second.rate() > 1e5,
            "at the default interval: {:.2e} virtual seconds per second",
            at_one_second.rate()
        );
    }
}

#[test]
fn every_known_fault_is_found() {
    let mut missed = Vec::new();
    for flaw in Flaw::ALL {
        match (0..500).find_map(|seed| live(seed, Some(flaw), false).err().map(|(violation, _)| (seed, violation))) {
            Some((seed, violation)) => {
                println!("{flaw:?}: world {seed} after {:?}: {}", Duration::from_nanos(violation.at), violation.rule)
            }
            None => missed.push(flaw),
        }
    }
    assert!(missed.is_empty(), "not found in 500 worlds: {missed:?}");
}

#[test]
fn after_a_split_brain_the_neighbours_believe_the_winner() {
    let (mut splits, mut missed) = (0, 0);
    for seed in from_environment("VRRP_SIM_SEED").map_or(0..500, |seed| seed..seed + 1) {
        splits += split(seed, None, false).unwrap_or_else(|(violation, _)| {
            let trace = split(seed, None, true).err().map(|(_, trace)| trace).unwrap_or_default();
            panic!("{trace}\nbroken: {}\nreplay with VRRP_SIM_SEED={seed}", violation.rule)
        });
        missed += u32::from(split(seed, Some(Flaw::LeavesWithoutALastWord), false).is_err());
    }
    println!("{splits} split brains; without a last word the neighbours were left behind in {missed} worlds");
    if from_environment("VRRP_SIM_SEED").is_none() {
        assert!(splits >= 500 && missed >= 50, "{splits} split brains, {missed} worlds");
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let (first, second) = (survive(7, None), survive(7, None));
    assert_eq!((first.virtual_time, first.advertisements), (second.virtual_time, second.advertisements));
}
