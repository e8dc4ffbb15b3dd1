//! What is right or wrong with a site, in words, and which operations it forbids.

use bc_model::journal::Intent;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Warn,
    /// A precondition does not hold.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Finding {
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
}

/// Every operation.
pub(crate) const ALL: &[Intent] = &[Intent::Switchover, Intent::Failover, Intent::Failback];
/// The operations for which both places have to be well.
pub(crate) const PLANNED: &[Intent] = &[Intent::Switchover, Intent::Failback];

impl Finding {
    /// As it should be.
    pub(crate) fn ok(subject: &str, words: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject: subject.to_owned(), words: words.into(), hint: None, refuses: Vec::new() }
    }

    /// Worth knowing.
    pub(crate) fn warn(subject: &str, words: impl Into<String>) -> Self {
        Self { level: Level::Warn, ..Self::ok(subject, words) }
    }

    /// Forbids `refuses`.
    pub(crate) fn fail(subject: &str, refuses: &[Intent], words: impl Into<String>) -> Self {
        Self { level: Level::Fail, refuses: refuses.to_vec(), ..Self::ok(subject, words) }
    }

    /// With what to do about it.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}
