//! Checks one device: the keys that its agent needs are there, and those of the other agent are not.

use toml::Spanned;

use super::raw::{RawAgent, RawDevice, absolute, duration};
use super::{AgentKind, Device, Problem};
use crate::exec::{self, ExecAgent};
use crate::secret::Options;
use crate::ssh::{SshAgent, Vip, is_unit_name};

pub(super) fn check(key: &str, raw: Spanned<RawDevice>) -> Result<Device, Problem> {
    let at = raw.span().start;
    let raw = raw.into_inner();
    let missing =
        |name: &str, such: &str| Problem::new(at, format!("{key}.{name}"), format!("missing; expected {such}"));
    let timeout = raw.timeout.as_ref().ok_or_else(|| missing("timeout", "a duration such as \"30s\""))?;
    let timeout = duration(&format!("{key}.timeout"), timeout)?;
    let foreign = |name: &str, place: Option<usize>, agent: &str| match place {
        Some(at) => Err(Problem::new(
            at,
            format!("{key}.{name}"),
            format!("does not belong to a device with agent = {agent:?}"),
        )),
        None => Ok(()),
    };
    let start = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.span().start);
    let agent = match raw.agent {
        RawAgent::Exec => {
            foreign("destination", start(&raw.destination), "exec")?;
            foreign("identity-file", start(&raw.identity_file), "exec")?;
            foreign("known-hosts", start(&raw.known_hosts), "exec")?;
            foreign("stop-services", raw.stop_services.as_ref().map(|v| v.span().start), "exec")?;
            foreign("drop-vips", raw.drop_vips.as_ref().map(|v| v.span().start), "exec")?;
            let command = raw.command.as_ref().ok_or_else(|| missing("command", "the path of a fence agent"))?;
            let command = absolute(&format!("{key}.command"), command)?;
            let mut options = Options::new();
            for (name, value) in raw.options.map(Spanned::into_inner).unwrap_or_default() {
                let at = value.span().start;
                let value = value.into_inner().0;
                check_option(&format!("{key}.options"), &name, &value, at)?;
                options.insert(name.clone(), exec::option(&name, value));
            }
            let mut options_from_file = Vec::new();
            for (name, path) in raw.options_from_file.map(Spanned::into_inner).unwrap_or_default() {
                let table = format!("{key}.options-from-file");
                // The value is not known yet; what is forbidden whatever its value is refused here.
                check_option(&table, &name, "", path.span().start)?;
                if options.contains_key(&name) {
                    return Err(Problem::new(
                        path.span().start,
                        format!("{table}.{name}"),
                        "is also given under options",
                    ));
                }
                options_from_file.push((name.clone(), absolute(&format!("{table}.{name}"), &path)?));
            }
            AgentKind::Exec(ExecAgent { command, options, options_from_file })
        }
        RawAgent::Ssh => {
            foreign("command", start(&raw.command), "ssh")?;
            foreign("options", raw.options.as_ref().map(|v| v.span().start), "ssh")?;
            foreign("options-from-file", raw.options_from_file.as_ref().map(|v| v.span().start), "ssh")?;
            let destination = raw.destination.as_ref().ok_or_else(|| missing("destination", "user@host"))?;
            let text = destination.get_ref();
            if text.is_empty() || text.starts_with('-') || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(Problem::new(
                    destination.span().start,
                    format!("{key}.destination"),
                    format!("{text:?}: expected user@host or ssh://user@host:port"),
                ));
            }
            let services =
                items(raw.stop_services, |text| is_unit_name(text).then(|| text.to_owned())).map_err(|bad| {
                    wrong(key, "stop-services", &bad, "the name of a systemd unit, such as \"go-server.service\"")
                })?;
            let vips = items(raw.drop_vips, Vip::parse)
                .map_err(|bad| wrong(key, "drop-vips", &bad, "an address such as \"198.18.5.200/24 dev eth0\""))?;
            if services.is_empty() && vips.is_empty() {
                return Err(missing(
                    "stop-services",
                    "a service or, under drop-vips, an address: else nothing could prove the host off",
                ));
            }
            let path = |name: &str, value: &Option<Spanned<String>>| {
                value.as_ref().map(|value| absolute(&format!("{key}.{name}"), value)).transpose()
            };
            AgentKind::Ssh(SshAgent {
                destination: text.clone(),
                identity_file: path("identity-file", &raw.identity_file)?,
                known_hosts: path("known-hosts", &raw.known_hosts)?,
                stop_services: services,
                drop_vips: vips,
            })
        }
    };
    Ok(Device { timeout, agent })
}

/// Reads each item of a list, or hands back the first that cannot be read.
fn items<T>(
    list: Option<Spanned<Vec<Spanned<String>>>>,
    read: fn(&str) -> Option<T>,
) -> Result<Vec<T>, Spanned<String>> {
    let list = list.map(Spanned::into_inner).unwrap_or_default();
    list.into_iter().map(|item| read(item.get_ref()).ok_or(item)).collect()
}

fn wrong(key: &str, name: &str, bad: &Spanned<String>, expected: &str) -> Problem {
    Problem::new(bad.span().start, format!("{key}.{name}"), format!("{:?}: expected {expected}", bad.get_ref()))
}

fn check_option(table: &str, name: &str, value: &str, at: usize) -> Result<(), Problem> {
    let key = format!("{table}.{name}");
    if let Some(reason) = exec::forbidden(name, value) {
        return Err(Problem::new(at, key, format!("may not be set: {reason}")));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        return Err(Problem::new(at, key, "expected an option name of letters, digits, \"_\" and \"-\""));
    }
    if value.contains(|c: char| c.is_control()) {
        return Err(Problem::new(at, key, "expected one line without control characters"));
    }
    Ok(())
}
