//! Copying the serving server into a directory beside the old data, and changing places with it.
//!
//! ```text
//! DATA.bcctl-OP.partial   while the copy runs; its lock is held, so a second bcctl waits for it instead of starting anew
//! DATA.bcctl-OP           the copy is complete, verified and configured
//! DATA                    … after the swap
//! DATA.old-OP             what was there before; kept until a person removes it
//! ```

use bc_model::inventory::Inventory;

use super::postgresql::{literal, owned, program, sql};
use super::{Command, outliving, quote, standby};
use crate::judge::Check;

/// The directories of one re-seed.
pub(super) struct Directories {
    pub(super) data: String,
    pub(super) partial: String,
    pub(super) copy: String,
    pub(super) old: String,
    pub(super) lock: String,
    pub(super) log: String,
    pub(super) pid: String,
}

pub(super) fn directories(inventory: &Inventory, host: &str, operation: &str) -> Directories {
    let data = inventory.server(host).data_directory.trim_end_matches('/');
    let beside = |suffix: &str| quote(&format!("{data}{suffix}"));
    Directories {
        data: quote(data),
        partial: beside(&format!(".bcctl-{operation}.partial")),
        copy: beside(&format!(".bcctl-{operation}")),
        old: beside(&format!(".old-{operation}")),
        lock: beside(".bcctl.lock"),
        log: beside(".bcctl.log"),
        pid: beside(".bcctl.pid"),
    }
}

/// Where the data that was on `host` before is kept.
pub(crate) fn kept(inventory: &Inventory, host: &str, operation: &str) -> String {
    directories(inventory, host, operation).old
}

/// Copies the server on `source` to `host`, beside the old data. The configuration files that live in the old data directory
/// are this host's own and are kept.
pub(crate) fn copy(inventory: &Inventory, host: &str, source: &str, operation: &str) -> Command {
    let d = directories(inventory, host, operation);
    let conninfo = super::postgresql::conninfo(inventory, host, source);
    let slot = super::postgresql::slot(host);
    let Directories { data, partial, copy, old, lock, log, pid } = d;
    let job = format!(
        "set -e\n\
         [ ! -e {copy} ] && [ ! -e {old} ] || exit 0\n\
         rm -rf --one-file-system {partial}\n\
         {basebackup} -d {conninfo} -D {partial} -X stream -c fast -S {slot} --no-password\n\
         if [ -x {verify} ]; then {verify} -q {partial}; fi\n\
         for file in postgresql.conf pg_hba.conf pg_ident.conf postgresql.auto.conf; do\n  \
           [ ! -f {data}/$file ] || cp -p {data}/$file {partial}/$file\n\
         done\n\
         {mark}\
         sync {partial}/* {partial}\n\
         mv -T {partial} {copy}\n\
         sync \"$(dirname {copy})\"",
        mark = standby::mark_copy(inventory, host, source, &partial),
        basebackup = program(inventory, host, "pg_basebackup"),
        conninfo = quote(&conninfo),
        verify = program(inventory, host, "pg_verifybackup"),
    );
    owned(inventory, host, &outliving(&format!("echo $$ >{pid}\n{job}"), &lock, &log), &[])
}

/// What a `bcctl setup` that was stopped has left on `host`: the newest copy beside the data, or one that is in its place and was never
/// started.
pub(crate) fn look_for_copy(inventory: &Inventory, host: &str) -> Command {
    let path = inventory.server(host).data_directory.trim_end_matches('/');
    let data = quote(path);
    let marker = standby::marker_file(inventory.postgresql.version.marker());
    let control = quote(&format!("{}/pg_controldata", inventory.server(host).bin_directory));
    Command::on(
        host,
        format!(
            "for copy in {data}.bcctl-*-setup.partial {data}.bcctl-*-setup; do [ ! -e \"$copy\" ] || found=$copy; done\n\
             holds=$found\n\
             if [ -z \"$found\" ] && [ -e {data}/backup_label ] && [ -e {data}/{marker} ]; then\n  \
               for old in {data}.old-*-setup; do [ ! -e \"$old\" ] || found=$old; done\n  \
               holds={data}\n\
             fi\n\
             [ -n \"$found\" ] || exit 0\n\
             echo \"$found\"\n\
             {control} \"$holds\" 2>/dev/null | sed -n 's/^Database system identifier: *//p'"
        ),
    )
}

/// A copy that was begun by a `bcctl setup` that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The operation that began it.
    pub(crate) operation: String,
    /// The directory that says so.
    pub(crate) directory: String,
    /// How far it is.
    pub(crate) stage: Stage,
    /// The cluster it is a copy of, as far as it is known.
    pub(crate) system_identifier: Option<String>,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is going on, or was broken off.
    Partial,
    /// It was verified and configured.
    Complete,
    /// It has taken the place of the old data, and was never started.
    InPlace,
}

impl Begun {
    /// From what [`look_for_copy`] printed.
    pub(crate) fn parse(printed: &str) -> Option<Self> {
        let mut lines = printed.lines();
        let directory = lines.next()?;
        let name = directory.rsplit('/').next()?;
        let (stage, operation) = if let Some((_, operation)) = name.rsplit_once(".old-") {
            (Stage::InPlace, operation)
        } else {
            let (_, name) = name.rsplit_once(".bcctl-")?;
            name.strip_suffix(".partial").map_or((Stage::Complete, name), |operation| (Stage::Partial, operation))
        };
        Some(Self {
            operation: operation.to_owned(),
            directory: directory.to_owned(),
            stage,
            system_identifier: lines.next().map(str::to_owned),
        })
    }
}

/// How much of the copy has been made, by the source (13 and newer), or else by the size of what is there.
pub(crate) fn meter(inventory: &Inventory, host: &str, source: &str, operation: &str) -> Vec<Command> {
    if inventory.postgresql.version.shows_backup_progress() {
        let statement = format!(
            "SELECT concat_ws(E'\\n', 'phase=' || phase, 'done=' || backup_streamed, 'total=' || backup_total) \
             FROM pg_stat_progress_basebackup JOIN pg_stat_replication USING (pid) WHERE application_name = {} \
             ORDER BY backup_streamed DESC NULLS LAST LIMIT 1",
            literal(host)
        );
        return vec![sql(inventory, source, &[statement], &[])];
    }
    let partial = directories(inventory, host, operation).partial;
    let total = "SELECT 'total=' || sum(pg_database_size(oid)) FROM pg_database".to_owned();
    vec![
        owned(inventory, host, &format!("du -sb {partial} 2>/dev/null | cut -f 1 | sed s/^/done=/"), &[]),
        sql(inventory, source, &[total], &[]),
    ]
}

/// Whether the copy is complete (or has already taken its place).
pub(crate) fn copied(inventory: &Inventory, host: &str, operation: &str) -> Check {
    let d = directories(inventory, host, operation);
    Check::succeeds(owned(inventory, host, &format!("[ -e {} ] || [ -e {} ]", d.copy, d.old), &[]))
}

/// Stops a copy that still runs, and removes what it has made. The old data is untouched.
pub(crate) fn remove_copy(inventory: &Inventory, host: &str, operation: &str) -> Command {
    let d = directories(inventory, host, operation);
    // The process group is the copy's own, and only while the lock is held is the number in the file still its.
    let script = format!(
        "flock -n {lock} true || {{ pid=$(cat {pid}); kill -TERM -- \"-$(ps -o pgid= -p \"$pid\" | tr -d ' ')\"; }}; \
         flock -w 20 {lock} rm -rf --one-file-system {partial} {copy} {pid}",
        lock = d.lock,
        pid = d.pid,
        partial = d.partial,
        copy = d.copy
    );
    owned(inventory, host, &script, &[])
}

/// Whether nothing of the copy is left.
pub(crate) fn no_copy(inventory: &Inventory, host: &str, operation: &str) -> Check {
    let d = directories(inventory, host, operation);
    Check::succeeds(owned(inventory, host, &format!("[ ! -e {} ] && [ ! -e {} ]", d.partial, d.copy), &[]))
}

/// Puts the copy in the place of the old data, which is kept under another name.
pub(crate) fn swap(inventory: &Inventory, host: &str, operation: &str) -> Command {
    let d = directories(inventory, host, operation);
    let script = format!(
        "[ -e {copy} ] && {{ [ -e {old} ] || if [ -e {data} ]; then mv -T {data} {old}; else mkdir -m 0700 {old}; fi; }} \
         && mv -T {copy} {data} && sync \"$(dirname {data})\"",
        copy = d.copy,
        old = d.old,
        data = d.data
    );
    owned(inventory, host, &script, &[])
}

/// Whether the copy has taken the place of the old data.
pub(crate) fn swapped(inventory: &Inventory, host: &str, operation: &str) -> Check {
    let d = directories(inventory, host, operation);
    Check::succeeds(owned(
        inventory,
        host,
        &format!("[ -e {} ] && [ -e {} ] && [ ! -e {} ]", d.data, d.old, d.copy),
        &[],
    ))
}

/// Whether the data directory can be renamed at all, and there is room for a copy of `needed` bytes.
pub(crate) fn room(inventory: &Inventory, host: &str, operation: &str, needed: u64) -> Check {
    let d = directories(inventory, host, operation);
    let script = format!(
        "[ -e {copy} ] || [ -e {old} ] || {{ if mountpoint -q {data}; then echo {data} is a mount point, so it cannot be renamed >&2; exit 1; fi; \
         free=$(df -PB1 \"$(dirname {data})\" | awk 'NR == 2 {{ print $4 }}'); [ \"$free\" -ge {needed} ] || \
         {{ echo \"$free bytes are free beside {data}; {needed} are needed\" >&2; exit 1; }}; }}",
        copy = d.copy,
        old = d.old,
        data = d.data
    );
    Check::succeeds(owned(inventory, host, &script, &[]))
}

#[cfg(test)]
mod tests {
    use super::{Begun, Stage};

    #[test]
    fn what_was_left_is_read_from_its_name() {
        let begun = |operation: &str, directory: &str, stage, id: Option<&str>| {
            Some(Begun {
                operation: operation.to_owned(),
                directory: directory.to_owned(),
                stage,
                system_identifier: id.map(str::to_owned),
            })
        };
        for (printed, expected) in [
            ("", None),
            ("/d/main.bcctl-T1-setup\n77\n", begun("T1-setup", "/d/main.bcctl-T1-setup", Stage::Complete, Some("77"))),
            (
                "/d/main.bcctl-T1-setup.partial\n",
                begun("T1-setup", "/d/main.bcctl-T1-setup.partial", Stage::Partial, None),
            ),
            (
                "/d.old-x/main.bcctl-T2-setup\n",
                begun("T2-setup", "/d.old-x/main.bcctl-T2-setup", Stage::Complete, None),
            ),
            ("/d/main.old-T2-setup\n77\n", begun("T2-setup", "/d/main.old-T2-setup", Stage::InPlace, Some("77"))),
        ] {
            assert_eq!(Begun::parse(printed), expected, "{printed}");
        }
    }
}
