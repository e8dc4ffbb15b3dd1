//! From text to a checked [`Inventory`], keeping the line of every key for the errors.

use std::ops::Range;

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use super::{Inventory, ServiceCommands};

/// What is wrong with an inventory file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}: {key}{problem}", key = if .key.is_empty() { String::new() } else { format!("{}: ", .key) })]
pub struct InventoryError {
    /// The file, as it was named.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Dotted key, such as `hosts.pg1.ssh`; empty if the text is not TOML at all.
    pub key: String,
    /// What is wrong and what was expected, in one line.
    pub problem: String,
}

pub(super) fn parse(file: &str, text: &str) -> Result<Inventory, InventoryError> {
    let at = |span: Option<Range<usize>>, key: String, problem: &str| InventoryError {
        file: file.to_owned(),
        line: line_at(text, span.map_or(0, |span| span.start)),
        key,
        problem: problem.lines().collect::<Vec<_>>().join(" "),
    };
    let table = DeTable::parse(text).map_err(|error| at(error.span(), String::new(), error.message()))?;
    let document = toml::Deserializer::parse(text).map_err(|error| at(error.span(), String::new(), error.message()))?;
    let inventory: Inventory = serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        let key = if path == "." { String::new() } else { path };
        let error = error.into_inner();
        at(error.span(), key, error.message())
    })?;
    match problem(&inventory) {
        None => Ok(inventory),
        Some((key, problem)) => Err(at(locate(table.get_ref(), &key), key, &problem)),
    }
}

/// The first cross-reference that does not hold: key and problem.
fn problem(inventory: &Inventory) -> Option<(String, String)> {
    let name = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.')
            && !text.starts_with(['-', '.'])
    };
    if !name(&inventory.site) {
        return Some(("site".into(), "expected letters, digits, `-` and `_`: it becomes part of a path".into()));
    }
    for (host_name, host) in &inventory.hosts {
        let key = format!("hosts.{host_name}");
        if !name(host_name) {
            return Some((key, "expected a name of letters, digits, `-`, `_` and `.`".into()));
        }
        match (&host.ssh, host.transport) {
            (None, None) => {
                return Some((
                    key,
                    "no way to reach it; expected `ssh = \"user@host\"` or `transport = \"local\"`".into(),
                ));
            }
            (Some(_), Some(_)) => {
                return Some((
                    format!("{key}.transport"),
                    "both `ssh` and `transport = \"local\"`; expected one of them".into(),
                ));
            }
            (Some(ssh), None) if ssh.is_empty() || ssh.starts_with('-') || ssh.contains(char::is_whitespace) => {
                return Some((
                    format!("{key}.ssh"),
                    format!("`{ssh}` is not a destination; expected \"user@host\" or an alias"),
                ));
            }
            _ => {}
        }
    }
    let (postgresql, gocd) = (&inventory.postgresql, &inventory.gocd);
    let roles = [
        ("postgresql.primary", &postgresql.primary),
        ("postgresql.standby", &postgresql.standby),
        ("gocd.primary", &gocd.primary),
        ("gocd.standby", &gocd.standby),
    ];
    for (key, host) in roles {
        if !inventory.hosts.contains_key(host) {
            let known = inventory.hosts.keys().cloned().collect::<Vec<_>>().join(", ");
            return Some((key.into(), format!("no host `{host}`; expected one of [hosts]: {known}")));
        }
    }
    for (key, host, others) in [
        ("postgresql.standby", &postgresql.standby, [&postgresql.primary, &gocd.primary]),
        ("gocd.standby", &gocd.standby, [&postgresql.primary, &gocd.primary]),
    ] {
        if others.contains(&host) {
            return Some((
                key.into(),
                format!("`{host}` already serves a primary role; expected a host of the other place"),
            ));
        }
    }
    let pairs = [("postgresql", [&postgresql.primary, &postgresql.standby]), ("gocd", [&gocd.primary, &gocd.standby])];
    for (section, hosts) in pairs {
        let common = if section == "postgresql" { &postgresql.service } else { &gocd.service };
        let own = |host: &str| -> Option<(&Option<String>, &Option<ServiceCommands>)> {
            if section == "postgresql" {
                postgresql.on.get(host).map(|own| (&own.service, &own.commands))
            } else {
                gocd.on.get(host).map(|own| (&own.service, &own.commands))
            }
        };
        for host in hosts {
            match own(host) {
                Some((Some(_), Some(_))) => {
                    return Some((
                        format!("{section}.on.{host}.commands"),
                        "both `service` and `commands`; expected one of them".into(),
                    ));
                }
                Some((None, Some(commands))) if section == "postgresql" && commands.start_in_maintenance.is_some() => {
                    return Some((
                        format!("{section}.on.{host}.commands.start-in-maintenance"),
                        "maintenance mode is GoCD's; PostgreSQL has none".into(),
                    ));
                }
                Some((Some(_), None) | (None, Some(_))) => {}
                _ if common.is_some() => {}
                _ => {
                    return Some((
                        section.into(),
                        format!(
                            "no service for {host}; expected `service = \"UNIT\"`, or [{section}.on.{host}.commands]"
                        ),
                    ));
                }
            }
        }
    }
    let overrides = postgresql
        .on
        .keys()
        .map(|host| ("postgresql", host, &pairs[0].1))
        .chain(gocd.on.keys().map(|host| ("gocd", host, &pairs[1].1)));
    for (section, host, pair) in overrides {
        if !pair.contains(&host) {
            return Some((
                format!("{section}.on.{host}"),
                format!("`{host}` is not one of the pair; expected {} or {}", pair[0], pair[1]),
            ));
        }
    }
    let mut paths = vec![
        ("postgresql.data-directory", &postgresql.data_directory),
        ("postgresql.bin-directory", &postgresql.bin_directory),
    ];
    paths.extend(postgresql.config_directory.iter().map(|path| ("postgresql.config-directory", path)));
    paths.extend(postgresql.archive.iter().map(|archive| ("postgresql.archive.directory", &archive.directory)));
    paths.extend(postgresql.archive.iter().map(|archive| ("postgresql.archive.program", &archive.program)));
    let servers = [&gocd.primary, &gocd.standby].map(|host| (host, inventory.gocd_server(host)));
    let without = servers.iter().filter(|(_, server)| server.api_token_file.is_none()).map(|(host, _)| host);
    if let [host] = without.collect::<Vec<_>>().as_slice() {
        let problem = format!("{host} has none, and the other GoCD host has one; expected one on both, or on none");
        return Some((format!("gocd.on.{host}.api-token-file"), problem));
    }
    if gocd.database.is_empty() || !gocd.database.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
        return Some(("gocd.database".into(), format!("`{}`: expected letters, digits, `_` and `-`", gocd.database)));
    }
    for (_, server) in &servers {
        let own =
            [("gocd.api-token-file", server.api_token_file), ("gocd.artifacts-directory", server.artifacts_directory)];
        for (key, path) in own {
            if let Some(path) = path.filter(|path| !path.starts_with('/') || path.chars().any(char::is_control)) {
                return Some((key.into(), format!("`{path}`: expected an absolute path")));
            }
        }
    }
    for (key, path) in paths {
        // Paths become part of PostgreSQL's own settings, which the server hands to a shell.
        if path.chars().any(|c| c.is_control() || "'\"\\$`%".contains(c)) {
            return Some((key.into(), format!("`{path}`: expected a path without quotes, `$`, `%` and `\\`")));
        }
        if !path.starts_with('/') || path.trim_end_matches('/').len() < 2 {
            return Some((key.into(), format!("`{path}`: expected an absolute path below the root")));
        }
    }
    None
}

/// Where a dotted key stands in the text; the closest parent that exists, if it does not.
fn locate(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let mut table = table;
    let mut found = None;
    let mut rest = key;
    while !rest.is_empty() {
        // A host name may hold a dot, so the longest key that matches goes first.
        let (name, value) = table
            .iter()
            .filter(|(name, _)| {
                rest == name.get_ref().as_ref()
                    || rest.strip_prefix(name.get_ref().as_ref()).is_some_and(|rest| rest.starts_with('.'))
            })
            .max_by_key(|(name, _)| name.get_ref().len())
            .map_or((None, None), |(name, value)| (Some(name), Some(value)));
        let (Some(name), Some(value)) = (name, value) else { break };
        found = Some(name.span());
        rest = rest[name.get_ref().len()..].trim_start_matches('.');
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
