//! The list of GoCD files that a host has on disk: `standbyd export manifest`, `standbyd manifest --json`.
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
