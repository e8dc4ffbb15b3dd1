//! The name of our tables.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A name that cannot be a table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a table name is a letter, then up to {} letters, digits, dots, hyphens and underscores", TableName::MAX - 1)]
pub struct TableNameError;

/// The name of the dead-man switch's tables (families arp and inet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(String);

impl TableName {
    /// Bytes of the longest name that is accepted; the kernel takes 255.
    pub const MAX: usize = 64;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TableName {
    fn default() -> Self {
        Self("vipd".to_owned())
    }
}

impl FromStr for TableName {
    type Err = TableNameError;

    /// Takes what the `nft` program would take without quotes, so that an operator can name the table too.
    fn from_str(text: &str) -> Result<Self, TableNameError> {
        let starts = text.starts_with(|first: char| first.is_ascii_alphabetic());
        let goes_on = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if starts && goes_on && text.len() <= Self::MAX { Ok(Self(text.to_owned())) } else { Err(TableNameError) }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_so_that_nft_can_name_it_too() {
        for name in ["vipd", "vipd-blue", "a", "v.1_x", &"x".repeat(64)] {
            assert_eq!(name.parse::<TableName>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "1vipd", "vip d", "vip;d", "vipd\n", "-vipd", "vipd*", &"x".repeat(65)] {
            assert_eq!(name.parse::<TableName>(), Err(TableNameError), "{name:?}");
        }
    }
}
