//! The script that looks at one host: lines `key=value`, one round trip, nothing written.

use bc_model::inventory::{Archive, Inventory, Service};
use bc_model::version::{Marker, Version, WalNames};

use crate::command::{Command, gocd, maintenance, postgresql, quote, service, vip};
use crate::place::Place;

/// What a running server says about itself; each line is `key=value`. Columns that only a primary (or a standby) may be
/// asked for stand behind a `CASE`.
fn questions(version: Version) -> String {
    let WalNames { directory, current, last_receive, last_replay, is_replay_paused, replay_column, .. } = version.wal();
    let timeline = postgresql::timeline(version)
        .replace(current, &format!("CASE WHEN NOT pg_is_in_recovery() THEN {current} END"));
    let wal_status = if version.limits_slots() { ", coalesce(wal_status, '')" } else { "" };
    let sender = if version.receiver_names_sender() { ", sender_host, sender_port" } else { "" };
    format!(
        r"
SELECT 'sql.version=' || current_setting('server_version_num');
SELECT 'sql.in-recovery=' || pg_is_in_recovery();
SELECT 'sql.system-identifier=' || system_identifier FROM pg_control_system();
SELECT 'sql.checkpoint-timeline=' || timeline_id FROM pg_control_checkpoint();
SELECT 'sql.timeline=' || {timeline} WHERE NOT pg_is_in_recovery();
SELECT 'sql.timeline=' || greatest(received_tli, (SELECT timeline_id FROM pg_control_checkpoint())) FROM pg_stat_wal_receiver WHERE pg_is_in_recovery();
SELECT 'sql.write-lsn=' || CASE WHEN NOT pg_is_in_recovery() THEN {current} END;
SELECT 'sql.receive-lsn=' || CASE WHEN pg_is_in_recovery() THEN {last_receive} END;
SELECT 'sql.replay-lsn=' || CASE WHEN pg_is_in_recovery() THEN {last_replay} END;
SELECT 'sql.replay-paused=' || CASE WHEN pg_is_in_recovery() THEN {is_replay_paused} ELSE false END;
SELECT 'sql.last-commit-age=' || round(extract(epoch FROM now() - pg_last_xact_replay_timestamp())::numeric, 1) WHERE pg_is_in_recovery();
SELECT 'sql.receiver=' || concat_ws('|', status{sender}) FROM pg_stat_wal_receiver;
SELECT 'sql.received-timeline=' || received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming';
SELECT 'sql.replication=' || concat_ws('|', application_name, state, sync_state, coalesce(client_addr::text, ''), coalesce({replay_column}::text, ''), coalesce({replay_column} > CASE WHEN NOT pg_is_in_recovery() THEN {current} END, false)) FROM pg_stat_replication;
SELECT 'sql.slot=' || concat_ws('|', slot_name, active, coalesce(restart_lsn::text, ''){wal_status}) FROM pg_replication_slots WHERE slot_type = 'physical';
SELECT 'sql.setting=' || name || '|' || setting FROM pg_settings WHERE name IN ('synchronous_standby_names', 'max_wal_senders', 'max_replication_slots', 'max_connections', 'max_worker_processes', 'max_prepared_transactions', 'max_locks_per_transaction', 'wal_level', 'hot_standby', 'recovery_min_apply_delay', 'promote_trigger_file', 'recovery_target_timeline', 'archive_mode', 'archive_command', 'archive_library', 'restore_command', 'primary_slot_name', 'wal_log_hints', 'data_checksums', 'full_page_writes', 'listen_addresses', 'idle_replication_slot_timeout');
SELECT 'sql.wal-senders=' || count(*) FROM pg_stat_replication;
SELECT 'sql.archiver-failing=' || (coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)) FROM pg_stat_archiver;
SELECT 'sql.archive-ready=' || count(*) FROM pg_ls_dir('{directory}/archive_status') AS name WHERE name LIKE '%.ready';
SELECT 'sql.last-archived=' || last_archived_wal FROM pg_stat_archiver;
SELECT 'sql.prepared-transactions=' || count(*) FROM pg_prepared_xacts;
SELECT 'sql.tablespaces=' || count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global');
SELECT 'sql.size=' || sum(pg_database_size(oid)) FROM pg_database;
"
    )
}

/// The command that looks at `host`, whatever its roles.
pub(crate) fn look(inventory: &Inventory, host: &str) -> Command {
    look_with(inventory, host, None)
}

/// The same, and `rights`: lines that ask what the login may do.
pub(super) fn look_with(inventory: &Inventory, host: &str, rights: Option<String>) -> Command {
    let mut script = vec!["echo \"host.now=$(date +%s.%N)\"; echo \"host.uid=$(id -u)\"".to_owned()];
    script.extend(rights);
    for place in Place::BOTH {
        if place.postgresql(inventory) == host {
            script.push(server(inventory, host, place.other().postgresql(inventory)));
        }
        if place.gocd(inventory) == host {
            script.push(application(inventory, host));
        }
    }
    // What takes long runs in the background, each with a file of its own; the last line says that the look was whole.
    script.push("wait; cat \"$tmp\"/* 2>/dev/null; echo host.complete=t".to_owned());
    let script = script.join("\n");
    Command::on(host, format!("tmp=$(mktemp -d) && trap 'rm -rf \"$tmp\"' EXIT\n{script}"))
}

fn service_lines(prefix: &str, service: &Service<'_>) -> String {
    match service {
        Service::Systemd(unit) => format!(
            "systemctl show --property=LoadState --property=ActiveState --property=UnitFileState --property=ExecCondition {} | sed 's/^/{prefix}.unit./'",
            quote(unit)
        ),
        Service::Commands(_) => format!(
            "if {}; then echo {prefix}.unit.ActiveState=active; else echo {prefix}.unit.ActiveState=inactive; fi",
            service::runs(service)
        ),
    }
}

fn server(inventory: &Inventory, host: &str, peer: &str) -> String {
    let server = inventory.server(host);
    let data = quote(server.data_directory);
    let bin = |name: &str| postgresql::program(inventory, host, name);
    let options = "PGCONNECT_TIMEOUT=3 PGOPTIONS='-c default_transaction_read_only=on -c statement_timeout=5s'";
    let psql = format!("{options} {}", postgresql::owners_psql(inventory, host).replace("-v ON_ERROR_STOP=1", ""));
    let login =
        format!("{} dbname=postgres replication=true connect_timeout=3", postgresql::conninfo(inventory, host, peer));
    let login = format!("{} -XAtq -w -d {} -c IDENTIFY_SYSTEM", bin("psql"), quote(&login));
    let version = inventory.postgresql.version;
    let trigger = match (version.trigger(), version.marker()) {
        (None, _) => "true".to_owned(),
        (Some(name), Marker::RecoveryConf) => {
            format!("sed -n \"s/^ *{name} *=* *'\\(.*\\)'.*/\\1/p\" {data}/recovery.conf 2>/dev/null")
        }
        (Some(name), Marker::StandbySignal) => {
            format!("{psql} -c \"SELECT setting FROM pg_settings WHERE name = '{name}' AND setting <> ''\" 2>/dev/null")
        }
    };
    // As the owner, who has files of its own for what takes long.
    let script = format!(
        "tmp=$(mktemp -d) && trap 'rm -rf \"$tmp\"' EXIT\n\
         echo \"pg.data=$([ -e {data}/PG_VERSION ] && cat {data}/PG_VERSION)\"\n\
         echo \"pg.program=$({postgres} --version 2>/dev/null)\"\n\
         for file in standby.signal recovery.signal recovery.conf backup_label; do [ ! -e {data}/$file ] || echo \"pg.file=$file\"; done\n\
         mountpoint -q {data} && echo pg.mount-point=t\n\
         [ -L {data}/pg_wal ] && echo pg.wal-elsewhere=t\n\
         df -PB1 \"$(dirname {data})\" 2>/dev/null | awk 'NR == 2 {{ print \"pg.free=\" $4 }}'\n\
         for old in {data}.old-*; do [ ! -e \"$old/PG_VERSION\" ] || echo \"pg.kept=$old\"; done\n\
         {control} {data} 2>/dev/null | sed -n -e 's/^Database system identifier: */control.system-identifier=/p' \
         -e 's/^Database cluster state: */control.state=/p' -e 's/^Latest checkpoint location: */control.checkpoint=/p' \
         -e \"s/^Latest checkpoint's TimeLineID: */control.timeline=/p\"\n\
         {history}\n\
         {archive}\n\
         ps -o args= --ppid \"$(head -n 1 {data}/postmaster.pid 2>/dev/null)\" 2>/dev/null | \
         sed -n 's/.*startup.* \\([0-9A-F]\\{{24\\}}\\).*/pg.recovering=\\1/p'\n\
         {{ at=$({psql} -c {replayed} 2>/dev/null)\n\
         {login} >\"$tmp\"/login.out 2>\"$tmp\"/login.err; echo \"pg.login=$?\" >\"$tmp\"/login; \
         [ -z \"$at\" ] || sed \"s,^,pg.peer=$at|,\" \"$tmp\"/login.out >>\"$tmp\"/login\n\
         {stops}\n\
         sed 's/^/pg.login-words=/' \"$tmp\"/login.err >>\"$tmp\"/login; rm \"$tmp\"/login.out \"$tmp\"/login.err; }} &\n\
         {psql} 2>\"$tmp\"/sql.err <<'EOF'\n{questions}EOF\n\
         head -n 3 \"$tmp\"/sql.err | sed 's/^/pg.sql-error=/'; rm \"$tmp\"/sql.err\n\
         trigger=$({trigger})\n\
         [ -z \"$trigger\" ] || ! (cd {data} && [ -e \"$trigger\" ]) || echo \"pg.file=$trigger\"\n\
         wait; cat \"$tmp\"/* 2>/dev/null; true",
        replayed = quote(&format!("SELECT {} WHERE pg_is_in_recovery()", version.wal().last_replay)),
        stops = stops(inventory, host),
        questions = questions(version),
        history = newest_history("pg", &quote(&format!("{}/{}", server.data_directory, version.wal().directory))),
        archive = inventory.postgresql.archive.as_ref().map(shared).unwrap_or_default(),
        postgres = bin("postgres"),
        control = bin("pg_controldata"),
    );
    format!(
        "{}\n{}",
        service_lines("pg", &server.service),
        postgresql::as_owner(inventory, &format!("sh -c {}", quote(&script)))
    )
}

/// Whether the WAL of the standby on `host` has a record where its replay (`$at`) has stopped.
///
/// What is in its WAL directory from there on came from the primary. If the two share a history, that is a record's begin, or nothing
/// yet; if the next record begins elsewhere, replay stands in the middle of one. A page begins with a header of 24 or 40 bytes.
/// For a segment that is not there yet, `pg_waldump` would wait five seconds.
fn stops(inventory: &Inventory, host: &str) -> String {
    let server = inventory.server(host);
    let directory = inventory.postgresql.version.wal().directory;
    let program = if directory == "pg_xlog" { "pg_xlogdump" } else { "pg_waldump" };
    format!(
        "timeline=$(ps -o args= --ppid \"$(head -n 1 {data}/postmaster.pid 2>/dev/null)\" 2>/dev/null | \
         sed -n 's/.*startup.* \\([0-9A-F]\\{{8\\}}\\)[0-9A-F]\\{{16\\}}.*/\\1/p')\n\
         size=$({control} {data} 2>/dev/null | sed -n 's/^Bytes per WAL segment: *//p')\n\
         segment=$([ -z \"$at\" ] || [ -z \"$timeline\" ] || printf %08X%08X%08X $((0x$timeline)) $((0x${{at%/*}})) $((0x${{at#*/}} / ${{size:-16777216}})))\n\
         [ -z \"$segment\" ] || [ ! -e {wal}/\"$segment\" ] || {program} -p {wal} -t $((0x$timeline)) -s \"$at\" -n 1 2>/dev/null | \
         sed -n \"s,^first record is after .*skipping over \\([0-9]*\\) byte.*,pg.no-record-at=$at|\\1,p\" >>\"$tmp\"/login",
        data = quote(server.data_directory),
        wal = quote(&format!("{}/{directory}", server.data_directory)),
        control = quote(&format!("{}/pg_controldata", server.bin_directory)),
        program = quote(&format!("{}/{program}", server.bin_directory)),
    )
}

/// The newest history of timelines in a directory (quoted): which timeline ended where.
fn newest_history(prefix: &str, directory: &str) -> String {
    format!(
        "history=$(ls {directory} 2>/dev/null | grep -xE '[0-9A-F]{{8}}\\.history' | tail -n 1)\n\
         [ -z \"$history\" ] || awk -v name=\"$history\" '/^[0-9]/ {{ print \"{prefix}.history=\" name \"|\" $1 \"|\" $2 }}' {directory}/\"$history\""
    )
}

/// The archive on the shared drive, as the owner of the server on this host sees it.
fn shared(archive: &Archive) -> String {
    let directory = quote(&archive.directory);
    format!(
        "if [ -d {directory} ]; then echo archive.there=t; fi\n\
         if [ -w {directory} ]; then echo archive.writable=t; fi\n\
         df -PB1 {directory} 2>/dev/null | awk 'NR == 2 {{ print \"archive.free=\" $4 }}'\n\
         ls -t {directory} 2>/dev/null | grep -xE '[0-9A-F]{{24}}' | head -n 32 | sed 's/^/archive.file=/'\n{}",
        newest_history("archive", &directory)
    )
}

/// Whether there is a good token, and what the server says to it; it is asked only if it runs.
fn rest(inventory: &Inventory, host: &str) -> String {
    format!(
        "\n{asking} 2>&1 | \
         sed '/^gocd\\./!s/^/gocd.token-error=/' >\"$tmp\"/token &",
        asking = maintenance::asking(
            inventory,
            host,
            &format!(
                "echo gocd.token=t; {{ {}; }} || exit 0; echo \"gocd.maintenance=$(ask admin/maintenance_mode/info -f 2>&1 | tr -d '\\n')\"",
                service::runs(&inventory.gocd_server(host).service)
            )
        ),
    )
}

fn application(inventory: &Inventory, host: &str) -> String {
    let server = inventory.gocd_server(host);
    let base = format!("http://127.0.0.1:{}", server.port);
    let address = inventory.vip.address.addr();
    // Its other lines are nobody's business: one is a password.
    let properties = format!(
        "runuser -u {} -- grep -F db.url {}",
        quote(&inventory.gocd.os_user),
        quote(&format!("{}/db.properties", server.config_directory))
    );
    let probe = if address.is_ipv6() { format!("http://[{address}]") } else { format!("http://{address}") };
    // An entry in the neighbour table may be old; only an answer says that the address is in use.
    format!(
        "{service}\n\
         {{ echo \"gocd.health=$(curl -s -o /dev/null -m 5 -w '%{{http_code}}' {health})\"; \
         echo \"gocd.version=$(curl -fs -m 5 -H 'Accept: application/vnd.go.cd.v1+json' {version} | tr -d '\\n')\"; }} >\"$tmp\"/health &\n\
         {name}ip -o link show dev {interface} 2>/dev/null | sed -n 's/.*link\\/ether \\([0-9a-f:]*\\).*/gocd.mac=\\1/p'\n\
         {properties} 2>/dev/null | sed -n 's/^ *db\\.url *[=:] *\\([^?]*\\).*/gocd.database=\\1/p'\n\
         {{ {manifest} >\"$tmp\"/manifest.out 2>\"$tmp\"/manifest.err && tr -d '\\n' <\"$tmp\"/manifest.out | sed 's/^/gocd.manifest=/' >\"$tmp\"/manifest \
         || head -n 2 \"$tmp\"/manifest.err | sed 's/^/gocd.manifest-error=/' >\"$tmp\"/manifest; echo >>\"$tmp\"/manifest; \
         rm \"$tmp\"/manifest.out \"$tmp\"/manifest.err; }} &\n\
         vip=$({status} 2>\"$tmp\"/vip.err) && echo \"gocd.vip=$(echo \"$vip\" | tr -d '\\n')\" || head -n 2 \"$tmp\"/vip.err | sed 's/^/gocd.vip-error=/'\n\
         rm \"$tmp\"/vip.err\n\
         ip -o address show to {address} 2>/dev/null | grep -q . || \
         {{ {{ ping -c 1 -W 1 {address} >/dev/null 2>&1 || curl -s -g -o /dev/null --connect-timeout 1 -m 2 {probe}:{port}/; }} && \
         echo \"gocd.vip-answers=$(ip neigh show to {address} | sed -n 's/.*lladdr \\([0-9a-f:]*\\).*/\\1/p')\"; }} >\"$tmp\"/answers &{rest}",
        service = service_lines("gocd", &server.service),
        rest = if maintenance::is_used(inventory) { rest(inventory, host) } else { String::new() },
        interface = quote(&inventory.vip.interface),
        name = inventory
            .vip
            .name
            .as_ref()
            .map(|name| format!(
                "{{ getent ahosts {} || echo nothing; }} | sed -n 's/^\\([^ ]*\\).*/gocd.name=\\1/p' | sort -u\n",
                quote(name)
            ))
            .unwrap_or_default(),
        health = quote(&format!("{base}{}", gocd::HEALTH)),
        version = quote(&format!("{base}/go/api/version")),
        manifest = gocd::standbyd(inventory, host, "manifest --json").script,
        status = vip::status(inventory, host).script,
        port = server.port,
    )
}
