//! PostgreSQL's major versions, and what differs between them for whoever moves the primary role.
//!
//! Every difference is a question that a version answers, so that no command is built from a comparison of numbers
//! somewhere else. Sources: the release notes of each version; what was tried is said in `docs/decisions/0084`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A major version: 9.6, or 10 to 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u16);

/// What makes a server a standby at its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `recovery.conf`, which also holds the connection and the restore command. Renamed to `recovery.done` by a promotion.
    RecoveryConf,
    /// `standby.signal`; everything else is a setting. Removed by a promotion.
    StandbySignal,
}

/// How a standby is promoted. Never with a trigger file: the server looks for that only every five seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// `pg_ctl promote`, which returns at once; `pg_is_in_recovery()` says when it is over.
    Ctl,
    /// `pg_ctl promote -w`.
    CtlWait,
    /// `pg_promote(true, seconds)`.
    Function,
}

/// Names that version 10 changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalNames {
    /// Directory in the data directory.
    pub directory: &'static str,
    /// End of what a primary has written.
    pub current: &'static str,
    /// End of what a primary has flushed.
    pub current_flush: &'static str,
    /// End of what a standby has received by streaming.
    pub last_receive: &'static str,
    /// End of what a standby has replayed.
    pub last_replay: &'static str,
    /// Name of the file that holds a position.
    pub file_name: &'static str,
    /// Whether replay is paused.
    pub is_replay_paused: &'static str,
    /// Lets a paused replay go on.
    pub replay_resume: &'static str,
    /// Column of `pg_stat_replication`.
    pub replay_column: &'static str,
}

const WAL: WalNames = WalNames {
    directory: "pg_wal",
    current: "pg_current_wal_lsn()",
    current_flush: "pg_current_wal_flush_lsn()",
    last_receive: "pg_last_wal_receive_lsn()",
    last_replay: "pg_last_wal_replay_lsn()",
    file_name: "pg_walfile_name",
    is_replay_paused: "pg_is_wal_replay_paused()",
    replay_resume: "pg_wal_replay_resume()",
    replay_column: "replay_lsn",
};

const XLOG: WalNames = WalNames {
    directory: "pg_xlog",
    current: "pg_current_xlog_location()",
    current_flush: "pg_current_xlog_flush_location()",
    last_receive: "pg_last_xlog_receive_location()",
    last_replay: "pg_last_xlog_replay_location()",
    file_name: "pg_xlogfile_name",
    is_replay_paused: "pg_is_xlog_replay_paused()",
    replay_resume: "pg_xlog_replay_resume()",
    replay_column: "replay_location",
};

impl Version {
    /// Every version that can be driven, oldest first.
    pub const ALL: [Self; 10] = [
        Self(906),
        Self(1000),
        Self(1100),
        Self(1200),
        Self(1300),
        Self(1400),
        Self(1500),
        Self(1600),
        Self(1700),
        Self(1800),
    ];

    /// From `server_version_num`, such as 90624 or 150018; nothing for one that cannot be driven.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        let major = if number < 100_000 { number / 100 } else { number / 10_000 * 100 };
        Self::ALL.into_iter().find(|version| u32::from(version.0) == major)
    }

    /// From a path that holds a version the way packages do: `/usr/lib/postgresql/15/bin`, `/usr/pgsql-9.6/bin`.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        path.split('/').find_map(|part| part.strip_prefix("pgsql-").unwrap_or(part).parse().ok())
    }

    const fn since(self, major: u16) -> bool {
        self.0 >= major * 100
    }

    /// What makes a server a standby.
    #[must_use]
    pub const fn marker(self) -> Marker {
        if self.since(12) { Marker::StandbySignal } else { Marker::RecoveryConf }
    }

    /// Whether a `recovery.conf` that was left over keeps the server from starting. Before, it decides the role.
    #[must_use]
    pub const fn refuses_recovery_conf(self) -> bool {
        self.since(12)
    }

    /// How a standby is promoted.
    #[must_use]
    pub const fn promotion(self) -> Promotion {
        match self.0 {
            ..1000 => Promotion::Ctl,
            1000..1200 => Promotion::CtlWait,
            1200.. => Promotion::Function,
        }
    }

    /// Where a trigger file may be named that would promote a standby by itself: a setting, or (before 12) a line of
    /// `recovery.conf`.
    #[must_use]
    pub const fn trigger(self) -> Option<&'static str> {
        match self.0 {
            ..1200 => Some("trigger_file"),
            1200..1600 => Some("promote_trigger_file"),
            1600.. => None,
        }
    }

    /// The names of functions, columns and the directory of the write-ahead log.
    #[must_use]
    pub const fn wal(self) -> &'static WalNames {
        if self.since(10) { &WAL } else { &XLOG }
    }

    /// Whether a standby follows the newest timeline without being told to.
    #[must_use]
    pub const fn follows_latest(self) -> bool {
        self.since(12)
    }

    /// Whether a standby takes a new upstream by a reload; before, by a restart.
    #[must_use]
    pub const fn reloads_upstream(self) -> bool {
        self.since(13)
    }

    /// The setting that keeps `megabytes` of WAL for standbys, and its value. Segments are 16 MB unless `initdb` was told
    /// otherwise, which it could not be before 11.
    #[must_use]
    pub fn wal_keep(self, megabytes: u32) -> (&'static str, String) {
        if self.since(13) {
            ("wal_keep_size", format!("{megabytes}MB"))
        } else {
            ("wal_keep_segments", megabytes.div_ceil(16).to_string())
        }
    }

    /// Whether a slot may be told how much WAL it may keep (`max_slot_wal_keep_size`), and says when it lost some
    /// (`wal_status`).
    #[must_use]
    pub const fn limits_slots(self) -> bool {
        self.since(13)
    }

    /// Whether an idle slot may be dropped by time (`idle_replication_slot_timeout`).
    #[must_use]
    pub const fn expires_slots(self) -> bool {
        self.since(18)
    }

    /// Whether `pg_stat_wal_receiver` names the server it receives from.
    #[must_use]
    pub const fn receiver_names_sender(self) -> bool {
        self.since(11)
    }

    /// Whether the startup process and its wait are seen in `pg_stat_activity`.
    #[must_use]
    pub const fn shows_startup_process(self) -> bool {
        self.since(10)
    }

    /// Whether a base backup carries a manifest that `pg_verifybackup` checks.
    #[must_use]
    pub const fn verifies_backups(self) -> bool {
        self.since(13)
    }

    /// Whether `pg_stat_progress_basebackup` says how far a base backup is.
    #[must_use]
    pub const fn shows_backup_progress(self) -> bool {
        self.since(13)
    }

    /// Whether a base backup can be taken in exclusive mode, which `pg_is_in_backup()` shows and a standby inherits.
    #[must_use]
    pub const fn has_exclusive_backup(self) -> bool {
        !self.since(15)
    }

    /// Whether a promotion happens although replay is paused; before, it waits for ever.
    #[must_use]
    pub const fn promotes_while_paused(self) -> bool {
        self.since(13)
    }

    /// Whether `pg_rewind` brings a crashed target to a clean stop by itself, and fetches WAL from the archive (`-c`).
    #[must_use]
    pub const fn rewinds_crashed(self) -> bool {
        self.since(13)
    }

    /// Whether `pg_rewind` can be told of a configuration file outside the data directory (`--config-file`).
    #[must_use]
    pub const fn rewind_takes_config_file(self) -> bool {
        self.since(15)
    }

    /// Whether a role without superuser may be the source of `pg_rewind`.
    #[must_use]
    pub const fn rewinds_without_superuser(self) -> bool {
        self.since(11)
    }

    /// Whether `pg_rewind` leaves no slots of the source behind in `pg_replslot`.
    #[must_use]
    pub const fn rewind_cleans_slots(self) -> bool {
        self.since(11)
    }

    /// Whether logical slots can be kept on the standby (`sync_replication_slots`).
    #[must_use]
    pub const fn syncs_logical_slots(self) -> bool {
        self.since(17)
    }

    /// Whether `pg_hba_file_rules` says which line of `pg_hba.conf` it cannot read.
    #[must_use]
    pub const fn shows_hba_rules(self) -> bool {
        self.since(10)
    }

    /// Whether a password can be proven by SCRAM.
    #[must_use]
    pub const fn has_scram(self) -> bool {
        self.since(10)
    }

    /// The best way to prove a password, as `pg_hba.conf` calls it.
    #[must_use]
    pub const fn password_auth(self) -> &'static str {
        if self.has_scram() { "scram-sha-256" } else { "md5" }
    }

    /// Whether `initdb` makes data checksums unless told otherwise.
    #[must_use]
    pub const fn checksums_by_default(self) -> bool {
        self.since(18)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (major, 0) => write!(out, "{major}"),
            (major, minor) => write!(out, "{major}.{minor}"),
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|version| version.to_string() == text).ok_or_else(|| {
            format!("`{text}` is not a version of PostgreSQL that is known here; expected \"9.6\", or \"10\" to \"18\"")
        })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of the matrix: from which version on each answer changes, oldest first.
    fn answers<T: PartialEq>(question: impl Fn(Version) -> T) -> Vec<String> {
        let mut changes = Vec::new();
        for pair in Version::ALL.windows(2) {
            if question(pair[0]) != question(pair[1]) {
                changes.push(pair[1].to_string());
            }
        }
        changes
    }

    #[test]
    fn each_row_of_the_matrix_changes_where_the_release_notes_say() {
        assert_eq!(answers(Version::marker), ["12"]);
        assert_eq!(answers(Version::refuses_recovery_conf), ["12"]);
        assert_eq!(answers(Version::promotion), ["10", "12"]);
        assert_eq!(answers(Version::trigger), ["12", "16"]);
        assert_eq!(answers(|version| version.wal().directory), ["10"]);
        assert_eq!(answers(Version::follows_latest), ["12"]);
        assert_eq!(answers(Version::reloads_upstream), ["13"]);
        assert_eq!(answers(|version| version.wal_keep(512)), ["13"]);
        assert_eq!(answers(Version::limits_slots), ["13"]);
        assert_eq!(answers(Version::expires_slots), ["18"]);
        assert_eq!(answers(Version::receiver_names_sender), ["11"]);
        assert_eq!(answers(Version::shows_startup_process), ["10"]);
        assert_eq!(answers(Version::verifies_backups), ["13"]);
        assert_eq!(answers(Version::shows_backup_progress), ["13"]);
        assert_eq!(answers(Version::has_exclusive_backup), ["15"]);
        assert_eq!(answers(Version::promotes_while_paused), ["13"]);
        assert_eq!(answers(Version::rewinds_crashed), ["13"]);
        assert_eq!(answers(Version::rewind_takes_config_file), ["15"]);
        assert_eq!(answers(Version::rewinds_without_superuser), ["11"]);
        assert_eq!(answers(Version::rewind_cleans_slots), ["11"]);
        assert_eq!(answers(Version::syncs_logical_slots), ["17"]);
        assert_eq!(answers(Version::password_auth), ["10"]);
        assert_eq!(answers(Version::has_scram), ["10"]);
        assert_eq!(answers(Version::shows_hba_rules), ["10"]);
        assert_eq!(answers(Version::checksums_by_default), ["18"]);
    }

    #[test]
    fn the_oldest_and_the_newest_answer_what_they_are_known_for() {
        let [oldest, newest] = [Version::ALL[0], Version::ALL[9]];
        assert_eq!((oldest.marker(), newest.marker()), (Marker::RecoveryConf, Marker::StandbySignal));
        assert_eq!((oldest.promotion(), newest.promotion()), (Promotion::Ctl, Promotion::Function));
        assert_eq!(oldest.wal().last_replay, "pg_last_xlog_replay_location()");
        assert_eq!(newest.wal().last_replay, "pg_last_wal_replay_lsn()");
        assert_eq!(oldest.wal_keep(500), ("wal_keep_segments", "32".to_owned()));
        assert_eq!(newest.wal_keep(512), ("wal_keep_size", "512MB".to_owned()));
        assert_eq!((oldest.trigger(), newest.trigger()), (Some("trigger_file"), None));
    }

    #[test]
    fn versions_are_read_from_what_the_server_the_packages_and_people_write() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert_eq!(Version::from_number(150_018), "15".parse().ok());
        assert_eq!(Version::from_number(90_624), "9.6".parse().ok());
        assert_eq!(Version::from_number(90_524), None);
        assert_eq!(Version::from_number(190_000), None);
        assert_eq!(Version::from_path("/usr/lib/postgresql/15/bin"), "15".parse().ok());
        assert_eq!(Version::from_path("/usr/pgsql-9.6/bin"), "9.6".parse().ok());
        assert_eq!(Version::from_path("/usr/bin"), None);
        for wrong in ["", "9.5", "19", "15.4", "fifteen"] {
            wrong.parse::<Version>().expect_err(wrong);
        }
    }
}
