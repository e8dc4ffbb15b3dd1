//! `fence` makes sure a node is off, and says so only when it has seen it.
//!
//! ```text
//! argv ─▶ cli ─▶ config ─▶ verbs ─▶ lock ─▶ history: intent ─▶ levels ─▶ device ─▶ child, wire or disk
//!                                                                │ asked again: off?
//!                             exit code ◀─ render ◀─ history: outcome ◀┘
//! ```

use std::env;
use std::process::ExitCode;

use bc_model::exit::Exit;
use clap::Parser;

use crate::cli::{Cli, Command, Watch};
use crate::error::Error;
use crate::stop::Stop;
use crate::watchdog::run::Guard;

mod agent;
mod brake;
mod caller;
mod child;
mod cli;
mod clock;
mod config;
mod devices;
mod disk;
mod drill;
mod error;
pub mod fence_bc;
mod gate;
pub mod helper;
mod history;
mod hook;
mod levels;
mod lock;
mod order;
mod reach;
mod render;
mod request;
mod right;
mod secret;
mod self_fence;
mod stop;
mod verbs;
mod watchdog;

/// The whole program: the agent when it is called `fence_…`, else the command line.
#[must_use]
pub fn main() -> ExitCode {
    if fence_bc::is_called() {
        return fence_bc::main(env::args_os().skip(1), None);
    }
    let cli = Cli::parse();
    if let Command::Agent { arguments } = cli.command {
        return fence_bc::main(arguments, Some(cli.config));
    }
    if let Command::Hook { hook } = cli.command {
        return hook::main(&cli.config, hook);
    }
    let exit = run(&cli).unwrap_or_else(|error| {
        render::complain(&error);
        error.exit()
    });
    exit.into()
}

fn run(cli: &Cli) -> Result<Exit, Error> {
    if let Command::Disk { verb, path, slot } = &cli.command {
        let look = devices::sbd::ask_disk(verb, path, slot).map_err(Error::Disk)?;
        return render::json(&look).and_then(|text| render::print(&text)).map(|()| Exit::Done);
    }
    // A node that guards itself needs no configuration: that is its peer's.
    if let Command::Watchdog(watch) = &cli.command {
        return keep_watch(watch);
    }
    if let Command::Gate(gate) = &cli.command {
        // A host is kept from starting its services whether or not it has a configuration.
        return gate::run(gate);
    }
    if let Command::Serve = &cli.command {
        return helper::serve(&cli.config);
    }
    if let Some(socket) = cli.command.via() {
        return helper::client::ask(socket, &cli.command);
    }
    let config = config::load(&cli.config)?;
    if let Command::History { node, last, json } = &cli.command {
        return verbs::show_history(&config.history, node.as_deref(), *last, *json);
    }
    if let Command::VerifyHistory { head, json } = &cli.command {
        return verbs::verify_history(&config.history, head.as_deref(), *json);
    }
    // From here on agents are run: a signal ends them first.
    let stop = Stop::on_signals().map_err(Error::Signals)?;
    if let Command::SelfFence(request) = &cli.command {
        return self_fence::run(config, request, &stop);
    }
    match &cli.command {
        Command::Off(off) => verbs::act(&config, &verbs::off(off)?, &off.act, &stop),
        Command::On(act) => verbs::act(&config, &verbs::on(act)?, act, &stop),
        Command::Status { node, json, require, .. } => verbs::status(&config, node.as_deref(), *require, *json, &stop),
        Command::Check { json } => verbs::check(&config, *json, &stop),
        Command::Drill(drill) => drill::run(&config, drill, &stop),
        Command::Confirm(confirm) => verbs::confirm(&config, confirm, &stop),
        Command::Token { node, raise, json } => verbs::tokens(&config, node.as_deref(), raise.as_deref(), *json),
        Command::Nodes { require, json } => reach::show(&config, *require, *json),
        Command::History { .. }
        | Command::VerifyHistory { .. }
        | Command::Agent { .. }
        | Command::Hook { .. }
        | Command::Watchdog(_)
        | Command::Disk { .. }
        | Command::Gate(_)
        | Command::Serve
        | Command::SelfFence(_) => Ok(Exit::Done),
    }
}

fn keep_watch(watch: &Watch) -> Result<Exit, Error> {
    match watch {
        Watch::Record { device, record, node } => watchdog::run::observe(device, record, node),
        Watch::Run { device, timeout, record, node, check } => {
            let stop = Stop::on_signals().map_err(Error::Signals)?;
            let guard = Guard {
                device: device.clone(),
                timeout: *timeout,
                record: record.clone(),
                node: node.clone(),
                check: check.clone(),
            };
            watchdog::run::run(&guard, &stop)
        }
    }
}
