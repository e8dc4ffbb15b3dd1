//! A host on which commands are run: this one, or one behind ssh.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use toml::Spanned;

use crate::config::{Place, Problem};

/// Where a script is run.
#[derive(Clone, Debug)]
pub(super) enum Host {
    /// On this host, by `/bin/sh`.
    Here,
    /// On another one, by the shell of the account that is logged in to.
    There(Login),
}

/// How another host is reached.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// `user@host`, or an `ssh://` address with a port.
    pub(super) destination: String,
    /// The key to log in with; else what the operator's own configuration says.
    pub(super) identity_file: Option<PathBuf>,
    /// The file with the host's key; else the operator's own.
    pub(super) known_hosts: Option<PathBuf>,
}

/// The keys of a login.
pub(super) struct LoginKeys {
    pub(super) destination: Spanned<String>,
    pub(super) identity_file: Option<Spanned<String>>,
    pub(super) known_hosts: Option<Spanned<String>>,
}

impl Login {
    /// Checks the keys.
    ///
    /// # Errors
    /// When ssh would read the destination as an option, or a path is not absolute.
    pub(super) fn read(place: &Place, keys: LoginKeys) -> Result<Self, Problem> {
        let text = keys.destination.get_ref();
        if text.is_empty() || text.starts_with('-') || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(place.wrong("destination", &keys.destination, "user@host or ssh://user@host:port"));
        }
        Ok(Self {
            destination: text.clone(),
            identity_file: place.path("identity-file", keys.identity_file.as_ref())?,
            known_hosts: place.path("known-hosts", keys.known_hosts.as_ref())?,
        })
    }

    fn arguments(&self, connect: Duration) -> Vec<String> {
        let mut arguments: Vec<String> = ["-T", "-x", "-a"].map(str::to_owned).into();
        let mut set = |option: String| arguments.extend(["-o".to_owned(), option]);
        set("BatchMode=yes".to_owned());
        set(format!("ConnectTimeout={}", connect.as_secs().max(1)));
        set("ServerAliveInterval=5".to_owned());
        set("ServerAliveCountMax=2".to_owned());
        // A connection of our own: it must end with its process group, and must not lean on one that has gone stale.
        set("ControlMaster=no".to_owned());
        set("ControlPath=none".to_owned());
        if let Some(identity) = &self.identity_file {
            set("IdentitiesOnly=yes".to_owned());
            set(format!("IdentityFile={}", identity.display()));
        }
        if let Some(known_hosts) = &self.known_hosts {
            set("StrictHostKeyChecking=yes".to_owned());
            set("GlobalKnownHostsFile=/dev/null".to_owned());
            set(format!("UserKnownHostsFile={}", known_hosts.display()));
        }
        arguments.extend(["--".to_owned(), self.destination.clone()]);
        arguments
    }
}

impl Host {
    /// The program and arguments that run `script` there.
    pub(super) fn words(&self, script: &str, limit: Duration) -> Vec<String> {
        let mut words: Vec<String> = match self {
            Self::Here => ["/bin/sh", "-c"].map(str::to_owned).into(),
            Self::There(login) => {
                let mut words = vec!["ssh".to_owned()];
                words.extend(login.arguments(limit.min(Duration::from_secs(10))));
                words
            }
        };
        words.push(script.to_owned());
        words
    }

    /// A command that runs `script` there.
    pub(super) fn command(&self, script: &str, limit: Duration) -> Command {
        let mut words = self.words(script, limit).into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir("/");
        command
    }

    /// The exit code that means that the host was not reached at all (ssh(1)).
    pub(super) const fn unreachable(&self, code: i32) -> bool {
        matches!(self, Self::There(_)) && code == 255
    }
}
