//! `fence` makes sure a node is off, and says so only when it has seen it.
//!
//! ```text
//! argv ─▶ cli ─▶ config ─▶ verbs ─▶ lock ─▶ history: intent ─▶ levels ─▶ agent (exec, ssh) ─▶ child
//!                                                                │ asked again: off?
//!                             exit code ◀─ render ◀─ history: outcome ◀┘
//! ```

use std::process::ExitCode;

use bc_model::exit::Exit;
use bc_model::fencing::FenceAction;
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::Error;
use crate::stop::Stop;

mod agent;
mod caller;
mod child;
mod cli;
mod clock;
mod config;
mod devices;
mod error;
mod history;
mod levels;
mod lock;
mod order;
mod render;
mod secret;
mod stop;
mod verbs;

/// The whole program, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let exit = run(&Cli::parse()).unwrap_or_else(|error| {
        render::complain(&error);
        error.exit()
    });
    exit.into()
}

fn run(cli: &Cli) -> Result<Exit, Error> {
    let config = config::load(&cli.config)?;
    if let Command::History { node, last, json } = &cli.command {
        return verbs::show_history(&config.history, node.as_deref(), *last, *json);
    }
    // From here on agents are run: a signal ends them first.
    let stop = Stop::on_signals().map_err(Error::Signals)?;
    match &cli.command {
        Command::Off(act) => verbs::act(&config, FenceAction::Off, act, &stop),
        Command::On(act) => verbs::act(&config, FenceAction::On, act, &stop),
        Command::Status { node, json } => verbs::status(&config, node.as_deref(), *json, &stop),
        Command::Check { json } => verbs::check(&config, *json, &stop),
        Command::History { .. } => Ok(Exit::Done),
    }
}
