//! Home and away: the two places that can serve the site.

use std::fmt;

use bc_model::inventory::Inventory;
use serde::{Deserialize, Serialize};

/// A PostgreSQL host and a GoCD host that serve together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// Where the primary roles belong.
    Home,
    /// Where they go when home is lost.
    Away,
}

impl Place {
    /// Both, home first.
    pub(crate) const BOTH: [Self; 2] = [Self::Home, Self::Away];

    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Home => Self::Away,
            Self::Away => Self::Home,
        }
    }

    /// Its PostgreSQL host.
    pub(crate) fn postgresql(self, inventory: &Inventory) -> &str {
        match self {
            Self::Home => &inventory.postgresql.primary,
            Self::Away => &inventory.postgresql.standby,
        }
    }

    /// Its GoCD host.
    pub(crate) fn gocd(self, inventory: &Inventory) -> &str {
        match self {
            Self::Home => &inventory.gocd.primary,
            Self::Away => &inventory.gocd.standby,
        }
    }

    /// Its hosts, GoCD first; one if both roles are on one machine.
    pub(crate) fn hosts(self, inventory: &Inventory) -> Vec<String> {
        let mut hosts = vec![self.gocd(inventory).to_owned(), self.postgresql(inventory).to_owned()];
        hosts.dedup();
        hosts
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Home => "home",
            Self::Away => "away",
        })
    }
}
