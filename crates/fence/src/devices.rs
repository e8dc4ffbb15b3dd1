//! The devices: one file each, and this list of them.

use crate::agent::Agent;
use crate::config::{Keys, Problem};

mod credential;
mod exec;
mod here;
mod ipmi;
mod login;
mod nftables;
mod postgresql;
mod redfish;
pub(crate) mod sbd;
mod services;
mod ssh;
mod watchdog;

/// One kind of device.
pub(crate) struct Kind {
    /// The word after `agent =` in the configuration.
    pub(crate) name: &'static str,
    /// Reads the keys of such a device.
    pub(crate) read: fn(Keys<'_>) -> Result<Box<dyn Agent>, Problem>,
}

/// All of them. Nothing else in the program knows which there are.
pub(crate) const KINDS: [Kind; 9] = [
    Kind { name: "exec", read: exec::read },
    Kind { name: "ipmi", read: ipmi::read },
    Kind { name: "nftables", read: nftables::read },
    Kind { name: "postgresql", read: postgresql::read },
    Kind { name: "redfish", read: redfish::read },
    Kind { name: "sbd", read: sbd::read },
    Kind { name: "services", read: here::read },
    Kind { name: "ssh", read: ssh::read },
    Kind { name: "watchdog", read: watchdog::read },
];

/// The kind of this name.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
