//! `fence hook …`: the entry points for HA managers. Each speaks its caller's exit codes; all of them fence the same way.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use bc_model::fencing::{FenceAction, FenceReport, Grade, Id, Token};
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::config::{self, Cluster, Config, Local};
use crate::error::Error;
use crate::helper;
use crate::order::Order;
use crate::render::{complain, say, unconfirmed, warn};
use crate::stop::Stop;
use crate::verbs;
use postgres::Known;
use suspects::{NoSuspect, Signs, suspects};

mod drbd;
mod keepalived;
mod patroni;
mod pgaf;
mod postgres;
mod record;
mod repmgr;
mod suspects;
mod systemd;

/// Everything that can call us.
#[derive(Debug, Subcommand)]
pub(crate) enum Hook {
    /// Patroni's pre_promote: exit 0 only when the old primary is fenced; else Patroni gives up the lock
    PatroniPrePromote {
        /// The cluster under [clusters]; not needed where there is only one
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// Patroni's callbacks: writes down who is the primary; fences nobody
    PatroniCallback(patroni::Callback),
    /// repmgr's failover_validation_command: exit 0 only when the old primary is fenced; else the election is held again
    RepmgrValidate(repmgr::Validate),
    /// repmgr's promote_command: runs COMMAND only when the old primary is fenced
    RepmgrPromote {
        /// The cluster under [clusters]; not needed where there is only one
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// What promotes, such as `repmgr standby promote -f /etc/repmgr.conf`
        #[arg(required = true, last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// repmgr's event_notification_command: writes down who is the primary; fences nobody
    RepmgrEvent(repmgr::Event),
    /// keepalived's notify script, or the reader of its FIFO: fences the other nodes when this host becomes MASTER
    Keepalived(keepalived::Notify),
    /// DRBD's fence-peer handler: exit 7 (or 5) only when the peer is off or isolated; else 1, and I/O stays frozen
    Drbd(drbd::FencePeer),
    /// pg_auto_failover's monitor: listens to what it decides, and fences a primary that it gives up
    PgafWatch(pgaf::Watch),
    /// systemd's OnFailure=: `fence self`, with what systemd says about the unit as the reason
    Systemd(systemd::Failed),
}

/// Runs a hook; what goes wrong is exit 1, which every caller takes for "not fenced".
pub(crate) fn main(file: &Path, hook: Hook) -> ExitCode {
    if let Hook::Systemd(failed) = &hook {
        return systemd::answer(file, failed);
    }
    match Caller::new(file).and_then(|caller| caller.answer(hook)) {
        Ok(code) => code.into(),
        Err(problem) => {
            match problem {
                Problem::Fence(error) => complain(&error),
                Problem::Said(words) => say(&format!("error: {words}")),
            }
            NOT_FENCED.into()
        }
    }
}

/// Longer than all levels of a node take, and far shorter than it takes to repair the old primary and need it again.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(15);

const FENCED: u8 = 0;
const NOT_FENCED: u8 = 1;

/// Why a hook could not do its work.
#[derive(Debug)]
enum Problem {
    Fence(Error),
    Said(String),
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Fence(error.into())
    }
}

impl Problem {
    fn said(words: impl std::fmt::Display) -> Self {
        Self::Said(words.to_string())
    }
}

/// Whoever called, and what is known on this host.
struct Caller {
    config: Config,
    stop: Stop,
}

impl Caller {
    fn new(file: &Path) -> Result<Self, Problem> {
        let config = config::load(file)?;
        let stop = Stop::on_signals().map_err(Error::Signals)?;
        Ok(Self { config, stop })
    }

    fn answer(&self, hook: Hook) -> Result<u8, Problem> {
        match hook {
            Hook::PatroniPrePromote { cluster } => {
                self.fence_suspects(cluster.as_deref(), "Patroni is about to promote this host")
            }
            Hook::PatroniCallback(callback) => patroni::callback(self, &callback),
            Hook::RepmgrValidate(validate) => repmgr::validate(self, &validate),
            Hook::RepmgrPromote { cluster, command } => {
                let fenced = self.fence_suspects(cluster.as_deref(), "repmgr is about to promote this host")?;
                if fenced == FENCED { Err(become_(&command)) } else { Ok(fenced) }
            }
            Hook::RepmgrEvent(event) => repmgr::event(self, &event),
            Hook::Keepalived(notify) => keepalived::answer(self, &notify),
            Hook::Drbd(peer) => drbd::answer(self, &peer),
            Hook::PgafWatch(watch) => pgaf::watch(self, &watch),
            // Answered above, in the program's own exit codes.
            Hook::Systemd(_) => Ok(NOT_FENCED),
        }
    }

    /// This host; a hook that does not know where it runs might fence its own node.
    fn local(&self) -> Result<&Local, Problem> {
        self.config.site.local.as_ref().ok_or_else(|| {
            Problem::said("the configuration does not say which node this host is: add [local] node = \"…\"")
        })
    }

    /// The cluster of this name, or the only one.
    fn cluster(&self, name: Option<&str>) -> Result<(&str, &Cluster), Problem> {
        let clusters = &self.config.site.clusters;
        let found = match name {
            Some(name) => clusters.get_key_value(name),
            None if clusters.len() == 1 => clusters.first_key_value(),
            None => return Err(Problem::said("which cluster? name one under [clusters] with --cluster")),
        };
        found.map(|(name, cluster)| (name.as_str(), cluster)).ok_or_else(|| {
            Problem::said(format!("no cluster {:?} under [clusters] in the configuration", name.unwrap_or_default()))
        })
    }

    /// Fences every node that may still be the primary.
    fn fence_suspects(&self, cluster: Option<&str>, reason: &str) -> Result<u8, Problem> {
        let cluster = self.cluster(cluster)?;
        let local = self.local()?;
        let known = self.ask_postgres(local);
        let signs = self.signs(cluster.0, local, known.as_ref());
        let suspects = suspects(cluster, &local.node, &signs).map_err(|why: NoSuspect| Problem::said(why))?;
        let token = known.as_ref().and_then(|known| token(known, clock::timestamp()));
        for suspect in &suspects {
            let report = self.fence(suspect, reason, token.clone(), None)?;
            if !report.confirmed {
                unconfirmed(&report, true);
                return Ok(NOT_FENCED);
            }
            say(&format!("{suspect} is fenced: {}", report.grade.meaning()));
        }
        Ok(FENCED)
    }

    /// Turns `node` off, through the helper where this is not root, to the grade of the policy or to `require` if that is more.
    fn fence(
        &self,
        node: &str,
        reason: &str,
        token: Option<Token>,
        require: Option<Grade>,
    ) -> Result<FenceReport, Error> {
        let order = Order { token, require, ..Order::new(node, FenceAction::Off, reason) };
        match helper::client::socket() {
            Some(socket) => Ok(helper::client::carry(&socket, &order, &self.stop)?),
            None => verbs::carry(&self.config, &order, &self.stop),
        }
    }

    /// What the PostgreSQL of this host knows; that it cannot be asked is told, and counts as not known.
    fn ask_postgres(&self, local: &Local) -> Option<Known> {
        let known = postgres::ask(local.postgres.as_deref()?, &self.stop);
        known.map_err(|problem| warn(&problem)).ok()
    }

    /// What this host knows about the old primary; a record that cannot be read is told, and counts as not known.
    fn signs(&self, cluster: &str, local: &Local, known: Option<&Known>) -> Signs {
        let recorded = record::read(&local.record, cluster).unwrap_or_else(|error| {
            warn(&format!("{}: {error}", local.record.join(cluster).display()));
            None
        });
        let followed = known.map(|known| known.followed.clone()).unwrap_or_default();
        Signs { recorded: recorded.map(|record| record.node), followed }
    }

    /// Writes down that `node` is the primary of `cluster`.
    fn note_primary(&self, cluster: &str, node: &str, by: &str) -> Result<u8, Problem> {
        let record = record::Record {
            schema: record::Record::SCHEMA,
            node: node.to_owned(),
            at: clock::timestamp(),
            by: by.to_owned(),
        };
        let directory = &self.local()?.record;
        let written = record::write(directory, cluster, &record);
        written.map_err(|error| Problem::said(format!("{}: {error}", directory.join(cluster).display())))?;
        Ok(FENCED)
    }
}

/// The right that a promotion gives: the timeline that this host saw last, and the time. A request of somebody who decided earlier,
/// and comes later, is then refused.
fn token(known: &Known, now: Timestamp) -> Option<Token> {
    let epoch = u64::try_from(now.as_second()).ok()?;
    Some(Token {
        system_identifier: known.system_identifier,
        timeline: known.timeline,
        epoch,
        id: Id::try_from(format!("promotion-{epoch}")).ok()?,
        expires: now.checked_add(TOKEN_LIFE).ok()?,
    })
}

/// Becomes `command`; comes back only with the reason why it could not.
fn become_(command: &[OsString]) -> Problem {
    let Some((program, arguments)) = command.split_first() else {
        return Problem::said("there is no command to run");
    };
    let error = Command::new(program).args(arguments).exec();
    Problem::said(format!("cannot run {}: {error}", program.display()))
}
