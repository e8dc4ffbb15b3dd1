//! What crosses the helper's socket: one JSON line there, one JSON line back. No secret is in either. Pure.

use bc_model::fencing::{FenceAction, FenceReport, Grade, Token};
use serde::{Deserialize, Serialize};

/// The longest line that is read, in bytes.
pub const LONGEST: usize = 4096;

/// The version of both lines.
pub const SCHEMA: u32 = 1;

/// A request, as far as it can be checked without a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What is asked for.
    pub action: FenceAction,
    /// The node, as the helper's configuration names it.
    pub node: String,
    /// Why.
    pub reason: String,
    /// The right to fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// A grade that must be reached, whatever the policy is content with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Grade>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Response {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was carried out, which does not mean that the node is off.
    Report(Box<FenceReport>),
    /// Nothing was touched.
    Refused(String),
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub enum BadRequest {
    /// Not JSON, or not of this form.
    #[error("not a request: {0}")]
    Form(#[from] serde_json::Error),
    /// Of another version.
    #[error("schema {0} is not known")]
    Schema(u32),
    /// No name, or no reason that could be kept.
    #[error("{0}: expected 1 to {1} characters on one line")]
    Text(&'static str, usize),
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// Why it is no request.
    pub fn decode(line: &[u8]) -> Result<Self, BadRequest> {
        let request: Self = serde_json::from_slice(line)?;
        if request.schema != SCHEMA {
            return Err(BadRequest::Schema(request.schema));
        }
        for (name, text, limit) in [("node", &request.node, 64), ("reason", &request.reason, 1000)] {
            if text.trim().is_empty() || text.chars().count() > limit || text.contains(char::is_control) {
                return Err(BadRequest::Text(name, limit));
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_and_why_and_nothing_else() {
        let line = br#"{"schema":1,"action":"off","node":"pg1","reason":"pg2 is promoted"}"#;
        let request = Request::decode(line).unwrap();
        assert_eq!((request.action, request.node.as_str(), request.require), (FenceAction::Off, "pg1", None));
        for bad in [
            &br#"{"schema":2,"action":"off","node":"pg1","reason":"x"}"#[..],
            br#"{"schema":1,"action":"cycle","node":"pg1","reason":"x"}"#,
            br#"{"schema":1,"action":"off","node":"","reason":"x"}"#,
            br#"{"schema":1,"action":"off","node":"pg1","reason":" "}"#,
            br#"{"schema":1,"action":"off","node":"pg1","reason":"a\nb"}"#,
            br#"{"schema":1,"action":"off","node":"pg1"}"#,
            br#"{"schema":1,"action":"off","node":"pg1","reason":"x","config":"/etc/shadow"}"#,
            b"{",
            b"",
        ] {
            assert!(Request::decode(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
