//! `track_interface` and `track_script`: a name, and perhaps a weight.

use super::ledger::{Ledger, Place};
use super::tree::Statement;

/// Something that is tracked.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    pub(super) name: String,
    pub(super) weight: Option<i16>,
    pub(super) place: Place,
}

impl Tracked {
    /// Something is to be said about it.
    pub(super) fn remark(&self, reason: &str, ledger: &mut Ledger) {
        ledger.note(&self.place, self.place.line, &self.name, reason);
    }
}

/// The items of a block.
pub(super) fn read(block: &Statement, ledger: &mut Ledger) -> Vec<Tracked> {
    ledger.block(block).iter().filter_map(|item| one(item, ledger)).collect()
}

fn one(item: &Statement, ledger: &mut Ledger) -> Option<Tracked> {
    let words: Vec<&str> = item.words.iter().map(String::as_str).collect();
    let (weight, options) = match words.as_slice() {
        [_, "weight", weight, options @ ..] => match weight.parse::<i16>() {
            Ok(weight) if (-253..=253).contains(&weight) => (Some(weight), options),
            Ok(_) | Err(_) => {
                ledger.leave(item, "expected a weight from -253 to 253");
                return None;
            }
        },
        [_, options @ ..] => (None, options),
        [] => return None,
    };
    match options {
        [] | ["noreverse" | "no_reverse"] => {}
        ["reverse"] => {
            ledger.leave(item, "a reversed weight does not exist; turn the sign, and the check, round");
            return None;
        }
        other => ledger.leave(item, &format!("{:?} is not known here; the rest is carried over", other.join(" "))),
    }
    ledger.carry(item);
    Some(Tracked { name: item.keyword().to_owned(), weight, place: item.place.clone() })
}
