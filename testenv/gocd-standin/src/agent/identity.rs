//! Who the agent is: `config/guid.txt` and `config/token` (GoCD: AgentRegistry). They outlive every server.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use thiserror::Error;
use uuid::Uuid;

/// The agent's identity and, once a server has approved it, its token.
pub(super) struct Identity {
    directory: PathBuf,
    uuid: String,
    token: OnceLock<String>,
}

/// A file of the identity could not be read or written.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub(crate) struct IdentityError {
    path: PathBuf,
    source: std::io::Error,
}

impl Identity {
    /// The identity kept under `work_directory`; a fresh one on the first start.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written.
    pub(super) fn load_or_create(work_directory: &Path) -> Result<Self, IdentityError> {
        let directory = work_directory.join("config");
        fs::create_dir_all(&directory).map_err(|source| IdentityError { path: directory.clone(), source })?;
        let uuid = match read(&directory.join("guid.txt"))? {
            Some(uuid) => uuid,
            None => {
                let uuid = Uuid::new_v4().to_string();
                write(&directory.join("guid.txt"), &uuid)?;
                uuid
            }
        };
        let token = read(&directory.join("token"))?.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { directory, uuid, token })
    }

    /// The identity itself.
    pub(super) fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The token; none before a server has approved the agent.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.get().map(String::as_str)
    }

    /// Keeps the token, for good: an agent that has one never registers again.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; then it is not kept.
    pub(super) fn keep_token(&self, token: &str) -> Result<(), IdentityError> {
        write(&self.directory.join("token"), token)?;
        self.token.get_or_init(|| token.to_owned());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError { path: path.to_owned(), source }),
    }
}

/// Whole or not at all, also after a power cut.
fn write(path: &Path, text: &str) -> Result<(), IdentityError> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|source| IdentityError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn an_identity_and_its_token_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::load_or_create(directory.path()).unwrap();
        assert_eq!(first.token(), None);
        first.keep_token("T").unwrap();
        let second = Identity::load_or_create(directory.path()).unwrap();
        assert_eq!((second.uuid(), second.token()), (first.uuid(), Some("T")));
    }
}
