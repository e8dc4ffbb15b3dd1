//! What one host said, from lines `key=value`. A key that did not come is a fact that is not known.

use std::collections::BTreeMap;

use bc_model::manifest::Manifest;
use bc_model::version::Version;
use bc_model::vip::VipStatus;
use serde::Serialize;

use crate::judge::is_on;
use crate::lsn::Lsn;

/// One host that answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct HostFacts {
    /// Seconds since the epoch, by its own clock.
    pub(crate) now: Option<f64>,
    /// The user that the look ran as; 0 is root.
    pub(crate) uid: Option<u32>,
    /// What sudo does not allow there: the number of the rule, and where its program is.
    pub(crate) denied: Vec<(usize, String)>,
    /// The directory in the way of the journals, which the login may not write.
    pub(crate) unwritable: Option<String>,
    /// How far its clock is off at least, in seconds; positive if it is ahead of this machine's.
    pub(crate) clock_off: Option<f64>,
    /// Whether the look came to its end.
    pub(crate) complete: bool,
    /// Its PostgreSQL server, if the inventory gives it that role.
    pub(crate) postgresql: Option<PostgresqlFacts>,
    /// Its GoCD server, if the inventory gives it that role.
    pub(crate) gocd: Option<GocdFacts>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServiceFacts {
    /// Whether it runs, or is on its way up or down.
    pub(crate) active: bool,
    /// Whether it would start at boot.
    pub(crate) enabled: bool,
    /// Whether the unit exists.
    pub(crate) missing: bool,
    /// Whether `fence gate` is asked before it starts.
    pub(crate) gated: bool,
}

/// A PostgreSQL server, running or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PostgresqlFacts {
    /// Its service.
    pub(crate) service: ServiceFacts,
    /// Major version of the data directory; nothing if there is none.
    pub(crate) data_version: Option<Version>,
    /// What `postgres --version` says.
    pub(crate) program: Option<String>,
    /// Files that decide what the server becomes at its next start: `standby.signal`, a trigger file, …
    pub(crate) files: Vec<String>,
    /// Whether the data directory is a mount point, which cannot be renamed.
    pub(crate) mount_point: bool,
    /// Whether `pg_wal` is a link to another place.
    pub(crate) wal_elsewhere: bool,
    /// Free bytes beside the data directory.
    pub(crate) free: Option<u64>,
    /// Data that earlier re-seeds have kept.
    pub(crate) kept: Vec<String>,
    /// The newest history of timelines in its WAL directory.
    pub(crate) history: History,
    /// The timeline of the WAL file that it is replaying.
    pub(crate) recovering: Option<u32>,
    /// The archive of the inventory, as this host sees it.
    pub(crate) archive: ArchiveFacts,
    /// The control file.
    pub(crate) control: Option<Controldata>,
    /// What the other server said about itself, after this one had been asked how far it had replayed.
    pub(crate) peer: Option<Peer>,
    /// A standby that has stopped where its WAL, which came from the primary, has no record: where, and how many bytes before the
    /// next one.
    pub(crate) no_record_at: Option<(Lsn, u64)>,
    /// Whether the replication role can log in at the other server; nothing if that was not tried.
    pub(crate) login: Option<bool>,
    /// Why it cannot.
    pub(crate) login_words: String,
    /// What the running server answers.
    pub(crate) sql: Option<SqlFacts>,
    /// Why it did not answer.
    pub(crate) sql_error: String,
}

/// Which timelines there were, and where each ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct History {
    /// The timeline that it leads to; 0 if there is no history.
    pub(crate) timeline: u32,
    /// Each earlier timeline, and where it was left.
    pub(crate) ends: Vec<(u32, Lsn)>,
}

/// The WAL archive, as one host sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ArchiveFacts {
    /// Whether it is a directory here.
    pub(crate) there: bool,
    /// Whether the owner of the server may write into it.
    pub(crate) writable: bool,
    /// Free bytes in its file system.
    pub(crate) free: Option<u64>,
    /// Its newest WAL files.
    pub(crate) files: Vec<String>,
    /// The newest history of timelines in it.
    pub(crate) history: History,
}

/// What a standby had replayed, and then where the WAL of the other server ended: no healthy standby is ahead of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Peer {
    /// Identity of the other server's cluster.
    pub(crate) system_identifier: String,
    /// The timeline that it writes.
    pub(crate) timeline: u32,
    /// Where its WAL ended.
    pub(crate) end: Lsn,
    /// What this standby had replayed before.
    pub(crate) replayed: Lsn,
}

/// What `pg_controldata` says; of a running server it is the last checkpoint's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Controldata {
    /// Identity of the cluster.
    pub(crate) system_identifier: String,
    /// `shut down`, `in production`, `in archive recovery`, …
    pub(crate) state: String,
    /// Latest checkpoint location.
    pub(crate) checkpoint: Option<Lsn>,
    /// Its timeline.
    pub(crate) timeline: u32,
}

/// What a running server answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SqlFacts {
    /// `server_version_num`, such as 150018.
    pub(crate) version: u32,
    /// Whether it is a standby.
    pub(crate) in_recovery: bool,
    /// Identity of the cluster.
    pub(crate) system_identifier: String,
    /// The timeline it writes or receives; else that of its last checkpoint.
    pub(crate) timeline: u32,
    /// Primary: end of WAL.
    pub(crate) write_lsn: Option<Lsn>,
    /// Standby: end of what it has received by streaming.
    pub(crate) receive_lsn: Option<Lsn>,
    /// Standby: end of what it has replayed.
    pub(crate) replay_lsn: Option<Lsn>,
    /// Standby: whether replay is paused.
    pub(crate) replay_paused: bool,
    /// Standby: age of the last commit it has replayed, in seconds.
    pub(crate) last_commit_age: Option<f64>,
    /// Standby: state of its WAL receiver, such as `streaming`.
    pub(crate) receiver: Option<String>,
    /// Standby: the timeline that its WAL receiver streams.
    pub(crate) received_timeline: Option<u32>,
    /// Servers that stream from this one.
    pub(crate) replication: Vec<Replication>,
    /// Physical slots.
    pub(crate) slots: Vec<Slot>,
    /// Settings that matter for a change of roles.
    pub(crate) settings: BTreeMap<String, String>,
    /// Busy WAL senders.
    pub(crate) wal_senders: u32,
    /// Whether the last archive command failed.
    pub(crate) archiver_failing: bool,
    /// The last WAL file that was archived.
    pub(crate) last_archived: Option<String>,
    /// WAL files that wait for the archiver.
    pub(crate) archive_ready: u32,
    /// Prepared transactions.
    pub(crate) prepared_transactions: u32,
    /// Tablespaces outside the data directory.
    pub(crate) tablespaces: u32,
    /// Size of all databases in bytes.
    pub(crate) size: Option<u64>,
}

impl PostgresqlFacts {
    /// The major version that runs, or that the data is of.
    pub(crate) fn version(&self) -> Option<Version> {
        self.sql.as_ref().and_then(|sql| Version::from_number(sql.version)).or(self.data_version)
    }
}

impl SqlFacts {
    /// A number among the settings; 0 if it is not there.
    pub(crate) fn number(&self, setting: &str) -> u64 {
        self.settings.get(setting).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// A text among the settings; empty if it is not there.
    pub(crate) fn text(&self, setting: &str) -> &str {
        self.settings.get(setting).map_or("", String::as_str)
    }
}

/// One row of `pg_stat_replication`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Replication {
    /// `application_name`: the host of the standby.
    pub(crate) name: String,
    /// `streaming`, `catchup`, `backup`, …
    pub(crate) state: String,
    /// `async`, `sync`, `quorum`, `potential`.
    pub(crate) sync_state: String,
    /// What the standby has replayed.
    pub(crate) replay_lsn: Option<Lsn>,
    /// Whether that is more than the primary has written, seen in one statement: it has another history.
    pub(crate) ahead: bool,
}

/// One physical replication slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Slot {
    /// Its name: the host of the standby.
    pub(crate) name: String,
    /// Whether somebody streams through it.
    pub(crate) active: bool,
    /// From where on it keeps WAL.
    pub(crate) restart_lsn: Option<Lsn>,
    /// Whether WAL that it should keep is gone.
    pub(crate) lost: bool,
}

/// A GoCD server, running or not, its files, and the VIP on its host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct GocdFacts {
    /// Its service.
    pub(crate) service: ServiceFacts,
    /// HTTP status of the health page; 0 if nobody listens.
    pub(crate) health: u16,
    /// Its version, while it runs.
    pub(crate) version: Option<String>,
    /// The database its `db.properties` names, without parameters.
    pub(crate) database: Option<String>,
    /// Whether there is a good file with an access token, or what is wrong with it; nothing if the inventory names none.
    pub(crate) token: Option<Result<(), String>>,
    /// Whether it is in maintenance mode, or what it said instead; nothing if it was not asked.
    pub(crate) maintenance: Option<Result<bool, String>>,
    /// Its files, or why they are not known.
    pub(crate) manifest: Result<Manifest, String>,
    /// The VIP, or why it is not known.
    pub(crate) vip: Result<VipStatus, String>,
    /// What the name of the VIP means here; nothing if the inventory gives it none.
    pub(crate) name: Vec<String>,
    /// The MAC of the interface that carries the VIP.
    pub(crate) mac: Option<String>,
    /// The MAC that answers for the VIP, seen from this host, if this host does not hold it.
    pub(crate) vip_answers: Option<String>,
}

impl Default for GocdFacts {
    fn default() -> Self {
        Self {
            service: ServiceFacts::default(),
            health: 0,
            version: None,
            database: None,
            token: None,
            maintenance: None,
            manifest: Err("standbyd did not answer".to_owned()),
            vip: Err("vipd did not answer".to_owned()),
            name: Vec::new(),
            mac: None,
            vip_answers: None,
        }
    }
}

/// Reads the lines of one host.
pub(super) fn parse(text: &str) -> HostFacts {
    let mut host = HostFacts::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match key.split_once('.') {
            Some(("host", "now")) => host.now = value.parse().ok(),
            Some(("host", "uid")) => host.uid = value.parse().ok(),
            Some(("host", "unwritable")) => host.unwritable = Some(value.to_owned()),
            Some(("host", "denied")) => {
                let (number, path) = value.split_once('|').unwrap_or((value, ""));
                host.denied.extend(number.parse().ok().map(|number| (number, path.to_owned())));
            }
            Some(("archive", key)) => archive(&mut host.postgresql.get_or_insert_default().archive, key, value),
            Some(("host", "complete")) => host.complete = true,
            Some(("pg", key)) => server(host.postgresql.get_or_insert_default(), key, value),
            Some(("control", key)) => {
                control(host.postgresql.get_or_insert_default().control.get_or_insert_default(), key, value);
            }
            Some(("sql", key)) => sql(host.postgresql.get_or_insert_default().sql.get_or_insert_default(), key, value),
            Some(("gocd", key)) => gocd(host.gocd.get_or_insert_default(), key, value),
            _ => {}
        }
    }
    host
}

fn service(facts: &mut ServiceFacts, key: &str, value: &str) {
    match key {
        "unit.ActiveState" => facts.active = matches!(value, "active" | "activating" | "reloading" | "deactivating"),
        "unit.UnitFileState" => facts.enabled = value.starts_with("enabled"),
        "unit.ExecCondition" => facts.gated = value.contains("fence") && value.contains("gate"),
        "unit.LoadState" => facts.missing = value == "not-found",
        _ => {}
    }
}

fn server(facts: &mut PostgresqlFacts, key: &str, value: &str) {
    match key {
        "data" => facts.data_version = value.trim().parse().ok(),
        "program" => facts.program = Some(value.to_owned()).filter(|text| !text.is_empty()),
        "file" => facts.files.push(value.to_owned()),
        "mount-point" => facts.mount_point = true,
        "wal-elsewhere" => facts.wal_elsewhere = true,
        "free" => facts.free = value.parse().ok(),
        "kept" => facts.kept.push(value.to_owned()),
        "history" => history(&mut facts.history, value),
        "recovering" => facts.recovering = timeline_of(value),
        "peer" => facts.peer = peer(value),
        "no-record-at" => {
            let (at, bytes) = value.split_once('|').unwrap_or_default();
            facts.no_record_at = at.parse().ok().zip(bytes.parse().ok());
        }
        "login" => facts.login = Some(value == "0"),
        "login-words" => append(&mut facts.login_words, value),
        "sql-error" => append(&mut facts.sql_error, value),
        _ => service(&mut facts.service, key, value),
    }
}

/// `0/5000148|7300000000000000001|1|0/5000148|`: what was replayed here, and then the answer to `IDENTIFY_SYSTEM`.
fn peer(value: &str) -> Option<Peer> {
    let mut part = value.split('|');
    let replayed = part.next()?.parse().ok()?;
    let system_identifier = part.next()?.to_owned();
    Some(Peer { replayed, system_identifier, timeline: part.next()?.parse().ok()?, end: part.next()?.parse().ok()? })
}

/// One line of a history: `00000003.history|2|0/5000148`.
fn history(facts: &mut History, value: &str) {
    let mut part = value.split('|');
    let mut next = || part.next().unwrap_or_default();
    let (name, timeline, end) = (next(), next().parse(), next().parse());
    facts.timeline = timeline_of(name).unwrap_or_default();
    if let (Ok(timeline), Ok(end)) = (timeline, end) {
        facts.ends.push((timeline, end));
    }
}

/// The timeline in the name of a WAL or history file.
fn timeline_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.get(..8)?, 16).ok()
}

fn archive(facts: &mut ArchiveFacts, key: &str, value: &str) {
    match key {
        "there" => facts.there = true,
        "writable" => facts.writable = true,
        "free" => facts.free = value.parse().ok(),
        "file" => facts.files.push(value.to_owned()),
        "history" => history(&mut facts.history, value),
        _ => {}
    }
}

fn append(words: &mut String, line: &str) {
    if !words.is_empty() {
        words.push_str("; ");
    }
    words.push_str(line.trim());
}

fn control(facts: &mut Controldata, key: &str, value: &str) {
    match key {
        "system-identifier" => facts.system_identifier = value.to_owned(),
        "state" => facts.state = value.to_owned(),
        "checkpoint" => facts.checkpoint = value.parse().ok(),
        "timeline" => facts.timeline = value.parse().unwrap_or_default(),
        _ => {}
    }
}

fn sql(facts: &mut SqlFacts, key: &str, value: &str) {
    let number = || value.parse().unwrap_or_default();
    let truth = matches!(value, "t" | "true");
    match key {
        "version" => facts.version = number(),
        "in-recovery" => facts.in_recovery = truth,
        "system-identifier" => facts.system_identifier = value.to_owned(),
        // The receiver's timeline comes later and is newer than the last checkpoint's.
        "checkpoint-timeline" | "timeline" => facts.timeline = number(),
        "write-lsn" => facts.write_lsn = value.parse().ok(),
        "receive-lsn" => facts.receive_lsn = value.parse().ok(),
        "replay-lsn" => facts.replay_lsn = value.parse().ok(),
        "replay-paused" => facts.replay_paused = truth,
        "last-commit-age" => facts.last_commit_age = value.parse().ok(),
        "receiver" => facts.receiver = value.split('|').next().map(str::to_owned),
        "received-timeline" => facts.received_timeline = value.parse().ok(),
        "last-archived" => facts.last_archived = Some(value.to_owned()),
        "replication" => {
            let mut part = value.split('|').map(str::to_owned);
            let mut next = || part.next().unwrap_or_default();
            let (name, state, sync_state, _address) = (next(), next(), next(), next());
            let replay_lsn = next().parse().ok();
            let ahead = matches!(next().as_str(), "t" | "true");
            facts.replication.push(Replication { name, state, sync_state, replay_lsn, ahead });
        }
        "slot" => {
            let mut part = value.split('|');
            let mut next = || part.next().unwrap_or_default();
            let (name, active) = (next().to_owned(), matches!(next(), "t" | "true"));
            let (restart_lsn, lost) = (next().parse().ok(), matches!(next(), "lost" | "unreserved"));
            facts.slots.push(Slot { name, active, restart_lsn, lost });
        }
        "setting" => {
            if let Some((name, value)) = value.split_once('|') {
                facts.settings.insert(name.to_owned(), value.to_owned());
            }
        }
        "wal-senders" => facts.wal_senders = number(),
        "archiver-failing" => facts.archiver_failing = truth,
        "archive-ready" => facts.archive_ready = number(),
        "prepared-transactions" => facts.prepared_transactions = number(),
        "tablespaces" => facts.tablespaces = number(),
        "size" => facts.size = value.parse().ok(),
        _ => {}
    }
}

fn gocd(facts: &mut GocdFacts, key: &str, value: &str) {
    match key {
        "health" => facts.health = value.parse().unwrap_or_default(),
        "version" => {
            let answer: Option<serde_json::Value> = serde_json::from_str(value).ok();
            facts.version = answer.and_then(|answer| Some(answer.get("full_version")?.as_str()?.to_owned()));
        }
        "database" => facts.database = Some(value.to_owned()),
        "token" => facts.token = Some(Ok(())),
        "token-error" => facts.token = Some(Err(value.to_owned())),
        "maintenance" => facts.maintenance = Some(is_on(value).ok_or_else(|| value.to_owned())),
        "manifest" => facts.manifest = schema(value, Manifest::SCHEMA, |manifest: &Manifest| manifest.schema),
        "manifest-error" => facts.manifest = Err(value.to_owned()),
        "vip" => facts.vip = schema(value, VipStatus::SCHEMA, |status: &VipStatus| status.schema),
        "vip-error" => facts.vip = Err(value.to_owned()),
        "name" => facts.name.push(value.to_owned()),
        "mac" => facts.mac = Some(value.to_owned()),
        "vip-answers" => facts.vip_answers = Some(value.to_owned()),
        _ => service(&mut facts.service, key, value),
    }
}

fn schema<T: serde::de::DeserializeOwned>(text: &str, known: u32, schema: fn(&T) -> u32) -> Result<T, String> {
    match serde_json::from_str::<T>(text) {
        Ok(value) if schema(&value) == known => Ok(value),
        Ok(value) => Err(format!("schema {} is not known here (this program knows {known})", schema(&value))),
        Err(error) => Err(format!("the answer was not understood: {error}")),
    }
}
