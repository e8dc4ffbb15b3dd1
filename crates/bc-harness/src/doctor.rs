//! What a drill needs of the machine: looked at before anything is made.

use std::fs;
use std::path::{Path, PathBuf};

use bollard::Docker;
use serde::Serialize;

use crate::images::{self, Sources};

/// Name of the first check.
pub(crate) const ENGINE: &str = "Docker engine";

/// One thing that a drill needs, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Check {
    /// What.
    pub(crate) name: String,
    /// Whether it is there.
    pub(crate) good: bool,
    /// What was found, or what is wrong.
    pub(crate) found: String,
    /// What to do, when it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Check {
    fn good(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), good: true, found: found.into(), hint: None }
    }

    fn bad(name: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name: name.into(), good: false, found: found.into(), hint: Some(hint.into()) }
    }
}

/// What was found: the checks, and, when all are good, what the drill works with.
pub(crate) struct Diagnosis {
    /// Every check, in order.
    pub(crate) checks: Vec<Check>,
    /// The engine and the makings of the images.
    pub(crate) ready: Option<(Docker, Sources)>,
}

/// Looks at the machine. `executable` is this program, `programs` the directory of the others.
pub(crate) async fn examine(executable: &Path, programs: &Path, working: &Path) -> Diagnosis {
    let mut checks = Vec::new();
    let docker = engine(&mut checks).await;
    for program in images::programs() {
        checks.push(program_check(&programs.join(program)));
    }
    checks.push(program_check(executable));
    let repository = Sources::find_repository(executable, working);
    checks.push(match &repository {
        Some(found) => Check::good("images", found.join("testenv/images").display().to_string()),
        None => Check::bad(
            "images",
            "testenv/images is neither above this program nor above the working directory",
            "run it inside the repository",
        ),
    });
    let ready = match (docker, repository) {
        (Some(docker), Some(repository)) if checks.iter().all(|check| check.good) => {
            Some((docker, Sources { repository, programs: programs.to_owned() }))
        }
        _ => None,
    };
    Diagnosis { checks, ready }
}

async fn engine(checks: &mut Vec<Check>) -> Option<Docker> {
    let name = ENGINE;
    if let Ok(host) = std::env::var("DOCKER_HOST")
        && !host.starts_with("unix://")
    {
        checks.push(Check::bad(name, format!("DOCKER_HOST is {host}"), "the drill needs the engine of this machine"));
        return None;
    }
    match connect().await {
        Ok((docker, version)) => {
            checks.push(Check::good(name, version));
            Some(docker)
        }
        Err(error) => {
            let hint = "apt-get install docker.io, start it, and be root or a member of the group docker";
            checks.push(Check::bad(name, error, hint));
            None
        }
    }
}

/// testcontainers' own client, so that there is one way to the engine.
///
/// # Errors
/// In words.
pub(crate) async fn connect() -> Result<(Docker, String), String> {
    let words = |error: &dyn std::error::Error| crate::words::chain(error);
    let docker = testcontainers::core::client::docker_client_instance().await.map_err(|error| words(&error))?;
    let version = docker.version().await.map_err(|error| words(&error))?;
    let cgroups = docker
        .info()
        .await
        .ok()
        .and_then(|info| info.cgroup_version)
        .map_or_else(String::new, |version| format!(", cgroup v{version}"));
    Ok((docker, format!("{}{cgroups}", version.version.unwrap_or_default())))
}

fn program_check(path: &Path) -> Check {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let hint = "`make build` builds all programs, statically linked; --bin-dir says where they are";
    match fs::read(path) {
        Err(error) => Check::bad(name, format!("{}: {error}", path.display()), hint),
        Ok(bytes) => match interpreter(&bytes) {
            Err(why) => Check::bad(name, format!("{}: {why}", path.display()), hint),
            Ok(Some(loader)) => {
                let found = format!("{} is not statically linked: it wants {loader}", path.display());
                Check::bad(name, found, hint)
            }
            Ok(None) => Check::good(name, path.display().to_string()),
        },
    }
}

/// The dynamic loader that a 64-bit ELF program asks for (program header `PT_INTERP`), if any: elf(5).
fn interpreter(bytes: &[u8]) -> Result<Option<String>, &'static str> {
    const PT_INTERP: u64 = 3;
    let bad = "not a 64-bit little-endian ELF program";
    let number = |at: usize, length: usize| -> Option<usize> {
        let mut wide = [0; 8];
        wide[..length].copy_from_slice(bytes.get(at..at.checked_add(length)?)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    if bytes.get(..6) != Some(&[0x7f, b'E', b'L', b'F', 2, 1]) {
        return Err(bad);
    }
    let (offset, size, count) = (number(32, 8).ok_or(bad)?, number(54, 2).ok_or(bad)?, number(56, 2).ok_or(bad)?);
    for index in 0..count {
        let at = size.checked_mul(index).and_then(|skip| skip.checked_add(offset)).ok_or(bad)?;
        if number(at, 4).ok_or(bad)? as u64 == PT_INTERP {
            let (from, length) = (number(at + 8, 8).ok_or(bad)?, number(at + 32, 8).ok_or(bad)?);
            let text = bytes.get(from..from.checked_add(length).ok_or(bad)?).ok_or(bad)?;
            return Ok(Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()));
        }
    }
    Ok(None)
}

/// The directory that a program is in.
pub(crate) fn directory_of(executable: &Path) -> PathBuf {
    executable.parent().unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_by_its_loader() {
        let shell = fs::read("/bin/sh").expect("a shell");
        let loader = interpreter(&shell).expect("ELF").expect("a loader");
        assert!(loader.contains("ld-linux"), "{loader}");
    }

    #[test]
    fn a_static_program_asks_for_no_loader_and_nonsense_is_none() {
        let mut header = vec![0; 64];
        header[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        assert_eq!(interpreter(&header), Ok(None));
        assert!(interpreter(b"#!/bin/sh").is_err());
        header[56] = 9;
        header[32] = 200;
        assert!(interpreter(&header).is_err(), "a truncated file");
    }

    #[test]
    fn a_missing_program_says_what_to_do() {
        let check = program_check(Path::new("/nowhere/vipd"));
        assert!(!check.good && check.name == "vipd" && check.hint.is_some_and(|hint| hint.contains("make build")));
    }
}
