//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::DEFAULT_FILE;

const EXAMPLES: &str = "\
Examples:
  standbyd manifest                       what this host has on disk
  standbyd pull --once --json             on the standby, as GoCD's own user
  authorized_keys of the serving host:
    restrict,command=\"/usr/bin/standbyd export\" ssh-ed25519 AAAA… standbyd@go2

Exit codes: 0 done (pull: in sync), 1 failed, 2 usage or configuration, 3 refused (nothing touched)";

/// Keeps a standby GoCD server's cruise-config.xml, cipher.aes and plugins in sync over SSH.
#[derive(Debug, Parser)]
#[command(name = "standbyd", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "STANDBYD_CONFIG", default_value = DEFAULT_FILE)]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve one request of the peer: the forced command of its key (SSH_ORIGINAL_COMMAND is `manifest` or `get ID`)
    Export,
    /// Fetch what differs from the peer, check it, and rename it into place
    Pull {
        /// Pull one time and end
        #[arg(long, required = true)]
        once: bool,
        /// Print a report as JSON, also when it fails
        #[arg(long)]
        json: bool,
    },
    /// Print what this host has on disk, hashed now
    Manifest {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
