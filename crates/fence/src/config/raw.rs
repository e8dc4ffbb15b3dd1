//! The file as it is written, with the place of every value, before anything is checked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use super::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    pub(super) history: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) nodes: BTreeMap<String, Spanned<RawNode>>,
    #[serde(default)]
    pub(super) devices: BTreeMap<String, Spanned<RawDevice>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNode {
    pub(super) levels: Spanned<Vec<Spanned<Vec<Spanned<String>>>>>,
}

/// Every key that any agent knows: which belong together is checked later, so that the message can say so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDevice {
    pub(super) agent: RawAgent,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) command: Option<Spanned<String>>,
    pub(super) options: Option<Spanned<BTreeMap<String, Spanned<RawOption>>>>,
    pub(super) options_from_file: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
    pub(super) destination: Option<Spanned<String>>,
    pub(super) identity_file: Option<Spanned<String>>,
    pub(super) known_hosts: Option<Spanned<String>>,
    pub(super) stop_services: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) drop_vips: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawAgent {
    Exec,
    Ssh,
}

/// A string, an integer or a boolean, as text: agents know nothing else.
pub(super) struct RawOption(pub(super) String);

impl<'de> Deserialize<'de> for RawOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = RawOption;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer or a boolean")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<RawOption, E> {
                Ok(RawOption(value.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawOption, E> {
                Ok(RawOption(value.to_string()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawOption, E> {
                Ok(RawOption(value.to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

impl Raw {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let problem = |key: String, error: &toml::de::Error| {
            Problem::new(error.span().map_or(0, |span| span.start), key, error.message().trim())
        };
        let deserializer = toml::Deserializer::parse(text).map_err(|error| problem(String::new(), &error))?;
        serde_path_to_error::deserialize(deserializer)
            .map_err(|error| problem(plain(&error.path().to_string()), error.inner()))
    }
}

/// The key as a person writes it: without the steps that the place-keeping adds.
fn plain(path: &str) -> String {
    let steps: Vec<&str> =
        path.split('.').filter(|step| !step.starts_with("$__") && *step != "?" && !step.is_empty()).collect();
    steps.join(".")
}

pub(super) fn absolute(key: &str, path: &Spanned<String>) -> Result<PathBuf, Problem> {
    let read = Path::new(path.get_ref());
    if read.is_absolute() {
        return Ok(read.to_owned());
    }
    Err(Problem::new(path.span().start, key, format!("{:?}: expected an absolute path", path.get_ref())))
}

pub(super) fn duration(key: &str, text: &Spanned<String>) -> Result<Duration, Problem> {
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    text.get_ref()
        .parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| {
            let expected = "expected a duration between 100ms and 1h, such as \"30s\"";
            Problem::new(text.span().start, key, format!("{:?}: {expected}", text.get_ref()))
        })
}
