//! The PostgreSQL pair: which version, and where its packages put things.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ServiceCommands;
use crate::version::Version;

/// The PostgreSQL pair: which hosts, and where the server lives on them. What the file leaves out is filled in from
/// [`Layout`] and [`Version`] when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Postgresql {
    /// Host at home.
    pub primary: String,
    /// Host away.
    pub standby: String,
    /// Major version of the pair. Commands are built for it; `bcctl check` compares it with what runs.
    pub version: Version,
    /// Where the packages put things.
    pub layout: Layout,
    /// How the server is started and stopped, unless [`Postgresql::on`] says otherwise for a host.
    pub service: Option<String>,
    /// Data directory.
    pub data_directory: String,
    /// Directory of `psql`, `pg_ctl`, `pg_controldata`, `pg_basebackup`.
    pub bin_directory: String,
    /// Directory of `postgresql.conf`, if that is not the data directory.
    pub config_directory: Option<String>,
    /// Operating-system user that owns the server; SQL runs as this user over the Unix socket.
    pub os_user: String,
    /// Port of the server, TCP and Unix socket.
    pub port: u16,
    /// Directory of the Unix socket; without it, the one `psql` was built with.
    pub socket_directory: Option<String>,
    /// Role that the standby logs in as; its password is in `~postgres/.pgpass` on each host.
    pub replication_user: String,
    /// How that role proves itself, as `pg_hba.conf` calls it.
    pub replication_auth: String,
    /// More of libpq's connection options for the standby, such as `sslmode=verify-full`.
    pub replication_options: String,
    /// Whether `synchronous_standby_names` shall name the peer while the peer streams. It is always cleared before a
    /// promotion, or the first write would wait for a server that is down.
    pub synchronous: bool,
    /// The WAL archive on the shared drive, if there is one.
    pub archive: Option<Archive>,
    /// What differs on one host, by the name of the host.
    pub on: BTreeMap<String, PostgresqlOnHost>,
}

/// Where the packages of a distribution put the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Wherever the inventory says; the configuration is in the data directory.
    #[default]
    Plain,
    /// Debian's clusters: `/var/lib/postgresql/V/CLUSTER`, `/etc/postgresql/V/CLUSTER`, `postgresql@V-CLUSTER.service`.
    Debian,
    /// The PostgreSQL project's RPM packages: `/var/lib/pgsql/V/data`, `/usr/pgsql-V/bin`, `postgresql-V.service`.
    Pgdg,
}

/// The archive of WAL files: one directory on a shared drive, under the same path on both hosts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Archive {
    /// The directory.
    pub directory: String,
    /// The shipped `archive-wal`, which never overwrites and never leaves half a file; `bcctl setup` writes it there.
    #[serde(default = "archive_wal")]
    pub program: String,
    /// Whether the standby removes what it needs no more. What was removed cannot help a rejoin.
    #[serde(default)]
    pub cleanup: bool,
}

impl Archive {
    /// How a primary puts a file there, as the value of `archive_command`.
    #[must_use]
    pub fn archive_command(&self) -> String {
        format!("\"{}\" \"%p\" \"{}/%f\"", self.program, self.directory)
    }

    /// How a standby fetches a file, as the value of `restore_command`.
    #[must_use]
    pub fn restore_command(&self) -> String {
        format!("cp \"{}/%f\" \"%p\"", self.directory)
    }
}

/// What differs from [`Postgresql`] on one host; everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PostgresqlOnHost {
    /// systemd unit.
    pub service: Option<String>,
    /// Commands instead of a unit, where a host has no systemd.
    pub commands: Option<ServiceCommands>,
    /// Data directory.
    pub data_directory: Option<String>,
    /// Directory of the programs.
    pub bin_directory: Option<String>,
    /// Directory of `postgresql.conf`.
    pub config_directory: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Directory of the Unix socket.
    pub socket_directory: Option<String>,
}

/// The section as it stands in the file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    primary: String,
    standby: String,
    version: Option<Version>,
    #[serde(default)]
    layout: Layout,
    cluster: Option<String>,
    service: Option<String>,
    data_directory: Option<String>,
    bin_directory: Option<String>,
    config_directory: Option<String>,
    #[serde(default = "postgres")]
    os_user: String,
    #[serde(default = "port_5432")]
    port: u16,
    socket_directory: Option<String>,
    #[serde(default = "replicator")]
    replication_user: String,
    replication_auth: Option<String>,
    #[serde(default)]
    replication_options: String,
    #[serde(default)]
    synchronous: bool,
    archive: Option<Archive>,
    #[serde(default)]
    on: BTreeMap<String, PostgresqlOnHost>,
}

/// What a layout fills in.
struct Preset {
    data_directory: String,
    bin_directory: String,
    config_directory: Option<String>,
    service: String,
}

fn preset(layout: Layout, version: Version, cluster: &str) -> Option<Preset> {
    match layout {
        Layout::Plain => None,
        Layout::Debian => Some(Preset {
            data_directory: format!("/var/lib/postgresql/{version}/{cluster}"),
            bin_directory: format!("/usr/lib/postgresql/{version}/bin"),
            config_directory: Some(format!("/etc/postgresql/{version}/{cluster}")),
            service: format!("postgresql@{version}-{cluster}.service"),
        }),
        Layout::Pgdg => Some(Preset {
            data_directory: format!("/var/lib/pgsql/{version}/data"),
            bin_directory: format!("/usr/pgsql-{version}/bin"),
            config_directory: None,
            service: format!("postgresql-{version}.service"),
        }),
    }
}

impl TryFrom<Written> for Postgresql {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let paths = [&written.bin_directory, &written.data_directory];
        let version = written
            .version
            .or_else(|| paths.into_iter().flatten().find_map(|path| Version::from_path(path)))
            .ok_or("missing field `version`; expected the major version, such as version = \"15\"")?;
        if written.cluster.is_some() && written.layout != Layout::Debian {
            return Err("`cluster` is for layout = \"debian\" only".to_owned());
        }
        let auth = written.replication_auth.unwrap_or_else(|| version.password_auth().to_owned());
        check_auth(&auth, version)?;
        let preset = preset(written.layout, version, written.cluster.as_deref().unwrap_or("main"));
        let missing = |key: &str| format!("missing field `{key}`, or a `layout` that says it: \"debian\" or \"pgdg\"");
        let (data, bin, config, service) = match preset {
            Some(preset) => {
                (Some(preset.data_directory), Some(preset.bin_directory), preset.config_directory, Some(preset.service))
            }
            None => (None, None, None, None),
        };
        Ok(Self {
            primary: written.primary,
            standby: written.standby,
            version,
            layout: written.layout,
            service: written.service.or(service),
            data_directory: written.data_directory.or(data).ok_or_else(|| missing("data-directory"))?,
            bin_directory: written.bin_directory.or(bin).ok_or_else(|| missing("bin-directory"))?,
            config_directory: written.config_directory.or(config),
            os_user: written.os_user,
            port: written.port,
            socket_directory: written.socket_directory,
            replication_user: written.replication_user,
            replication_auth: auth,
            replication_options: written.replication_options,
            synchronous: written.synchronous,
            archive: written.archive,
            on: written.on,
        })
    }
}

/// The ways to prove oneself that a standby can use. It goes into `pg_hba.conf` as it stands, and a server does not start with a line
/// there that it cannot read.
const AUTH: [&str; 10] = ["scram-sha-256", "md5", "password", "cert", "gss", "ldap", "radius", "pam", "ident", "trust"];

fn check_auth(auth: &str, version: Version) -> Result<(), String> {
    // Options may follow, as in `cert clientcert=verify-full`.
    let method = auth.split(' ').next().unwrap_or_default();
    if !AUTH.contains(&method) || auth.contains('\n') {
        return Err(format!("`replication-auth`: {auth:?} is not known here; expected one of {}", AUTH.join(", ")));
    }
    if method == "scram-sha-256" && !version.has_scram() {
        return Err(format!("`replication-auth`: PostgreSQL {version} has no scram-sha-256; expected md5"));
    }
    Ok(())
}

fn postgres() -> String {
    "postgres".to_owned()
}

fn replicator() -> String {
    "replicator".to_owned()
}

const fn port_5432() -> u16 {
    5432
}

fn archive_wal() -> String {
    "/usr/local/lib/bcctl/archive-wal".to_owned()
}
