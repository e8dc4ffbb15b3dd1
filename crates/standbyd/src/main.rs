//! `standbyd` keeps a standby GoCD server's configuration in sync over SSH, without a listener on the primary.
//!
//! ```text
//! go2: standbyd pull ──ssh, forced command──▶ go1: standbyd export ─▶ host (files by id, under GoCD's lock)
//!        │ plan, stage, check, place                │ audit
//!        ▼                                          ▼
//!      /etc/go, plugins/external                  the system's log
//! ```

use std::process::ExitCode;

use bc_model::exit::Exit;
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::error::Error;

mod audit;
mod cli;
mod clock;
mod config;
mod error;
mod export;
mod gocd;
mod host;
mod id;
mod lock;
mod peer;
mod place;
mod placed;
mod plan;
mod pull;
mod render;
mod xml;

fn main() -> ExitCode {
    let exit = run(&Cli::parse()).unwrap_or_else(|error| {
        if error.exit() != Exit::Done {
            render::complain(&error);
        }
        error.exit()
    });
    exit.into()
}

fn run(cli: &Cli) -> Result<Exit, Error> {
    let config = config::load(&cli.config)?;
    match &cli.command {
        Command::Export => export::serve(&config.host, std::env::var("SSH_ORIGINAL_COMMAND").ok().as_deref()),
        Command::Pull { json, .. } => pull(&config, *json),
        Command::Manifest { json } => {
            let manifest = config.host.manifest(&mut |skipped| render::warn(skipped))?;
            render::print(&if *json { render::json(&manifest)? } else { render::manifest(&manifest) })?;
            Ok(Exit::Done)
        }
    }
}

fn pull(config: &Config, json: bool) -> Result<Exit, Error> {
    let peer = config.peer.as_ref().ok_or(Error::NoPeer)?;
    let mut report = pull::begin(peer);
    let pulled = pull::pull(config, peer, &render::say, &mut report);
    report.reason = pulled.as_ref().err().map(ToString::to_string);
    if json {
        render::print(&render::json(&report)?)?;
    } else if pulled.is_ok() {
        render::print(&render::pulled(&report))?;
    }
    pulled?;
    Ok(Exit::Done)
}
