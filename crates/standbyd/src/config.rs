//! The configuration file: where GoCD's files are on this host, and which host is the peer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use crate::host::Host;

/// Where the configuration is looked for unless the command line or `STANDBYD_CONFIG` says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/standbyd/standbyd.toml";
const DEFAULT_SILENCE: Duration = Duration::from_secs(30);

/// A configuration that was read and checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The files of this host.
    pub(crate) host: Host,
    /// The systemd unit of GoCD's server, which must not run where files are placed.
    pub(crate) gocd_service: Option<String>,
    /// Where `pull` fetches from; a host that only serves has none.
    pub(crate) peer: Option<Peer>,
}

/// The other host, and how to log in there.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// `user@host`, or an `ssh://` address with a port.
    pub(crate) ssh: String,
    /// The key whose forced command is `standbyd export`.
    pub(crate) identity_file: Option<PathBuf>,
    /// The file with the peer's host key.
    pub(crate) known_hosts: Option<PathBuf>,
    /// How long the peer may say nothing before it counts as gone.
    pub(crate) silence: Duration,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: {source}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}:{line}: {}{problem}", file.display(), if key.is_empty() { String::new() } else { format!("{key}: ") })]
    Invalid { file: PathBuf, line: usize, key: String, problem: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    config_directory: Spanned<String>,
    plugin_directory: Spanned<String>,
    gocd_service: Option<Spanned<String>>,
    peer: Option<RawPeer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPeer {
    ssh: Spanned<String>,
    identity_file: Option<Spanned<String>>,
    known_hosts: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
}

struct Problem {
    at: usize,
    key: String,
    problem: String,
}

/// Reads and checks `file`.
///
/// # Errors
/// With the file, the line, the key and what was expected.
pub(crate) fn load(file: &Path) -> Result<Config, ConfigError> {
    let text = fs::read_to_string(file).map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
    parse(&text).map_err(|Problem { at, key, problem }| {
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        ConfigError::Invalid { file: file.to_owned(), line, key, problem }
    })
}

fn parse(text: &str) -> Result<Config, Problem> {
    let raw = read(text)?;
    let host = Host {
        config_directory: absolute("config-directory", &raw.config_directory)?,
        plugin_directory: absolute("plugin-directory", &raw.plugin_directory)?,
    };
    let gocd_service = raw
        .gocd_service
        .map(|unit| checked("gocd-service", unit, is_unit_name, "a systemd unit such as \"go-server.service\""));
    let peer = raw.peer.map(|peer| {
        let path = |key: &str, path: Option<Spanned<String>>| path.map(|path| absolute(key, &path)).transpose();
        Ok(Peer {
            ssh: checked("peer.ssh", peer.ssh, is_destination, "user@host or ssh://user@host:port")?,
            identity_file: path("peer.identity-file", peer.identity_file)?,
            known_hosts: path("peer.known-hosts", peer.known_hosts)?,
            silence: peer.timeout.map_or(Ok(DEFAULT_SILENCE), |text| duration("peer.timeout", &text))?,
        })
    });
    Ok(Config { host, gocd_service: gocd_service.transpose()?, peer: peer.transpose()? })
}

fn read(text: &str) -> Result<Raw, Problem> {
    let problem = |key: String, error: &toml::de::Error| Problem {
        at: error.span().map_or(0, |span| span.start),
        key,
        problem: error.message().trim().to_owned(),
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| problem(String::new(), &error))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let steps: Vec<&str> =
            path.split('.').filter(|step| !step.starts_with("$__") && !matches!(*step, "?" | "")).collect();
        problem(steps.join("."), error.inner())
    })
}

fn absolute(key: &str, path: &Spanned<String>) -> Result<PathBuf, Problem> {
    let read = Path::new(path.get_ref());
    if read.is_absolute() {
        return Ok(read.to_owned());
    }
    let problem = format!("{:?}: expected an absolute path", path.get_ref());
    Err(Problem { at: path.span().start, key: key.to_owned(), problem })
}

fn checked(key: &str, text: Spanned<String>, legal: fn(&str) -> bool, expected: &str) -> Result<String, Problem> {
    if legal(text.get_ref()) {
        return Ok(text.into_inner());
    }
    Err(Problem {
        at: text.span().start,
        key: key.to_owned(),
        problem: format!("{:?}: expected {expected}", text.get_ref()),
    })
}

fn is_unit_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(legal)
}

fn is_destination(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn duration(key: &str, text: &Spanned<String>) -> Result<Duration, Problem> {
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    let read = text.get_ref().parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    read.filter(|duration| range.contains(duration)).ok_or_else(|| Problem {
        at: text.span().start,
        key: key.to_owned(),
        problem: format!("{:?}: expected a duration between 100ms and 1h, such as \"30s\"", text.get_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "config-directory = \"/etc/go\"\nplugin-directory = \"/var/lib/go-server/plugins/external\"\n\n[peer]\nssh = \"go@198.18.5.14\"\n";

    #[test]
    fn the_contract_is_read() {
        let Ok(config) = parse(GOOD) else { panic!("refused") };
        assert_eq!(config.peer.unwrap().ssh, "go@198.18.5.14");
    }

    #[test]
    fn the_packaged_example_is_read() {
        let text = include_str!("../../../packaging/standbyd.toml");
        let Ok(config) = parse(text) else { panic!("refused") };
        assert!(config.peer.is_some() && config.gocd_service.as_deref() == Some("go-server.service"));
    }

    #[test]
    fn every_mistake_is_named_with_its_line_its_key_and_what_was_expected() {
        let table = [
            ("config-directory", "config-dir", "1: config-dir: unknown field `config-dir`, expected one of"),
            ("\"/etc/go\"", "\"etc/go\"", "1: config-directory: \"etc/go\": expected an absolute path"),
            ("\"/etc/go\"", "7", "1: config-directory: invalid type: integer `7`, expected a string"),
            (
                "ssh = \"go@198.18.5.14\"",
                "ssh = \"-oProxyCommand=id\"",
                "5: peer.ssh: \"-oProxyCommand=id\": expected user@host",
            ),
            ("ssh = \"go@198.18.5.14\"", "", "4: peer: missing field `ssh`"),
            ("\n[peer]", "gocd-service = \"a b\"\n[peer]", "3: gocd-service: \"a b\": expected a systemd unit"),
            ("[peer]\n", "[peer]\ntimeout = \"soon\"\n", "5: peer.timeout: \"soon\": expected a duration"),
            (
                "[peer]\n",
                "[peer]\nknown-hosts = \"known_hosts\"\n",
                "5: peer.known-hosts: \"known_hosts\": expected an absolute path",
            ),
            ("[peer]", "[peer", "4: "),
        ];
        for (piece, instead, expected) in table {
            assert!(GOOD.contains(piece), "{piece}");
            let text = GOOD.replacen(piece, instead, 1);
            let Err(Problem { at, key, problem }) = parse(&text) else { panic!("accepted: {instead}") };
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            let said = format!("{line}: {key}: {problem}");
            assert!(said.starts_with(expected), "{instead}\n  said     {said}\n  expected {expected}");
        }
    }
}
