//! WAL that only the old primary has, carried to the standby over the shared drive while the old primary is down.
//!
//! ```text
//! standby      where its WAL ends ──▶ ARCHIVE/salvaged-OP/from
//! old primary  pg_wal from there on ─▶ ARCHIVE/salvaged-OP/SEGMENT …
//!              its last record ──────▶ ARCHIVE/salvaged-OP/end
//! standby      the same up to `from`? SEGMENT … ──▶ its own pg_wal, where its startup process finds them
//!                                     whole ones ─▶ also get their name in the archive, unless it is taken
//! ```
//!
//! A standby looks into its own `pg_wal` again and again: "you can also manually copy files to pg_wal at any time to have them
//! replayed" (PostgreSQL's manual, Log-Shipping Standby Servers), in every version, without a restart. The last segment, which is not
//! whole, never gets its name in the archive: were the old primary to serve again, it could not archive the rest.

use bc_model::inventory::{Archive, Inventory};

use super::postgresql::{owned, owners_psql, program, while_down};
use super::{Command, quote};
use crate::judge::Check;
use crate::plan::Decision;

/// Carries what `from` has and `to` lacks, in three commands; each may be run again.
pub(crate) fn carry(inventory: &Inventory, archive: &Archive, decision: &Decision) -> Vec<Command> {
    let (from, to) = (decision.from().postgresql(inventory), decision.to.postgresql(inventory));
    vec![
        ask(inventory, archive, decision, to),
        read(inventory, archive, decision, from),
        install(inventory, archive, decision, to),
    ]
}

/// The directory on the shared drive, quoted.
fn directory(archive: &Archive, decision: &Decision) -> String {
    quote(&format!("{}/salvaged-{}", archive.directory.trim_end_matches('/'), decision.operation))
}

fn wal(inventory: &Inventory, host: &str) -> String {
    quote(&format!("{}/{}", inventory.server(host).data_directory, inventory.postgresql.version.wal().directory))
}

/// Says where the WAL of the standby on `host` ends: position, file, offset in it.
fn ask(inventory: &Inventory, archive: &Archive, decision: &Decision, host: &str) -> Command {
    let names = inventory.postgresql.version.wal();
    let (received, replayed) = (names.last_receive, names.last_replay);
    let statement = format!(
        "SELECT concat_ws(' ', lsn, '{:08X}' || lpad(upper(to_hex(at / size / (4294967296 / size))), 8, '0') || \
         lpad(upper(to_hex(at / size % (4294967296 / size))), 8, '0'), at % size) FROM (SELECT lsn, (lsn - '0/0')::bigint AS at, \
         pg_size_bytes(current_setting('wal_segment_size')) AS size FROM (SELECT greatest({received}, {replayed}) AS lsn) AS lsns) AS ends \
         WHERE pg_is_in_recovery()",
        decision.timeline
    );
    let script = format!(
        "set -e; umask 077; dir={dir}; [ ! -e \"$dir/from\" ] || exit 0\n\
         ends=$({psql} -c {statement})\n\
         [ -n \"$ends\" ] || {{ echo \"{host} is no standby that says where its WAL ends\" >&2; exit 1; }}\n\
         mkdir -p \"$dir\"; echo \"$ends\" >\"$dir/.from\"; sync \"$dir/.from\"; mv \"$dir/.from\" \"$dir/from\"; sync \"$dir\"",
        dir = directory(archive, decision),
        psql = owners_psql(inventory, host),
        statement = quote(&statement),
    );
    owned(inventory, host, &script, &[])
}

/// Copies the WAL of the stopped server on `host` from there on, up to the last segment that it has written to.
fn read(inventory: &Inventory, archive: &Archive, decision: &Decision, host: &str) -> Command {
    let dump = if inventory.postgresql.version.wal().directory == "pg_xlog" { "pg_xlogdump" } else { "pg_waldump" };
    // Files beyond the end are there as well, under their future names and with old content: the address in the first page tells.
    let script = format!(
        "set -e; umask 077; dir={dir} wal={wal} before= last=\n\
         from=$(cut -d ' ' -f 2 \"$dir/from\" 2>/dev/null || true)\n\
         [ -n \"$from\" ] || {{ echo \"$dir/from, which the standby has written, is not seen here: is that one shared drive?\" >&2; exit 1; }}\n\
         for name in $(ls \"$wal\" | grep -xE '{timeline:08X}[0-9A-F]{{16}}' | awk -v from=\"$from\" '($0 \"\") >= (from \"\")'); do\n  \
           size=$(stat -c %s \"$wal/$name\") high=$(echo \"$name\" | cut -c 9-16) low=$(echo \"$name\" | cut -c 17-24)\n  \
           address=$(od -An -tu8 -j8 -N8 \"$wal/$name\" | tr -d ' ')\n  \
           [ \"$address\" = \"$((0x$high * 4294967296 + 0x$low * size))\" ] || break\n  \
           sync \"$wal/$name\"\n  \
           cp \"$wal/$name\" \"$dir/.new\"; sync \"$dir/.new\"; mv \"$dir/.new\" \"$dir/$name\"\n  \
           before=$last last=$name\n\
         done\n\
         [ -n \"$last\" ] || {{ echo \"there is no WAL from $from on\" >&2; exit 1; }}\n\
         end=$({dump} -p \"$dir\" \"${{before:-$last}}\" \"$last\" 2>/dev/null | tail -n 1 | sed -n 's/.*lsn: \\([0-9A-F/]*\\),.*/\\1/p')\n\
         [ -n \"$end\" ] || {{ echo \"no record was found in $last\" >&2; exit 1; }}\n\
         echo \"$end\" >\"$dir/.end\"; sync \"$dir/.end\"; mv \"$dir/.end\" \"$dir/end\"; sync \"$dir\"",
        dir = directory(archive, decision),
        wal = wal(inventory, host),
        timeline = decision.timeline,
        dump = program(inventory, host, dump),
    );
    while_down(inventory, host, &script, &[])
}

/// Gives the standby on `host` what was read, unless it has other content already where both have some.
fn install(inventory: &Inventory, archive: &Archive, decision: &Decision, host: &str) -> Command {
    // The archive comes last: from there the standby takes a file at once, and then it has no other to compare it with.
    let script = format!(
        "set -e; umask 077; dir={dir} wal={wal} archive={archive} last=\n\
         [ \"$({psql} -c 'SELECT pg_is_in_recovery()')\" = t ] || {{ echo '{host} is no standby' >&2; exit 1; }}\n\
         from=$(cut -d ' ' -f 2 \"$dir/from\") offset=$(cut -d ' ' -f 3 \"$dir/from\")\n\
         [ ! -e \"$dir/$from\" ] || [ ! -e \"$wal/$from\" ] || cmp -s -n \"$offset\" \"$dir/$from\" \"$wal/$from\" || \
         {{ echo \"$from is not the same up to the standby's end: the two have different histories\" >&2; exit 1; }}\n\
         for name in $(ls \"$dir\" | grep -xE '[0-9A-F]{{24}}'); do\n  \
           cp \"$dir/$name\" \"$wal/xlogtemp.bcctl\"; sync \"$wal/xlogtemp.bcctl\"; mv -f \"$wal/xlogtemp.bcctl\" \"$wal/$name\"\n  \
           [ -z \"$last\" ] || ln \"$dir/$last\" \"$archive/$last\" 2>/dev/null || true\n  \
           last=$name\n\
         done\n\
         sync \"$wal\" \"$archive\"",
        dir = directory(archive, decision),
        wal = wal(inventory, host),
        archive = quote(&archive.directory),
        psql = owners_psql(inventory, host),
    );
    owned(inventory, host, &script, &[])
}

/// Whether the standby has replayed the last record of the old primary: fact `salvaged`, and how much that was.
pub(crate) fn carried(inventory: &Inventory, archive: &Archive, decision: &Decision) -> Check {
    let (from, to) = (decision.from().postgresql(inventory), decision.to.postgresql(inventory));
    let replayed = inventory.postgresql.version.wal().last_replay;
    let statement = format!(
        "SELECT concat_ws(E'\\n', coalesce(lsn > '$end'::pg_lsn, false), 'salvaged=' || lsn, \
         '{to} had $had, and has replayed ' || lsn || ' now: ' || pg_size_pretty(lsn - '$had'::pg_lsn) || ' more, all that {from} has on its disk') \
         FROM (SELECT {replayed} AS lsn OFFSET 0) AS seen"
    );
    let script = format!(
        "dir={dir}; [ -e \"$dir/end\" ] || {{ echo nothing has been brought yet >&2; exit 1; }}\n\
         had=$(cut -d ' ' -f 1 \"$dir/from\") end=$(cat \"$dir/end\"); {psql} -c \"{statement}\"",
        dir = directory(archive, decision),
        psql = owners_psql(inventory, to),
    );
    Check::says_true(owned(inventory, to, &script, &[]))
}
