//! Whether the hosts could be proven off as well as the policy wants, by what `fence` is configured to do.

use bc_model::fencing::{LevelReach, NodeReach};

use super::Site;
use crate::finding::kinds::GRADE_OUT_OF_REACH;
use crate::finding::{Finding, Level};
use crate::observe::Observation;
use crate::place::Place;

pub(super) fn findings(site: &Site<'_>) -> Vec<Finding> {
    let of = |place: Place| {
        let found = move |host: String| Some((place, out_of_reach(site.seen, &host)?));
        place.hosts(site.inventory).into_iter().filter_map(found)
    };
    let refused_or_not = |(place, finding): (Place, Finding)| {
        if place == site.serving { finding } else { Finding { level: Level::Warning, ..finding.refuses(&[]) } }
    };
    Place::BOTH.into_iter().flat_map(of).map(refused_or_not).collect()
}

/// Why `host` could never be proven off well enough, whatever its devices answer. Nothing if it could, or if `fence` does not work
/// here at all, which is another finding.
pub(crate) fn out_of_reach(seen: &Observation, host: &str) -> Option<Finding> {
    let nodes = seen.reach.as_ref()?;
    let words = match nodes.iter().find(|node| node.node == host) {
        Some(NodeReach { enough: true, .. }) => return None,
        Some(node) => format!("could not be proven off well enough: {}", levels(&node.levels)),
        None => "could not be proven off: fence knows no node of this name".to_owned(),
    };
    Some(
        Finding::of(&GRADE_OUT_OF_REACH, host, words)
            .hint("`fence nodes` shows every level; policy.fence-grade is in the inventory"),
    )
}

/// `level 1 (pg1-ssh: D) proves D, and B is required`.
fn levels(levels: &[LevelReach]) -> String {
    let level = |LevelReach { level, grade, required, devices }: &LevelReach| {
        let devices: Vec<String> =
            devices.iter().map(|device| format!("{}: {}", device.device, device.grade)).collect();
        format!("level {level} ({}) proves {grade}, and {required} is required", devices.join(", "))
    };
    levels.iter().map(level).collect::<Vec<_>>().join("; ")
}

/// Whether `fence` works on this machine and knows the node, so that it can be told of its new timeline.
pub(crate) fn knows(seen: &Observation, node: &str) -> bool {
    seen.reach.iter().flatten().any(|known| known.node == node)
}
