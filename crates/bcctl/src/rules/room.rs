//! What stands in the way of re-seeding the other server.

use super::Site;
use crate::finding::Finding;
use crate::finding::kinds::{MOUNT_POINT, NO_ROOM, NO_SENDER_FREE, TABLESPACES, WAL_ELSEWHERE};
use crate::observe::SqlFacts;
use crate::plan::needed;

/// What stands in the way of re-seeding the other server from the serving one.
pub(super) fn findings(site: &Site<'_>, primary: &SqlFacts) -> Vec<Finding> {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    if super::follows(site) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if primary.tablespaces > 0 {
        findings.push(
            Finding::of(&TABLESPACES, one, format!("has {} tablespaces outside the data directory; the re-seed does not move them", primary.tablespaces))
                .hint(format!("re-seed {two} by hand (pg_basebackup --tablespace-mapping), start it as a standby, then `bcctl failback`")),
        );
    }
    let (all, used) = (primary.number("max_wal_senders"), u64::from(primary.wal_senders));
    if all < used + 2 {
        findings.push(
            Finding::of(
                &NO_SENDER_FREE,
                one,
                format!("has {} of {all} WAL senders free; a base backup needs two", all.saturating_sub(used)),
            )
            .hint("raise max_wal_senders and restart it, or disconnect another standby"),
        );
    }
    let Some(server) = site.seen.postgresql(site.inventory, site.other()) else { return findings };
    let by_hand = format!("re-seed {two} by hand, start it as a standby, then `bcctl failback`");
    if server.mount_point {
        findings.push(
            Finding::of(&MOUNT_POINT, two, "its data directory is a mount point, so it cannot be renamed")
                .hint(by_hand.as_str()),
        );
    }
    if server.wal_elsewhere {
        findings.push(
            Finding::of(&WAL_ELSEWHERE, two, "its pg_wal is a link to another place; the re-seed would not keep that")
                .hint(by_hand),
        );
    }
    let needed = needed(site.inventory, primary.size);
    if let Some(free) = server.free.filter(|free| *free < needed) {
        let bytes = bc_model::inventory::Bytes;
        findings.push(
            Finding::of(&NO_ROOM, two,
                format!("has {} free for the copy; it needs {}", bytes(free), bytes(needed)),
            )
            .hint(
                "the old data is kept beside the copy; remove data of earlier re-seeds, or lower policy.minimum-free",
            ),
        );
    }
    findings
}
