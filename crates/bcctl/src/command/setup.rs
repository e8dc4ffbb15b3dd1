//! Commands that `bcctl setup` needs besides the files.

use bc_model::inventory::{Inventory, Service};

use super::postgresql::{as_owner, condition, literal, program, psql, sql};
use super::{Command, quote};
use crate::judge::Check;

/// Whether the replication role logs in with a password.
fn needs_password(inventory: &Inventory) -> bool {
    matches!(inventory.postgresql.replication_auth.as_str(), "scram-sha-256" | "md5" | "password")
}

/// Whether it proves itself by SCRAM, for which the server has to keep the password in that form.
fn is_scram(inventory: &Inventory) -> bool {
    inventory.postgresql.replication_auth == "scram-sha-256"
}

/// Prints the password of the replication role from the owner's password file; nothing else ever holds it.
fn password(inventory: &Inventory) -> String {
    let postgresql = &inventory.postgresql;
    let file = postgresql.replication_options.split(' ').find_map(|option| option.strip_prefix("passfile="));
    let file = file.map_or_else(|| "\"${PGPASSFILE:-$HOME/.pgpass}\"".to_owned(), quote);
    // host:port:database:user:password, with `\:` for a colon.
    let line = format!(r"s/^\(\(\\.\|[^:\\]\)*:\)\{{3\}}{}://p", postgresql.replication_user);
    format!("sed -n {} {file} 2>/dev/null | head -n 1 | sed 's/\\\\\\(.\\)/\\1/g'", quote(&line))
}

/// Whether the password file of the owner on `host` has a password for the replication role, if it needs one.
pub(crate) fn has_password(inventory: &Inventory, host: &str) -> Check {
    let user = &inventory.postgresql.replication_user;
    if !needs_password(inventory) {
        return Check::succeeds(Command::on(host, "true"));
    }
    let look = as_owner(inventory, &format!("sh -c {}", quote(&format!("[ -n \"$({})\" ]", password(inventory)))));
    let says = quote(&format!(
        "~{}/.pgpass on {host} has no line for {user}; add `*:*:*:{user}:PASSWORD` to it (mode 0600), the same on both hosts",
        inventory.postgresql.os_user
    ));
    Check::succeeds(Command::on(host, format!("{look} || {{ echo {says} >&2; false; }}")))
}

/// Makes the replication role on `host`, with the password that the password file there has. It goes from the file through a pipe to
/// the server, so it is in no argument list, no log and no journal.
pub(crate) fn role(inventory: &Inventory, host: &str) -> Command {
    let user = &inventory.postgresql.replication_user;
    let name = format!("\"{}\"", user.replace('"', "\"\""));
    // The way that pg_hba.conf asks for; before 14 a server hashes for md5 by default, and such a hash proves nothing to scram.
    let hash = if is_scram(inventory) { " SET password_encryption = 'scram-sha-256';" } else { "" };
    let make = format!(
        "SET log_statement = 'none'; SET log_min_duration_statement = -1;{hash} \
         DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) THEN CREATE ROLE {name}; END IF; END $do$; \
         ALTER ROLE {name} LOGIN REPLICATION;",
        literal(user)
    );
    let script = if needs_password(inventory) {
        let secret = as_owner(inventory, &format!("sh -c {}", quote(&password(inventory))));
        format!(
            "secret=$({secret} | sed \"s/'/''/g\") && [ -n \"$secret\" ] && printf '%s ALTER ROLE %s PASSWORD '\"'%s'\"';\\n' {} {} \"$secret\" | {} -f -",
            quote(&make),
            quote(&name),
            psql(inventory, host)
        )
    } else {
        format!("printf '%s\\n' {} | {} -f -", quote(&make), psql(inventory, host))
    };
    Command::on(host, script)
}

/// Whether `host` has the role.
pub(crate) fn has_role(inventory: &Inventory, host: &str) -> Check {
    let secret = if is_scram(inventory) {
        " AND rolpassword LIKE 'SCRAM-SHA-256$%'"
    } else if needs_password(inventory) {
        " AND rolpassword IS NOT NULL"
    } else {
        ""
    };
    let holds = format!(
        "EXISTS (SELECT FROM pg_authid WHERE rolname = {} AND rolcanlogin AND rolreplication{secret})",
        literal(&inventory.postgresql.replication_user)
    );
    condition(inventory, host, &holds, &[], "", &[])
}

/// Reads the files again.
pub(crate) fn reload(inventory: &Inventory, host: &str) -> Command {
    sql(inventory, host, &["SELECT pg_reload_conf()".to_owned()], &[])
}

/// Whether the running server on `host` uses every one of `settings` (lines of `postgresql.conf`), those that need a restart
/// (`static_ones`), or the others.
pub(crate) fn uses(inventory: &Inventory, host: &str, settings: &[String], static_ones: bool) -> Check {
    let wanted: Vec<String> = settings
        .iter()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| {
            let value = value.trim_matches('\'').replace("''", "'");
            format!("({}, {})", literal(name), literal(&value))
        })
        .collect();
    if wanted.is_empty() {
        return Check::succeeds(Command::on(host, "true"));
    }
    // An archive_command shows itself only when archive_mode, which needs a restart, is on.
    let holds = format!(
        "NOT EXISTS (SELECT FROM pg_settings JOIN (VALUES {}) AS wanted (name, value) USING (name) \
         WHERE (context = 'postmaster') = {static_ones} AND current_setting(name) NOT IN ('(disabled)', value))",
        wanted.join(", ")
    );
    condition(inventory, host, &holds, &[], "", &[])
}

/// Whether PostgreSQL can start with the files of `host` as they are now. Asked before a restart: a server that is stopped for a file
/// that it cannot read stays down.
pub(crate) fn files_are_good(inventory: &Inventory, host: &str) -> Vec<Check> {
    let config = quote(inventory.server(host).config_directory);
    let postgres = as_owner(inventory, &program(inventory, host, "postgres"));
    let mut checks =
        vec![Check::succeeds(Command::on(host, format!("{postgres} -D {config} -C max_connections >/dev/null")))];
    if inventory.postgresql.version.shows_hba_rules() {
        checks.push(condition(
            inventory,
            host,
            "count(*) = 0",
            &["'pg_hba.conf, line ' || min(line_number) || ': ' || (array_agg(error ORDER BY line_number))[1]"],
            " FROM pg_hba_file_rules WHERE error IS NOT NULL",
            &[],
        ));
    }
    checks
}

/// Keeps a unit from starting with the machine, and makes systemd read its drop-ins. Nothing is stopped.
pub(crate) fn disable(service: &Service<'_>, host: &str) -> Option<Command> {
    let Service::Systemd(unit) = service else { return None };
    let unit = quote(unit);
    Some(Command::on(
        host,
        format!(
            "systemctl daemon-reload && {{ ! systemctl is-enabled -q {unit} 2>/dev/null || systemctl disable {unit}; }}"
        ),
    ))
}

/// Whether a unit does not start with the machine.
pub(crate) fn disabled(service: &Service<'_>, host: &str) -> Option<Check> {
    let Service::Systemd(unit) = service else { return None };
    let unit = quote(unit);
    Some(Check::succeeds(Command::on(
        host,
        format!(
            "[ \"$(systemctl show --property=NeedDaemonReload --value {unit})\" = no ] && \
             case $(systemctl show --property=UnitFileState --value {unit}) in enabled*) echo {unit} is enabled >&2; false;; esac"
        ),
    )))
}

/// The timer that pulls GoCD's configuration.
const PULL: &str = "standbyd-pull.timer";

/// Whether `host` pulls every minute; nothing where standbyd brings no timer.
pub(crate) fn pulls(host: &str) -> Check {
    Check::succeeds(Command::on(
        host,
        format!("systemctl is-enabled -q {PULL} 2>/dev/null && systemctl is-active -q {PULL}"),
    ))
}

/// Lets `host` pull every minute. The service looks first whether GoCD runs there, and then it does nothing.
pub(crate) fn pull_every_minute(host: &str) -> Command {
    Command::on(host, format!("systemctl enable --now {PULL}"))
}

/// Whether `host` has the timer.
pub(crate) fn has_timer(host: &str) -> Command {
    Command::on(host, format!("[ \"$(systemctl show --property=LoadState --value {PULL} 2>/dev/null)\" = loaded ]"))
}

/// Whether the archive is there and can be written by the owner of the server on `host`.
pub(crate) fn archive_writable(inventory: &Inventory, host: &str) -> Option<Check> {
    let directory = quote(&inventory.postgresql.archive.as_ref()?.directory);
    let write = as_owner(inventory, &format!("test -w {directory}"));
    let says = quote(&format!("the archive is not there, or {} may not write into it", inventory.postgresql.os_user));
    Some(Check::succeeds(Command::on(host, format!("{write} || {{ echo {says} >&2; false; }}"))))
}
