//! Who this host is, which nodes are a cluster, and by what other names its managers know them: what hooks need to know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bc_model::fencing::FenceAction;
use serde::Deserialize;
use toml::Spanned;

use super::raw::absolute;
use super::{Problem, check_name, suggest};

const DEFAULT_RECORD: &str = "/var/lib/fence/primary";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawLocal {
    node: Spanned<String>,
    postgres: Option<String>,
    record: Option<Spanned<String>>,
    #[serde(default)]
    stop: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCluster {
    nodes: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    names: BTreeMap<String, Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAllow {
    user: Spanned<String>,
    nodes: Vec<Spanned<String>>,
    actions: Vec<FenceAction>,
}

/// What a user may ask of the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allow {
    /// Login name, or number.
    pub(crate) user: String,
    /// The nodes.
    pub(crate) nodes: Vec<String>,
    /// What may be asked for.
    pub(crate) actions: Vec<FenceAction>,
}

/// This host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// Its name as a node; no hook ever fences it.
    pub(crate) node: String,
    /// How `psql` reaches the PostgreSQL of this host: a libpq connection string without a password.
    pub(crate) postgres: Option<String>,
    /// The devices by which `fence self` stops what runs here.
    pub(crate) stop: Vec<String>,
    /// The directory where callbacks write down who was the primary last.
    pub(crate) record: PathBuf,
}

/// The nodes of which one is the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Names of nodes, this host among them.
    pub(crate) nodes: Vec<String>,
    /// The node that a cluster manager means by another name: a host name, an address, `HOST:PORT`, a number.
    pub(crate) names: BTreeMap<String, String>,
}

/// What hooks need to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Site {
    /// This host; without it no hook can tell whom it may fence.
    pub(crate) local: Option<Local>,
    /// Clusters by name: Patroni's scope, or any other.
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// What users other than root may ask of the helper.
    pub(crate) allow: Vec<Allow>,
}

impl Cluster {
    /// The node of this name, whichever of its names it is.
    pub(crate) fn node(&self, name: &str) -> Option<&str> {
        let own = self.nodes.iter().find(|node| *node == name);
        own.or_else(|| self.names.get(name)).map(String::as_str)
    }
}

pub(super) fn check<'a>(
    local: Option<RawLocal>,
    clusters: BTreeMap<String, Spanned<RawCluster>>,
    allow: Vec<RawAllow>,
    (known, devices): (impl Iterator<Item = &'a String> + Clone, impl Iterator<Item = &'a String> + Clone),
) -> Result<Site, Problem> {
    let local = local.map(|local| check_local(local, devices)).transpose()?;
    let mut site = Site { local, ..Site::default() };
    for (name, cluster) in clusters {
        check_name(&name, "clusters", cluster.span().start)?;
        let cluster = check_cluster(&name, cluster.into_inner(), site.local.as_ref(), known.clone())?;
        site.clusters.insert(name, cluster);
    }
    site.allow = allow.into_iter().map(|allow| check_allow(allow, known.clone())).collect::<Result<_, _>>()?;
    Ok(site)
}

fn check_allow<'a>(raw: RawAllow, known: impl Iterator<Item = &'a String> + Clone) -> Result<Allow, Problem> {
    if raw.user.get_ref().is_empty() {
        return Err(Problem::new(raw.user.span().start, "allow.user", "expected a login name, or its number"));
    }
    for node in &raw.nodes {
        if !known.clone().any(|known| known == node.get_ref()) {
            let words = format!("no node {:?} under [nodes]; {}", node.get_ref(), suggest(node.get_ref(), known));
            return Err(Problem::new(node.span().start, "allow.nodes", words));
        }
    }
    let nodes = raw.nodes.into_iter().map(Spanned::into_inner).collect();
    Ok(Allow { user: raw.user.into_inner(), nodes, actions: raw.actions })
}

fn check_local<'a>(raw: RawLocal, devices: impl Iterator<Item = &'a String> + Clone) -> Result<Local, Problem> {
    check_name(raw.node.get_ref(), "local.node", raw.node.span().start)?;
    let record =
        raw.record.map_or_else(|| Ok(PathBuf::from(DEFAULT_RECORD)), |path| absolute("local.record", &path))?;
    for device in &raw.stop {
        if !devices.clone().any(|known| known == device.get_ref()) {
            let words =
                format!("no device {:?} under [devices]; {}", device.get_ref(), suggest(device.get_ref(), devices));
            return Err(Problem::new(device.span().start, "local.stop", words));
        }
    }
    let stop = raw.stop.into_iter().map(Spanned::into_inner).collect();
    Ok(Local { node: raw.node.into_inner(), postgres: raw.postgres, stop, record })
}

fn check_cluster<'a>(
    name: &str,
    raw: RawCluster,
    local: Option<&Local>,
    known: impl Iterator<Item = &'a String> + Clone,
) -> Result<Cluster, Problem> {
    let key = format!("clusters.{name}.nodes");
    let at = raw.nodes.span().start;
    let mut nodes: Vec<String> = Vec::new();
    for node in raw.nodes.into_inner() {
        let at = node.span().start;
        let node = node.into_inner();
        // The configuration of one host need not say how to turn that host itself off.
        if !known.clone().any(|known| *known == node) && local.is_none_or(|local| local.node != node) {
            return Err(Problem::new(at, key, format!("no node {node:?} under [nodes]; {}", suggest(&node, known))));
        }
        if nodes.contains(&node) {
            return Err(Problem::new(at, key, format!("node {node:?} is named twice")));
        }
        nodes.push(node);
    }
    if nodes.len() < 2 {
        return Err(Problem::new(at, key, "expected at least two nodes, this host among them"));
    }
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (node, others) in raw.names {
        let key = format!("clusters.{name}.names.{node}");
        let at = others.span().start;
        if !nodes.contains(&node) {
            return Err(Problem::new(at, key, format!("no node {node:?} in clusters.{name}.nodes")));
        }
        for other in others.into_inner() {
            let foreign = nodes.iter().any(|known| *known == other && *known != node);
            if foreign || names.insert(other.clone(), node.clone()).is_some_and(|before| before != node) {
                return Err(Problem::new(at, key, format!("{other:?} is the name of two nodes")));
            }
        }
    }
    Ok(Cluster { nodes, names })
}
