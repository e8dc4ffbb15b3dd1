//! What is right or wrong with a site, in words, and which operations it forbids.

pub(crate) mod kinds;
mod order;
mod page;

use bc_model::journal::Intent;
use serde::{Serialize, Serializer};

pub(crate) use order::by_cause;
pub(crate) use page::{explain, page};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Nothing is refused because of it today; left alone it may become an error.
    Warning,
    /// A precondition does not hold.
    Error,
}

/// What can be found, once and for all: one row of the table in [`kinds`].
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its number, which never changes and is never used again: 101 is written BC101. Causes have smaller numbers than what
    /// they cause.
    pub(crate) number: u16,
    /// How bad it is.
    pub(crate) level: Level,
    /// What it is, in a line.
    pub(crate) title: &'static str,
    /// The operations that may be refused because of it.
    pub(crate) refuses: &'static [Intent],
    /// What it breaks, and why.
    pub(crate) why: &'static str,
    /// What mends it, for a page that knows no host names; the finding itself names the command.
    pub(crate) mend: &'static str,
    /// What it may be a mere consequence of.
    pub(crate) follows: &'static [Cause],
}

/// A finding that explains another one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// When both are about the same host.
    Same(u16),
    /// Wherever it is.
    Any(u16),
}

impl Kind {
    /// The number as people write it.
    pub(crate) fn code(&self) -> String {
        format!("BC{}", self.number)
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Finding {
    /// Which row of the table; nothing for what is as it should be, and for what speaks against one call only.
    #[serde(rename = "code", serialize_with = "code", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static Kind>,
    /// How bad it is.
    pub(crate) level: Level,
    /// What it is about: a host, `vip`, `fence`, `site`.
    pub(crate) subject: String,
    /// What was seen.
    pub(crate) words: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The operations that are refused because of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) refuses: Vec<Intent>,
    /// The finding that explains this one, if one does.
    #[serde(serialize_with = "code", skip_serializing_if = "Option::is_none")]
    pub(crate) because_of: Option<&'static Kind>,
}

fn code<S: Serializer>(kind: &Option<&'static Kind>, out: S) -> Result<S::Ok, S::Error> {
    kind.map(Kind::code).serialize(out)
}

impl PartialEq for Finding {
    fn eq(&self, other: &Self) -> bool {
        let key = |finding: &Self| finding.kind.map(|kind| kind.number);
        key(self) == key(other)
            && (self.level, &self.subject, &self.words, &self.hint, &self.refuses)
                == (other.level, &other.subject, &other.words, &other.hint, &other.refuses)
    }
}

impl Eq for Finding {}

/// Every operation.
pub(crate) const ALL: &[Intent] = &[Intent::Switchover, Intent::Failover, Intent::Failback];
/// The operations for which both places have to be well.
pub(crate) const PLANNED: &[Intent] = &[Intent::Switchover, Intent::Failback];

impl Finding {
    /// As it should be.
    pub(crate) fn ok(subject: &str, words: impl Into<String>) -> Self {
        Self {
            kind: None,
            level: Level::Ok,
            subject: subject.to_owned(),
            words: words.into(),
            hint: None,
            refuses: Vec::new(),
            because_of: None,
        }
    }

    /// A finding of a kind, which refuses what its kind refuses.
    pub(crate) fn of(kind: &'static Kind, subject: &str, words: impl Into<String>) -> Self {
        Self { kind: Some(kind), level: kind.level, refuses: kind.refuses.to_vec(), ..Self::ok(subject, words) }
    }

    /// What speaks against one call, and says nothing about the state of the site.
    pub(crate) fn fail(subject: &str, refuses: &[Intent], words: impl Into<String>) -> Self {
        Self { level: Level::Error, refuses: refuses.to_vec(), ..Self::ok(subject, words) }
    }

    /// Refuses only these, in the place where it was found.
    pub(crate) fn refuses(self, refuses: &[Intent]) -> Self {
        Self { refuses: refuses.to_vec(), ..self }
    }

    /// With what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Its number, if it has one.
    pub(crate) fn code(&self) -> Option<String> {
        self.kind.map(Kind::code)
    }
}
