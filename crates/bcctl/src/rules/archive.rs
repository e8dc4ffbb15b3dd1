//! The WAL archive, the archiver, and the disks.

use bc_model::inventory::Bytes;

use super::Site;
use crate::finding::Finding;
use crate::finding::kinds::{
    ARCHIVE_BACKLOG, ARCHIVE_FULL, ARCHIVE_MISSING, ARCHIVE_NOT_SHARED, ARCHIVE_OFF, ARCHIVE_UNSAFE,
    ARCHIVE_UNWRITABLE, ARCHIVER_FAILING, DISK_LOW, NO_RESTORE,
};
use crate::observe::SqlFacts;
use crate::place::Place;

/// More WAL files than these waiting for the archiver are worth a word.
const BACKLOG: u32 = 10;

pub(super) fn findings(site: &Site<'_>, primary: Option<&SqlFacts>, standby: Option<&SqlFacts>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(archive) = &site.inventory.postgresql.archive {
        for place in Place::BOTH {
            findings.extend(directory(site, place, &archive.directory));
        }
        findings.extend(shared(site, primary, &archive.directory));
        let mode = primary.map_or("", |primary| primary.text("archive_mode"));
        if mode == "off" {
            findings.push(
                Finding::of(
                    &ARCHIVE_OFF,
                    site.pg(site.serving),
                    format!("archives nothing into {}", archive.directory),
                )
                .hint("`bcctl setup primary`, then restart it at leisure: archive_mode needs that"),
            );
        }
        // Before 12 it is no setting, so nothing is known.
        if standby.is_some_and(|standby| standby.settings.get("restore_command").is_some_and(String::is_empty)) {
            let host = site.pg(site.other());
            findings.push(
                Finding::of(
                    &NO_RESTORE,
                    host,
                    format!("has no restore_command, so it never reads {}", archive.directory),
                )
                .hint("`bcctl setup standby` sets it"),
            );
        }
    }
    findings.extend(primary.into_iter().flat_map(|primary| archiver(site.pg(site.serving), primary)));
    for place in Place::BOTH {
        let Some(free) = site.seen.postgresql(site.inventory, place).and_then(|server| server.free) else { continue };
        if free < site.inventory.policy.minimum_free.0 {
            findings.push(
                Finding::of(&DISK_LOW, site.pg(place), format!("has {} free beside its data", Bytes(free)))
                    .hint(format!("policy.minimum-free wants {}", site.inventory.policy.minimum_free)),
            );
        }
    }
    findings
}

fn directory(site: &Site<'_>, place: Place, path: &str) -> Option<Finding> {
    let host = site.pg(place);
    let archive = &site.seen.postgresql(site.inventory, place)?.archive;
    if !archive.there {
        return Some(
            Finding::of(&ARCHIVE_MISSING, host, format!("has no {path}"))
                .hint(format!("on {host}: is the shared drive mounted? findmnt -T {path}")),
        );
    }
    if !archive.writable {
        let owner = &site.inventory.postgresql.os_user;
        return Some(
            Finding::of(&ARCHIVE_UNWRITABLE, host, format!("{owner} cannot write into {path}"))
                .hint(format!("on {host}: chown {owner}: {path}; or the export is read-only there")),
        );
    }
    let free = archive.free.filter(|free| *free < site.inventory.policy.minimum_free.0)?;
    Some(
        Finding::of(&ARCHIVE_FULL, host, format!("has {} free in {path}", Bytes(free)))
            .hint("remove WAL older than the oldest base backup: pg_archivecleanup"),
    )
}

/// Whether what the primary has archived is seen from the other host.
fn shared(site: &Site<'_>, primary: Option<&SqlFacts>, path: &str) -> Option<Finding> {
    let [one, two] = [site.serving, site.other()].map(|place| site.seen.postgresql(site.inventory, place));
    let (one, two) = (&one?.archive, &two?.archive);
    // Files that came or went between the two looks are among the newest; one of many in common is enough.
    let newest = primary.and_then(|primary| primary.last_archived.as_ref()).filter(|name| one.files.contains(name));
    if !one.there || !two.there || newest.is_none() || one.files.iter().any(|name| two.files.contains(name)) {
        return None;
    }
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    Some(
        Finding::of(&ARCHIVE_NOT_SHARED, two, format!("sees none of the newest files that {one} has in {path}"))
            .hint(format!("compare `findmnt -T {path}` on {one} and {two}")),
    )
}

fn archiver(host: &str, primary: &SqlFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if primary.archiver_failing {
        findings.push(
            Finding::of(
                &ARCHIVER_FAILING,
                host,
                "its archive_command fails: the shutdown would leave WAL that is in no archive",
            )
            .hint("see pg_stat_archiver and the server's log"),
        );
    }
    if primary.archive_ready > BACKLOG {
        findings.push(
            Finding::of(
                &ARCHIVE_BACKLOG,
                host,
                format!("{} WAL files wait for the archiver; a shutdown waits for them", primary.archive_ready),
            )
            .hint(format!("on {host}: time the archive_command by hand")),
        );
    }
    let command = primary.text("archive_command");
    if command.contains("cp ") && !command.contains("mv ") && matches!(primary.text("archive_mode"), "on" | "always") {
        findings.push(
            Finding::of(
                &ARCHIVE_UNSAFE,
                host,
                format!("archives with `{command}`, which may overwrite or tear a file"),
            )
            .hint("`bcctl setup primary` installs a command that does neither"),
        );
    }
    findings
}
