//! Which instance a packet or a claim is for, found without asking all of them. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vrrp::Family;

use super::instance::Instance;
use crate::config::Name;
use crate::raw;

/// The instances as they are now; made anew when one of them moves.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// By interface, VRID and family.
    routers: BTreeMap<(u32, u8, bool), Name>,
    /// Sorted.
    addresses: Vec<(u32, IpAddr, Name)>,
}

impl Roster {
    /// The roster of these.
    pub fn of<'a>(instances: impl Iterator<Item = &'a Instance>) -> Self {
        let mut roster = Self::default();
        for instance in instances {
            let (Some(place), config) = (instance.place(), instance.config()) else { continue };
            if let Some(vrrp) = config.vrrp() {
                let key = (place.link, vrrp.vrid.get(), raw::is_v6(config.family()));
                // The others of the same key wait (`depend::routers`).
                roster.routers.entry(key).or_insert_with(|| config.name.clone());
            }
            let addresses = instance.vips().iter().map(|vip| vip.net.addr());
            roster.addresses.extend(addresses.map(|address| (place.link, address, config.name.clone())));
        }
        roster.addresses.sort();
        roster
    }

    /// The instance of a virtual router.
    #[must_use]
    pub fn router(&self, link: u32, vrid: u8, family: Family) -> Option<&Name> {
        self.routers.get(&(link, vrid, raw::is_v6(family)))
    }

    /// The instances on that interface that have an address.
    pub fn with_address(&self, link: u32, address: IpAddr) -> impl Iterator<Item = &Name> {
        let from = self.addresses.partition_point(|(l, a, _)| (*l, *a) < (link, address));
        let rest = self.addresses.get(from..).unwrap_or_default().iter();
        rest.take_while(move |(l, a, _)| (*l, *a) == (link, address)).map(|(_, _, name)| name)
    }
}
