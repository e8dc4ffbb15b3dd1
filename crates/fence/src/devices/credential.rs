//! Where a native device takes its login from: a name, and a password from a file or a command, read anew at every call.
//!
//! There is no key for a password in the configuration of a native device: it could end up in a backup or a ticket.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::agent::ending;
use crate::child::{self, Ended};
use crate::config::{Place, Problem};
use crate::secret::{OptionValue, Options};
use crate::stop::Stop;

/// Who logs in to a device.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// The account.
    pub(crate) username: String,
    /// Where its password is.
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// The first line of a file.
    File(PathBuf),
    /// The first line that a program prints.
    Command(Vec<String>),
}

/// A password. It reaches neither `Debug` nor anything that is shown.
#[derive(Clone)]
pub(crate) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::secret::REDACTED)
    }
}

impl Password {
    /// The password itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What must not be seen in a device's words: the password, and `also` other forms of it.
    pub(crate) fn secrets(&self, also: &[&str]) -> Options {
        let secret = |value: &str| OptionValue { value: value.to_owned(), secret: true };
        let mut options = Options::from([("password".to_owned(), secret(&self.0))]);
        options.extend((0..).zip(also).map(|(number, value)| (format!("password {number}"), secret(value))));
        options
    }
}

/// The keys of a login.
#[derive(Deserialize)]
pub(crate) struct CredentialKeys {
    pub(crate) username: Option<Spanned<String>>,
    pub(crate) password_file: Option<Spanned<String>>,
    pub(crate) password_command: Option<Spanned<Vec<String>>>,
}

impl Credential {
    /// Checks the keys.
    ///
    /// # Errors
    /// When one is missing, or the password has two sources.
    pub(crate) fn read(place: &Place, keys: CredentialKeys) -> Result<Self, Problem> {
        let username = place.needed("username", keys.username, "the account to log in with")?;
        if username.get_ref().is_empty() || username.get_ref().contains(|c: char| c.is_control() || c == ':') {
            return Err(place.wrong("username", &username, "a name without \":\" and control characters"));
        }
        let file = place.path("password-file", keys.password_file.as_ref())?;
        let source = match (file, keys.password_command) {
            (Some(file), None) => Source::File(file),
            (None, Some(command)) => {
                let at = command.span().start;
                let command = command.into_inner();
                if !command.first().is_some_and(|program| program.starts_with('/')) {
                    return Err(Problem::new(
                        at,
                        place.key("password-command"),
                        "expected the absolute path of a program, and its arguments",
                    ));
                }
                Source::Command(command)
            }
            (Some(_), Some(command)) => {
                return Err(Problem::new(
                    command.span().start,
                    place.key("password-command"),
                    "the password has two sources; expected one",
                ));
            }
            (None, None) => return Err(place.missing("password-file", "a file, or password-command")),
        };
        Ok(Self { username: username.into_inner(), source })
    }

    /// The password, read now.
    ///
    /// # Errors
    /// In words, without anything that the file or the program contains.
    pub(crate) fn password(&self, limit: Duration, stop: &Stop) -> Result<Password, String> {
        let (what, text) = match &self.source {
            Source::File(path) => {
                let what = format!("password-file {}", path.display());
                let text = std::fs::read_to_string(path).map_err(|error| format!("{what}: {error}"))?;
                (what, text)
            }
            Source::Command(words) => {
                let what = format!("password-command {}", words.first().map_or("", String::as_str));
                let mut command = Command::new(words.first().map_or("", String::as_str));
                command.args(words.iter().skip(1)).current_dir("/");
                let finished = child::run(&mut command, Vec::new(), limit, &|_| {}, stop)
                    .map_err(|error| format!("{what}: {error}"))?;
                if finished.ended != Ended::Exited(0) {
                    return Err(format!("{what}: {}", ending(finished.ended, limit)));
                }
                (what, finished.stdout)
            }
        };
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() || line.contains('\0') {
            return Err(format!("{what}: expected a password on the first line"));
        }
        Ok(Password(line.to_owned()))
    }

    /// Where the password comes from, as it may be shown.
    pub(crate) fn shown(&self) -> String {
        match &self.source {
            Source::File(path) => format!("<{}>", path.display()),
            Source::Command(words) => format!("<output of {}>", words.first().map_or("", String::as_str)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: Source) -> Result<Password, String> {
        Credential { username: "fence".into(), source }.password(Duration::from_secs(10), &Stop::default())
    }

    #[test]
    fn the_first_line_of_a_file_or_of_a_program_is_the_password_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "hunter2\nnote\n").unwrap();
        let from_file = read(Source::File(file)).unwrap();
        assert_eq!((from_file.reveal(), format!("{from_file:?}").as_str()), ("hunter2", "***"));
        let echo = ["/bin/sh", "-c", "echo hunter3"].map(str::to_owned).to_vec();
        assert_eq!(read(Source::Command(echo)).unwrap().reveal(), "hunter3");
    }

    #[test]
    fn an_empty_password_or_a_program_that_fails_is_a_refusal_without_its_words() {
        let fails = ["/bin/sh", "-c", "echo hunter2; echo hunter2 >&2; exit 4"].map(str::to_owned).to_vec();
        assert_eq!(read(Source::Command(fails)).unwrap_err(), "password-command /bin/sh: exit 4");
        assert!(read(Source::File("/dev/null".into())).unwrap_err().ends_with("expected a password on the first line"));
    }
}
