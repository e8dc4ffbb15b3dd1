//! The kernel's view of links and addresses, and the one file that changes it.
//!
//! [`netlink`], [`monitor`] and [`batch`] are the edge: only they know the netlink crates. The types here are plain facts
//! for the pure core.

mod addresses;
pub mod batch;
pub mod bearer;
pub mod capability;
mod datagram;
pub mod monitor;
#[cfg(test)]
pub(crate) mod namespace;
pub mod netlink;

use std::time::Duration;

use ipnet::IpNet;
use pnet::util::MacAddr;

use bearer::ArpHabits;

pub use addresses::Addresses;

/// The value of `IFA_PROTO` that marks an address as placed by vipd ("V"). Kernels before 5.18 do not keep it.
pub const TAG: u8 = 0x56;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Other names it goes by (`ip link property`), as udev gives them.
    pub alternatives: Vec<String>,
    /// Its hardware address; `None` if it has none of six bytes.
    pub mac: Option<MacAddr>,
    /// Whether it speaks Ethernet (`ARPHRD_ETHER`) and resolves addresses on it.
    pub ethernet: bool,
    /// Set up by the operator (`IFF_UP`).
    pub up: bool,
    /// The cable is in (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The bridge, bond or team whose port it is: addresses belong there, not here.
    pub port_of: Option<u32>,
    /// `net.ipv4.conf.IF.promote_secondaries`.
    pub promotes_secondaries: bool,
    /// `net.ipv6.conf.IF.forwarding`: the host is a router here (R flag of RFC 4861 §4.4).
    pub forwards_ipv6: bool,
    /// `net.ipv6.conf.IF.disable_ipv6`.
    pub disables_ipv6: bool,
    /// The interface below it, if it is a macvlan.
    pub parent: Option<u32>,
    /// What `ip link` calls its alias.
    pub alias: Option<String>,
    /// How it deals with ARP.
    pub arp: ArpHabits,
}

/// An address that is configured on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address with its prefix length.
    pub net: IpNet,
    /// Number of the interface.
    pub link: u32,
    /// Its `IFA_PROTO`, if the kernel keeps one.
    pub tag: Option<u8>,
    /// IPv4: goes when the primary address of its subnet goes, unless the link promotes secondaries.
    pub secondary: bool,
    /// IPv6: still in duplicate address detection, so it does not answer yet.
    pub tentative: bool,
    /// IPv6: detected as a duplicate, so it never answers.
    pub duplicate: bool,
    /// How long the kernel keeps it, in whole seconds; `None` for ever.
    pub valid_for: Option<Duration>,
}

impl Address {
    /// Whether vipd placed it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.tag == Some(TAG)
    }
}

/// The host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// All interfaces.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Addresses,
}

/// Something that the kernel says has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface is new or different.
    Link(Link),
    /// An interface is gone, and its addresses with it.
    LinkGone(u32),
    /// An address is new or different.
    Address(Address),
    /// An address is gone.
    AddressGone {
        /// The address with its prefix length.
        net: IpNet,
        /// Number of the interface.
        link: u32,
    },
    /// Changes were lost; only looking again helps.
    Lost,
}

impl Observed {
    /// Brings the view up to date with a change; false if it was so already, or only a lifetime is new.
    ///
    /// [`Change::Lost`] is not one that can be taken.
    pub fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Link(link) => match self.links.iter_mut().find(|known| known.index == link.index) {
                Some(known) => {
                    let differs = *known != link;
                    *known = link;
                    differs
                }
                None => {
                    self.links.push(link);
                    true
                }
            },
            Change::LinkGone(index) => {
                self.links.retain(|link| link.index != index);
                self.addresses.retain(|address| address.link != index);
                true
            }
            Change::Address(address) => {
                let known = self.addresses.insert(address.clone());
                known.is_none_or(|known| Address { valid_for: address.valid_for, ..known } != address)
            }
            Change::AddressGone { net, link } => self.addresses.remove(link, net).is_some(),
            Change::Lost => true,
        }
    }

    /// The interface called `name`, by its own name or an alternative one.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        let by_alternative = || self.links.iter().find(|link| link.alternatives.iter().any(|other| other == name));
        self.links.iter().find(|link| link.name == name).or_else(by_alternative)
    }

    /// The interface with that number.
    #[must_use]
    pub fn link_by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The name of the interface with that number, or the number itself.
    #[must_use]
    pub fn link_name(&self, index: u32) -> String {
        self.link_by_index(index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    /// The hardware addresses that are this host's alone. A virtual router's is that of all its routers (RFC 9568 §7.3).
    #[must_use]
    pub fn own_macs(&self) -> Vec<MacAddr> {
        let own = |mac: &MacAddr| !matches!(mac.octets(), [0, 0, 0x5e, 0, 1..=2, _]);
        self.links.iter().filter_map(|link| link.mac).filter(own).collect()
    }

    /// The addresses on the interface with that number.
    pub fn on(&self, link: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.link == link)
    }
}

/// Whether what was to be removed is not there: no such address, or no such interface.
#[must_use]
pub fn is_gone(error: &std::io::Error) -> bool {
    use nix::errno::Errno;
    let codes = [Errno::EADDRNOTAVAIL, Errno::ENODEV, Errno::ENXIO];
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}
