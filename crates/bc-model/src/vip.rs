//! What `vipd status --json` says about the virtual IPs of one host.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The answer of `vipd status --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipStatus {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// Every address vipd placed on this host, and every address that was asked for and is present.
    pub addresses: Vec<HeldAddress>,
}

impl VipStatus {
    /// The version written by this code.
    pub const SCHEMA: u32 = 1;

    /// Whether this host has `address` configured, with whatever prefix length.
    #[must_use]
    pub fn holds(&self, address: std::net::IpAddr) -> bool {
        self.addresses.iter().any(|held| held.address.addr() == address)
    }
}

/// One address that is configured on an interface of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldAddress {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The interface that has it.
    pub interface: String,
    /// Whether it carries vipd's `IFA_PROTO` tag; false if it was configured by somebody else.
    pub placed_by_vipd: bool,
    /// Milliseconds until the kernel removes it unless it is renewed; absent if it stays until removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_remaining_ms: Option<u64>,
}
