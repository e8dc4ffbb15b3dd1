//! What `vipd` says about the virtual IPs of one host: [`VipStatus`] (`vipd status --json`) and [`VipReport`]
//! (`vipd assign|unassign --json`).

use std::collections::BTreeMap;
use std::net::IpAddr;

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
    /// The instances of the daemon that runs on this host; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<InstanceStatus>>,
    /// Why the instances are not known although a daemon is there: it hangs, or does not answer this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_error: Option<String>,
}

impl VipStatus {
    /// The version written by this code.
    pub const SCHEMA: u32 = 1;

    /// Whether this host has `address` configured, with whatever prefix length.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|held| held.address.addr() == address)
    }
}

/// One instance of a running daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// `vrrp` or `managed`.
    pub mode: String,
    /// The interface that carries it.
    pub interface: String,
    /// `Initialize`, `Backup` or `Active` (RFC 9568 §6.4); a managed instance that holds is `Active`, else `Backup`.
    pub state: String,
    /// For how many milliseconds.
    pub state_age_ms: u64,
    /// What it waits for, if it cannot run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Virtual Router Identifier, if it is elected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_router_id: Option<u8>,
    /// Its priority after all weights, if it is elected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// What of that is the configuration's, where weights make it another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_priority: Option<u8>,
    /// What adds to it or takes from it now: `check NAME`, `interface NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, i16>,
    /// The checks that it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
    /// The router that is Active instead, if it has been heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<IpAddr>,
    /// Its addresses, whether they are held or not.
    pub addresses: Vec<IpNet>,
    /// What the kernel enforces, in words.
    pub lease: String,
    /// Advertisements that were accepted.
    pub received: u64,
    /// Packets that were discarded.
    pub discarded: u64,
    /// The same by reason (`checksum`, `ttl`, `interval_mismatch`, …); absent where there were none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub discards: BTreeMap<String, u64>,
    /// Claims of other hosts to its addresses, counted once a second at most; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub conflicts: u64,
    /// How often addresses that somebody else had removed were put back; absent if never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restores: u64,
    /// Advertisements that were accepted although something about them was odd (`other_interval`, `other_addresses`, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notices: BTreeMap<String, u64>,
}

/// A check that an instance depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Whether it is up; absent before its first run has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// How its last run failed, if it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
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
    /// Whether nobody hears it: a daemon guards it, alive or dead, and its lease does not run. Seen with `CAP_NET_ADMIN` only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub silent: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The answer of `vipd assign|unassign --json`: one object, also when the verb refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipReport {
    /// Version of this format; readers refuse what they do not know.
    pub schema: u32,
    /// Whether this was only a plan: nothing was sent and nothing was changed.
    pub dry_run: bool,
    /// What became of each address; several only after `unassign --all`.
    pub changes: Vec<VipChange>,
    /// The node that the caller says it has fenced (`--after-fence`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_fence: Option<String>,
    /// What the operator should know although the verb went on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why the verb stopped; absent after success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl VipReport {
    /// The version written by this code.
    pub const SCHEMA: u32 = 1;

    /// A report in which nothing has happened yet.
    #[must_use]
    pub const fn new(dry_run: bool, after_fence: Option<String>) -> Self {
        Self {
            schema: Self::SCHEMA,
            dry_run,
            changes: Vec::new(),
            after_fence,
            warnings: Vec::new(),
            error: None,
            hint: None,
        }
    }
}

/// What became of one address on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipChange {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The interface.
    pub interface: String,
    /// What happened, or with `dry-run` what would happen.
    pub outcome: VipOutcome,
    /// The steps, as they were or would be taken, in order.
    pub steps: Vec<String>,
    /// Gratuitous ARP packets or unsolicited neighbour advertisements that were sent.
    #[serde(default)]
    pub announcements: u32,
    /// The host that answered the probe, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<VipConflict>,
    /// The instance of the running daemon that was asked to do it; absent if the verb did it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What makes the kernel let go of an address that was assigned, in words: [`VipChange::NO_LEASE`] if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

impl VipChange {
    /// The lease of an address that `assign` placed without a daemon: nobody renews it, so it has none.
    pub const NO_LEASE: &str = "none";
}

/// The end of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VipOutcome {
    /// The address was added and announced.
    Assigned,
    /// The address was here before; it was announced again.
    AlreadyHeld,
    /// Another host answered for the address; nothing was changed.
    InUse,
    /// The address was removed.
    Unassigned,
    /// The address was not here; nothing was changed.
    NotThere,
}

/// Another host that answered for the address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipConflict {
    /// Its hardware address, lower case, with colons.
    pub mac: String,
    /// How it showed itself: `answered`, `announced`, `used` or `probing`.
    pub how: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back_and_knows_what_it_holds() -> Result<(), Box<dyn std::error::Error>> {
        let text =
            r#"{"schema":1,"addresses":[{"address":"198.18.5.200/24","interface":"eth0","placed-by-vipd":true}]}"#;
        let status: VipStatus = serde_json::from_str(text)?;
        assert!(status.holds("198.18.5.200".parse()?));
        assert!(!status.holds("198.18.5.20".parse()?));
        assert_eq!(serde_json::to_string(&status)?, text);
        Ok(())
    }

    #[test]
    fn a_report_leaves_out_what_did_not_happen() -> Result<(), serde_json::Error> {
        let report = VipReport::new(false, None);
        assert_eq!(serde_json::to_string(&report)?, r#"{"schema":1,"dry-run":false,"changes":[]}"#);
        Ok(())
    }
}
