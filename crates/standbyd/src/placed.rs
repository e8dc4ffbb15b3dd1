//! The record of the plugins that a pull has placed, kept next to them: nothing else is ever deleted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::JarName;
use crate::place::{self, PlaceError};

const FILE: &str = ".standbyd-placed.json";
const SCHEMA: u32 = 1;

/// Names of plugins with the hash of what was placed under them.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    directory: PathBuf,
    plugins: BTreeMap<JarName, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: u32,
    plugins: BTreeMap<String, String>,
}

impl Placed {
    /// Reads the record of `directory`; a directory without one has no placed plugins.
    ///
    /// # Errors
    /// When the record cannot be read. It is written whole or not at all, so a broken one was broken by somebody.
    pub(crate) fn load(directory: &Path) -> Result<Self, PlaceError> {
        let path = directory.join(FILE);
        let io = |source| PlaceError::Io { path: path.clone(), source };
        let plugins = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(io(error)),
            Ok(bytes) => {
                let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| io(error.into()))?;
                if stored.schema != SCHEMA {
                    return Err(io(io::Error::other(format!("schema {}, expected {SCHEMA}", stored.schema))));
                }
                stored.plugins.into_iter().filter_map(|(name, hash)| Some((JarName::parse(&name)?, hash))).collect()
            }
        };
        Ok(Self { directory: directory.to_owned(), plugins })
    }

    /// The hash of what was placed under `name`, if anything was.
    pub(crate) fn hash(&self, name: &JarName) -> Option<&str> {
        self.plugins.get(name).map(String::as_str)
    }

    /// Writes down that `name` is about to be placed, before it is: a pull that is killed in between loses track of nothing.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn note(&mut self, name: &JarName, hash: &str) -> Result<(), PlaceError> {
        self.plugins.insert(name.clone(), hash.to_owned());
        self.store()
    }

    /// Forgets `name` after it was removed.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn forget(&mut self, name: &JarName) -> Result<(), PlaceError> {
        self.plugins.remove(name);
        self.store()
    }

    fn store(&self) -> Result<(), PlaceError> {
        let plugins = self.plugins.iter().map(|(name, hash)| (name.as_str().to_owned(), hash.clone())).collect();
        let path = self.directory.join(FILE);
        let bytes = serde_json::to_vec_pretty(&Stored { schema: SCHEMA, plugins })
            .map_err(|error| PlaceError::Io { path: path.clone(), source: error.into() })?;
        let mut staged = place::Staged::create(&path, 0o644)?;
        staged.write(&bytes)?;
        staged.place()
    }
}
