//! The addresses of a host: in the kernel's order, and found without looking at all the others.
//!
//! The order means something (the first address of an interface is what it advertises from), and a host may have thousands.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::Address;

/// Addresses, one for each interface, address and prefix length.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// By when they came.
    in_order: BTreeMap<u64, Address>,
    places: BTreeMap<(u32, IpNet), u64>,
    next: u64,
}

impl Addresses {
    /// All of them, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.in_order.values()
    }

    /// The address `net` on the interface number `link`.
    #[must_use]
    pub fn get(&self, link: u32, net: IpNet) -> Option<&Address> {
        self.in_order.get(self.places.get(&(link, net))?)
    }

    /// Adds an address as the last one; one that is there already is replaced in its place, and returned.
    pub fn insert(&mut self, address: Address) -> Option<Address> {
        let place = *self.places.entry((address.link, address.net)).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.in_order.insert(place, address)
    }

    /// Removes the address `net` on the interface number `link`, and returns it if it was there.
    pub fn remove(&mut self, link: u32, net: IpNet) -> Option<Address> {
        self.in_order.remove(&self.places.remove(&(link, net))?)
    }

    /// Removes the addresses that are not wanted.
    pub fn retain(&mut self, wanted: impl Fn(&Address) -> bool) {
        self.in_order.retain(|_, address| wanted(address));
        let Self { in_order, places, .. } = self;
        places.retain(|_, place| in_order.contains_key(place));
    }

    /// The addresses on the interface number `link` with the subnet and prefix length of `net`, by their value.
    pub fn in_subnet(&self, link: u32, net: IpNet) -> impl Iterator<Item = &Address> {
        let (first, last) = match net {
            IpNet::V4(net) => (host(net.network().into(), 0), host(net.broadcast().into(), 32)),
            IpNet::V6(net) => (host(net.network().into(), 0), host(net.broadcast().into(), 128)),
        };
        let near = self.places.range((link, first)..=(link, last));
        let same = near.filter(move |((_, other), _)| other.prefix_len() == net.prefix_len());
        same.filter_map(|(_, place)| self.in_order.get(place))
    }
}

/// An address with a prefix length that is known to be one.
fn host(address: std::net::IpAddr, prefix_len: u8) -> IpNet {
    IpNet::new(address, prefix_len).unwrap_or_else(|_| IpNet::from(address))
}

impl FromIterator<Address> for Addresses {
    fn from_iter<I: IntoIterator<Item = Address>>(addresses: I) -> Self {
        let mut all = Self::default();
        all.extend(addresses);
        all
    }
}

impl Extend<Address> for Addresses {
    fn extend<I: IntoIterator<Item = Address>>(&mut self, addresses: I) {
        for address in addresses {
            let _ = self.insert(address);
        }
    }
}

impl PartialEq for Addresses {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Addresses {}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(net: &str, link: u32) -> Address {
        let net = net.parse().unwrap();
        Address { net, link, tag: None, secondary: false, tentative: false, duplicate: false, valid_for: None }
    }

    fn nets<'a>(addresses: impl Iterator<Item = &'a Address>) -> Vec<String> {
        addresses.map(|address| format!("{} {}", address.link, address.net)).collect()
    }

    #[test]
    fn the_order_is_that_of_their_coming_and_a_change_keeps_the_place() {
        let mut all: Addresses =
            [address("198.18.0.9/24", 2), address("198.18.0.1/24", 2), address("198.18.0.5/24", 1)]
                .into_iter()
                .collect();
        let replaced = all.insert(Address { secondary: true, ..address("198.18.0.9/24", 2) });
        assert_eq!(replaced, Some(address("198.18.0.9/24", 2)));
        assert_eq!(nets(all.iter()), ["2 198.18.0.9/24", "2 198.18.0.1/24", "1 198.18.0.5/24"]);
        assert!(all.get(2, "198.18.0.9/24".parse().unwrap()).is_some_and(|address| address.secondary));

        assert_eq!(all.remove(2, "198.18.0.9/24".parse().unwrap()).map(|gone| gone.link), Some(2));
        assert_eq!(all.remove(2, "198.18.0.9/24".parse().unwrap()), None);
        all.insert(address("198.18.0.9/24", 2));
        assert_eq!(nets(all.iter()), ["2 198.18.0.1/24", "1 198.18.0.5/24", "2 198.18.0.9/24"]);
        all.retain(|address| address.link == 2);
        assert_eq!(all, [address("198.18.0.1/24", 2), address("198.18.0.9/24", 2)].into_iter().collect());
        assert_eq!(all.get(1, "198.18.0.5/24".parse().unwrap()), None);
    }

    #[test]
    fn a_subnet_is_an_interface_a_network_and_a_prefix_length() {
        let all: Addresses = [
            address("198.18.4.255/24", 1),
            address("198.18.5.0/24", 1),
            address("198.18.5.7/25", 1),
            address("198.18.5.7/24", 2),
            address("198.18.5.255/24", 1),
            address("198.18.6.0/24", 1),
            address("fd00::/64", 1),
            address("fd00::ffff/64", 1),
        ]
        .into_iter()
        .collect();
        let of = |net: &str| nets(all.in_subnet(1, net.parse().unwrap()));
        assert_eq!(of("198.18.5.9/24"), ["1 198.18.5.0/24", "1 198.18.5.255/24"]);
        assert_eq!(of("198.18.5.9/25"), ["1 198.18.5.7/25"]);
        assert_eq!(of("fd00::1/64"), ["1 fd00::/64", "1 fd00::ffff/64"]);
        assert_eq!(of("198.18.5.9/32"), Vec::<String>::new());
        assert_eq!(of("198.18.0.0/0"), Vec::<String>::new());
    }
}
