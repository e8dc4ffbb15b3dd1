//! `vipd status`: which virtual IPs this host has. Needs no privilege.

use bc_model::vip::{HeldAddress, VipStatus};

use crate::address::NamedAddress;
use crate::apply::Hands;
use crate::error::Error;
use crate::kernel::{Address, Observed};

/// The addresses vipd placed, and those of `asked` that are here.
///
/// # Errors
/// [`Error::Kernel`] if the kernel cannot be asked.
pub fn status(asked: &[NamedAddress]) -> Result<VipStatus, Error> {
    Ok(select(asked, &Hands::new()?.observe()?))
}

/// The same from what was observed. Pure.
pub(crate) fn select(asked: &[NamedAddress], observed: &Observed) -> VipStatus {
    let wanted = |address: &&Address| address.is_ours() || asked.iter().any(|named| named.matches(&address.net));
    let held = |address: &Address| HeldAddress {
        address: address.net,
        interface: observed.link_name(address.link),
        placed_by_vipd: address.is_ours(),
        lease_remaining_ms: address.valid_for.and_then(|left| u64::try_from(left.as_millis()).ok()),
    };
    let addresses = observed.addresses.iter().filter(wanted).map(held).collect();
    VipStatus { schema: VipStatus::SCHEMA, addresses, instances: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::TAG;

    #[test]
    fn ours_and_the_asked_ones_are_shown_and_no_others() {
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
                address("fd00:5::200/64", Some(TAG), None),
            ]
            .into_iter()
            .collect(),
        };
        let asked = ["198.18.5.12".parse().unwrap(), "198.18.5.99".parse().unwrap()];
        let status = select(&asked, &observed);
        let seen: Vec<_> = status
            .addresses
            .iter()
            .map(|held| (held.address.to_string(), held.placed_by_vipd, held.lease_remaining_ms))
            .collect();
        assert_eq!(
            seen,
            [
                ("198.18.5.200/24".to_owned(), true, Some(2000)),
                ("198.18.5.12/24".to_owned(), false, None),
                ("fd00:5::200/64".to_owned(), true, None),
            ]
        );
        assert_eq!(status.addresses[0].interface, "interface 7", "a link that went away meanwhile");
    }
}
