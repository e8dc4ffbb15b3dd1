//! The configuration file: nodes, their levels, and the devices that the levels name.
//!
//! [`load`] checks everything that can be checked without asking a device, so that a fence never fails on a typing
//! error in the hour in which it is needed. What is legal but probably not meant becomes a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bc_model::fencing::Grade;
use toml::Spanned;

use crate::agent::Agent;
use crate::config::raw::Raw;
use crate::levels::{self, Need};

mod device;
mod policy;
mod raw;
mod site;

pub(crate) use site::{Allow, Cluster, Local, Site};

pub(crate) use policy::{Policy, RightCommand};

pub(crate) use device::{Keys, Place};
pub(crate) use raw::absolute;

/// Where the configuration is looked for unless the command line or `FENCE_CONFIG` says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/fence/fence.toml";
const DEFAULT_HISTORY: &str = "/var/lib/fence/history.jsonl";

/// A configuration that was read and checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where requests are written down.
    pub(crate) history: PathBuf,
    /// What counts as off, and who may ask.
    pub(crate) policy: Policy,
    /// The nodes by name.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// The devices by name.
    pub(crate) devices: BTreeMap<String, Device>,
    /// What hooks need to know.
    pub(crate) site: Site,
    /// What is legal but probably not meant.
    pub(crate) warnings: Vec<String>,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its levels: names of devices.
    pub(crate) levels: Vec<Vec<String>>,
    /// What counts as off.
    pub(crate) need: Need,
    /// Whether it is a machine that may be switched in a drill.
    pub(crate) emulated: bool,
    /// How long a fence of this node waits before it begins: what it always waits, and what chance may add.
    pub(crate) delay: [Duration; 2],
}

impl Node {
    /// This host, for `fence self`.
    pub(crate) const fn here(levels: Vec<Vec<String>>, need: Need) -> Self {
        Self { levels, need, emulated: false, delay: [Duration::ZERO; 2] }
    }
}

/// One device.
pub(crate) struct Device {
    /// The time for everything that one request asks of it.
    pub(crate) timeout: Duration,
    /// What its off proves.
    pub(crate) grade: Grade,
    /// The word after `agent =`.
    pub(crate) kind: &'static str,
    /// How it is asked.
    pub(crate) agent: Box<dyn Agent>,
}

impl fmt::Debug for Device {
    /// Without the agent, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("kind", &self.kind).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file says something that cannot be meant.
    #[error("{}:{line}: {}{problem}", file.display(), if key.is_empty() { String::new() } else { format!("{key}: ") })]
    Invalid { file: PathBuf, line: usize, key: String, problem: String },
}

impl ConfigError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "name the file with --config FILE or FENCE_CONFIG",
            Self::Invalid { .. } => "correct the file, then run `fence check`",
        }
    }
}

/// A problem at a place in the text, before the file's name and the line are known.
pub(crate) struct Problem {
    at: usize,
    key: String,
    problem: String,
}

impl Problem {
    /// A problem at a byte of the text.
    pub(crate) fn new(at: usize, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { at, key: key.into(), problem: problem.into() }
    }

    fn saying(mut self, more: &str) -> Self {
        self.problem.push_str(more);
        self
    }
}

/// Reads and checks `file`.
///
/// # Errors
/// With the file, the line, the key and what was expected; nothing else is touched.
pub(crate) fn load(file: &Path) -> Result<Config, ConfigError> {
    let read = |source| ConfigError::Read { file: file.to_owned(), source };
    let text = fs::read_to_string(file).map_err(read)?;
    let mut config = parse(&text).map_err(|Problem { at, key, problem }| {
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        ConfigError::Invalid { file: file.to_owned(), line, key, problem }
    })?;
    let mode = fs::metadata(file).map_err(read)?.permissions().mode();
    if mode & 0o004 != 0 && config.devices.values().any(|device| device.agent.holds_a_secret()) {
        config.warnings.push(format!(
            "{} holds a password and every user of this machine can read it; chmod o-r, or use options-from-file",
            file.display()
        ));
    }
    Ok(config)
}

fn parse(text: &str) -> Result<Config, Problem> {
    let raw = Raw::parse(text)?;
    let policy = Policy::read(raw.policy)?;
    let mut devices = BTreeMap::new();
    for (name, device) in raw.devices {
        check_name(&name, "devices", device.at)?;
        let key = format!("devices.{name}");
        devices.insert(name, device::check(&key, device)?);
    }
    let mut nodes = BTreeMap::new();
    for (name, node) in raw.nodes {
        check_name(&name, "nodes", node.span().start)?;
        let key = format!("nodes.{name}.levels");
        let levels = node.get_ref().levels.get_ref();
        if levels.is_empty() {
            return Err(Problem::new(
                node.get_ref().levels.span().start,
                key,
                "expected at least one level, such as [[\"DEVICE\"]]",
            ));
        }
        for level in levels {
            let mut named = BTreeSet::new();
            if level.get_ref().is_empty() {
                return Err(Problem::new(level.span().start, key, "expected at least one device in each level"));
            }
            for device in level.get_ref() {
                let at = device.span().start;
                if !devices.contains_key(device.get_ref()) {
                    let known = suggest(device.get_ref(), devices.keys());
                    return Err(Problem::new(
                        at,
                        key,
                        format!("no device {:?} under [devices]; {known}", device.get_ref()),
                    ));
                }
                if !named.insert(device.get_ref().clone()) {
                    return Err(Problem::new(
                        at,
                        key,
                        format!("device {:?} is named twice in one level", device.get_ref()),
                    ));
                }
            }
        }
        let need = policy.need_of(&format!("nodes.{name}"), node.get_ref())?;
        let wait = |key: &str, text: &Option<Spanned<String>>| {
            text.as_ref().map_or(Ok(Duration::ZERO), |text| raw::duration(&format!("nodes.{name}.{key}"), text))
        };
        let delay = [wait("delay", &node.get_ref().delay)?, wait("random-delay", &node.get_ref().random_delay)?];
        let levels = levels.iter().map(|level| level.get_ref().iter().map(|d| d.get_ref().clone()).collect()).collect();
        nodes.insert(name, Node { levels, need, emulated: node.get_ref().emulated, delay });
    }
    let history =
        raw.history.map_or_else(|| Ok(PathBuf::from(DEFAULT_HISTORY)), |path| raw::absolute("history", &path))?;
    let site = site::check(raw.local, raw.clusters, raw.allow, (nodes.keys(), devices.keys()))?;
    let warnings = warnings(&nodes, &devices, &site);
    Ok(Config { history, policy, site, nodes, devices, warnings })
}

/// Names become file names and words in messages.
fn check_name(name: &str, table: &str, at: usize) -> Result<(), Problem> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.chars().all(legal) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 64 {
        return Ok(());
    }
    let expected =
        "expected a name of up to 64 letters, digits, \".\", \"_\" and \"-\" that begins with a letter or digit";
    Err(Problem::new(at, format!("{table}.{name:?}"), expected))
}

fn warnings(nodes: &BTreeMap<String, Node>, devices: &BTreeMap<String, Device>, site: &Site) -> Vec<String> {
    let here = |name: &String| site.local.as_ref().is_some_and(|local| local.stop.contains(name));
    let mut warnings = Vec::new();
    if nodes.is_empty() {
        warnings.push("no node is configured: add [nodes.NAME]".to_owned());
    }
    for name in devices.keys() {
        let users = users_of(name, nodes);
        match users[..] {
            [] if here(name) => {}
            [] => warnings.push(format!("device {name} is used by no node")),
            [_] => {}
            _ => warnings.push(format!(
                "device {name} is used by {}: turning one off turns all of them off",
                users.join(" and ")
            )),
        }
    }
    for (name, device) in devices {
        if device.grade == Grade::X && !users_of(name, nodes).is_empty() {
            warnings.push(format!(
                "device {name} proves nothing (grade X): its agent is no fence, or is not known; if its off switches power, say so with grade = \"A\""
            ));
        }
    }
    for (name, node) in nodes {
        let polite = |device: &String| devices.get(device).is_some_and(|device| device.agent.needs_the_host());
        if node.levels.iter().flatten().all(polite) {
            warnings.push(format!(
                "node {name} has only devices that ask the node itself: it cannot be fenced once it no longer answers"
            ));
        }
    }
    warnings
}

/// The nodes whose levels name `device`.
pub(crate) fn users_of<'a>(device: &str, nodes: &'a BTreeMap<String, Node>) -> Vec<&'a str> {
    nodes
        .iter()
        .filter(|(_, node)| node.levels.iter().flatten().any(|name| name == device))
        .map(|(node, _)| node.as_str())
        .collect()
}

impl Config {
    /// The node of this name with its devices.
    ///
    /// # Errors
    /// With the nearest name, or all of them, when there is no such node.
    pub(crate) fn node<'a>(&'a self, name: &'a str) -> Result<levels::Node<'a>, UnknownNode> {
        let node = self
            .nodes
            .get(name)
            .ok_or_else(|| UnknownNode { name: name.to_owned(), known: suggest(name, self.nodes.keys()) })?;
        // Every name was looked up when the file was read.
        let device = |name: &'a String| {
            self.devices.get(name).map(|device| levels::Device {
                name,
                timeout: device.timeout,
                grade: device.grade,
                agent: device.agent.as_ref(),
            })
        };
        Ok(levels::Node {
            name,
            levels: node.levels.iter().map(|level| level.iter().filter_map(device).collect()).collect(),
            need: node.need,
        })
    }
}

/// A node was named that the configuration does not know.
#[derive(Debug, thiserror::Error)]
#[error("no node {name:?} in the configuration; {known}")]
pub(crate) struct UnknownNode {
    name: String,
    known: String,
}

/// `did you mean "pg1"?`, or the names there are.
fn suggest<'a>(wrong: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    let nearest =
        known.clone().map(|name| (strsim::jaro_winkler(wrong, name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    let all = known.map(String::as_str).collect::<Vec<_>>().join(", ");
    match nearest {
        None => "there is none".to_owned(),
        Some((score, name)) if score > 0.8 => format!("did you mean {name:?}? (there are: {all})"),
        Some(_) => format!("there are: {all}"),
    }
}

#[cfg(test)]
mod tests;
