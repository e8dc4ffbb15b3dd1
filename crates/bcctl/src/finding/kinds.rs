//! The one table of what can be found. `bcctl explain`, `docs/findings.md` and the order of `bcctl check` come from it.
//!
//! Numbers are in causal order within a level: hosts (1xx), the two servers (2xx), replication (3xx), archive and disk (4xx), GoCD (5xx),
//! the VIP (6xx), fencing (7xx), policy (8xx).

use bc_model::journal::Intent::{Failback, Failover, Switchover};

use super::Cause::{Any, Same};
use super::{ALL as ALL_INTENTS, Kind, Level, PLANNED};

macro_rules! kinds {
    ($($name:ident $number:literal $level:ident $title:literal $refuses:expr, $why:literal, $mend:literal, [$($follows:expr),*];)*) => {
        $(pub(crate) static $name: Kind = Kind {
            number: $number,
            level: Level::$level,
            title: $title,
            refuses: $refuses,
            why: $why,
            mend: $mend,
            follows: &[$($follows),*],
        };)*

        /// Every kind, by its number.
        pub(crate) static ALL: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    UNFINISHED 101 Error "an operation is not over"
        ALL_INTENTS,
        "Two operations at a time would undo each other, and a half-done one explains most of what else looks wrong.",
        "`bcctl resume` continues it; before the promotion `bcctl resume --abandon` puts everything back.",
        [];
    VERSION 102 Error "the version of a server is not the one that the inventory names"
        ALL_INTENTS,
        "Every command is built for the version in the inventory; on another version some of them mean something else.",
        "correct `version` in the inventory, or upgrade the server that was forgotten.",
        [];
    UNREACHABLE 103 Error "a host cannot be reached"
        ALL_INTENTS,
        "Nothing is known about it. If it is the serving host, a failover is what is left; an operation that needs the host is refused.",
        "look at its power and network; `ssh` to it by hand says more. The reason in the finding is ssh's own.",
        [];
    OFF 104 Error "a host is turned off"
        ALL_INTENTS,
        "It was fenced, or lost power. A failback turns it on; nothing else does.",
        "`bcctl failback` after a failover; else `fence on HOST`.",
        [];
    NOT_ROOT 105 Error "the login on a host may not do what is needed"
        ALL_INTENTS,
        "Services, runuser and vipd need root; without it every later finding about the host would be wrong.",
        "log in as root; or set `sudo = true` and let sudoers allow `sh` without a password; or set `sudo = \"commands\"` and give each command a rule: docs/sudo.md.",
        [Same(103)];
    BROKE_OFF 106 Error "the look at a host broke off"
        ALL_INTENTS,
        "The answer is not whole, so what is missing in it means nothing.",
        "run `bcctl check` again; if it stays, log in by hand and see what breaks the shell there.",
        [Same(105)];
    CLOCK 107 Warning "a host's clock is wrong"
        &[],
        "Ages and lags that come from two clocks are wrong, tickets and certificates may be refused, and logs cannot be put in one order.",
        "start time synchronisation (chrony, systemd-timesyncd) on the host.",
        [];
    UNIT_MISSING 108 Error "a host has no such service unit"
        ALL_INTENTS,
        "bcctl could neither start nor stop the server.",
        "correct `service` (or `version`, `cluster`) in the inventory, or install the package.",
        [Same(103), Same(104), Same(105), Same(106)];
    UNIT_ENABLED 109 Error "a service would start at boot"
        ALL_INTENTS,
        "Power that returns would start a stale primary beside the new one: both take writes, and the rows of one of them are lost.",
        "`systemctl disable UNIT`; for Debian's clusters also `manual` in /etc/postgresql/V/CLUSTER/start.conf.",
        [];
    NO_GATE 110 Note "a service has no boot gate"
        &[],
        "The unit is not enabled, but a person (or a package's upgrade) may start it on a host that was fenced. The gate would refuse.",
        "`bcctl setup` writes a drop-in with `ExecCondition=fence gate`.",
        [];
    NOT_ALLOWED 111 Error "sudo does not allow a command that is needed"
        ALL_INTENTS,
        "With `sudo = \"commands\"` each command has a rule of its own; without this one an operation would stop in the middle.",
        "add the line that the finding names to the host's sudoers; `bcctl sudoers HOST` prints all of them.",
        [Same(103), Same(105)];
    PROGRAMS_MISSING 201 Error "the programs of PostgreSQL are not where the inventory says"
        ALL_INTENTS,
        "Nothing can be asked or done without psql, pg_ctl, pg_controldata and pg_basebackup.",
        "correct `layout`, `version` or `bin-directory` in the inventory, or install the package.",
        [Same(103), Same(104), Same(105), Same(111), Same(106)];
    TWO_PRIMARIES 202 Error "both servers are primaries"
        ALL_INTENTS,
        "Each takes writes that the other does not have. Rows of one of them will be lost, and every minute makes it more.",
        "stop GoCD now; compare what both have; stop the server that is given up, and rejoin it from the other one.",
        [Any(101)];
    TWO_STANDBYS 203 Error "both servers are standbys"
        ALL_INTENTS,
        "None takes writes. An operation stopped half-way, or a marker was put where it does not belong.",
        "`bcctl resume` if an operation is unfinished; else remove the marker on the server that was the primary, and restart it.",
        [Any(101)];
    NO_SERVER 204 Error "PostgreSQL answers nowhere"
        ALL_INTENTS,
        "It cannot be said who serves.",
        "start the server that was the primary (`bcctl status` shows the timelines: the newer one was).",
        [Any(101), Any(103), Any(104), Any(105), Any(111), Any(106), Any(201), Any(108), Any(102)];
    OTHER_CLUSTER 205 Error "the two servers hold different clusters"
        ALL_INTENTS,
        "Their system identifiers differ: one was not made from the other, so it can never take its place.",
        "correct `data-directory` in the inventory; if that is right, make the standby anew: `bcctl setup standby`.",
        [Any(102)];
    VERSIONS_DIFFER 206 Error "the two servers have different major versions"
        ALL_INTENTS,
        "Physical replication works within one major version only.",
        "upgrade the one that was left behind, and make the standby anew.",
        [Any(102)];
    LEFTOVER 207 Error "a file decides what a server becomes at its next start"
        ALL_INTENTS,
        "recovery.conf keeps PostgreSQL 12 and newer from starting at all, before it makes a standby; recovery.signal stops at a recovery target; a trigger file promotes the server as soon as it is a standby, while the other one is still primary.",
        "find out who put it there, then move it away.",
        [Any(101)];
    ARMED_PRIMARY 208 Error "a running primary would come up as a standby"
        PLANNED,
        "The marker in its data directory is read at the next start, or after a crash of one backend: the site would be without a primary.",
        "`bcctl resume` if an operation is unfinished; else remove the marker.",
        [Any(101), Any(202)];
    PRIMARY_DOWN 209 Error "the primary does not answer"
        PLANNED,
        "The site does not take writes. A planned change of places needs both servers.",
        "start it; `bcctl failover` if it cannot be started.",
        [Any(101), Same(103), Same(104), Same(105), Same(111), Same(106), Same(108), Same(201), Same(207), Any(202), Any(203), Any(204), Any(205)];
    DIVERGED 210 Error "the standby's history is not the primary's"
        &[Switchover, Failover],
        "It has WAL that the primary never wrote, or replays a timeline that the primary has left, or both wrote one timeline without a promotion between (a base backup that was started as a primary while the other server went on). It may show `streaming`, and as a synchronous standby it even acknowledges commits that it does not have: what it confirms is worth nothing, and promoted it would serve other rows.",
        "take it out of synchronous_standby_names, stop it, and make it anew from the primary: `bcctl rejoin HOST`, or `bcctl failback`.",
        [Any(101), Any(202), Any(205)];
    NOT_A_STANDBY 211 Error "the other server is not a standby"
        &[Switchover, Failover],
        "There is nothing to change places with.",
        "start it if it is stopped; `bcctl failback` makes it a standby again after a failover, `bcctl setup standby` makes a new one.",
        [Any(101), Same(103), Same(104), Same(105), Same(111), Same(106), Same(108), Same(201), Any(202), Any(203), Any(204), Any(205), Any(206), Same(207), Any(102)];
    CANNOT_LOG_IN 301 Error "the standby cannot log in at the primary"
        &[Failback],
        "Replication stops at its next reconnection, if it has not stopped already, and a failback cannot copy.",
        "the entry `host replication USER ADDRESS scram-sha-256` in pg_hba.conf of the primary and a reload; the password in ~postgres/.pgpass of the standby.",
        [Any(209)];
    SLOT_LOST 302 Error "the standby's slot has lost WAL"
        &[Switchover],
        "The primary has removed WAL that the standby still needs (max_slot_wal_keep_size): it can only go on from the archive.",
        "let it catch up from the archive (`restore_command`), or make it anew: `bcctl setup standby`.",
        [];
    SLOT_MISSING 303 Error "the slot that the standby names is not there"
        &[Switchover],
        "The standby asks for a slot that the primary does not have, and is turned away.",
        "SELECT pg_create_physical_replication_slot('NAME', true) on the primary.",
        [];
    WRONG_NAME 304 Error "a standby streams under another name"
        &[Switchover],
        "bcctl and synchronous_standby_names know a standby by application_name, which has to be the host's name in the inventory.",
        "application_name=HOST in primary_conninfo of the standby, and a reload (before 13: a restart).",
        [];
    NO_SENDER_FREE 305 Error "the primary has no WAL sender free"
        &[Failback],
        "A standby that lost its connection could not come back, and a base backup needs two.",
        "raise max_wal_senders and restart the primary, or disconnect another client.",
        [];
    NOT_STREAMING 306 Error "the standby does not stream"
        &[Switchover],
        "What the primary writes does not arrive. A failover would lose everything since.",
        "the standby's log says why; its primary_conninfo needs the primary's address and application_name=HOST.",
        [Any(101), Any(205), Any(206), Any(210), Any(301), Any(302), Any(303), Any(304), Any(305), Any(209)];
    PAUSED 307 Error "replay is paused"
        ALL_INTENTS,
        "The standby receives and does not apply; before 13 a promotion would wait for ever.",
        "SELECT pg_wal_replay_resume() on the standby.",
        [];
    DELAYED 308 Error "the standby delays its replay on purpose"
        ALL_INTENTS,
        "recovery_min_apply_delay: it could take over only after that time.",
        "set recovery_min_apply_delay to 0 and reload; keep a third server for that purpose.",
        [];
    LAG 309 Error "the standby is behind"
        &[Switchover],
        "A switchover would wait for it with the site stopped, and a failover would lose that much.",
        "wait; see the disk and the network of the standby, or raise policy.maximum-lag.",
        [Any(307), Any(308), Any(306)];
    SYNC_NOBODY 310 Error "commits wait for a synchronous standby that is not there"
        &[Switchover],
        "Every commit on the primary hangs, and a cancel commits it locally without the copy.",
        "bring the standby back; until then ALTER SYSTEM SET synchronous_standby_names = '' and a reload.",
        [Any(210), Any(211), Any(306), Any(103), Any(104), Any(304)];
    SYNC_WANTED 311 Warning "the standby is not synchronous, and the inventory wants it to be"
        &[],
        "Commits are acknowledged before the standby has them, so a failover may lose some.",
        "ALTER SYSTEM SET synchronous_standby_names = '\"HOST\"' on the primary, and a reload.",
        [Any(210), Any(211), Any(306), Any(304)];
    SYNC_UNMANAGED 312 Warning "synchronous replication that bcctl does not know of"
        &[],
        "A promotion clears synchronous_standby_names, or its first write would wait for a server that is down; nothing would set it again.",
        "`synchronous = true` in the inventory.",
        [Any(210)];
    SLOT_STALE 313 Warning "a slot keeps WAL, and nobody uses it"
        &[],
        "WAL is kept for it until the disk of the primary is full.",
        "SELECT pg_drop_replication_slot('NAME'), once you know whose it was.",
        [];
    SLOT_EXPIRES 314 Warning "an idle slot is dropped by time"
        &[],
        "idle_replication_slot_timeout would drop the slot of a standby that is down for a day, and with it the WAL it needs.",
        "set idle_replication_slot_timeout to 0.",
        [];
    SETTINGS_SMALLER 315 Error "the primary could not be a standby with its settings"
        PLANNED,
        "A standby refuses to start when max_connections and its like are smaller than on its primary; after a switchover that would be the case.",
        "the same values on both hosts.",
        [];
    CANNOT_FEED 316 Error "the standby could not feed a standby"
        ALL_INTENTS,
        "As a primary it needs two WAL senders for a base backup, and a slot.",
        "raise max_wal_senders and max_replication_slots on it.",
        [];
    TARGET_TIMELINE 317 Error "a server would not follow a promotion"
        PLANNED,
        "recovery_target_timeline is not `latest`, so after the promotion it would stay on the old timeline.",
        "remove the setting (before 12: recovery_target_timeline = 'latest' in recovery.conf).",
        [];
    RETURN_LOGIN 318 Error "the primary could not log in at the standby"
        &[Switchover],
        "After a switchover the old primary has to follow the new one; it would not be let in.",
        "the same pg_hba.conf entry on both hosts, and the password in ~postgres/.pgpass of both.",
        [];
    BACKUP_RUNS 319 Error "a base backup is running"
        PLANNED,
        "The stop of the primary would break it, and would wait for its WAL.",
        "wait for its end.",
        [];
    PREPARED 320 Error "prepared transactions are open"
        PLANNED,
        "They hold locks over a restart, and GoCD makes none: somebody else works in this database.",
        "COMMIT PREPARED or ROLLBACK PREPARED; pg_prepared_xacts lists them.",
        [];
    NO_REWIND 321 Note "an old primary could not be rewound"
        &[],
        "Neither wal_log_hints nor checksums: pg_rewind refuses. bcctl copies anew by default, so this costs time and nothing else.",
        "wal_log_hints = on and a restart, at leisure.",
        [];
    PAGE_WRITES 322 Warning "full_page_writes is off"
        &[],
        "A crash may leave torn pages, and pg_rewind refuses.",
        "full_page_writes = on and a reload.",
        [];
    ARCHIVE_MISSING 401 Error "the WAL archive is not there"
        PLANNED,
        "The shared drive is not mounted: nothing is archived, and a standby that fell behind could not catch up.",
        "mount it; check `archive.directory` in the inventory.",
        [];
    ARCHIVE_UNWRITABLE 402 Error "the WAL archive cannot be written"
        PLANNED,
        "As the primary this server could not archive, and its disk would fill.",
        "let the owner of the server write there: chown, or the export's options.",
        [Same(401)];
    ARCHIVE_NOT_SHARED 403 Error "the two hosts see different archives"
        PLANNED,
        "The directory has the same name on both hosts and other files in it: one of them is not the shared drive.",
        "mount the same export on both hosts.",
        [Any(401)];
    ARCHIVE_FULL 404 Warning "the WAL archive is nearly full"
        &[],
        "When it is full the archiver fails, and after it the primary's own disk fills.",
        "make room: remove WAL older than the oldest base backup (pg_archivecleanup).",
        [];
    ARCHIVE_OFF 405 Warning "the primary does not archive"
        &[],
        "The inventory names an archive, and nothing is written to it.",
        "`bcctl setup primary`, and a restart of the primary.",
        [];
    ARCHIVER_FAILING 406 Error "the archive command fails"
        PLANNED,
        "WAL piles up on the primary, and its shutdown would leave WAL that is in no archive.",
        "pg_stat_archiver and the server's log name the file. A file that is there already with the same content is no failure: `bcctl setup primary` installs a command that knows.",
        [Any(401), Any(402), Any(403), Any(404)];
    ARCHIVE_BACKLOG 407 Warning "WAL waits for the archiver"
        &[],
        "A shutdown waits until all of it is archived.",
        "see why the archive is slow.",
        [Any(406), Any(405)];
    ARCHIVE_UNSAFE 408 Warning "the archive command may overwrite or tear a file"
        &[],
        "`cp` overwrites what another server archived under the same name, and a file that is half copied when power fails looks whole.",
        "`bcctl setup primary` installs a command that writes beside, syncs, renames, and accepts identical content only.",
        [];
    NO_RESTORE 409 Warning "the standby does not read the archive"
        &[],
        "If the primary has removed WAL that it needs, it cannot go on although the archive has it.",
        "`bcctl setup standby` sets restore_command.",
        [];
    DISK_LOW 410 Warning "little room beside the data"
        &[],
        "A full disk stops the server.",
        "make room, or lower policy.minimum-free.",
        [];
    TABLESPACES 411 Error "tablespaces lie outside the data directory"
        &[Failback],
        "The re-seed copies one directory and would leave them behind.",
        "re-seed by hand (pg_basebackup --tablespace-mapping), start it as a standby, then `bcctl failback`.",
        [];
    MOUNT_POINT 412 Error "the data directory is a mount point"
        &[Failback],
        "It cannot be renamed, and the re-seed puts the copy in place by a rename.",
        "put the data one level below the mount point.",
        [];
    WAL_ELSEWHERE 413 Error "pg_wal is a link to another place"
        &[Failback],
        "The re-seed would not keep that.",
        "re-seed by hand (pg_basebackup --waldir), start it as a standby, then `bcctl failback`.",
        [];
    NO_ROOM 414 Error "no room for a copy"
        &[Failback],
        "The old data is kept beside the copy, so there has to be room for both.",
        "remove data of earlier re-seeds, or lower policy.minimum-free.",
        [];
    KEPT 415 Note "data from before a re-seed is kept"
        &[],
        "It takes room, and may hold the rows that a failover lost.",
        "remove it when nobody will ask for it any more.",
        [];
    DB_MISSING 501 Error "GoCD has no database in db.properties"
        ALL_INTENTS,
        "GoCD would start on an empty database of its own: no history, and every pipeline begins at 1.",
        "db.url=jdbc:postgresql://HOST:5432/DATABASE with the PostgreSQL host of the same place.",
        [Same(103), Same(104), Same(105), Same(111), Same(106)];
    DB_FOREIGN 502 Error "GoCD's database is not PostgreSQL"
        ALL_INTENTS,
        "What is not in PostgreSQL is not replicated.",
        "db.url=jdbc:postgresql://HOST:5432/DATABASE with the PostgreSQL host of the same place.",
        [];
    GOCD_TWICE 503 Error "GoCD runs at the place that does not serve"
        ALL_INTENTS,
        "Nothing in GoCD keeps two servers apart: they share agents and give out the same counters.",
        "stop it there.",
        [Any(101), Any(202)];
    GOCD_DOWN 504 Error "GoCD does not run"
        PLANNED,
        "The site does not serve.",
        "start it; `bcctl failover` if it cannot be started.",
        [Any(101), Same(103), Same(104), Same(105), Same(111), Same(106), Same(108), Any(202), Any(203), Any(204), Any(209), Same(501), Same(502)];
    GOCD_NOT_READY 505 Error "GoCD runs and is not ready"
        PLANNED,
        "It is starting, or hangs in its start. Agents lose what they send to a server that answers 503.",
        "wait; its log says more.",
        [Any(202), Any(203), Any(204), Any(209), Any(310)];
    FILES_UNKNOWN 506 Error "GoCD's files cannot be listed"
        ALL_INTENTS,
        "Whether the other place has the same configuration, and the key to its secrets, is not known.",
        "standbyd has to be installed and configured on both GoCD hosts.",
        [Same(103), Same(104), Same(105), Same(111), Same(106)];
    FILE_MISSING 507 Error "a file is missing that GoCD cannot serve without"
        ALL_INTENTS,
        "Without cipher.aes every secret is lost; without cruise-config.xml every agent and pipeline.",
        "`standbyd pull --once` on the standby; see `config-directory` in standbyd.toml.",
        [Same(506)];
    FILES_DIFFER 508 Error "the GoCD files of the two places differ"
        &[Failover],
        "A failover would serve with an older configuration. A switchover copies them anyway.",
        "`standbyd pull --once` on the standby; `--accept-stale-config` for one failover.",
        [Any(506), Any(507)];
    DB_NAME 509 Error "the inventory names another database than GoCD's"
        &[Failover],
        "After a failover the runs in the artifact store are compared with those in the database, so it has to be the right one.",
        "correct `gocd.database` in the inventory; `policy.quarantine-artifacts = false` goes without the comparison.",
        [Same(501), Same(502)];
    TOKEN 510 Error "the access token of GoCD is of no use"
        ALL_INTENTS,
        "GoCD would be started in maintenance mode at the other place, and could not be let go.",
        "put an administrator's access token into `gocd.api-token-file` on both GoCD hosts, mode 0600; without that key, maintenance mode is not used.",
        [Same(504), Same(505)];
    IN_MAINTENANCE 511 Warning "GoCD is in maintenance mode"
        &[],
        "Nothing is triggered and no job is assigned. An operation that changes places ends the mode, whoever has begun it.",
        "end it on GoCD's page (Admin, Server Maintenance Mode), unless somebody wants it; `bcctl resume` if an operation is not over.",
        [Any(101)];
    NO_TOKEN 512 Note "maintenance mode of GoCD is not used"
        &[],
        "A switchover stops GoCD in the middle of whatever it does, and GoCD works at the other place before anybody has looked at it.",
        "an administrator's access token in a file on both GoCD hosts, and `gocd.api-token-file` in the inventory.",
        [];
    VIPD_SILENT 601 Error "vipd does not say whether the VIP is here"
        ALL_INTENTS,
        "An address may only move when it is known where it is.",
        "install vipd on the GoCD hosts; it has to run as root.",
        [Same(103), Same(104), Same(105), Same(111), Same(106)];
    VIP_FOREIGN 602 Error "a stranger answers for the VIP"
        ALL_INTENTS,
        "The address is in use by a machine that is neither of the GoCD hosts: agents talk to it.",
        "find it by its MAC address and take the address from it.",
        [];
    VIP_TWICE 603 Error "both GoCD hosts hold the VIP"
        ALL_INTENTS,
        "Agents reach one or the other, as their ARP caches happen to say.",
        "`vipd unassign` on the host that does not serve.",
        [Any(101)];
    VIP_WRONG 604 Error "the VIP is at the wrong place"
        PLANNED,
        "Agents knock where no GoCD serves.",
        "`vipd unassign` there, `vipd assign` on the serving host.",
        [Any(101)];
    VIP_NOBODY 605 Error "nobody holds the VIP"
        &[],
        "Agents and users find no server.",
        "`vipd assign` on the serving host.",
        [Any(101), Any(103), Any(104), Any(105), Any(111), Any(601), Any(504)];
    VIP_NAME 606 Warning "the name of the VIP means another address"
        &[],
        "Agents that know the site by its name go elsewhere.",
        "correct the DNS record or /etc/hosts; the VIP moves, so its name never has to.",
        [];
    FENCE_UNUSABLE 701 Warning "fence does not work here"
        &[],
        "A failover begins by turning the old hosts off; without fence it stops there.",
        "install fence on this machine, and name its configuration in [fencing].",
        [];
    FENCE_DEVICE 702 Warning "a fence device does not work"
        &[],
        "A failover is stopped by it if no other level of the node works.",
        "`fence check` says what the device answered.",
        [Any(701)];
    POWER_UNKNOWN 703 Warning "a host's power state is not known"
        &[],
        "A failover is stopped by this unless the host can be proven off.",
        "`fence status HOST` and `fence check` say more.",
        [Any(701), Any(702)];
    GRADE_OUT_OF_REACH 704 Error "a host could not be proven off as well as the policy wants"
        &[Failover],
        "No level of its fence devices reaches the grade that counts as off (policy.fence-grade, and fence's own required-grade), however well they work: a failover would turn things off, and then promote nothing.",
        "give the node a level whose weakest device proves that grade (`fence nodes` shows them), or want less.",
        [Any(701)];
    LOSS 801 Error "a failover would lose more than the policy allows"
        &[Failover],
        "policy.allowed-loss and policy.allowed-loss-time say what may be lost without asking; this is more, or it cannot be known.",
        "bring the primary back, or the standby up to it; `--accept-loss` fails over all the same.",
        [Any(210), Any(306), Any(309)];
}
