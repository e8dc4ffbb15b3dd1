//! The command line: every flag once, with its help.

mod plain;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::address::{NamedAddress, VipAddress};
use crate::config::Control;

/// Owns a virtual IP: probes for it, adds it, announces it, and takes it away again.
///
/// A virtual IP is an address that moves from host to host while its clients stay. vipd adds it to an interface only
/// after it has asked on the wire whether another host has it (RFC 5227, RFC 4862), and then tells the neighbours where it
/// is now (gratuitous ARP, unsolicited neighbour advertisement). At boot a managed instance waits to be told; an elected
/// one listens for its peers first.
#[derive(Debug, Parser)]
#[command(name = "vipd", version, max_term_width = 110, arg_required_else_help = true, after_long_help = EXIT)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// What this process was started with; ends it if that is wrong, or only asks for help.
    #[must_use]
    pub fn of_process() -> Self {
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        plain::assign(&words).map_or_else(Self::by_clap, |args| Self { verb: Verb::Assign(args) })
    }

    /// By itself, so that whoever does without it does not pay for its pages of stack.
    #[inline(never)]
    fn by_clap() -> Self {
        Self::parse()
    }
}

const EXIT: &str = "\
Exit status:
  0  done, or there was nothing to do
  1  failed, and whatever had been changed was put back
  2  the command line or a configuration is wrong, or an interface that was named does not exist
  3  refused, nothing was touched: in use by another host, no permission, interface down …
  4  stopped half-way; vipd status shows what is there

Privileges:
  CAP_NET_ADMIN to add and remove addresses, CAP_NET_RAW to probe and announce; none for status and --dry-run.

Environment:
  VIPD_CONFIG, VIPD_SOCKET  the configuration and the control socket of the daemon, unless named
  VIPD_LOG  what to log to stderr: error, warn (default; of run: info), info, debug, or filters such as vipd=debug";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take an address: probe, add, announce
    #[command(long_about = ASSIGN, after_long_help = format!("{ASSIGN_EXAMPLES}\n\n{EXIT}"))]
    Assign(AssignArgs),
    /// Give an address up; it is no error if it is not there
    #[command(long_about = UNASSIGN, after_long_help = format!("{UNASSIGN_EXAMPLES}\n\n{EXIT}"))]
    Unassign(UnassignArgs),
    /// Show the virtual IPs of this host, and the instances of its daemon
    #[command(long_about = STATUS, after_long_help = format!("{STATUS_EXAMPLES}\n\n{EXIT}"))]
    Status(StatusArgs),
    /// Say whether a configuration is right, and what the daemon would do with it
    #[command(long_about = CHECK, after_long_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Translate a keepalived.conf
    #[command(long_about = IMPORT, after_long_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Run the daemon: elections and managed addresses, as its configuration says
    #[command(long_about = RUN, after_long_help = format!("{RUN_EXAMPLES}\n\n{EXIT}"))]
    Run(RunArgs),
    /// Have the daemon hold the addresses of a managed instance
    #[command(long_about = ACQUIRE, after_long_help = format!("{ACQUIRE_EXAMPLES}\n\n{EXIT}"))]
    Acquire(AcquireArgs),
    /// Have the daemon let go of the addresses of a managed instance
    #[command(after_long_help = EXIT)]
    Release(InstanceArgs),
    /// Give the addresses of an elected instance to a peer, which has them within its Skew_Time, and say who it is
    #[command(after_long_help = EXIT)]
    Handover(InstanceArgs),
    /// Have the daemon read its configuration again; it takes all of it, or nothing
    #[command(after_long_help = EXIT)]
    Reload(DaemonArgs),
    /// Follow what happens, in order
    #[command(after_long_help = EVENTS_EXAMPLES)]
    Events(EventsArgs),
}

const ASSIGN: &str = "\
Take an address: probe for it on the wire, add it to the interface, announce it to the neighbours, and read it back.

If this host holds it already, it is only announced again. If another host answers, nothing is changed, the exit status is 3, \
and the message names that host's hardware address. The address stays until it is unassigned or the host goes down; \
nothing renews it and nothing assigns it again at boot: it has no lease, and the report says so.

If the running daemon has it as a managed instance, the daemon acquires that instance instead, with all its addresses and \
their lease. An address of an elected instance is refused, and so is any address while a daemon runs that cannot be asked: it \
could hold that address any moment, or keep it silent. What a dead daemon left silent, or to lapse, is probed for, heard again, \
and stays.";

const ASSIGN_EXAMPLES: &str = "\
Examples:
  vipd assign 198.18.5.200/24 --dev eth0
  vipd assign fd00:5::200/64 --dev eth0 --json
  vipd assign 198.18.5.200/24 --dev eth0 --after-fence go1
  vipd assign 198.18.5.200/24 --dev eth0 --dry-run";

/// `vipd assign`.
#[derive(Debug, Args)]
pub struct AssignArgs {
    /// The address with the prefix length of its subnet, or /32 and /128 for the address alone
    #[arg(value_name = "ADDR/PREFIX")]
    pub address: VipAddress,
    /// The interface that faces the clients
    #[arg(long, value_name = "IF")]
    pub dev: String,
    /// The old owner, which the caller has fenced: recorded in the report and the log; the probe is done all the same
    #[arg(long, value_name = "NODE")]
    pub after_fence: Option<String>,
    /// How long to probe, if nobody answers: from 100ms to 60s; 7s is RFC 5227 to the letter
    #[arg(long, value_name = "TIME", default_value = "700ms", value_parser = probe_time)]
    pub probe_time: Duration,
    /// Do not probe; for a caller that knows better than the wire
    #[arg(long, conflicts_with = "probe_time")]
    pub no_probe: bool,
    /// Take the address although another host answers for it
    #[arg(long)]
    pub force: bool,
    /// The daemon
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Say what would be done, and do nothing: no frame is sent
    #[arg(long)]
    pub dry_run: bool,
    /// Print the report as JSON, also when it fails
    #[arg(long)]
    pub json: bool,
}

const UNASSIGN: &str = "\
Give an address up: remove it from the interface and read back that it is gone, and that no other address went with it.

What is not there is already done: the exit status is 0. An address that this host has on another interface, or with \
another prefix length, is an error, because it still answers.

If the running daemon has it as a managed instance, the daemon releases that instance instead, with all its addresses.

--all has the daemon release every managed instance, and then removes what was placed by hand. While the daemon takes part in an \
election it is refused, with exit status 3 and nothing touched, because the addresses would come back: systemctl stop vipd gives \
all of them up. Without a daemon, whatever a dead one left is removed.";

const UNASSIGN_EXAMPLES: &str = "\
Examples:
  vipd unassign 198.18.5.200/24 --dev eth0
  vipd unassign --all                         every address that vipd has placed on this host";

/// Either an address and its interface, or all.
const UNASSIGN_USAGE: &str = "\
vipd unassign [OPTIONS] <ADDR/PREFIX> --dev <IF>
       vipd unassign [OPTIONS] --all [--dev <IF>]";

/// `vipd unassign`.
#[derive(Debug, Args)]
#[command(override_usage = UNASSIGN_USAGE)]
pub struct UnassignArgs {
    /// The address; the prefix length may be left out
    #[arg(value_name = "ADDR/PREFIX", required_unless_present = "all")]
    pub address: Option<NamedAddress>,
    /// The interface that has it
    #[arg(long, value_name = "IF", required_unless_present = "all")]
    pub dev: Option<String>,
    /// Every address that carries vipd's tag (IFA_PROTO 0x56; needs Linux 5.18)
    #[arg(long, conflicts_with = "address")]
    pub all: bool,
    /// Remove even the host's own address: one that vipd did not place, and the last of its family
    #[arg(long)]
    pub force: bool,
    /// The daemon
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the report as JSON, also when it fails
    #[arg(long)]
    pub json: bool,
}

const STATUS: &str = "\
Show the addresses that vipd has placed on this host, and those of the named ones that this host has by other means.

The exit status is 0 whether or not there are any.

With --watch it asks the running daemon, again whenever something is different, until it is interrupted: in place on a \
terminal; elsewhere a line for each instance and each address that changed, or with --json one object on one line.";

const STATUS_EXAMPLES: &str = "\
Examples:
  vipd status
  vipd status --watch
  vipd status 198.18.5.200 --json | jq '.addresses | length'";

/// `vipd status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Look for these too, whoever placed them
    #[arg(value_name = "ADDR")]
    pub addresses: Vec<NamedAddress>,
    /// The daemon
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Go on, and show every change
    #[arg(long, conflicts_with = "addresses")]
    pub watch: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const CHECK: &str = "\
Say whether a configuration is right, and what the daemon would do with it: addresses, Skew_Time, Active_Down_Interval, and \
what the kernel enforces if the daemon dies. Nothing is touched; with CAP_NET_ADMIN the kernel is asked for nf_tables, in a \
table that is gone again at once.

Everything that is wrong is shown at once, with its line; the exit status is then 2. What this host does not have is only \
worth a warning, because it may come later: an interface, for which the daemon waits, the program of a check or of the hook, \
a user. So is a unicast peer that is an address of this host.";

const CHECK_EXAMPLES: &str = "\
Examples:
  vipd check /etc/vipd/vipd.toml
  vipd check new.toml --json | jq '.problems[] | .line'
  vipd check -                            standard input";

/// `vipd check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print the report as JSON, also when the file is wrong
    #[arg(long)]
    pub json: bool,
}

const IMPORT: &str = "\
Translate a keepalived.conf: the configuration goes to stdout, and what could not be carried over to stderr, line by line \
and with the reason. The same list stands at the top of the configuration, which vipd check accepts.

The exit status is 2 if the file is malformed, and 3 if there is nothing in it that could be carried over.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  vipd import /etc/keepalived/keepalived.conf
  vipd import keepalived.conf --config-id gw1 | vipd check -";

/// `vipd import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The keepalived.conf; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What lines that begin with @ID are for (keepalived -i); by default the host's name up to the first dot
    #[arg(long, value_name = "ID")]
    pub config_id: Option<String>,
}

const RUN: &str = "\
Run the daemon in the foreground. Each instance of the configuration is either elected (VRRP version 3 or 2, with keepalived, \
FRR or other routers as peers) or managed by hand (vipd acquire, vipd release). None is held at start without an election.

One daemon runs in a network namespace; a second one is refused before it touches anything (Linux 6.9, or the same control socket). \
SIGTERM and SIGINT let go of everything and end it; SIGHUP reads the configuration again. If it is killed, stopped or hangs, \
the kernel stops answering for the addresses before a peer may take over.";

const RUN_EXAMPLES: &str = "\
Examples:
  vipd run
  vipd run --config ./vipd.toml --socket ./vipd.sock";

/// `vipd run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/vipd/vipd.toml", env = "VIPD_CONFIG")]
    pub config: PathBuf,
    /// The control socket, instead of the one that the configuration names
    #[arg(long, value_name = "FILE", env = "VIPD_SOCKET")]
    pub socket: Option<PathBuf>,
}

/// What every request to the daemon has.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// The daemon's control socket
    #[arg(long, value_name = "FILE", default_value = Control::SOCKET, env = "VIPD_SOCKET")]
    pub socket: PathBuf,
}

const ACQUIRE: &str = "\
Have the daemon hold the addresses of a managed instance: it probes for them on the wire, adds them, announces them, and \
renews their lease as long as it runs.

If another host answers, nothing is changed, and the exit status is 3.";

const ACQUIRE_EXAMPLES: &str = "\
Examples:
  vipd acquire artifacts
  vipd acquire artifacts --force";

/// `vipd acquire`.
#[derive(Debug, Args)]
pub struct AcquireArgs {
    /// The instance
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Do not ask whether another host has the addresses
    #[arg(long)]
    pub force: bool,
    /// The daemon
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `vipd release` and `vipd handover`.
#[derive(Debug, Args)]
pub struct InstanceArgs {
    /// The instance
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The daemon
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

const EVENTS_EXAMPLES: &str = "\
Examples:
  vipd events
  vipd events --recent --json | jq 'select(.event == \"transition\")'";

/// `vipd events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Show what happened lately first
    #[arg(long)]
    pub recent: bool,
    /// Print JSON, one event per line
    #[arg(long)]
    pub json: bool,
    /// The daemon
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Reads `700ms`, `2s`, `1m`.
fn probe_time(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a time from 100ms to 60s, such as 700ms or 7s";
    let span: jiff::SignedDuration = text.parse().map_err(|_| EXPECTED.to_owned())?;
    let time = Duration::try_from(span).map_err(|_| EXPECTED.to_owned())?;
    let range = Duration::from_millis(100)..=Duration::from_secs(60);
    range.contains(&time).then_some(time).ok_or_else(|| EXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_probe_time_has_a_unit_and_bounds() {
        assert_eq!(probe_time("700ms"), Ok(Duration::from_millis(700)));
        assert_eq!(probe_time("7s"), Ok(Duration::from_secs(7)));
        for text in ["", "700", "-1s", "99ms", "61s", "soon"] {
            assert!(probe_time(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_examples_in_the_help_are_valid() {
        let all = [
            ASSIGN_EXAMPLES,
            UNASSIGN_EXAMPLES,
            STATUS_EXAMPLES,
            CHECK_EXAMPLES,
            IMPORT_EXAMPLES,
            RUN_EXAMPLES,
            ACQUIRE_EXAMPLES,
            EVENTS_EXAMPLES,
        ];
        for example in all.into_iter().flat_map(str::lines).skip(1) {
            let words = example.split('|').next().unwrap_or(example).split("     ").next().unwrap_or_default();
            if words.starts_with("  vipd") {
                Cli::try_parse_from(words.split_whitespace()).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }
}
