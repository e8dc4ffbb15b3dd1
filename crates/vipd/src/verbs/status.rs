//! `vipd status`: which virtual IPs this host has. Needs no privilege, but to see which of them are silent.

use bc_model::vip::{HeldAddress, VipStatus};

use crate::address::NamedAddress;
use crate::apply::Hands;
use crate::error::Error;
use crate::kernel::{Address, Observed};
use crate::lease::{DeadMan, Guarded, Leased, TableName};

/// The addresses vipd placed or guards, and those of `asked` that are here.
///
/// # Errors
/// [`Error::Kernel`] if the kernel cannot be asked.
pub fn status(asked: &[NamedAddress]) -> Result<VipStatus, Error> {
    let guarded = DeadMan::look(&TableName::default()).unwrap_or_default();
    Ok(select(asked, &Hands::new()?.observe()?, &guarded))
}

/// The same from what was observed. Pure.
pub(crate) fn select(asked: &[NamedAddress], observed: &Observed, guarded: &[Guarded]) -> VipStatus {
    let guard = |address: &Address| {
        let leased = Leased::new(address.net.addr(), address.link);
        guarded.iter().find(|guarded| guarded.address == leased)
    };
    let is_asked = |address: &Address| asked.iter().any(|named| named.matches(&address.net));
    let wanted = |address: &&Address| address.is_ours() || guard(address).is_some() || is_asked(address);
    let held = |address: &Address| HeldAddress {
        address: address.net,
        interface: observed.link_name(address.link),
        placed_by_vipd: address.is_ours(),
        lease_remaining_ms: address.valid_for.and_then(|left| u64::try_from(left.as_millis()).ok()),
        silent: guard(address).is_some_and(|guarded| guarded.remaining.is_none()),
    };
    let addresses = observed.addresses.iter().filter(wanted).map(held).collect();
    VipStatus { schema: VipStatus::SCHEMA, addresses, instances: None, daemon_error: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::TAG;
    use crate::lease::LeaseId;

    #[test]
    fn ours_the_guarded_and_the_asked_ones_are_shown_and_no_others() {
        let address = |net: &str, tag, valid_for| Address {
            net: net.parse().unwrap(),
            link: 7,
            tag,
            secondary: false,
            tentative: false,
            duplicate: false,
            valid_for,
        };
        let observed = Observed {
            links: Vec::new(),
            addresses: [
                address("198.18.5.11/24", None, None),
                address("198.18.5.200/24", Some(TAG), Some(Duration::from_secs(2))),
                address("198.18.5.12/24", None, None),
                address("198.18.5.13/24", None, None),
                address("fd00:5::200/64", Some(TAG), None),
            ]
            .into_iter()
            .collect(),
        };
        let asked = ["198.18.5.12".parse().unwrap(), "198.18.5.99".parse().unwrap()];
        let guard = |address: &str, lease, remaining| Guarded {
            address: Leased::new(address.parse().unwrap(), 7),
            lease,
            remaining,
        };
        let guarded = [
            guard("198.18.5.200", std::num::NonZeroU32::new(1).map(LeaseId), Some(Duration::from_millis(300))),
            guard("198.18.5.13", None, None),
            guard("198.18.5.250", None, None),
        ];
        let status = select(&asked, &observed, &guarded);
        let seen: Vec<_> = status
            .addresses
            .iter()
            .map(|held| (held.address.to_string(), held.placed_by_vipd, held.lease_remaining_ms, held.silent))
            .collect();
        assert_eq!(
            seen,
            [
                ("198.18.5.200/24".to_owned(), true, Some(2000), false),
                ("198.18.5.12/24".to_owned(), false, None, false),
                ("198.18.5.13/24".to_owned(), false, None, true),
                ("fd00:5::200/64".to_owned(), true, None, false),
            ]
        );
        assert_eq!(status.addresses[0].interface, "interface 7", "a link that went away meanwhile");
    }
}
