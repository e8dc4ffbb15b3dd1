//! Taking a run off the machine: by its label, and by nothing else.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};

use crate::clock;
use crate::network;
use crate::run::{self, Owner, RunId};

/// What of a run exists in Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects {
    /// Containers: id and name.
    containers: Vec<(String, String)>,
    networks: Vec<String>,
    volumes: Vec<String>,
    /// The owner's label, of any of them.
    owner: Option<String>,
    /// Whether it was kept on request.
    kept: bool,
}

impl Objects {
    /// One word and a name each.
    pub(crate) fn names(&self) -> Vec<String> {
        let containers = self.containers.iter().map(|(_, name)| format!("container {name}"));
        let networks = self.networks.iter().map(|name| format!("network {name}"));
        let volumes = self.volumes.iter().map(|name| format!("volume {name}"));
        containers.chain(networks).chain(volumes).collect()
    }

    fn learn(&mut self, labels: &HashMap<String, String>) {
        self.kept |= labels.contains_key(run::KEPT);
        if let Some(owner) = labels.get(run::OWNER) {
            self.owner = Some(owner.clone());
        }
    }
}

/// Everything in Docker that carries the label of a run, by run.
///
/// # Errors
/// If Docker does not answer.
pub(crate) async fn survey(docker: &Docker, only: Option<&RunId>) -> Result<BTreeMap<String, Objects>> {
    let label = only.map_or_else(|| run::RUN.to_owned(), |run| format!("{}={run}", run::RUN));
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let mut runs: BTreeMap<String, Objects> = BTreeMap::new();
    let mut of = |labels: &HashMap<String, String>, add: &mut dyn FnMut(&mut Objects)| {
        if let Some(id) = labels.get(run::RUN) {
            let objects = runs.entry(id.clone()).or_default();
            objects.learn(labels);
            add(objects);
        }
    };
    let all = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    for container in docker.list_containers(Some(all)).await.context("cannot list containers")? {
        let id = container.id.unwrap_or_default();
        let name = container.names.unwrap_or_default().first().map_or_else(String::new, |name| name[1..].to_owned());
        of(&container.labels.unwrap_or_default(), &mut |objects| objects.containers.push((id.clone(), name.clone())));
    }
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    for network in docker.list_networks(Some(options)).await.context("cannot list networks")? {
        let name = network.name.unwrap_or_default();
        of(&network.labels.unwrap_or_default(), &mut |objects| objects.networks.push(name.clone()));
    }
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    for volume in docker.list_volumes(Some(options)).await.context("cannot list volumes")?.volumes.unwrap_or_default() {
        of(&volume.labels, &mut |objects| objects.volumes.push(volume.name.clone()));
    }
    Ok(runs)
}

/// How often the removal looks again: Docker may still be making what a killed request had asked for.
const ROUNDS: usize = 10;

/// Removes everything of `run`: containers, network, volumes, directory. Goes on after an error, and looks again until
/// nothing is found twice in a row.
///
/// Answers what could not be removed, one line each.
pub(crate) async fn remove(docker: &Docker, run: &RunId) -> Vec<String> {
    let mut errors = Vec::new();
    let mut found_nothing = 0;
    for _ in 0..ROUNDS {
        errors.clear();
        match survey(docker, Some(run)).await {
            Ok(mut runs) => match runs.remove(run.as_str()) {
                Some(objects) => {
                    found_nothing = 0;
                    errors.extend(remove_objects(docker, &objects).await);
                }
                None => found_nothing += 1,
            },
            Err(error) => errors.push(format!("{error:#}")),
        }
        if found_nothing == 2 {
            break;
        }
        clock::pause(Duration::from_millis(100)).await;
    }
    if let Err(error) = remove_directory(&run.directory()) {
        errors.push(format!("{error:#}"));
    }
    errors
}

async fn remove_objects(docker: &Docker, objects: &Objects) -> Vec<String> {
    let mut errors = Vec::new();
    let mut collect = |what: String, result: Result<(), DockerError>| match result {
        Ok(()) | Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => errors.push(format!("{what}: {error}")),
    };
    let _change = network::change().await;
    for (id, name) in &objects.containers {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        collect(format!("container {name}"), docker.remove_container(id, Some(options)).await);
    }
    for name in &objects.networks {
        collect(format!("network {name}"), docker.remove_network(name).await);
    }
    for name in &objects.volumes {
        let options = RemoveVolumeOptionsBuilder::new().force(true).build();
        collect(format!("volume {name}"), docker.remove_volume(name, Some(options)).await);
    }
    errors
}

fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

/// A run that `gc` looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    /// Its id.
    pub(crate) run: RunId,
    /// What there is of it.
    pub(crate) names: Vec<String>,
    /// Why it is left alone; absent if it was, or would be, removed.
    pub(crate) spared: Option<&'static str>,
    /// What could not be removed.
    pub(crate) errors: Vec<String>,
}

/// Which runs `gc` removes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// These, whether or not their owner lives; all dead ones if empty.
    pub(crate) runs: Vec<RunId>,
    /// Kept ones as well.
    pub(crate) kept: bool,
    /// Look only.
    pub(crate) dry_run: bool,
}

impl Choice {
    /// Why a run is left alone.
    fn spares(&self, run: &RunId, owner: Option<&str>, kept: bool) -> Option<&'static str> {
        if !self.runs.is_empty() {
            return (!self.runs.contains(run)).then_some("not asked for");
        }
        if kept && !self.kept {
            return Some("kept on request");
        }
        match owner.map(str::parse::<Owner>) {
            Some(Ok(owner)) if owner.is_dead() => None,
            // A kept world has outlived its owner on purpose, and was asked for just now.
            _ if kept => None,
            Some(Ok(_)) => Some("still going on"),
            _ => Some("its owner is unknown"),
        }
    }
}

/// Finds what dead runs have left behind, and removes it.
///
/// # Errors
/// If Docker does not answer.
pub(crate) async fn collect_garbage(docker: &Docker, choice: &Choice) -> Result<Vec<Leftover>> {
    let mut runs = survey(docker, None).await?;
    for (id, owner) in directories() {
        let objects = runs.entry(id).or_default();
        objects.owner = objects.owner.take().or(owner);
    }
    let mut found = Vec::new();
    for (id, objects) in runs {
        let Ok(run) = id.parse::<RunId>() else { continue };
        let spared = choice.spares(&run, objects.owner.as_deref(), objects.kept);
        let errors = if spared.is_none() && !choice.dry_run { remove(docker, &run).await } else { Vec::new() };
        found.push(Leftover { run, names: objects.names(), spared, errors });
    }
    Ok(found)
}

/// The runs' directories under the temporary directory, with their owners.
fn directories() -> Vec<(String, Option<String>)> {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let ours = entries.filter_map(|entry| {
        let id = entry.file_name().to_str()?.strip_prefix(run::DIRECTORY_PREFIX)?.to_owned();
        let owner = std::fs::read_to_string(entry.path().join("owner")).ok();
        Some((id, owner.map(|owner| owner.trim().to_owned())))
    });
    ours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gc_spares_the_living_the_kept_and_the_unknown() {
        let living = Owner::this_process().to_string();
        let dead = "an-earlier-boot/pid:[1]/1/1";
        let mine: RunId = "mine".parse().expect("id");
        let default = Choice::default();
        for (choice, owner, kept, spared) in [
            (default.clone(), Some(dead), false, None),
            (default.clone(), Some(living.as_str()), false, Some("still going on")),
            (default.clone(), None, false, Some("its owner is unknown")),
            (default.clone(), Some("nonsense"), false, Some("its owner is unknown")),
            (default.clone(), Some(dead), true, Some("kept on request")),
            (Choice { kept: true, ..default.clone() }, Some(dead), true, None),
            (Choice { runs: vec![mine.clone()], ..default.clone() }, Some(living.as_str()), true, None),
            (Choice { runs: vec!["other".parse().expect("id")], ..default }, Some(dead), false, Some("not asked for")),
        ] {
            assert_eq!(choice.spares(&mine, owner, kept), spared, "{choice:?} {owner:?} {kept}");
        }
    }
}
