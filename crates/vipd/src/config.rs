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
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use toml::de::DeTable;

mod diff;
mod draft;
mod host;
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

pub use diff::{Change, Held, How, InstanceChange, apply, describe, diff};
pub use host::{AnyHost, Host};
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
        Ok(Self::parse_for(file, text, &AnyHost)?.config)
    }

    /// The same for a `host`, which may have what the text asks for, or not.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), or the daemon could not run there.
    pub fn parse_for(file: &str, text: &str, host: &dyn Host) -> Result<Loaded, ConfigError> {
        let problems = problem::Problems::of(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        let config = if errors.is_empty() {
            rules::config(&draft::read(table.get_ref(), &problems, host), &problems, host)
        } else {
            for error in errors {
                problems.report_syntax(error.span().unwrap_or(0..0), error.message());
            }
            None
        };
        let (problems, warnings) = problems.into_lists();
        match config {
            Some(config) if problems.is_empty() => {
                let warnings = warnings.iter().map(|warning| warning.in_a_line(file)).collect();
                Ok(Loaded { config, warnings })
            }
            Some(_) | None => Err(ConfigError { file: file.to_owned(), problems }),
        }
    }

    /// Reads the configuration file at `path`.
    ///
    /// # Errors
    /// It cannot be read, is no UTF-8, or [`Config::parse`] refuses it.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Ok(Self::load_for(path, &AnyHost)?.config)
    }

    /// The same for a `host`.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`parse_for`](Self::parse_for).
    pub fn load_for(path: &Path, host: &dyn Host) -> Result<Loaded, LoadError> {
        let file = path.display().to_string();
        let bytes = File::open(path).and_then(read_all);
        let bytes = bytes.map_err(|source| LoadError::Unreadable { file: file.clone(), source })?;
        Ok(Self::parse_for(&file, text_of(&file, &bytes)?, host)?)
    }
}

/// A configuration that is right, and what is probably wrong about it on the host that it was read for.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Each with file, line and key.
    pub warnings: Vec<String>,
}

/// Everything that comes out of `source`, which is a file of text and not a device that never ends.
///
/// # Errors
/// What the system says, or there is more than 16 MiB.
pub fn read_all(source: impl Read) -> io::Result<Vec<u8>> {
    const MOST: u64 = 16 << 20;
    let mut bytes = Vec::new();
    let length = source.take(MOST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length <= MOST) {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 16 MiB"))
    }
}

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
