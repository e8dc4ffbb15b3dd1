//! Finds out, without leaving anything behind, what this kernel lets the dead-man switch do.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::answer::elements;
use super::batch::{Batch, Operation};
use super::error::{LeaseError, Refusal};
use super::nfnetlink::Nfnetlink;
use super::ruleset::{self, Family};
use super::table::TableName;
use super::uapi::{TABLE_OWNER, TABLE_PERSIST};

/// What the dead-man switch can do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// How a lease is renewed.
    pub refresh: Refresh,
    /// Whether the tables belong to the socket that made them (Linux 6.9), so that `nft flush ruleset` and other programs
    /// leave them alone as long as it is open. They stay when it is closed.
    pub owned: bool,
}

/// How the kernel is brought to prolong the timeout of an element that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Adding it again prolongs it (Linux 6.12).
    Update,
    /// It must be deleted and added in one transaction. A packet that is judged at that very instant may be lost.
    Replace,
}

/// What the dead-man switch misses on this host.
#[derive(Debug, Error)]
pub enum Missing {
    /// The kernel has no nfnetlink.
    #[error("the kernel has no nfnetlink ({0})")]
    Nfnetlink(#[source] io::Error),
    /// The process lacks `CAP_NET_ADMIN` in the user namespace of its network namespace.
    #[error("not permitted to use nf_tables")]
    Permission,
    /// The kernel has no nf_tables.
    #[error("the kernel has no nf_tables")]
    NfTables,
    /// A running process owns the table of that name.
    #[error("the table {0} belongs to another running process")]
    Taken(TableName),
    /// The kernel's nf_tables cannot do something that we need.
    #[error("the kernel's nf_tables lacks a part: {0}")]
    Part(#[source] Refusal),
}

impl Missing {
    /// What the operator can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Nfnetlink(_) | Self::NfTables => "load the module nf_tables, or use a kernel with CONFIG_NF_TABLES",
            Self::Permission => "give vipd CAP_NET_ADMIN",
            Self::Taken(_) => "one vipd runs in a network namespace: stop the other one",
            Self::Part(_) => "use a kernel with CONFIG_NF_TABLES_ARP and CONFIG_NF_TABLES_INET, 4.18 or newer",
        }
    }
}

impl Support {
    /// The flags of our tables.
    pub(super) const fn table_flags(self) -> u32 {
        if self.owned { TABLE_OWNER | TABLE_PERSIST } else { 0 }
    }

    /// Rehearses the whole installation, which the kernel then undoes, and tries a renewal in a table of its own.
    pub(super) fn find_out(kernel: &mut Nfnetlink, batch: &mut Batch, table: &TableName) -> Result<Self, LeaseError> {
        let mut rehearse = |flags| {
            batch.begin();
            ruleset::install(batch, table.as_str(), flags);
            ruleset::add_lease(batch, table.as_str(), 1, ruleset::Admission::All);
            batch.rehearse();
            kernel.transact(batch)
        };
        let owned = match rehearse(TABLE_OWNER | TABLE_PERSIST) {
            Ok(()) => true,
            // EINVAL before Linux 5.12, EOPNOTSUPP before 6.9.
            Err(error) if refuses_flags(&error) => {
                rehearse(0).map_err(|error| explain(error, table))?;
                false
            }
            Err(error) => return Err(explain(error, table)),
        };
        let refresh = Refresh::find_out(kernel, batch, table, if owned { TABLE_OWNER } else { 0 })?;
        Ok(Self { refresh, owned })
    }
}

impl Refresh {
    /// Renews an element and looks whether that prolonged it. The table is never hooked, and the kernel removes it with the
    /// socket if `flags` make the socket its owner.
    fn find_out(kernel: &mut Nfnetlink, batch: &mut Batch, table: &TableName, flags: u32) -> Result<Self, LeaseError> {
        const SHORT: Duration = Duration::from_secs(600);
        const LONG: Duration = Duration::from_secs(6000);
        // Of this process alone: another one may be finding out as well.
        let name = format!("{table}-probe-{}", std::process::id());
        let add = |batch: &mut Batch, kernel: &mut Nfnetlink, timeout: Duration| {
            let lease = (1, u64::try_from(timeout.as_millis()).ok());
            ruleset::live_of(batch, Family::Inet, &name, Operation::AddElements, std::iter::once(lease));
            batch.commit();
            kernel.transact(batch)
        };
        batch.begin();
        ruleset::scratch(batch, &name, flags);
        add(batch, kernel, SHORT)?;
        batch.begin();
        add(batch, kernel, LONG)?;

        let mut left = None;
        ruleset::list(batch, Family::Inet, &name, ruleset::LIVE);
        kernel.list(batch, |part| left = elements(part).find_map(|element| element.left).or(left))?;
        batch.begin();
        ruleset::remove_family(batch, Family::Inet, &name);
        batch.commit();
        kernel.transact(batch)?;
        Ok(if left.is_some_and(|left| left > SHORT) { Self::Update } else { Self::Replace })
    }
}

fn refuses_flags(error: &LeaseError) -> bool {
    matches!(
        error,
        LeaseError::Refused(Refusal {
            errno: Errno::EOPNOTSUPP | Errno::EINVAL,
            operation: Some((Operation::AddTable, _)),
            ..
        })
    )
}

/// Says a refusal of the rehearsal as what is missing.
fn explain(error: LeaseError, table: &TableName) -> LeaseError {
    let LeaseError::Refused(refusal) = error else { return error };
    LeaseError::Unavailable(match (refusal.errno, refusal.operation) {
        (Errno::EPERM, None) => Missing::Permission,
        (Errno::EPERM, Some(_)) => Missing::Taken(table.clone()),
        (_, None) => Missing::NfTables,
        (_, Some(_)) => Missing::Part(refusal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_rehearsal_is_explained() {
        let table = TableName::default();
        let table_of = |errno, operation| {
            explain(LeaseError::Refused(Refusal { errno, words: None, operation }), &table).to_string()
        };
        let adding = Some((Operation::AddTable, Family::Arp));
        for (errno, operation, words) in [
            (Errno::EPERM, None, "no dead-man switch here: not permitted to use nf_tables"),
            (Errno::EPERM, adding, "no dead-man switch here: the table vipd belongs to another running process"),
            (Errno::EOPNOTSUPP, None, "no dead-man switch here: the kernel has no nf_tables"),
            (
                Errno::EAFNOSUPPORT,
                adding,
                "no dead-man switch here: the kernel's nf_tables lacks a part: nf_tables refused to add a table of \
                 family arp: Address family not supported by protocol",
            ),
        ] {
            assert_eq!(table_of(errno, operation), words);
        }
    }
}
