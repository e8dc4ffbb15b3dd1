//! How a login that is not root comes to do what needs root.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// How `sudo` is used on a host: `false`, `true` or `"commands"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sudo {
    /// Not at all: the login is root.
    #[default]
    No,
    /// The shell is `sudo -n sh`.
    Shell,
    /// The shell is the login's own, and each command that needs another user has a rule of its own.
    Commands,
}

impl<'de> Deserialize<'de> for Sudo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl Visitor<'_> for Value {
            type Value = Sudo;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("`true`, `false` or \"commands\"")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Sudo, E> {
                Ok(if value { Sudo::Shell } else { Sudo::No })
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Sudo, E> {
                if value == "commands" {
                    Ok(Sudo::Commands)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(value), &self))
                }
            }
        }

        deserializer.deserialize_any(Value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Inventory;
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../packaging/bc.toml");

    #[test]
    fn three_values_are_known_and_every_other_is_named() {
        let parse = |line: &str| {
            let text = EXAMPLE.replacen("[hosts.pg1]\n", &format!("[hosts.pg1]\n{line}\n"), 1);
            Inventory::parse("bc.toml", &text)
        };
        for (line, sudo) in [
            ("", Sudo::No),
            ("sudo = false", Sudo::No),
            ("sudo = true", Sudo::Shell),
            ("sudo = \"commands\"", Sudo::Commands),
        ] {
            assert_eq!(parse(line).expect("it parses").hosts["pg1"].sudo, sudo, "{line}");
        }
        for line in ["sudo = \"all\"", "sudo = 1", "sudo = []"] {
            let error = parse(line).expect_err("it is refused");
            assert_eq!(error.key, "hosts.pg1.sudo", "{error}");
            assert!(error.to_string().contains("expected `true`, `false` or \"commands\""), "{error}");
        }
    }
}
