//! The images of the drill's hosts: built when their content has changed, and left alone otherwise.
//!
//! The contract is `testenv/images/README.md`: which directory, which `FROM`, which binaries. An image carries the hash
//! of everything it was made from in the label `bc.content`, so an unchanged one costs a look and no build.

mod context;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, BuilderVersion, CreateImageOptionsBuilder, PruneImagesOptionsBuilder,
};
use futures_util::StreamExt;
use futures_util::future::try_join_all;

use crate::images::context::BuildContext;
use crate::progress::Progress;

const BASE: &str = "debian:bookworm-slim";
const CONTENT: &str = "bc.content";
/// A registry that does not answer must not hold up a machine that has none.
const PULL_LIMIT: Duration = Duration::from_secs(120);

/// One image of the contract.
struct Recipe {
    /// Directory under `testenv/images`, and the name after `bc-testenv/`.
    name: &'static str,
    /// What the Dockerfile builds upon.
    from: &'static str,
    /// Programs that go into `bin/` of the build context.
    programs: &'static [&'static str],
}

const HOST: Recipe = Recipe { name: "host", from: BASE, programs: &[] };
const SERVICES: [Recipe; 4] = [
    Recipe { name: "box", from: "bc-testenv/host:latest", programs: &["bcctl", "fence", "vipd"] },
    Recipe { name: "postgres", from: "bc-testenv/host:latest", programs: &[] },
    Recipe { name: "gocd", from: "bc-testenv/host:latest", programs: &["gocd-standin", "standbyd", "vipd"] },
    Recipe { name: "agent", from: "bc-testenv/host:latest", programs: &["gocd-standin"] },
];

/// The programs that images need.
pub(crate) fn programs() -> Vec<&'static str> {
    let mut all: Vec<_> = SERVICES.iter().flat_map(|recipe| recipe.programs).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Where the makings of the images are.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The repository: holds `testenv/images` and `packaging`.
    pub(crate) repository: PathBuf,
    /// Directory of the statically linked programs.
    pub(crate) programs: PathBuf,
}

impl Sources {
    /// Finds the repository above `executable`, or above the working directory.
    pub(crate) fn find_repository(executable: &Path, working: &Path) -> Option<PathBuf> {
        let holds = |directory: &&Path| directory.join("testenv/images/README.md").is_file();
        executable.ancestors().chain(working.ancestors()).find(holds).map(Path::to_path_buf)
    }
}

/// Builds what is missing or has changed. Answers the names of the images that were built.
///
/// # Errors
/// If a file is missing, the base image can neither be pulled nor made, or a build fails: its last lines are told.
pub(crate) async fn provide(docker: &Docker, sources: &Sources, progress: &Progress) -> Result<Vec<String>> {
    provide_base(docker, sources, progress).await?;
    let mut built: Vec<_> = provide_one(docker, sources, &HOST, progress).await?.into_iter().collect();
    let services = SERVICES.iter().map(|recipe| provide_one(docker, sources, recipe, progress));
    built.extend(try_join_all(services).await?.into_iter().flatten());
    if !built.is_empty() {
        forget_earlier(docker).await;
    }
    Ok(built)
}

/// Removes the images that were built here before and have lost their name to a newer one.
async fn forget_earlier(docker: &Docker) {
    let filters = HashMap::from([("dangling", vec!["true"]), ("label", vec![CONTENT])]);
    // In nobody's way but the disk's: what a kept world still uses, Docker keeps, and a failure costs nothing.
    let _ = docker.prune_images(Some(PruneImagesOptionsBuilder::new().filters(&filters).build())).await;
}

async fn provide_base(docker: &Docker, sources: &Sources, progress: &Progress) -> Result<()> {
    if content_and_id(docker, BASE).await?.is_some() {
        return Ok(());
    }
    progress.line(&format!("pulling {BASE}"));
    match tokio::time::timeout(PULL_LIMIT, pull(docker, BASE, progress)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => progress.line(&format!("no registry has it ({error:#}); making it from Debian's packages")),
        Err(_) => progress.line("the registry does not answer; making it from Debian's packages"),
    }
    let script = sources.repository.join("testenv/images/bootstrap-base");
    let output = tokio::process::Command::new(&script)
        .output()
        .await
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}

async fn pull(docker: &Docker, image: &str, progress: &Progress) -> Result<()> {
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let mut stream = docker.create_image(Some(options), None, None);
    while let Some(message) = stream.next().await {
        progress.now(format!("pulling {image}: {}", message?.status.unwrap_or_default()));
    }
    Ok(())
}

async fn provide_one(
    docker: &Docker,
    sources: &Sources,
    recipe: &Recipe,
    progress: &Progress,
) -> Result<Option<String>> {
    let tag = format!("bc-testenv/{}:latest", recipe.name);
    let (_, base) = content_and_id(docker, recipe.from).await?.with_context(|| format!("{} is gone", recipe.from))?;
    let context = BuildContext::gather(sources, recipe.name, recipe.programs)?;
    let content = context.hash(&base);
    if content_and_id(docker, &tag).await?.is_some_and(|(found, _)| found == content) {
        return Ok(None);
    }
    progress.line(&format!("building {tag}"));
    build(docker, &tag, context.into_tar()?, &content, progress)
        .await
        .with_context(|| format!("cannot build {tag}"))?;
    Ok(Some(tag))
}

async fn build(docker: &Docker, tag: &str, tar: Vec<u8>, content: &str, progress: &Progress) -> Result<()> {
    let arguments: HashMap<String, String> = ["http_proxy", "https_proxy", "no_proxy"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect();
    let options = BuildImageOptionsBuilder::new()
        .dockerfile("Dockerfile")
        .t(tag)
        .rm(true)
        .forcerm(true)
        .networkmode("host")
        .buildargs(&arguments)
        .labels(&HashMap::from([(CONTENT, content)]))
        .version(BuilderVersion::BuilderV1)
        .build();
    let mut stream = docker.build_image(options, None, Some(bollard::body_full(tar.into())));
    let mut log: Vec<String> = Vec::new();
    while let Some(message) = stream.next().await {
        match message {
            Ok(info) => {
                for line in info.stream.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
                    progress.now(format!("building {tag}: {line}"));
                    log.push(line.to_owned());
                }
            }
            Err(error) => {
                let tail = log[log.len().saturating_sub(15)..].join("\n");
                return Err(error).with_context(|| format!("the last lines of the build were:\n{tail}"));
            }
        }
    }
    Ok(())
}

/// The content label (empty if there is none) and the id of an image, if it exists.
async fn content_and_id(docker: &Docker, image: &str) -> Result<Option<(String, String)>> {
    match docker.inspect_image(image).await {
        Ok(found) => {
            let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
            Ok(Some((labels.get(CONTENT).cloned().unwrap_or_default(), found.id.unwrap_or_default())))
        }
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look at the image {image}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_found_above_the_executable_or_the_working_directory() {
        let root = tempfile::tempdir().expect("directory");
        let repository = root.path().join("repo");
        std::fs::create_dir_all(repository.join("testenv/images")).expect("directories");
        std::fs::write(repository.join("testenv/images/README.md"), "").expect("file");
        let executable = repository.join("target/x/debug/bc-harness");
        let elsewhere = root.path().join("elsewhere");
        assert_eq!(Sources::find_repository(&executable, &elsewhere), Some(repository.clone()));
        assert_eq!(Sources::find_repository(&elsewhere, &repository.join("crates")), Some(repository));
        assert_eq!(Sources::find_repository(&elsewhere, &elsewhere), None);
    }

    #[test]
    fn each_program_is_named_once() {
        assert_eq!(programs(), ["bcctl", "fence", "gocd-standin", "standbyd", "vipd"]);
    }
}
