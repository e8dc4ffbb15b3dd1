//! Brings up a whole site in containers, lets its primary die, and proves failover and failback.
//!
//! ```text
//! cli ─► doctor ─► images ─► drill: scenario (typed steps) ─► site, power, workload ─► history.jsonl
//!                                                                                          │
//!                        exit code ◄─ report: table, report.json, junit.xml ◄─ checkers, figures (pure)
//! ```

mod checkers;
mod cleanup;
mod cli;
mod clock;
mod doctor;
mod drill;
mod ending;
mod event;
mod exec;
mod figures;
mod history;
mod host;
mod http;
mod images;
mod inbox;
mod ledger;
mod machine;
mod network;
mod power;
mod progress;
mod ranges;
mod report;
mod run;
mod scenario;
mod session;
mod site;
mod tenure;
mod wait;
mod words;
mod workload;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::ending::Ending;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            Ending::Unjudged.into()
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::ObserveArp { dev, address } => inbox::arp::watch(&dev, address).map(|()| ExitCode::SUCCESS),
        Command::KillAtStep { journals, step, argv } => {
            inbox::assassin::run(&journals, &step, &argv).map(ExitCode::from)
        }
        command => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let ending = runtime.block_on(session::run(command));
            // Tasks that wait for a world that is gone shall not hold up the end.
            runtime.shutdown_background();
            ending.map(ExitCode::from)
        }
    }
}
