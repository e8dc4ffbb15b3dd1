//! The file as it is written, with the place of every value, before anything is checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::Problem;
use super::site::{RawAllow, RawCluster, RawLocal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw<'a> {
    pub(super) history: Option<Spanned<String>>,
    pub(super) local: Option<RawLocal>,
    #[serde(default)]
    pub(super) clusters: BTreeMap<String, Spanned<RawCluster>>,
    #[serde(default)]
    pub(super) allow: Vec<RawAllow>,
    pub(super) policy: Option<RawPolicy>,
    #[serde(default)]
    pub(super) nodes: BTreeMap<String, Spanned<RawNode>>,
    /// Known here so that the complaint about an unknown key names it; read below, each table by its agent.
    #[serde(default, rename = "devices")]
    _devices: IgnoredAny,
    #[serde(skip)]
    pub(super) devices: BTreeMap<String, RawDevice<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNode {
    pub(super) required_grade: Option<Spanned<String>>,
    pub(super) required_grade_when_answering: Option<Spanned<String>>,
    pub(super) delay: Option<Spanned<String>>,
    pub(super) random_delay: Option<Spanned<String>>,
    pub(super) levels: Spanned<Vec<Spanned<Vec<Spanned<String>>>>>,
    #[serde(default)]
    pub(super) emulated: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPolicy {
    pub(super) required_grade: Option<Spanned<String>>,
    pub(super) required_grade_when_answering: Option<Spanned<String>>,
    pub(super) require_token: bool,
    pub(super) right_command: Option<Spanned<Vec<String>>>,
    pub(super) right_timeout: Option<Spanned<String>>,
    pub(super) brake_fences: Option<u32>,
    pub(super) brake_window: Option<Spanned<String>>,
}

/// What every device has; the rest of its table belongs to its agent, and is read by it.
pub(super) struct RawDevice<'a> {
    pub(super) at: usize,
    pub(super) agent: Spanned<String>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) grade: Option<Spanned<String>>,
    pub(super) keys: Spanned<DeTable<'a>>,
}

impl<'a> Raw<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Problem> {
        let root = DeTable::parse(text).map_err(|error| problem("", &error))?;
        let devices = root.get_ref().get("devices").cloned();
        let mut raw: Self = serde_path_to_error::deserialize(toml::Deserializer::from(root))
            .map_err(|error| problem(&plain(&error.path().to_string()), error.inner()))?;
        if let Some(devices) = devices {
            for (name, device) in table("devices", devices)?.into_inner() {
                let device = device_table(&format!("devices.{}", name.get_ref()), device)?;
                raw.devices.insert(name.into_inner().into_owned(), device);
            }
        }
        Ok(raw)
    }
}

fn device_table<'a>(key: &str, device: Spanned<DeValue<'a>>) -> Result<RawDevice<'a>, Problem> {
    let mut keys = table(key, device)?;
    let at = keys.span().start;
    let mut word = |name: &str| match keys.get_mut().remove(name) {
        None => Ok(None),
        Some(value) => Deserialize::deserialize(ValueDeserializer::from(value))
            .map(Some)
            .map_err(|error| problem(&format!("{key}.{name}"), &error)),
    };
    let agent = word("agent")?.ok_or_else(|| Problem::new(at, key, "missing field `agent`"))?;
    let timeout = word("timeout")?;
    let grade = word("grade")?;
    Ok(RawDevice { at, agent, timeout, grade, keys })
}

fn table<'a>(key: &str, value: Spanned<DeValue<'a>>) -> Result<Spanned<DeTable<'a>>, Problem> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(Spanned::new(span, table)),
        other => Err(Problem::new(span.start, key, format!("invalid type: {}, expected a table", other.type_str()))),
    }
}

pub(super) fn problem(key: &str, error: &toml::de::Error) -> Problem {
    Problem::new(error.span().map_or(0, |span| span.start), key, error.message().trim())
}

/// The key as a person writes it: without the steps that the place-keeping adds.
pub(super) fn plain(path: &str) -> String {
    let steps: Vec<&str> =
        path.split('.').filter(|step| !step.starts_with("$__") && *step != "?" && !step.is_empty()).collect();
    steps.join(".")
}

/// An absolute path.
pub(crate) fn absolute(key: &str, path: &Spanned<String>) -> Result<PathBuf, Problem> {
    let read = Path::new(path.get_ref());
    if read.is_absolute() {
        return Ok(read.to_owned());
    }
    Err(Problem::new(path.span().start, key, format!("{:?}: expected an absolute path", path.get_ref())))
}

/// A duration between 100 ms and an hour.
pub(crate) fn duration(key: &str, text: &Spanned<String>) -> Result<Duration, Problem> {
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
