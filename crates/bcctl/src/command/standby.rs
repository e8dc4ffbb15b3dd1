//! What makes a server a standby of its peer at its next start, in the form its version reads.

use bc_model::inventory::Inventory;
use bc_model::version::Marker;

use super::postgresql::{conninfo, literal, owned, slot, sql};
use super::{Command, quote};
use crate::judge::Check;

/// The lines that make the server on `host` follow `peer`: settings, or (before 12) the whole `recovery.conf`.
pub(crate) fn follow_settings(inventory: &Inventory, host: &str, peer: &str) -> Vec<String> {
    let version = inventory.postgresql.version;
    let mut lines = vec![
        format!("primary_conninfo = {}", literal(&conninfo(inventory, host, peer))),
        format!("primary_slot_name = {}", literal(&slot(host))),
    ];
    if let Some(archive) = &inventory.postgresql.archive {
        lines.push(format!("restore_command = {}", literal(&archive.restore_command())));
        if archive.cleanup {
            let program = format!("{}/pg_archivecleanup", inventory.server(host).bin_directory);
            let command = format!("\"{program}\" \"{}\" \"%r\"", archive.directory);
            lines.push(format!("archive_cleanup_command = {}", literal(&command)));
        }
    }
    if version.marker() == Marker::RecoveryConf {
        lines.insert(0, "standby_mode = 'on'".to_owned());
    }
    if !version.follows_latest() {
        lines.push("recovery_target_timeline = 'latest'".to_owned());
    }
    lines
}

/// The file in the data directory that makes a server a standby.
pub(crate) const fn marker_file(marker: Marker) -> &'static str {
    match marker {
        Marker::RecoveryConf => "recovery.conf",
        Marker::StandbySignal => "standby.signal",
    }
}

/// Data directory and marker, quoted.
fn marker(inventory: &Inventory, host: &str) -> (String, String) {
    let data = inventory.server(host).data_directory;
    let file = marker_file(inventory.postgresql.version.marker());
    (quote(data), quote(&format!("{data}/{file}")))
}

/// Makes the primary on `host` a standby of `peer` from its next start on.
pub(crate) fn arm(inventory: &Inventory, host: &str, peer: &str) -> Vec<Command> {
    let settings = follow_settings(inventory, host, peer);
    let (data, marker) = marker(inventory, host);
    match inventory.postgresql.version.marker() {
        Marker::StandbySignal => {
            let statements: Vec<String> =
                settings.iter().map(|setting| format!("ALTER SYSTEM SET {setting}")).collect();
            let touch = format!("touch {marker} && sync {marker} {data}");
            vec![sql(inventory, host, &statements, &[]), owned(inventory, host, &touch, &[])]
        }
        Marker::RecoveryConf => {
            vec![owned(inventory, host, &write_recovery_conf(inventory, host, peer, &data), &[])]
        }
    }
}

/// Makes the server on `host`, which does not run, a standby of `peer` from its next start on.
pub(crate) fn arm_stopped(inventory: &Inventory, host: &str, peer: &str) -> Command {
    let (data, _) = marker(inventory, host);
    let script = format!("set -e\n{}sync {data}/* {data}", mark_copy(inventory, host, peer, &data));
    owned(inventory, host, &script, &[])
}

/// Writes `recovery.conf` into `data` (quoted) in one rename.
fn write_recovery_conf(inventory: &Inventory, host: &str, peer: &str, data: &str) -> String {
    let lines: String = follow_settings(inventory, host, peer).iter().map(|line| format!(" {}", quote(line))).collect();
    format!(
        "printf '%s\\n'{lines} >{data}/recovery.conf.bcctl && chmod 0600 {data}/recovery.conf.bcctl \
         && sync {data}/recovery.conf.bcctl && mv -T {data}/recovery.conf.bcctl {data}/recovery.conf && sync {data}"
    )
}

/// Whether [`arm`] has been done.
pub(crate) fn armed(inventory: &Inventory, host: &str, peer: &str) -> Check {
    let (data, marker) = marker(inventory, host);
    let file = match inventory.postgresql.version.marker() {
        Marker::StandbySignal => format!("{data}/postgresql.auto.conf"),
        Marker::RecoveryConf => marker.clone(),
    };
    let lines: String = follow_settings(inventory, host, peer)
        .iter()
        .map(|line| format!(" && grep -qxF {} {file}", quote(line)))
        .collect();
    Check::succeeds(owned(inventory, host, &format!("[ -e {marker} ]{lines}"), &[]))
}

/// Makes the server on `host` a primary again from its next start on. The connection settings may stay: without the
/// marker they mean nothing.
pub(crate) fn disarm(inventory: &Inventory, host: &str) -> Command {
    let (data, marker) = marker(inventory, host);
    owned(inventory, host, &format!("rm -f {marker} && sync {data}"), &[])
}

/// Whether [`disarm`] has been done.
pub(crate) fn disarmed(inventory: &Inventory, host: &str) -> Check {
    let (_, marker) = marker(inventory, host);
    Check::succeeds(owned(inventory, host, &format!("[ ! -e {marker} ]"), &[]))
}

/// Lines of shell that make the copy in `data` (quoted) on `host` a standby of `peer`, before its first start.
pub(super) fn mark_copy(inventory: &Inventory, host: &str, peer: &str, data: &str) -> String {
    let settings = follow_settings(inventory, host, peer);
    let names: String =
        settings.iter().filter_map(|line| line.split_once(' ')).map(|(name, _)| format!("/^{name} *=/d; ")).collect();
    let tidy = format!(
        "touch {data}/postgresql.auto.conf\n\
         sed -i '{names}/^synchronous_standby_names *=/d' {data}/postgresql.auto.conf\n\
         rm -f {data}/recovery.signal {data}/recovery.done\n"
    );
    match inventory.postgresql.version.marker() {
        Marker::StandbySignal => {
            let lines = quote(&settings.join("\n"));
            tidy + &format!(
                "printf '%s\\n' {lines} >>{data}/postgresql.auto.conf\n\
                 touch {data}/standby.signal\n"
            )
        }
        Marker::RecoveryConf => tidy + &format!("{} || exit 1\n", write_recovery_conf(inventory, host, peer, data)),
    }
}
