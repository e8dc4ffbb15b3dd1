//! Who was the primary last, as callbacks write it down on this host: one small file for each cluster.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{self, RealDisk};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Record {
    /// Version of this format.
    pub(crate) schema: u32,
    /// The node that was seen to be the primary.
    pub(crate) node: String,
    /// When.
    pub(crate) at: Timestamp,
    /// Who says so.
    pub(crate) by: String,
}

impl Record {
    /// The version written by this code.
    pub(crate) const SCHEMA: u32 = 1;
}

/// Writes the record of `cluster`, whole or not at all, and waits until the disk has it.
///
/// # Errors
/// When it cannot be written; the record before it is then still there.
pub(crate) fn write(directory: &Path, cluster: &str, record: &Record) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(record)?;
    bytes.push(b'\n');
    disk::replace(&RealDisk, &directory.join(cluster), &bytes, 0o644)
}

/// The record of `cluster`; none was ever written is no error.
///
/// # Errors
/// When it is there and cannot be read, or says what this program does not understand.
pub(crate) fn read(directory: &Path, cluster: &str) -> io::Result<Option<Record>> {
    let bytes = match fs::read(directory.join(cluster)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let record: Record = serde_json::from_slice(&bytes)?;
    if record.schema == Record::SCHEMA {
        Ok(Some(record))
    } else {
        Err(io::Error::other(format!("written by another version (schema {})", record.schema)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(node: &str) -> Record {
        Record { schema: 1, node: node.into(), at: Timestamp::UNIX_EPOCH, by: "patroni-callback".into() }
    }

    #[test]
    fn the_last_record_counts_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("primary");
        assert_eq!(read(&place, "main").unwrap(), None);
        write(&place, "main", &record("pg1")).unwrap();
        write(&place, "main", &record("pg2")).unwrap();
        assert_eq!(read(&place, "main").unwrap(), Some(record("pg2")));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", r#"{"schema":2,"node":"pg1","at":"1970-01-01T00:00:00Z","by":""}"#] {
            fs::write(directory.path().join("main"), text).unwrap();
            assert!(read(directory.path(), "main").is_err(), "{text}");
        }
    }
}
