//! The daemon's configuration: one TOML file, checked as a whole before anything acts on it.
//!
//! ```text
//!  text ─▶ toml ─▶ section, value ─▶ draft ─▶ rules, relations ─▶ Config ─▶ diff(old, new) ─▶ [Change]
//!          spans   key by key,       what      within one          only what can work
//!                  all errors        was said  instance, between them
//! ```
//!
//! Whoever has a [`Config`] need not check it again: every reference holds, every interval can be carried, every address
//! is there once. Nothing here looks at the machine; an interface that does not exist yet is no error.
//! `docs/vipd-config.md` is the reference, `packaging/vipd.toml` the commented example that a test reads.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use toml::de::DeTable;

mod diff;
mod draft;
mod instance;
mod lint;
mod name;
mod problem;
mod relations;
mod rules;
mod section;
mod service;
mod summary;
mod value;

pub use diff::{Change, Held, How, InstanceChange, apply, diff};
pub use instance::{Effect, Instance, LeaseSetting, Mode, OnConflict, PeerSet, Tracked, Unicast, Vrrp, Weight};
pub use lint::lint;
pub use name::{InterfaceName, Name};
pub use problem::{ConfigError, Problem};
pub(crate) use rules::carried;
pub use service::{Check, Control, Hook, Principal, SyncGroup};
pub use summary::{Election, InstanceSummary, Summary, describe_lease};

/// Everything that `vipd run` is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The instances, by name.
    pub instances: BTreeMap<Name, Instance>,
    /// The check commands, by name.
    pub checks: BTreeMap<Name, Check>,
    /// The sync groups, by name.
    pub sync_groups: BTreeMap<Name, SyncGroup>,
    /// What is run for each event.
    pub hook: Option<Hook>,
    /// Who may speak to the daemon, and where.
    pub control: Control,
    /// Where Prometheus metrics and `/healthz` are served; nowhere unless told.
    pub metrics: Option<SocketAddr>,
}

impl Config {
    /// Reads a configuration from `text`; `file` is its name in errors.
    ///
    /// # Errors
    /// Everything that is wrong, each with line, column, key, what was found and what was expected.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        Self::parse_for(file, text, |_| Ok(()))
    }

    fn parse_for(file: &str, text: &str, may_run_as: MayRunAs) -> Result<Self, ConfigError> {
        let problems = problem::Problems::of(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        let config = if errors.is_empty() {
            rules::config(&draft::read(table.get_ref(), &problems), may_run_as)
        } else {
            for error in errors {
                problems.report(
                    error.span().unwrap_or(0..0),
                    String::new(),
                    error.message().to_owned(),
                    problem::More::default(),
                );
            }
            None
        };
        let problems = problems.into_list();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            Some(_) | None => Err(ConfigError { file: file.to_owned(), problems }),
        }
    }

    /// Reads the configuration file at `path`.
    ///
    /// # Errors
    /// It cannot be read, is no UTF-8, or [`Config::parse`] refuses it.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::load_for(path, |_| Ok(()))
    }

    /// The same for a process that `may_run_as` a user, or says why not: every check must be able to run.
    ///
    /// # Errors
    /// As [`load`](Self::load), or a check names a user that this process may not run it as.
    pub fn load_for(path: &Path, may_run_as: MayRunAs) -> Result<Self, LoadError> {
        let file = path.display().to_string();
        let bytes = fs::read(path).map_err(|source| LoadError::Unreadable { file: file.clone(), source })?;
        Ok(Self::parse_for(&file, text_of(&file, &bytes)?, may_run_as)?)
    }
}

/// Whether commands may be run as a user; if not, why not, in words.
pub type MayRunAs = fn(&str) -> Result<(), String>;

/// The text of a `file` that consists of these `bytes`.
///
/// # Errors
/// TOML is UTF-8. A file of another encoding is wrong wherever it is, so the first place is enough.
pub fn text_of<'b>(file: &str, bytes: &'b [u8]) -> Result<&'b str, ConfigError> {
    str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let text = String::from_utf8_lossy(bytes);
        let problems = problem::Problems::of(&text);
        let found = bytes.get(at).copied().unwrap_or_default();
        let hint = "iconv -f latin1 -t utf-8 FILE, if that is what it is".to_owned();
        let more = problem::More { hint: Some(hint), earlier: None };
        problems.report(at..at, String::new(), format!("found the byte {found:#04x}, expected UTF-8"), more);
        ConfigError { file: file.to_owned(), problems: problems.into_list() }
    })
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// As it was named.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
}
