//! Weights where a priority is not one instance's own: that of the owner (255), which nothing moves, and those of a sync group,
//! whose instances rank alike in vipd.
//!
//! keepalived 2.2.7 (vrrp.c, vrrp_complete_instance and sync_group_tracking_init) says that it ignores the weights of members.
//! It drops their scripts; but an interface has been entered with its weight by then, and goes on to move the priority.

use std::collections::BTreeSet;

use super::ledger::Ledger;
use super::outcome::{self, Draft, Group, Instance, Item};
use super::track::Tracked;

/// What becomes of something that a member of a sync group tracks with a weight.
#[derive(Clone, Copy)]
enum Fate {
    /// Its group tracks it instead.
    Shared,
    /// Nobody does.
    Dropped(&'static str),
}

const OF_OWNER: &str = "no weight moves the priority of the owner (255), so it was left out";
const BESIDE_OWNER: &str =
    "an instance of the group is the owner (255), whose priority no weight moves, so it was left out";
const IN_GROUP: &str = "keepalived tracks no script with a weight in a sync group, so it was left out; without a weight its \
                        failure would be a fault";

/// Gives each weight to whom it can count for. Names are those of the new file already.
pub(super) fn settle(draft: &mut Draft, ledger: &mut Ledger) {
    let by_default = |check: &&Item| check.keys.iter().any(|(key, _)| *key == "weight");
    let heavy: BTreeSet<String> = draft.checks.iter().filter(by_default).map(|check| check.name.clone()).collect();
    for instance in draft.instances.iter_mut().filter(|instance| instance.owner) {
        for (list, heavy) in [(&mut instance.interfaces, &BTreeSet::new()), (&mut instance.checks, &heavy)] {
            for tracked in list.extract_if(.., |tracked| weighs(tracked, heavy)) {
                tracked.remark(OF_OWNER, ledger);
            }
        }
    }
    for group in &mut draft.groups {
        let mut members: Vec<_> =
            draft.instances.iter_mut().filter(|instance| outcome::is_member(group, instance)).collect();
        of_group(group, &mut members, &heavy, ledger);
    }
}

fn of_group(group: &mut Group, members: &mut [&mut Instance], heavy: &BTreeSet<String>, ledger: &mut Ledger) {
    let owner = members.iter().any(|member| member.owner);
    let (interfaces, checks) = match (owner, group.tracking_weight) {
        (true, _) => (Fate::Dropped(BESIDE_OWNER), Fate::Dropped(BESIDE_OWNER)),
        (false, true) => (Fate::Shared, Fate::Shared),
        (false, false) => (Fate::Shared, Fate::Dropped(IN_GROUP)),
    };
    let own: Vec<_> = members.iter_mut().map(|member| &mut member.interfaces).collect();
    rank_alike(own, &mut group.interfaces, interfaces, owner, &BTreeSet::new(), ledger);
    let own: Vec<_> = members.iter_mut().map(|member| &mut member.checks).collect();
    rank_alike(own, &mut group.checks, checks, owner, heavy, ledger);
}

/// What the members track, and what their group does: each thing once, and no weight for one member alone.
fn rank_alike(
    mut own: Vec<&mut Vec<Tracked>>,
    shared: &mut Vec<Tracked>,
    fate: Fate,
    owner: bool,
    heavy: &BTreeSet<String>,
    ledger: &mut Ledger,
) {
    for list in &mut own {
        for tracked in list.extract_if(.., |tracked| weighs(tracked, heavy)) {
            match fate {
                Fate::Dropped(reason) => tracked.remark(reason, ledger),
                Fate::Shared if shared.iter().any(|other| other.name == tracked.name) => {
                    tracked.remark("the sync group has it already, and with what weight it has there", ledger);
                }
                Fate::Shared => {
                    tracked.remark("its weight counts for every instance of the sync group", ledger);
                    shared.push(tracked);
                }
            }
        }
    }
    for tracked in shared.iter_mut().filter(|tracked| weighs(tracked, heavy)) {
        let alone = own.iter().any(|list| list.iter().any(|other| other.name == tracked.name));
        let reason = match (owner, alone) {
            (true, _) => {
                "an instance of the group is the owner (255): without a weight, as in keepalived, its failure is a fault"
            }
            (false, true) => {
                "an instance of the group tracks it without a weight, and its fault is one of the whole group"
            }
            (false, false) => continue,
        };
        tracked.remark(reason, ledger);
        tracked.weight = Some(0);
    }
    for list in own {
        list.retain(|own| !shared.iter().any(|shared| shared.name == own.name));
    }
}

/// Whether it moves a priority; a check that is named without a weight may have one by itself.
fn weighs(tracked: &Tracked, heavy: &BTreeSet<String>) -> bool {
    tracked.weight.map_or_else(|| heavy.contains(&tracked.name), |weight| weight != 0)
}
