//! The artifact store: `<artifactsDir>/pipelines/PIPELINE/COUNTER/STAGE/COUNTER/JOB` (GoCD: ArtifactsDirHolder, ConsoleService).
//! The stand-in puts the console log of a job there and nothing else. A run that finds one adds to it, as GoCD does: that is what
//! happens when counters are used again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::wire::{JobIdentifier, JobResult};

/// The store.
pub(super) struct Artifacts(PathBuf);

impl Artifacts {
    /// The directory of the configuration; a relative one is in the server's working directory.
    pub(super) fn new(directory: &str) -> Self {
        Self(Path::new(directory).to_owned())
    }

    /// Keeps the console log of a job that has ended; true if there was one of the same name.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn keep_console(&self, job: &JobIdentifier, result: JobResult) -> io::Result<bool> {
        let directory = self.0.join("pipelines").join(job.locator()).join("cruise-output");
        fs::create_dir_all(&directory)?;
        let path = directory.join("console.log");
        let there = path.try_exists()?;
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "stand-in: build {} of {}: {result:?}", job.build_id, job.locator())?;
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_used_again_is_added_to() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path().to_str().unwrap());
        let job = |build_id| JobIdentifier {
            pipeline_name: "p".to_owned(),
            pipeline_counter: 7,
            pipeline_label: "7".to_owned(),
            stage_name: "s".to_owned(),
            build_name: "j".to_owned(),
            build_id,
            stage_counter: "1".to_owned(),
        };
        assert!(!artifacts.keep_console(&job(1), JobResult::Passed).unwrap());
        assert!(artifacts.keep_console(&job(2), JobResult::Failed).unwrap());
        let log = fs::read_to_string(directory.path().join("pipelines/p/7/s/1/j/cruise-output/console.log")).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
    }
}
