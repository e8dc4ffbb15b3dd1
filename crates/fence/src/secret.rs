//! Agent options, of which some are secret, and the removal of secrets from everything that is shown or stored.

use std::collections::BTreeMap;
use std::fmt;

/// What stands in place of a secret.
pub(crate) const REDACTED: &str = "***";
/// How much of an agent's words is kept.
const SHOWN_CHARS: usize = 400;

/// Whether an option of this name holds a secret by the habits of the ClusterLabs agents.
///
/// `password_script` and `identity_file` name files; a path is not the secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let names_a_file = ["_script", "_file", "_path"].iter().any(|end| name.ends_with(end));
    let parts =
        ["passw", "secret", "token", "passphrase", "apikey", "api_key", "access_key", "private_key", "community"];
    !names_a_file && parts.iter().any(|part| name.contains(part))
}

/// The value of one option; secret values never reach `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OptionValue {
    /// What the agent is given.
    pub(crate) value: String,
    /// Whether it is kept out of everything that is shown.
    pub(crate) secret: bool,
}

impl OptionValue {
    /// The value as it may be shown.
    pub(crate) fn shown(&self) -> &str {
        if self.secret { REDACTED } else { &self.value }
    }
}

impl fmt::Debug for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

/// Options by name, in the agent's own spelling.
pub(crate) type Options = BTreeMap<String, OptionValue>;

/// The end of `text` as one line without control characters, with every secret replaced.
pub(crate) fn clean(text: &str, options: &Options) -> String {
    let mut secrets: Vec<&str> =
        options.values().filter(|option| option.secret && !option.value.is_empty()).map(|o| o.value.as_str()).collect();
    // The longest first: a secret may contain another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let without = secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, REDACTED));
    let words: Vec<&str> =
        without.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    // The cause stands at the end of what a program says.
    match line.char_indices().nth_back(SHOWN_CHARS) {
        Some((start, _)) => format!("… {}", &line[start..]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hold_secrets_are_known() {
        for name in
            ["password", "passwd", "login-password", "snmp_priv_passwd", "api_key", "token", "session_token", "Secret"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["plug", "ip", "password_script", "passwd_script", "identity_file", "username", "cipher"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_secret_is_in_neither_debug_nor_detail() {
        let options = Options::from([
            ("password".into(), OptionValue { value: "hunter2".into(), secret: true }),
            ("token".into(), OptionValue { value: "hunter2-long".into(), secret: true }),
            ("plug".into(), OptionValue { value: "7".into(), secret: false }),
        ]);
        assert_eq!(format!("{options:?}"), r#"{"password": ***, "plug": 7, "token": ***}"#);
        assert_eq!(clean("login hunter2-long\n\x1b[31m hunter2 refused", &options), "login *** [31m *** refused");
    }
}
