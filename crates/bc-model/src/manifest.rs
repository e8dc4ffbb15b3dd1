//! The list of GoCD files that a host has on disk: `standbyd export`, `standbyd manifest --json`, `standbyd pull --json`.
//!
//! Files go by fixed logical ids, never by path, so that a reader can ask only for what the writer offers.

use serde::{Deserialize, Serialize};

/// What one host has on disk, hashed at the time of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// The files, ordered by id. A file that is absent on the host is absent here.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The version written by this code.
    pub const SCHEMA: u32 = 1;
}

/// One file: which, how long, and what its bytes hash to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileEntry {
    /// `cruise-config.xml`, `cipher.aes`, or `plugins/NAME.jar` with NAME of `[A-Za-z0-9._+-]+`.
    pub id: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// What `standbyd pull --once --json` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PullReport {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// The peer, as the configuration names it.
    pub peer: String,
    /// Whether this host now has every file of the peer, byte for byte, re-read from the disk.
    pub in_sync: bool,
    /// Why it is not in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ids of the files that were fetched and placed.
    pub fetched: Vec<String>,
    /// Ids of the files that were the same already.
    pub unchanged: Vec<String>,
    /// Ids of the plugins that were removed: the peer no longer has them, and an earlier pull had placed them.
    pub removed: Vec<String>,
    /// Ids of the plugins that only this host has and that no pull has placed; they are left alone.
    pub left: Vec<String>,
    /// How often the peer's manifest was fetched until it stood still.
    pub rounds: u32,
    /// The peer's manifest that this host is in sync with; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

impl PullReport {
    /// The version written by this code.
    pub const SCHEMA: u32 = 1;
}
