//! What the files of a host shall say. Pure.

use std::net::IpAddr;

use bc_model::inventory::{Inventory, Layout, Service};

use super::Role;
use super::edit::{Edit, Ours, Shown};
use crate::command::postgresql::literal;
use crate::observe::SqlFacts;
use crate::place::Place;

/// The safe archive command, as it is shipped.
const ARCHIVE_WAL: &str = include_str!("../../../../packaging/archive-wal");
/// WAL that is kept for a standby that is away for a moment, in MB; the slot and the archive are for longer.
const WAL_KEEP: u32 = 512;
/// Enough for a standby, a base backup (two) and somebody else's.
const SENDERS: u64 = 10;

/// A file, before anybody has looked at it.
pub(super) struct Wanted {
    pub(super) id: &'static str,
    pub(super) path: String,
    pub(super) ours: Ours,
    pub(super) owner: String,
    pub(super) mode: &'static str,
}

impl Wanted {
    /// The edit that makes it so, of a file that holds `old`.
    pub(super) fn seen(self, host: &str, old: Option<Shown>) -> Edit {
        let Self { id, path, ours, owner, mode } = self;
        Edit { host: host.to_owned(), id, path, ours, owner, mode, old }
    }
}

/// The files of a host in this role. `now` is what its server says, or the primary's if it has none yet.
pub(super) fn of(
    inventory: &Inventory,
    role: Role,
    host: &str,
    now: Option<&SqlFacts>,
    primary: Option<&SqlFacts>,
) -> Vec<Wanted> {
    match role {
        Role::Primary => postgresql(inventory, host, settings(inventory, host, now, None)),
        Role::Standby => postgresql(inventory, host, settings(inventory, host, now, primary)),
        Role::GocdStandby => gocd(inventory, host),
    }
}

/// The files of a PostgreSQL host.
fn postgresql(inventory: &Inventory, host: &str, settings: Vec<String>) -> Vec<Wanted> {
    let server = inventory.server(host);
    let owner = format!("{}:", inventory.postgresql.os_user);
    let config = |name: &str| format!("{}/{name}", server.config_directory);
    let file = |id, path, ours| Wanted { id, path, ours, owner: owner.clone(), mode: "0600" };
    let mut files = Vec::new();
    if let Some(archive) = &inventory.postgresql.archive {
        files.push(Wanted {
            id: "setup-archive",
            path: archive.program.clone(),
            ours: Ours::Whole(ARCHIVE_WAL.to_owned()),
            owner: "root:".to_owned(),
            mode: "0755",
        });
    }
    files.push(file("setup-settings", config("postgresql.conf"), Ours::Bottom(settings)));
    files.push(file("setup-hba", config("pg_hba.conf"), Ours::Top(hba(inventory))));
    files.extend(gate("setup-gate", &server.service));
    if inventory.postgresql.layout == Layout::Debian {
        // Debian's own switch: `auto` would start the cluster with the machine whatever systemd says.
        files.push(file("setup-manual", config("start.conf"), Ours::Whole("manual\n".to_owned())));
    }
    files
}

/// The files of a GoCD host.
fn gocd(inventory: &Inventory, host: &str) -> Vec<Wanted> {
    gate("setup-gate", &inventory.gocd_server(host).service).into_iter().collect()
}

/// Asks the gate before the unit starts, whoever starts it.
fn gate(id: &'static str, service: &Service<'_>) -> Option<Wanted> {
    let Service::Systemd(unit) = service else { return None };
    let unit = if unit.contains('.') { (*unit).to_owned() } else { format!("{unit}.service") };
    Some(Wanted {
        id,
        path: format!("/etc/systemd/system/{unit}.d/50-bcctl-gate.conf"),
        ours: Ours::Whole(
            "# Written by `bcctl setup`: a host that was fenced does not start this until a token says that it may.\n\
             [Service]\nExecCondition=+/usr/bin/fence gate --unit %n\n"
                .to_owned(),
        ),
        owner: "root:".to_owned(),
        mode: "0644",
    })
}

/// What a standby has to have at least as much of as its primary, or it refuses to start; besides the senders.
const AS_THE_PRIMARY: [&str; 4] =
    ["max_connections", "max_worker_processes", "max_prepared_transactions", "max_locks_per_transaction"];

/// What a server needs to be a primary today and a standby tomorrow: both hosts get the same. A standby also gets what it has to have
/// as much of as `primary`.
fn settings(inventory: &Inventory, host: &str, now: Option<&SqlFacts>, primary: Option<&SqlFacts>) -> Vec<String> {
    let version = inventory.postgresql.version;
    let text = |name: &str| now.map_or("", |now| now.text(name));
    let most = |name: &str| [now, primary].into_iter().flatten().map(|facts| facts.number(name)).max().unwrap_or(0);
    let at_least = |name: &str| most(name).max(SENDERS);
    let (keep, size) = version.wal_keep(WAL_KEEP);
    let mut lines = Vec::new();
    let [one, two] = Place::BOTH.map(|place| inventory.server(place.postgresql(inventory)).port);
    if one != two {
        // A copy brings the other one's file with it.
        lines.push(format!("port = {}", inventory.server(host).port));
    }
    // What was set before looks like what somebody else has set; the same line both times, or it would come and go.
    if matches!(text("listen_addresses"), "localhost" | "*") {
        lines.push("listen_addresses = '*'".to_owned());
    }
    if text("wal_level") != "logical" {
        lines.push("wal_level = replica".to_owned());
    }
    lines.push(format!("max_wal_senders = {}", at_least("max_wal_senders")));
    lines.push(format!("max_replication_slots = {}", at_least("max_replication_slots")));
    lines.push(if size.ends_with("MB") { format!("{keep} = '{size}'") } else { format!("{keep} = {size}") });
    if let Some(primary) = primary {
        // Even if it is no more than the default: what the file of a server that is down says is not known.
        let known = AS_THE_PRIMARY.into_iter().filter(|name| primary.settings.contains_key(*name));
        lines.extend(known.map(|name| format!("{name} = {}", most(name))));
    }
    lines.push("hot_standby = on".to_owned());
    if text("data_checksums") != "on" {
        lines.push("wal_log_hints = on".to_owned());
    }
    if let Some(archive) = &inventory.postgresql.archive {
        lines.push("archive_mode = on".to_owned());
        lines.push(format!("archive_command = {}", literal(&archive.archive_command())));
    }
    lines
}

/// Both hosts let the replication role in from both: the roles change.
fn hba(inventory: &Inventory) -> Vec<String> {
    let user = &inventory.postgresql.replication_user;
    let auth = &inventory.postgresql.replication_auth;
    let mut lines: Vec<String> = Place::BOTH
        .into_iter()
        .filter_map(|place| inventory.hosts.get(place.postgresql(inventory)))
        .map(|host| {
            let address = host.address();
            let address = match address.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => format!("{address}/32"),
                Ok(IpAddr::V6(_)) => format!("{address}/128"),
                Err(_) => address.to_owned(),
            };
            format!("host replication {user} {address} {auth}")
        })
        .collect();
    lines.dedup();
    lines
}
