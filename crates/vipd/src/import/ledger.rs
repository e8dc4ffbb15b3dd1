//! The account of every line: carried over, or left behind and why.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use super::tree::Statement;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as it was named.
    pub file: Rc<str>,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something that was not carried over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Where it begins.
    pub place: Place,
    /// The line where it ends, the same one for most.
    pub last_line: usize,
    /// What it is, as it was written.
    pub what: String,
    /// Why it was not carried over, and what to do instead.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, last_line, what, reason } = self;
        match *last_line > place.line {
            true => write!(f, "{place}-{last_line}: {what}: {reason}"),
            false => write!(f, "{place}: {what}: {reason}"),
        }
    }
}

/// The account of every line.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The file that the import began with.
    pub(super) file: String,
    notes: Vec<Note>,
    carried: BTreeSet<Place>,
}

impl Ledger {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), notes: Vec::new(), carried: BTreeSet::new() }
    }

    /// The statement is in the new configuration, or says what vipd does in any case.
    pub(super) fn carry(&mut self, statement: &Statement) {
        match statement.block {
            None => self.carry_lines(&statement.place, statement.last_line),
            Some(_) => self.leave(statement, "it takes no block; what is in it was left behind"),
        }
    }

    /// The statements of a block that is looked at one by one.
    pub(super) fn block<'s>(&mut self, statement: &'s Statement) -> &'s [Statement] {
        match &statement.block {
            Some(block) => {
                self.carry_lines(&statement.place, statement.place.line);
                block
            }
            None => {
                self.leave(statement, "its block is missing: expected `{` after it");
                &[]
            }
        }
    }

    pub(super) fn carry_lines(&mut self, first: &Place, last: usize) {
        self.carried.extend((first.line..=last).map(|line| Place { line, ..first.clone() }));
    }

    /// The statement, with its block, is not in the new configuration.
    pub(super) fn leave(&mut self, statement: &Statement, reason: &str) {
        self.note(&statement.place, statement.last_line, &statement.words.join(" "), reason);
    }

    /// The statement is in the new configuration, and something is to be said about it.
    pub(super) fn remark(&mut self, statement: &Statement, reason: &str) {
        self.note(&statement.place, statement.place.line, &statement.words.join(" "), reason);
    }

    pub(super) fn note(&mut self, place: &Place, last_line: usize, what: &str, reason: &str) {
        let note = Note { place: place.clone(), last_line, what: harmless(what, 80), reason: harmless(reason, 400) };
        self.notes.push(note);
    }

    pub(super) fn into_parts(self) -> (Vec<Note>, Vec<Place>) {
        let mut notes = self.notes;
        notes.sort();
        notes.dedup();
        (notes, self.carried.into_iter().collect())
    }
}

/// A text in one line, cut, without characters that a terminal or a TOML comment would not take.
fn harmless(text: &str, longest: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let cut = text.chars().nth(longest).map_or("", |_| "…");
    text.chars().take(longest).map(clean).collect::<String>() + cut
}
