//! The site: one TOML file that says which hosts there are, how to reach them, and what runs where.
//!
//! Two places serve the site. *Home* is where the primary role belongs (`postgresql.primary`, `gocd.primary`), *away*
//! is where it goes when home is lost. A place has a PostgreSQL host and a GoCD host, which may be the same machine.
//! `packaging/bc.toml` is the commented example; a test parses it.

mod document;
mod postgresql;
mod sudo;
mod units;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fencing::Grade;
use ipnet::IpNet;
use serde::Deserialize;

pub use document::InventoryError;
pub use postgresql::{Archive, Layout, Postgresql, PostgresqlOnHost};
pub use sudo::Sudo;
pub use units::Bytes;

/// A whole site, as one file describes it. Built by [`Inventory::parse`] only, so every reference in it holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Inventory {
    /// Name of the site: letters, digits, `-` and `_`; part of paths, and what an operator types to confirm.
    pub site: String,
    /// The virtual address that agents and users know.
    pub vip: Vip,
    /// Every host by its name; the same name is the node in the fence configuration.
    pub hosts: BTreeMap<String, Host>,
    /// The PostgreSQL pair.
    pub postgresql: Postgresql,
    /// The GoCD pair.
    pub gocd: Gocd,
    /// How to turn a host off.
    #[serde(default)]
    pub fencing: Fencing,
    /// What the operator accepts.
    #[serde(default)]
    pub policy: Policy,
    /// How long each kind of step may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Directory on every host for copies of the journals, and for the lock against a second operator.
    #[serde(default = "copies")]
    pub journal_directory: String,
}

/// The virtual IP, and where it is configured on the GoCD hosts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Vip {
    /// Address with prefix length, such as `198.18.5.200/24`.
    pub address: IpNet,
    /// Interface that carries it on both GoCD hosts.
    pub interface: String,
    /// The name in the name service that agents and users know it by.
    pub name: Option<String>,
}

/// One machine, and how the operator's machine runs a command on it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Host {
    /// Destination for the system's `ssh`: `root@198.18.5.11`, or an alias of `~/.ssh/config`.
    pub ssh: Option<String>,
    /// More arguments for `ssh`, before the destination: `["-p", "2222"]`.
    #[serde(default)]
    pub ssh_options: Vec<String>,
    /// `local` if this is the machine `bcctl` runs on; excludes `ssh`.
    pub transport: Option<LocalTransport>,
    /// How commands come to run as root or as the owner of a service; needed when the login is neither.
    #[serde(default)]
    pub sudo: Sudo,
    /// Where the other hosts reach this one; without it, the host part of `ssh`, or `127.0.0.1` for `local`.
    pub address: Option<String>,
}

impl Host {
    /// Where the other hosts reach this one.
    #[must_use]
    pub fn address(&self) -> &str {
        if let Some(address) = &self.address {
            return address;
        }
        self.ssh.as_deref().map_or("127.0.0.1", |ssh| ssh.rsplit_once('@').map_or(ssh, |(_, host)| host))
    }
}

/// The only value of `transport`; a host without it is reached by `ssh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalTransport {
    /// Commands run on this machine.
    Local,
}

/// The GoCD pair.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Gocd {
    /// Host at home.
    pub primary: String,
    /// Host away.
    pub standby: String,
    /// systemd unit of the server, unless [`Gocd::on`] says otherwise for a host.
    #[serde(default)]
    pub service: Option<String>,
    /// HTTP port.
    #[serde(default = "port_8153")]
    pub port: u16,
    /// Operating-system user of the server; `standbyd` runs as this user.
    #[serde(default = "go")]
    pub os_user: String,
    /// Directory of `cruise-config.xml` and `db.properties`.
    #[serde(default = "etc_go")]
    pub config_directory: String,
    /// File on both GoCD hosts with an access token of an administrator; it is the server's user's, with mode 0600. Without
    /// it, GoCD's maintenance mode is not used.
    #[serde(default)]
    pub api_token_file: Option<String>,
    /// Name of GoCD's database, as `db.properties` has it.
    #[serde(default = "database")]
    pub database: String,
    /// Directory of the artifacts; without it, what `cruise-config.xml` says.
    #[serde(default)]
    pub artifacts_directory: Option<String>,
    /// What differs on one host, by the name of the host.
    #[serde(default)]
    pub on: BTreeMap<String, GocdOnHost>,
}

/// What differs from [`Gocd`] on one host; everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GocdOnHost {
    /// systemd unit.
    pub service: Option<String>,
    /// Commands instead of a unit, where a host has no systemd.
    pub commands: Option<ServiceCommands>,
    /// HTTP port.
    pub port: Option<u16>,
    /// Directory of the configuration.
    pub config_directory: Option<String>,
    /// File with the access token.
    pub api_token_file: Option<String>,
    /// Directory of the artifacts.
    pub artifacts_directory: Option<String>,
}

/// How a service is driven on a host without systemd. Each is a shell command line, run as root (or the login).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceCommands {
    /// Starts it; returns when it was started.
    pub start: String,
    /// Stops it cleanly; returns when it has stopped.
    pub stop: String,
    /// Exit status 0 if it runs.
    pub status: String,
    /// GoCD only: starts it with `gocd.server.start.in.maintenance.mode`, for this start and no other.
    #[serde(default)]
    pub start_in_maintenance: Option<String>,
}

/// Where `fence` finds its devices.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fencing {
    /// Configuration of `fence`; node names there are host names here.
    #[serde(default = "fence_toml")]
    pub config: String,
    /// Whether two hosts may be switched at the same time. Not so where one device switches both and lets only one in.
    #[serde(default = "yes")]
    pub together: bool,
}

impl Default for Fencing {
    fn default() -> Self {
        Self { config: fence_toml(), together: true }
    }
}

const fn yes() -> bool {
    true
}

/// What the operator accepts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Policy {
    /// How far the standby may be behind before a switchover is refused.
    pub maximum_lag: Bytes,
    /// Free space that must be left in the file system of the data directory after a re-seed.
    pub minimum_free: Bytes,
    /// What a failover may lose without being told `--accept-loss`; without it, anything that is shown and confirmed.
    pub allowed_loss: Option<Bytes>,
    /// The same in time: how old the last commit may be that the standby has.
    #[serde(with = "units::optional_duration")]
    pub allowed_loss_time: Option<Duration>,
    /// The grade of proof that a fence must reach; without it, what the policy of `fence` says (B, or D while the host answers).
    pub fence_grade: Option<Grade>,
    /// What a switchover does about a standby that is further behind than [`Policy::maximum_lag`].
    pub when_behind: WhenBehind,
    /// How long a switchover waits, in GoCD's maintenance mode, for jobs that run.
    #[serde(with = "units::duration")]
    pub wait_for_jobs: Duration,
    /// What a switchover does when jobs still run after that.
    pub when_jobs_run: WhenJobsRun,
    /// Whether a failover moves artifacts of runs aside that the promoted database has lost.
    pub quarantine_artifacts: bool,
}

/// What a switchover does when jobs still run after [`Policy::wait_for_jobs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenJobsRun {
    /// It goes on: agents keep their jobs through a short outage.
    #[default]
    GoOn,
    /// It puts everything back.
    Undo,
}

/// What a switchover does about a standby that is too far behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBehind {
    /// It is refused.
    #[default]
    Refuse,
    /// It waits with everything still serving, at most as long as [`Timeouts::replay`].
    Wait,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            maximum_lag: Bytes(16 << 20),
            minimum_free: Bytes(256 << 20),
            allowed_loss: None,
            allowed_loss_time: None,
            fence_grade: None,
            when_behind: WhenBehind::default(),
            wait_for_jobs: Duration::from_secs(60),
            when_jobs_run: WhenJobsRun::default(),
            quarantine_artifacts: true,
        }
    }
}

/// How long each kind of step may take before it counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Connecting to a host.
    #[serde(with = "units::duration")]
    pub connect: Duration,
    /// Looking at one host.
    #[serde(with = "units::duration")]
    pub observe: Duration,
    /// Fencing one host, all levels.
    #[serde(with = "units::duration")]
    pub fence: Duration,
    /// A host that was turned on answers again.
    #[serde(with = "units::duration")]
    pub boot: Duration,
    /// `CHECKPOINT`.
    #[serde(with = "units::duration")]
    pub checkpoint: Duration,
    /// Stopping PostgreSQL; never escalated to an immediate shutdown.
    #[serde(with = "units::duration")]
    pub postgresql_stop: Duration,
    /// Starting PostgreSQL, until it streams.
    #[serde(with = "units::duration")]
    pub postgresql_start: Duration,
    /// The standby replays what it received.
    #[serde(with = "units::duration")]
    pub replay: Duration,
    /// WAL that only the old primary has is brought to the standby, and replayed there.
    #[serde(with = "units::duration")]
    pub salvage: Duration,
    /// Promotion.
    #[serde(with = "units::duration")]
    pub promote: Duration,
    /// `pg_basebackup` and its verification.
    #[serde(with = "units::duration")]
    pub reseed: Duration,
    /// Stopping GoCD.
    #[serde(with = "units::duration")]
    pub gocd_stop: Duration,
    /// GoCD from start to ready.
    #[serde(with = "units::duration")]
    pub gocd_ready: Duration,
    /// `standbyd pull --once`.
    #[serde(with = "units::duration")]
    pub sync: Duration,
    /// Assigning or unassigning the VIP.
    #[serde(with = "units::duration")]
    pub vip: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(5),
            observe: seconds(20),
            fence: seconds(120),
            boot: seconds(300),
            checkpoint: seconds(300),
            postgresql_stop: seconds(120),
            postgresql_start: seconds(120),
            replay: seconds(60),
            salvage: seconds(120),
            promote: seconds(120),
            reseed: seconds(6 * 3600),
            gocd_stop: seconds(120),
            gocd_ready: seconds(300),
            sync: seconds(120),
            vip: seconds(30),
        }
    }
}

/// How a service is driven on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service<'a> {
    /// Through `systemctl`.
    Systemd(&'a str),
    /// Through commands of the inventory.
    Commands(&'a ServiceCommands),
}

/// The PostgreSQL server of one host, with what differs there already applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// How it is started and stopped.
    pub service: Service<'a>,
    /// Data directory.
    pub data_directory: &'a str,
    /// Directory of the programs.
    pub bin_directory: &'a str,
    /// Directory of `postgresql.conf` and `pg_hba.conf`: the data directory, unless the layout keeps it elsewhere.
    pub config_directory: &'a str,
    /// Directory of the Unix socket, if not the built-in one.
    pub socket_directory: Option<&'a str>,
    /// Port.
    pub port: u16,
}

/// The GoCD server of one host, with what differs there already applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GocdServer<'a> {
    /// How it is started and stopped.
    pub service: Service<'a>,
    /// HTTP port.
    pub port: u16,
    /// Directory of the configuration.
    pub config_directory: &'a str,
    /// File with the access token.
    pub api_token_file: Option<&'a str>,
    /// Directory of the artifacts, unless the configuration says it.
    pub artifacts_directory: Option<&'a str>,
}

impl Inventory {
    /// Reads an inventory from `text`; `file` is its name in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line, key and what was expected.
    pub fn parse(file: &str, text: &str) -> Result<Self, InventoryError> {
        document::parse(file, text)
    }

    /// The PostgreSQL server on `host`, one of the pair.
    #[must_use]
    pub fn server(&self, host: &str) -> Server<'_> {
        let common = &self.postgresql;
        let own = common.on.get(host);
        let data_directory = own.and_then(|own| own.data_directory.as_deref()).unwrap_or(&common.data_directory);
        Server {
            service: service(
                own.and_then(|own| own.commands.as_ref()),
                own.and_then(|own| own.service.as_deref()),
                common.service.as_deref(),
            ),
            data_directory,
            bin_directory: own.and_then(|own| own.bin_directory.as_deref()).unwrap_or(&common.bin_directory),
            config_directory: own
                .and_then(|own| own.config_directory.as_deref())
                .or(common.config_directory.as_deref())
                .unwrap_or(data_directory),
            socket_directory: own
                .and_then(|own| own.socket_directory.as_deref())
                .or(common.socket_directory.as_deref()),
            port: own.and_then(|own| own.port).unwrap_or(common.port),
        }
    }

    /// The GoCD server on `host`, one of the pair.
    #[must_use]
    pub fn gocd_server(&self, host: &str) -> GocdServer<'_> {
        let common = &self.gocd;
        let own = common.on.get(host);
        GocdServer {
            service: service(
                own.and_then(|own| own.commands.as_ref()),
                own.and_then(|own| own.service.as_deref()),
                common.service.as_deref(),
            ),
            port: own.and_then(|own| own.port).unwrap_or(common.port),
            config_directory: own.and_then(|own| own.config_directory.as_deref()).unwrap_or(&common.config_directory),
            api_token_file: own.and_then(|own| own.api_token_file.as_deref()).or(common.api_token_file.as_deref()),
            artifacts_directory: own
                .and_then(|own| own.artifacts_directory.as_deref())
                .or(common.artifacts_directory.as_deref()),
        }
    }
}

fn service<'a>(commands: Option<&'a ServiceCommands>, own: Option<&'a str>, common: Option<&'a str>) -> Service<'a> {
    // `parse` has refused a host that has neither.
    commands.map_or_else(|| Service::Systemd(own.or(common).unwrap_or_default()), Service::Commands)
}

fn database() -> String {
    "gocd".to_owned()
}

fn go() -> String {
    "go".to_owned()
}

fn etc_go() -> String {
    "/etc/go".to_owned()
}

fn copies() -> String {
    "/var/lib/bcctl/copies".to_owned()
}

fn fence_toml() -> String {
    "/etc/fence/fence.toml".to_owned()
}

const fn port_8153() -> u16 {
    8153
}

#[cfg(test)]
mod tests;
