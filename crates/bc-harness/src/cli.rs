//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::history::{FaultKind, Sabotage};
use crate::run::RunId;

/// Brings up a whole site in containers, lets its primary die, and proves failover and failback.
#[derive(Debug, Parser)]
#[command(name = "bc-harness", version, max_term_width = 110)]
#[command(after_help = "\
Exit codes: 0 every invariant held · 1 one was broken · 2 usage, or the machine lacks something ·
4 not everything could be judged · 130 interrupted (everything was torn down)")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Drill a failover and a failback, and report what clients saw
    Drill(DrillArgs),
    /// See whether this machine has what a drill needs
    Doctor(DoctorArgs),
    /// Build the images that have changed, and nothing else
    Images(BinArgs),
    /// Judge the history of an earlier drill again
    Judge(JudgeArgs),
    /// Remove what dead runs have left behind: what carries their label, and nothing else
    Gc(GcArgs),
    /// (inside the operator box) Tell who answers for an address
    #[command(hide = true)]
    ObserveArp {
        /// Interface to ask on.
        #[arg(long)]
        dev: String,
        /// The address.
        #[arg(long)]
        address: Ipv4Addr,
    },
    /// (inside the operator box) Run a command, and kill it when a step of its journal begins
    #[command(hide = true)]
    KillAtStep {
        /// Directory of the journals.
        #[arg(long)]
        journals: PathBuf,
        /// Id of the step.
        #[arg(long)]
        step: String,
        /// The command.
        #[arg(last = true, required = true)]
        argv: Vec<String>,
    },
}

/// Where the programs are.
#[derive(Clone, Debug, Args)]
pub(crate) struct BinArgs {
    /// Directory of the statically linked programs [default: where this one is]
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
}

/// `bc-harness drill`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bc-harness drill                                a failover and a failback, with a report in ./drill-report
  bc-harness drill --sabotage no-fence            the fence lies: this must end with exit code 1
  bc-harness drill --kill-bcctl-at promote        kill -9 in the middle, then resume
  bc-harness drill --fault power-cut --json       the report on standard output
  bc-harness drill --keep                         leave the site standing, and look around in it")]
pub(crate) struct DrillArgs {
    /// How the primary site fails
    #[arg(long, value_enum, default_value_t = FaultKind::Hang)]
    pub(crate) fault: FaultKind,
    /// Tamper with something, to see that the drill notices
    #[arg(long, value_enum)]
    pub(crate) sabotage: Option<Sabotage>,
    /// Kill bcctl when its journal says that this step of the failover has begun, then resume
    #[arg(long, value_name = "STEP")]
    pub(crate) kill_bcctl_at: Option<String>,
    /// Leave the site standing
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "drill-report")]
    pub(crate) report_dir: PathBuf,
    /// Print the report as JSON on standard output, not as a table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) bin: BinArgs,
    /// Name of the run; its network is chosen from it [default: random]
    #[arg(long, value_name = "ID", visible_alias = "seed")]
    pub(crate) run_id: Option<RunId>,
    /// Seconds that all steps together may take, without the building of images
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..))]
    pub(crate) timeout: u64,
}

/// `bc-harness doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) bin: BinArgs,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bc-harness judge`.
#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// Report directory of the drill
    #[arg(default_value = "drill-report")]
    pub(crate) directory: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bc-harness gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Remove these runs, whether or not they still go on [default: all whose process is dead]
    pub(crate) runs: Vec<RunId>,
    /// Remove kept ones as well
    #[arg(long)]
    pub(crate) kept: bool,
    /// Only say what there is
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_a_hang_and_a_report_beside_the_caller() {
        let cli = Cli::try_parse_from(["bc-harness", "drill"]).expect("parsed");
        let Command::Drill(drill) = cli.command else { panic!("not a drill") };
        assert_eq!((drill.fault, drill.sabotage, drill.keep, drill.json), (FaultKind::Hang, None, false, false));
        assert_eq!(drill.report_dir, PathBuf::from("drill-report"));
    }

    #[test]
    fn bad_input_is_refused() {
        for bad in [
            &["drill", "--fault", "earthquake"][..],
            &["drill", "--sabotage", "everything"],
            &["drill", "--run-id", "UPPER"],
            &["drill", "--timeout", "0"],
            &["gc", "../x"],
            &[],
        ] {
            let argv = ["bc-harness"].iter().chain(bad);
            assert!(Cli::try_parse_from(argv).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_help_of_a_drill() {
        let mut command = Cli::command();
        let drill = command.find_subcommand_mut("drill").expect("drill");
        insta::assert_snapshot!(drill.render_long_help());
    }
}
