//! `vrrp_sync_group`.

use super::ledger::{Ledger, Place};
use super::outcome::{Draft, Group, Item};
use super::track;
use super::tree::Statement;

pub(super) fn read(block: &Statement, draft: &mut Draft, ledger: &mut Ledger) {
    let Some(original) = block.argument() else {
        return ledger.leave(block, "it has no name");
    };
    let (mut members, mut checks, mut interfaces) = (Vec::new(), Vec::new(), Vec::new());
    let mut tracking_weight = false;
    for statement in ledger.block(block) {
        match statement.keyword() {
            "group" => {
                for line in ledger.block(statement) {
                    ledger.carry(line);
                    members.extend(named(line));
                }
            }
            "track_script" => checks.extend(track::read(statement, ledger)),
            "track_interface" => interfaces.extend(track::read(statement, ledger)),
            "track_file" | "track_process" | "track_bfd" => {
                ledger.leave(statement, "only interfaces and checks are tracked; a [[check]] may look at it");
            }
            keyword if keyword.starts_with("notify") => {
                draft.notify = true;
                ledger.leave(statement, super::instance::NOTIFY);
            }
            "smtp_alert" => ledger.leave(statement, super::instance::MAIL),
            "global_tracking" | "sync_group_tracking_weight" => {
                tracking_weight = true;
                ledger.leave(statement, "a weight counts for the whole group, so that its instances rank alike");
            }
            // The form of old: the names without `group`.
            _ if statement.block.is_none() => {
                ledger.carry(statement);
                members.extend(named(statement));
            }
            other => ledger.leave(statement, &format!("the keyword {other:?} is not known in a vrrp_sync_group")),
        }
    }
    let name = draft.name_for(original, block, ledger);
    let item = Item { original: original.to_owned(), name, statement: block.clone(), keys: Vec::new() };
    draft.groups.push(Group { item, members, checks, interfaces, tracking_weight });
}

/// The instances that a line names.
fn named(line: &Statement) -> impl Iterator<Item = (String, Place)> {
    line.words.iter().map(|name| (name.clone(), line.place.clone()))
}
