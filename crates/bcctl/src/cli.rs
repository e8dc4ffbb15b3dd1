//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  bcctl check                      is the site ready for an operation?
  bcctl explain BC210              what that finding means, and what mends it
  bcctl status --watch             who is what, who is behind, who holds the VIP, what a failover would lose
  bcctl setup standby --dry-run    what would be written and run to make the standby; nothing is
  bcctl failover --dry-run         every command, host by host; nothing is run
  bcctl failover                   shows the plan, asks, and does it
  bcctl failback --yes             goes home without asking, for scripts
  bcctl resume                     continues what was stopped half-way

Exit status: 0 done, 1 failed and put back, 2 usage or inventory, 3 refused (nothing touched), 4 stopped half-way
(`bcctl resume` continues), 5 a node could not be proven off.";

/// Moves a GoCD site (GoCD, PostgreSQL, virtual IP) between its two places, and says exactly what it does.
#[derive(Debug, Parser)]
#[command(name = "bcctl", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The inventory of the site.
    #[arg(long, short, global = true, env = "BC_INVENTORY", value_name = "FILE", default_value = "/etc/bcctl/bc.toml")]
    pub(crate) inventory: PathBuf,
    /// Where the journals are kept, in a directory per site.
    #[arg(long, global = true, env = "BC_STATE", value_name = "DIRECTORY", default_value = "/var/lib/bcctl")]
    pub(crate) state_directory: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Look at every precondition of every operation; exit 0 if ready, 1 if only warnings, 3 if something would be refused.
    Check(Look),
    /// Say what a finding of `check` means, what it breaks and what mends it.
    Explain(Explain),
    /// Show who serves, who is how far behind, who holds the VIP, and what a failover would do and lose now.
    Status(Watch),
    /// Change places as planned: both are well, nothing is lost.
    Switchover(Act),
    /// The serving place is lost: turn it off for certain, then serve from the other one.
    Failover(Failover),
    /// Go home after a failover: make the old primary a standby again, then change places as planned.
    Failback(Act),
    /// Make the old primary a standby of the serving one; the service goes on, and nothing else is touched.
    Rejoin(Rejoin),
    /// Promote the standby and touch nothing else: the old primary is proven down, by itself or by a fence.
    PromoteOnly(Act),
    /// Move the virtual IP and touch nothing else.
    VipOnly(VipOnly),
    /// Make a host what the inventory says it is, step by step; each file is shown as a diff and its old version kept.
    Setup(Setup),
    /// Print the sudo rules that a host with `sudo = "commands"` needs, as a file for /etc/sudoers.d; no host is asked.
    Sudoers(Sudoers),
    /// Continue an operation that was stopped half-way; exit 0 if there is none.
    Resume(Resume),
    /// Give up an operation that was stopped before the promotion: put back what can be put back, the newest first.
    Abort(Act),
    /// List every operation of this site.
    History(Look),
    /// Print a report of an operation, in Markdown: who, when, what, outage, loss, evidence.
    Report(Report),
}

/// Options of the verbs that only look.
#[derive(Debug, Args)]
pub(crate) struct Look {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) look: Look,
    /// Look again and again, in place on a terminal; with --json one line per look. The fence devices are not asked.
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// Seconds between two looks of --watch.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) interval: u64,
}

/// Options of `explain`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Explain {
    /// The number, such as BC103.
    pub(crate) code: Option<String>,
    /// All of them, as Markdown.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Options of the verbs that act.
#[derive(Debug, Args)]
pub(crate) struct Act {
    /// Print each command that would be run, host by host, and run none of them.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Options of `setup`.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// What the host is made.
    pub(crate) role: crate::setup::Role,
    #[command(flatten)]
    pub(crate) act: Act,
}

/// Options of `sudoers`.
#[derive(Debug, Args)]
pub(crate) struct Sudoers {
    /// A host of the inventory.
    pub(crate) host: String,
    /// Who logs in there; without it, the user in `ssh` of the host.
    #[arg(long, value_name = "USER")]
    pub(crate) login: Option<String>,
}

/// Options of `failover`.
#[derive(Debug, Args)]
pub(crate) struct Failover {
    #[command(flatten)]
    pub(crate) act: Act,
    /// Fail over although everything at the serving place is well.
    #[arg(long)]
    pub(crate) even_if_healthy: bool,
    /// Serve with configuration files that differ from those of the old GoCD host.
    #[arg(long)]
    pub(crate) accept_stale_config: bool,
    /// Lose more than `policy.allowed-loss` and `policy.allowed-loss-time` allow.
    #[arg(long)]
    pub(crate) accept_loss: bool,
    /// For scripts: the PostgreSQL host that is given up, by name. Each of the three above asks for it; `--yes` is no answer.
    #[arg(long, value_name = "HOST")]
    pub(crate) i_am_sure: Option<String>,
}

/// Options of `rejoin`.
#[derive(Debug, Args)]
pub(crate) struct Rejoin {
    /// The PostgreSQL host that becomes a standby.
    pub(crate) host: String,
    #[command(flatten)]
    pub(crate) act: Act,
    /// Try pg_rewind before a copy is made (PostgreSQL 13 and later). One that broke off is never continued: then it is copied.
    #[arg(long)]
    pub(crate) rewind: bool,
}

/// Options of `vip-only`.
#[derive(Debug, Args)]
pub(crate) struct VipOnly {
    /// The GoCD host that gets the address.
    #[arg(long, value_name = "HOST")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) act: Act,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The operation, as `bcctl history` names it; without it, the newest.
    pub(crate) operation: Option<String>,
}

/// Options of `resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) act: Act,
    /// Give the operation up instead: put back what can be put back. Only before the promotion.
    #[arg(long)]
    pub(crate) abandon: bool,
}
