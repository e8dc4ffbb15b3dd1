//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bc_model::fencing::Grade;
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;

use crate::config::DEFAULT_FILE;
use crate::gate::Gate;
use crate::hook::Hook;
use crate::self_fence::SelfFence;

const EXAMPLES: &str = "\
Examples:
  fence check                                   is every device able to do its work?
  fence off pg1 --reason \"pg1 lost its disk\" --dry-run
  fence off pg1 --reason \"pg1 lost its disk\"    exit 0 only when pg1 is proven off
  fence status --json
  fence drill pg1                               would it work, and what would it prove?
  fence history pg1
  fence off pg1 --reason \"pg2 is promoted\" --via /run/fence/fence.sock    as postgres, through the root helper
  printf 'action=status\nplug=pg1\n' | fence agent

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 refused (nothing touched), 5 not proven off";

/// Makes sure a node is off, and says so only when it has seen it.
#[derive(Debug, Parser)]
#[command(name = "fence", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "FENCE_CONFIG", default_value = DEFAULT_FILE)]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn a node off; succeeds only when it was asked again and answered off, else exit 5
    Off(Off),
    /// Turn a node on again; services are not started
    On(Act),
    /// Ask whether nodes are on or off; exit 1 if one cannot say
    Status {
        /// The node; all of them without it
        node: Option<String>,
        /// Ask the root helper at this socket instead, which is not allowed to everybody
        #[arg(long, value_name = "SOCKET", requires = "node")]
        via: Option<PathBuf>,
        /// Print a report as JSON, a list of them without NODE
        #[arg(long)]
        json: bool,
        /// A grade of proof that must be reached to count as off, beyond policy: A, B, C, D or E
        #[arg(long, value_name = "GRADE")]
        require: Option<Grade>,
    },
    /// Ask every device whether it could do its work; changes nothing
    Check {
        /// Print a report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say how well each node could be proven off, by the configuration alone; exit 1 if one could not be proven well enough
    Nodes {
        /// A grade of proof that must be reached to count as off, beyond policy: A, B, C, D or E
        #[arg(long, value_name = "GRADE")]
        require: Option<Grade>,
        /// Print a report as JSON
        #[arg(long)]
        json: bool,
    },
    /// The boot gate: exit 0 when this host may start its services, 1 when it was fenced; set and clear it
    Gate(Gate),
    /// Make this host harmless: close the gate, drop the virtual IPs, stop the services and see them stopped
    #[command(name = "self")]
    SelfFence(SelfFence),
    /// The root helper: one request from a connection on stdin; fence.socket starts it
    Serve,
    /// Entry points for HA managers: Patroni, repmgr, pg_auto_failover, keepalived, DRBD, systemd (docs/fence-hooks.md)
    Hook {
        #[command(subcommand)]
        hook: Hook,
    },
    /// Speak FenceAgentAPI, as the name fence_bc does: name=value lines on stdin, or an agent's options
    #[command(disable_help_flag = true)]
    Agent {
        /// An agent's options, such as --action=status --plug=pg1; without any the request is read from stdin
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        arguments: Vec<OsString>,
    },
    /// Rehearse a fence of a node against its real devices, without switching anything; exit 0 if a real one would succeed
    Drill(Drill),
    /// On a node that is to end itself: keep its watchdog, and the record that it is armed
    #[command(subcommand)]
    Watchdog(Watch),
    /// Vouch that a node is off, when no device can say: grade E, which counts only where policy names it
    Confirm(Confirm),
    /// Show the highest token seen for each node, or make one known: requests with an older one are then refused
    Token {
        /// The node; all of them without it
        node: Option<String>,
        /// Make this token known for NODE: SYSTEM-IDENTIFIER/TIMELINE/EPOCH/ID/EXPIRES, a file, or -
        #[arg(long, value_name = "TOKEN|FILE|-", requires = "node")]
        raise: Option<String>,
        /// Print a report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the chain of hashes through the history, and print its head; exit 1 if a line was changed, removed or put in
    VerifyHistory {
        /// A head printed earlier, which must still be in it: keep one on another machine
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
        /// Print what was found as JSON
        #[arg(long)]
        json: bool,
    },
    /// One question to an SBD disk; for fence itself
    #[command(hide = true)]
    Disk {
        #[arg(value_parser = ["look", "writable", "poison", "clear"])]
        verb: String,
        path: PathBuf,
        slot: String,
    },
    /// Show what was done, by whom and why
    History {
        /// Show one node only
        node: Option<String>,
        /// Show the last N lines only
        #[arg(long, short = 'n', value_name = "N")]
        last: Option<usize>,
        /// Print the lines as they are stored, one JSON value each
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// The helper's socket, if the helper is to be asked.
    pub(crate) fn via(&self) -> Option<&Path> {
        match self {
            Self::Off(Off { act, .. }) | Self::On(act) => act.via.as_deref(),
            Self::Status { via, .. } => via.as_deref(),
            _ => None,
        }
    }
}

/// What `off` and `on` are given.
#[derive(Args, Debug)]
pub(crate) struct Act {
    /// The node, as the configuration names it
    pub(crate) node: String,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
    /// The right to fence: SYSTEM-IDENTIFIER/TIMELINE/EPOCH/ID/EXPIRES, or a file that holds it as text or JSON, or -
    #[arg(long, value_name = "TOKEN|FILE|-")]
    pub(crate) token: Option<String>,
    /// Have the root helper at this socket do it; it decides what the caller may ask for
    #[arg(long, value_name = "SOCKET", conflicts_with = "dry_run")]
    pub(crate) via: Option<PathBuf>,
    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what would be run, and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What only `off` is given.
#[derive(Args, Debug)]
pub(crate) struct Off {
    #[command(flatten)]
    pub(crate) act: Act,
    /// Do not be content with less than this grade of proof: A, B, C, D or E
    #[arg(long, value_name = "GRADE")]
    pub(crate) require: Option<Grade>,
    /// If the node was proven off within this time, look again instead of turning it off again
    #[arg(long, value_name = "DURATION", value_parser = length, conflicts_with = "via")]
    pub(crate) tolerance: Option<Duration>,
    /// Begin at once, whatever delay the configuration sets for the node
    #[arg(long, conflicts_with = "via")]
    pub(crate) no_delay: bool,
    /// Go on although many nodes were fenced of late
    #[arg(long, conflicts_with = "via")]
    pub(crate) override_brake: bool,
}

/// What `drill` is given.
#[derive(Args, Debug)]
pub(crate) struct Drill {
    /// The node, as the configuration names it
    pub(crate) node: String,
    /// Really turn it off and on again: only a node with `emulated = true` in the configuration
    #[arg(long)]
    pub(crate) for_real: bool,
    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `confirm` is given.
#[derive(Args, Debug)]
pub(crate) struct Confirm {
    /// The node, as the configuration names it
    pub(crate) node: String,
    /// How you know: kept in the history
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
    /// The right to fence, as for off
    #[arg(long, value_name = "TOKEN|FILE|-")]
    pub(crate) token: Option<String>,
    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is done with a watchdog.
#[derive(Debug, Subcommand)]
pub(crate) enum Watch {
    /// Arm a watchdog and pat it, four times in each timeout, as long as the record can be renewed and CHECK exits with 0
    Run {
        /// The watchdog
        #[arg(long, default_value = "/dev/watchdog0", value_name = "FILE")]
        device: PathBuf,
        /// Without a pat for so long, the machine ends: whole seconds, such as 10s
        #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = whole_seconds)]
        timeout: Duration,
        /// The record that the peer reads
        #[arg(long, value_name = "FILE")]
        record: PathBuf,
        /// This node, as the peer's configuration names it
        #[arg(long)]
        node: String,
        /// A program that says with exit 0 that this node may go on
        #[arg(last = true)]
        check: Vec<String>,
    },
    /// Record the state of a watchdog that another program pats (sbd, Patroni, systemd); exit 1 if it is not armed
    Record {
        /// Its name in /sys/class/watchdog
        #[arg(long, default_value = "watchdog0")]
        device: String,
        /// The record that the peer reads
        #[arg(long, value_name = "FILE")]
        record: PathBuf,
        /// This node, as the peer's configuration names it
        #[arg(long)]
        node: String,
    },
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
    parsed
        .filter(|length| length.subsec_nanos() == 0 && (1..=3600).contains(&length.as_secs()))
        .ok_or_else(|| "expected whole seconds from 1s to 1h, such as 10s".to_owned())
}

fn length(text: &str) -> Result<Duration, String> {
    let length = text.parse::<SignedDuration>().map_err(|error| error.to_string())?;
    Duration::try_from(length).map_err(|_| "expected a duration such as 30s".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why: the history is read after the incident".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn on_takes_nothing_that_only_off_heeds() {
        for option in [&["--tolerance", "1m"][..], &["--no-delay"], &["--override-brake"], &["--require", "A"]] {
            let words = |verb| [&["fence", verb, "pg1", "--reason", "x"], option].concat();
            assert!(Cli::try_parse_from(words("off")).is_ok(), "{option:?}");
            assert!(Cli::try_parse_from(words("on")).is_err(), "{option:?}");
        }
    }

    #[test]
    fn a_reason_is_needed_and_may_not_be_blank() {
        for words in [&["fence", "off", "pg1"][..], &["fence", "off", "pg1", "--reason", " "]] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
