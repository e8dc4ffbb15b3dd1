//! Names: of instances, checks and sync groups, and of network interfaces.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::value::quoted;

/// The name of an instance, a check or a sync group.
///
/// 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit: it becomes a metric label, an argument of
/// `vipd handover` and part of file names, so it must need no quoting anywhere. Cloning it copies no text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The longest name.
    pub const MAX: usize = 64;

    /// The name, if it is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = text.len() <= Self::MAX
            && text.chars().all(allowed)
            && text.chars().next().is_some_and(|first| first.is_ascii_alphanumeric());
        good.then(|| Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a network interface, as the kernel allows it (`dev_valid_name` in `net/core/dev.c`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The longest name: `IFNAMSIZ` less the terminating zero.
    pub const MAX: usize = 15;

    /// The name, if an interface may have it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > Self::MAX {
            let length = text.len();
            return Err(format!(
                "found {} ({length} bytes), expected an interface name of 1 to 15 bytes",
                quoted(text)
            ));
        }
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
        if text.is_empty() || text == "." || text == ".." || text.contains(bad) {
            return Err(format!("found {}, expected an interface name without spaces, `/` and `:`", quoted(text)));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl serde::Serialize for InterfaceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_quoting_anywhere() {
        for good in ["gocd", "VI_1", "db-1.home", "51", &"x".repeat(64)] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in ["", "-x", ".x", "../etc", "a b", "a/b", "a\"b", "é", &"x".repeat(65)] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_interface_name_is_what_the_kernel_allows() {
        for good in ["eth0", "eth0.100", "br-lan@x", "abcdefghijklmno"] {
            assert!(InterfaceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "eth0:1", "et h0", "abcdefghijklmnop", "etheéééééé"] {
            assert!(InterfaceName::new(bad).is_err(), "{bad}");
        }
    }
}
