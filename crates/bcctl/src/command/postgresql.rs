//! Commands for the PostgreSQL pair. SQL goes through `psql` on the host itself, so no password leaves it.

use bc_model::inventory::Inventory;
use bc_model::version::{Marker, Promotion, Version};

use super::{Command, quote, quote_with, service, waiting};
use crate::judge::Check;

/// The timeline a primary writes, from the name of its current WAL file; right from the moment of promotion.
pub(crate) fn timeline(version: Version) -> String {
    let wal = version.wal();
    format!("('x' || substr({}({}), 1, 8))::bit(32)::int", wal.file_name, wal.current)
}

/// The name of a host as a replication slot.
pub(crate) fn slot(host: &str) -> String {
    host.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The path of a program of the server on `host`, quoted.
pub(crate) fn program(inventory: &Inventory, host: &str, name: &str) -> String {
    quote(&format!("{}/{name}", inventory.server(host).bin_directory))
}

/// `psql` on `host`, without the statements; for a script that the owner runs.
pub(crate) fn owners_psql(inventory: &Inventory, host: &str) -> String {
    owners_psql_in(inventory, host, "postgres")
}

/// The same in `database`.
fn owners_psql_in(inventory: &Inventory, host: &str, database: &str) -> String {
    let server = inventory.server(host);
    let socket = server.socket_directory.map(|path| format!(" -h {}", quote(path))).unwrap_or_default();
    format!(
        "{} -XAtq -v ON_ERROR_STOP=1{socket} -p {} -d {}",
        program(inventory, host, "psql"),
        server.port,
        quote(database)
    )
}

/// The same, for a script that the login runs.
pub(crate) fn psql(inventory: &Inventory, host: &str) -> String {
    as_owner(inventory, &owners_psql(inventory, host))
}

/// The same in `database`.
pub(super) fn psql_in(inventory: &Inventory, host: &str, database: &str) -> String {
    as_owner(inventory, &owners_psql_in(inventory, host, database))
}

/// One or more statements on `host`, each in a transaction of its own; `{name}` stands for a fact of that name.
pub(super) fn sql(inventory: &Inventory, host: &str, statements: &[String], facts: &[&str]) -> Command {
    let arguments: String =
        statements.iter().map(|statement| format!(" -c {}", quote_with(statement, facts))).collect();
    Command::on(host, psql(inventory, host) + &arguments)
}

/// A condition in SQL, with `evidence` lines such as `'timeline=' || …` that follow it.
pub(super) fn condition(
    inventory: &Inventory,
    host: &str,
    holds: &str,
    evidence: &[&str],
    from: &str,
    facts: &[&str],
) -> Check {
    let columns: String = evidence.iter().map(|column| format!(", {column}")).collect();
    let statement = format!("SELECT concat_ws(E'\\n', coalesce({holds}, false){columns}){from}");
    Check::says_true(sql(inventory, host, &[statement], facts))
}

/// How the standby on `host` finds the server on `peer`.
pub(crate) fn conninfo(inventory: &Inventory, host: &str, peer: &str) -> String {
    let address = inventory.hosts.get(peer).map_or(peer, |host| host.address());
    let port = inventory.server(peer).port;
    let options = &inventory.postgresql.replication_options;
    let options = if options.is_empty() { String::new() } else { format!(" {options}") };
    format!(
        "host={address} port={port} user={} application_name={host}{options}",
        inventory.postgresql.replication_user
    )
}

/// `text` as a string literal of SQL and of `postgresql.conf`.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Writes all dirty pages, so that the shutdown that follows is quick.
pub(crate) fn checkpoint(inventory: &Inventory, host: &str) -> Command {
    sql(inventory, host, &["CHECKPOINT".to_owned()], &[])
}

/// `script` (one simple command, already quoted) as the owner of the server.
pub(crate) fn as_owner(inventory: &Inventory, script: &str) -> String {
    format!("runuser -u {} -- {script}", quote(&inventory.postgresql.os_user))
}

/// A script as the owner of the server on `host`: what lies in its data directory is nobody else's to touch, least of all
/// root's, whom a link there could lead anywhere. `$1` is the first of `facts`.
pub(super) fn owned(inventory: &Inventory, host: &str, script: &str, facts: &[&str]) -> Command {
    let arguments: String = facts.iter().map(|fact| format!(" \"${{{fact}}}\"")).collect();
    let name = if facts.is_empty() { "" } else { " sh" };
    Command::on(host, as_owner(inventory, &format!("sh -c {}{name}{arguments}", quote(script))))
}

/// Starts the server on `host`.
pub(crate) fn start(inventory: &Inventory, host: &str) -> Command {
    Command::on(host, service::start(&inventory.server(host).service))
}

/// Stops the server on `host` with a fast shutdown: its service does that, and is never hurried.
pub(crate) fn stop(inventory: &Inventory, host: &str) -> Command {
    Command::on(host, service::stop(&inventory.server(host).service))
}

/// Waits while the server on `host` is on its way down, as long as a start may take; not for one that serves, or is down.
pub(crate) fn let_it_stop(inventory: &Inventory, host: &str) -> Command {
    let (down, serves) = (while_down(inventory, host, "true", &[]).script, psql(inventory, host));
    let over = format!("{{ {down}; }} 2>/dev/null || {serves} -c 'SELECT 1' >/dev/null 2>&1");
    Command::on(host, waiting(&over, inventory.timeouts.postgresql_start))
}

/// Whether no server runs on `host`.
pub(crate) fn stopped(inventory: &Inventory, host: &str) -> Check {
    Check::succeeds(while_down(inventory, host, "true", &[]))
}

/// `script`, as the owner, if no server runs on `host`.
pub(super) fn while_down(inventory: &Inventory, host: &str, script: &str, facts: &[&str]) -> Command {
    let server = inventory.server(host);
    let pid = quote(&format!("{}/postmaster.pid", server.data_directory));
    // A pid file may be left over from a power cut; then its process is gone, or is another program. Only its owner is sure
    // to see the process.
    let script = format!(
        "pid=$(head -n 1 {pid} 2>/dev/null); if [ -n \"$pid\" ] && grep -qs postgres \"/proc/$pid/comm\"; then \
         echo \"postmaster $pid runs\" >&2; exit 1; fi; {script}"
    );
    let script = owned(inventory, host, &script, facts).script;
    Command::on(host, format!("! {{ {}; }} && {script}", service::may_run(&server.service)))
}

/// Whether the server on `host` was shut down cleanly: facts `checkpoint` (of the shutdown) and `timeline`.
pub(crate) fn shut_down(inventory: &Inventory, host: &str) -> Check {
    Check::succeeds(while_down(inventory, host, &control(inventory, host, "1"), &[]))
}

/// Whether the server on `host` is still shut down as it was: nothing has run on its data since.
pub(crate) fn still_shut_down(inventory: &Inventory, host: &str) -> Check {
    let script = format!("want=$1; {}", control(inventory, host, "c == want"));
    Check::succeeds(while_down(inventory, host, &script, &["checkpoint"]))
}

fn control(inventory: &Inventory, host: &str, and: &str) -> String {
    let server = inventory.server(host);
    let program = program(inventory, host, "pg_controldata");
    let want = if and == "1" { "" } else { "-v want=\"$want\" " };
    format!(
        "{program} {} | awk -F': *' {want}'/^Database cluster state/ {{ s = $2 }} /^Latest checkpoint location/ {{ c = $2 }} \
         /^Latest checkpoint.s TimeLineID/ {{ t = $2 }} END {{ print \"checkpoint=\" c; print \"timeline=\" t; \
         if (s == \"shut down\" && {and}) exit 0; print \"cluster state: \" s; exit 1 }}'",
        quote(server.data_directory)
    )
}

/// Whether the server on `host` is a standby and has replayed past the shutdown checkpoint of the old primary: fact
/// `replayed`.
pub(crate) fn replayed_checkpoint(inventory: &Inventory, host: &str) -> Check {
    let replayed = inventory.postgresql.version.wal().last_replay;
    condition(
        inventory,
        host,
        &format!("pg_is_in_recovery() AND {replayed} > '{{checkpoint}}'::pg_lsn"),
        &[&format!("'replayed=' || {replayed}")],
        "",
        &["checkpoint"],
    )
}

/// Whether the standby on `host` has replayed all it ever received: facts `received` and `replayed`.
///
/// What was received may end in the middle of a record, which never replays; so a replay that waits for more WAL, has
/// stood still for a second and has less than a segment left counts as well. The old primary is off by then.
pub(crate) fn replayed_all(inventory: &Inventory, host: &str) -> Check {
    let version = inventory.postgresql.version;
    let (received, replayed) = (version.wal().last_receive, version.wal().last_replay);
    let waits = if version.shows_startup_process() {
        "EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event ~ '^Recovery(Wal|Retrieve)') AND "
    } else {
        ""
    };
    condition(
        inventory,
        host,
        &format!(
            "NOT pg_is_in_recovery() OR {received} IS NULL OR replayed >= {received} OR \
             ({received} - replayed < 16777216 \
             AND {waits}pg_sleep(1)::text IS NOT NULL AND {replayed} = replayed)"
        ),
        &[&format!("'received=' || {received}"), &format!("'replayed=' || coalesce({replayed}, '0/0')")],
        &format!(" FROM (SELECT {replayed} AS replayed OFFSET 0) AS seen"),
        &[],
    )
}

/// Whether the server on `host` answers and is a standby.
pub(crate) fn in_recovery(inventory: &Inventory, host: &str) -> Check {
    condition(inventory, host, "pg_is_in_recovery()", &[], "", &[])
}

/// Whether the server on `host` answers and is a primary.
pub(crate) fn primary(inventory: &Inventory, host: &str) -> Check {
    condition(inventory, host, "NOT pg_is_in_recovery()", &[], "", &[])
}

/// Promotes the standby on `host` if it is one and has replayed what it was seen to have replayed, and never by a trigger
/// file: that takes seconds longer. It does not wait: the check sees the end sooner than the server's own programs, which
/// look ten times a second.
pub(crate) fn promote(inventory: &Inventory, host: &str) -> Command {
    let ctl = |options: &str| {
        let data = quote(inventory.server(host).data_directory);
        as_owner(inventory, &format!("{} -D {data} {options}promote", program(inventory, host, "pg_ctl")))
    };
    let ready =
        format!("pg_is_in_recovery() AND {} >= '{{replayed}}'::pg_lsn", inventory.postgresql.version.wal().last_replay);
    let ask = |statement: String| sql(inventory, host, &[statement], &["replayed"]).script;
    let refuse = format!("{{ echo \"{host} is no standby that has replayed as much as it had\" >&2; false; }}");
    let script = match inventory.postgresql.version.promotion() {
        Promotion::Function => {
            format!("[ \"$({})\" = t ] || {refuse}", ask(format!("SELECT pg_promote(false) WHERE {ready}")))
        }
        Promotion::CtlWait | Promotion::Ctl => {
            let wait = if inventory.postgresql.version.promotion() == Promotion::Ctl { "" } else { "-W " };
            format!("{{ [ \"$({})\" = t ] || {refuse}; }} && {}", ask(format!("SELECT {ready}")), ctl(wait))
        }
    };
    Command::on(host, script)
}

/// Whether the server on `host` was promoted off timeline `old`, at or after the LSN in the fact `from`: facts
/// `new_timeline` and `switchpoint`. The last line of the history is the promotion.
pub(crate) fn promoted(inventory: &Inventory, host: &str, old: u32, from: &str) -> Check {
    let version = inventory.postgresql.version;
    let (wal, timeline) = (version.wal(), timeline(version));
    let history = format!("'{}/' || substr({}({}), 1, 8) || '.history'", wal.directory, wal.file_name, wal.current);
    // On a standby there is no current WAL file to ask for.
    let statement = format!(
        "SELECT CASE WHEN pg_is_in_recovery() THEN E'f\\nstill in recovery' ELSE (\
         SELECT concat_ws(E'\\n', coalesce(bool_or(at >= '{{{from}}}'::pg_lsn), false), \
         'new_timeline=' || {timeline}, 'switchpoint=' || (array_agg(at ORDER BY at DESC))[1]) \
         FROM (SELECT split_part(line, E'\\t', 2)::pg_lsn AS at \
         FROM regexp_split_to_table(pg_read_file({history}), E'\\n') AS line WHERE line ~ '^[0-9]') AS history \
         WHERE {timeline} > {old}) END"
    );
    Check::says_true(sql(inventory, host, &[statement], &[from]))
}

/// Makes the server on `host` wait for no standby at a commit.
pub(crate) fn wait_for_nobody(inventory: &Inventory, host: &str) -> Command {
    let statements =
        ["ALTER SYSTEM SET synchronous_standby_names = ''".to_owned(), "SELECT pg_reload_conf()".to_owned()];
    sql(inventory, host, &statements, &[])
}

/// Whether the server on `host` waits for no standby at a commit.
pub(crate) fn waits_for_nobody(inventory: &Inventory, host: &str) -> Check {
    condition(inventory, host, "current_setting('synchronous_standby_names') = ''", &[], "", &[])
}

/// After the promotion of `host`: writes the new timeline into the control file, waits for no standby that is down, and
/// keeps a slot for `peer`; `reserve` keeps WAL for it from now on.
pub(crate) fn settle(inventory: &Inventory, host: &str, peer: &str, reserve: bool) -> Vec<Command> {
    let psql = psql(inventory, host);
    let clear = format!(
        "[ -z \"$({psql} -c 'SHOW synchronous_standby_names')\" ] || {psql} -c {} -c {}",
        quote("ALTER SYSTEM SET synchronous_standby_names = ''"),
        quote("SELECT pg_reload_conf()")
    );
    let mut commands =
        vec![Command::on(host, clear), checkpoint(inventory, host), create_slot(inventory, host, peer, reserve)];
    if inventory.postgresql.version.marker() == Marker::RecoveryConf {
        // What a promotion leaves of it would, renamed back by a well-meaning hand, make this server a standby again.
        let done = format!("{}/recovery.done", inventory.server(host).data_directory);
        commands.push(owned(inventory, host, &format!("rm -f {}", quote(&done)), &[]));
    }
    commands
}

/// Whether [`settle`] has been done.
pub(crate) fn settled(inventory: &Inventory, host: &str, peer: &str) -> Check {
    let version = inventory.postgresql.version;
    let tidy = match version.marker() {
        Marker::StandbySignal => "",
        Marker::RecoveryConf => " AND NOT EXISTS (SELECT FROM pg_ls_dir('.') AS name WHERE name = 'recovery.done')",
    };
    condition(
        inventory,
        host,
        &format!(
            "current_setting('synchronous_standby_names') = '' AND (SELECT timeline_id FROM pg_control_checkpoint()) = {timeline} \
             AND EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {name}){tidy}",
            timeline = timeline(version),
            name = literal(&slot(peer))
        ),
        &[],
        "",
        &[],
    )
}

/// Whether the control file of the primary on `host` has the timeline that it writes.
pub(crate) fn knows_its_timeline(inventory: &Inventory, host: &str) -> Check {
    let holds =
        format!("(SELECT timeline_id FROM pg_control_checkpoint()) = {}", timeline(inventory.postgresql.version));
    condition(inventory, host, &holds, &[], "", &[])
}

/// A physical slot on `host` for the standby on `peer`.
pub(crate) fn create_slot(inventory: &Inventory, host: &str, peer: &str, reserve: bool) -> Command {
    let name = literal(&slot(peer));
    let statement = format!(
        "SELECT FROM pg_create_physical_replication_slot({name}, {reserve}) \
         WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {name})"
    );
    sql(inventory, host, &[statement], &[])
}

/// Whether `host` has a slot for `peer`.
pub(crate) fn has_slot(inventory: &Inventory, host: &str, peer: &str) -> Check {
    let name = literal(&slot(peer));
    condition(
        inventory,
        host,
        &format!("EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {name})"),
        &[],
        "",
        &[],
    )
}

/// Drops the slot on `host` that `peer` used while the roles were the other way round; it would keep WAL for ever.
pub(crate) fn drop_slot(inventory: &Inventory, host: &str, peer: &str) -> Command {
    let name = literal(&slot(peer));
    let statement = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {name} AND NOT active"
    );
    sql(inventory, host, &[statement], &[])
}

/// Whether the server on `standby` streams from the one on `primary`, on its timeline and not ahead of it.
pub(crate) fn streams(inventory: &Inventory, primary: &str, standby: &str) -> Vec<Check> {
    let wal = inventory.postgresql.version.wal();
    let row =
        format!(" FROM pg_stat_replication WHERE application_name = {} AND state = 'streaming'", literal(standby));
    let replayed = wal.replay_column;
    vec![
        condition(
            inventory,
            primary,
            &format!("bool_or({replayed} <= {})", wal.current_flush),
            &[&format!("'standby_replayed=' || (array_agg({replayed} ORDER BY {replayed} DESC))[1]")],
            &row,
            &[],
        ),
        condition(
            inventory,
            standby,
            "pg_is_in_recovery() AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')",
            &["(SELECT 'standby_timeline=' || received_tli FROM pg_stat_wal_receiver)"],
            "",
            &[],
        ),
    ]
}

/// Whether the standby on `peer` is at most `bytes` behind the primary on `host`: fact `behind`.
pub(crate) fn within(inventory: &Inventory, host: &str, peer: &str, bytes: u64) -> Check {
    let wal = inventory.postgresql.version.wal();
    let row = format!(" FROM pg_stat_replication WHERE application_name = {} AND state = 'streaming'", literal(peer));
    let behind = format!("min({} - {})", wal.current, wal.replay_column);
    condition(inventory, host, &format!("{behind} <= {bytes}"), &[&format!("'behind=' || {behind}")], &row, &[])
}

/// Whether `host` keeps no slot for `peer`.
pub(crate) fn no_slot(inventory: &Inventory, host: &str, peer: &str) -> Check {
    let name = literal(&slot(peer));
    condition(
        inventory,
        host,
        &format!("NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {name})"),
        &[],
        "",
        &[],
    )
}

/// Names the standby on `peer` in `synchronous_standby_names` of `host`.
pub(crate) fn synchronous(inventory: &Inventory, host: &str, peer: &str) -> Command {
    let name = format!("\"{peer}\"");
    let statements = [
        format!("ALTER SYSTEM SET synchronous_standby_names = {}", literal(&name)),
        "SELECT pg_reload_conf()".to_owned(),
    ];
    sql(inventory, host, &statements, &[])
}

/// Whether the standby on `peer` is a synchronous one of `host`.
pub(crate) fn is_synchronous(inventory: &Inventory, host: &str, peer: &str) -> Check {
    let row = format!(" FROM pg_stat_replication WHERE application_name = {}", literal(peer));
    condition(inventory, host, "bool_or(sync_state IN ('sync', 'quorum'))", &[], &row, &[])
}
