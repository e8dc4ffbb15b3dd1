//! `bcctl`: the operator's command. Look, plan, show, ask, do, write down.
//!
//! ```text
//! intent ──▶ observe (read only) ──▶ plan (pure) ──▶ show, confirm ──▶ execute ──▶ journal
//!                                                                         ▲ resume ◄──┘
//! ```

mod cli;
mod clock;
mod command;
mod confirm;
mod execute;
mod finding;
mod hosts;
mod journal;
mod judge;
mod lsn;
mod observe;
mod place;
mod plan;
mod render;
mod rules;
mod setup;
mod steps;
mod sudo;
mod verbs;

use std::process::ExitCode;

use bc_model::exit::Exit;
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match verbs::run(&cli) {
        Ok(exit) => exit.into(),
        // A reader that has seen enough is no error.
        Err(error) if error.exit() == Exit::Done => Exit::Done.into(),
        Err(error) => {
            render::error(&error, error.hint().as_deref());
            error.exit().into()
        }
    }
}
