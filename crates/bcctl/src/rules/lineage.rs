//! Whether the standby's history is the primary's. A diverged standby shows `streaming`, and as a synchronous one it even
//! acknowledges commits that it does not have, so nothing that it says about its own health counts here.
//!
//! ```text
//! timeline 1 ──────────┬───────────▶ the diverged node replays 1 up to here: past the end of 1
//!                      └─ 2 ───────▶ the primary writes 2; its history says where 1 ended
//! ```
//!
//! Two that wrote one timeline have no history that says so; their records do ([`apart`]).

use super::Site;
use crate::finding::Finding;
use crate::finding::kinds::DIVERGED;
use crate::observe::{History, Observation, Peer, PostgresqlFacts, SqlFacts};
use crate::place::Place;

/// Why the standby of a site cannot be trusted, if so. Nothing if its history is the primary's, or not known.
pub(crate) fn diverged(site: &Site<'_>) -> Option<String> {
    let standby = site.seen.sql(site.inventory, site.other()).filter(|sql| sql.in_recovery)?;
    match site.seen.sql(site.inventory, site.serving).filter(|sql| !sql.in_recovery) {
        Some(primary) => beside(site, primary, standby),
        None => alone_words(site, standby),
    }
}

/// Whether the other server streams from the serving one, and has its history: only then is it a standby to rely on.
pub(crate) fn follows(site: &Site<'_>) -> bool {
    let host = site.pg(site.other());
    let streams =
        |primary: &SqlFacts| primary.replication.iter().any(|row| row.name == host && row.state == "streaming");
    site.seen.sql(site.inventory, site.other()).is_some_and(|standby| standby.in_recovery)
        && site.seen.sql(site.inventory, site.serving).is_some_and(streams)
        && diverged(site).is_none()
}

pub(super) fn finding(site: &Site<'_>, primary: &SqlFacts, standby: &SqlFacts) -> Option<Finding> {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    let mut words = beside(site, primary, standby)?;
    let acknowledges =
        primary.replication.iter().any(|row| row.name == two && matches!(row.sync_state.as_str(), "sync" | "quorum"));
    if acknowledges {
        words += "; and it is a synchronous standby: it acknowledges commits that it does not have";
    }
    let first = if acknowledges {
        format!("on {one}: ALTER SYSTEM SET synchronous_standby_names = '' and reload; then ")
    } else {
        String::new()
    };
    Some(Finding::of(&DIVERGED, two, words).hint(format!("{first}make it anew from {one}: `bcctl rejoin {two}`")))
}

/// The same when the primary does not answer.
pub(super) fn alone(site: &Site<'_>, standby: &SqlFacts) -> Option<Finding> {
    let words = alone_words(site, standby)?;
    Some(
        Finding::of(&DIVERGED, site.pg(site.other()), words)
            .hint("it must not be promoted; bring the other server back"),
    )
}

fn beside(site: &Site<'_>, primary: &SqlFacts, standby: &SqlFacts) -> Option<String> {
    let (one, two) = (site.pg(site.serving), site.pg(site.other()));
    if let Some(words) = apart(server(site, site.other())?, primary, one) {
        return Some(words);
    }
    // Read in one statement on the primary: no healthy standby can be ahead there.
    if let Some(row) = primary.replication.iter().find(|row| row.name == two && row.ahead) {
        let lsn = |lsn: Option<crate::lsn::Lsn>| lsn.map_or_else(String::new, |lsn| lsn.to_string());
        return Some(format!(
            "has replayed {}, and {one} has written only {}: its history is another one (it shows {})",
            lsn(row.replay_lsn),
            lsn(primary.write_lsn),
            row.state
        ));
    }
    if standby.timeline > primary.timeline {
        return Some(format!(
            "is on timeline {}, {one} on {}: it was promoted once",
            standby.timeline, primary.timeline
        ));
    }
    let history = histories(site.inventory, site.seen).find(|history| history.timeline == primary.timeline)?;
    against(server(site, site.other())?, standby, history, one)
}

/// Why the records of a standby are not the primary's, if so. It is the only sign where both wrote one timeline, which is what GoCD's page
/// leads to: a base backup that is started as a primary, without a promotion, while the other server has gone on.
fn apart(standby: &PostgresqlFacts, primary: &SqlFacts, one: &str) -> Option<String> {
    let both = |timeline: u32| format!("both wrote timeline {timeline}, with no promotion between them");
    let same = |timeline: &u32| *timeline == primary.timeline;
    if let Some(peer) = standby.peer.as_ref().filter(|peer| ahead(peer, primary)) {
        let why = standby.recovering.filter(same).map_or_else(|| "its history is another one".to_owned(), both);
        return Some(format!(
            "has replayed {}, and {one}, asked after that, had written only {}: {why}",
            peer.replayed, peer.end
        ));
    }
    let (at, skipped) = standby.no_record_at?;
    // Before the first record of a page there is its header.
    if at.0 % 8192 == 0 && matches!(skipped, 24 | 40) {
        return None;
    }
    let why = standby.recovering.filter(same).map(both)?;
    Some(format!("has stopped at {at}, which is in the middle of a record of {one}: {why}"))
}

/// Whether the standby had replayed more than the primary, asked after that, had written; no healthy one can.
fn ahead(peer: &Peer, primary: &SqlFacts) -> bool {
    peer.system_identifier == primary.system_identifier && peer.timeline == primary.timeline && peer.replayed > peer.end
}

fn alone_words(site: &Site<'_>, standby: &SqlFacts) -> Option<String> {
    let history = histories(site.inventory, site.seen).max_by_key(|history| history.timeline)?;
    against(server(site, site.other())?, standby, history, site.pg(site.serving))
}

fn server<'a>(site: &Site<'a>, place: Place) -> Option<&'a PostgresqlFacts> {
    site.seen.postgresql(site.inventory, place)
}

/// Every history of timelines that was seen, in WAL directories and in the archive.
fn histories<'a>(
    inventory: &'a bc_model::inventory::Inventory,
    seen: &'a Observation,
) -> impl Iterator<Item = &'a History> {
    let servers = Place::BOTH.into_iter().filter_map(|place| seen.postgresql(inventory, place));
    servers.flat_map(|server| [&server.history, &server.archive.history]).filter(|history| history.timeline > 0)
}

/// Whether a standby has gone past the end of its timeline, as the history of a newer one says where that was.
fn against(server: &PostgresqlFacts, standby: &SqlFacts, history: &History, serving: &str) -> Option<String> {
    // The control file's timeline lags behind; what is replayed and what is received now does not.
    let replays = server.recovering.max(standby.received_timeline)?;
    if replays >= history.timeline {
        return None;
    }
    let newer = history.timeline;
    let Some((_, end)) = history.ends.iter().find(|(timeline, _)| *timeline == replays) else {
        return Some(format!("replays timeline {replays}, which is not in the history of timeline {newer}"));
    };
    let replayed = standby.replay_lsn?;
    (replayed > *end).then(|| {
        format!(
            "has replayed timeline {replays} up to {replayed}, but timeline {newer} of {serving} left it at {end}: \
             its last {} are in no other server, and it will never follow",
            bc_model::inventory::Bytes(replayed.since(*end))
        )
    })
}

#[cfg(test)]
mod tests;
