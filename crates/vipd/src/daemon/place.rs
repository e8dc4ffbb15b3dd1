//! Whether an interface can carry an instance now, and what the instance must know of it. Pure.

use std::fmt;
use std::net::IpAddr;

use pnet::util::MacAddr;
use vrrp::Family;

use crate::address::is_link_local_v6;
use crate::config::{Instance, PeerSet};
use crate::kernel::bearer::Bearer;
use crate::kernel::{Address, Link, Observed};

/// An interface that can carry the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the interface.
    pub link: u32,
    /// The hardware address that neighbours are told: its own, or the virtual router's.
    pub mac: MacAddr,
    /// The interface that carries the addresses: the same, or the one with the virtual router's MAC address on it.
    pub carrier: Carrier,
    /// Our primary IPvX address there: source of advertisements, and tie-break.
    pub primary: IpAddr,
    /// The host routes IPv6 there.
    pub router: bool,
    /// Unicast peers that are addresses of this host: nobody hears what is sent to them, so they are left out.
    pub own_peers: Vec<IpAddr>,
}

/// An interface that carries addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Its number.
    pub link: u32,
    /// Its name.
    pub dev: String,
    /// The macvlan that it is, if it is one of ours.
    pub bearer: Option<Bearer>,
}

/// Why the interface cannot carry the instance now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// It does not exist yet.
    Missing,
    /// Nothing on it could be told where an address is.
    NotEthernet,
    /// `IFF_UP` is missing.
    Down,
    /// The cable is out.
    NoCarrier,
    /// It is a port of a bridge, bond, team or switch, which takes what peers say to it.
    Port,
    /// IPv6 is switched off there.
    Ipv6Disabled,
    /// It has no address to advertise from.
    NoPrimary(Family),
    /// It does not have the configured source address.
    NoSource(IpAddr),
    /// The interface with the virtual MAC address on it has not been made yet.
    NoBearer,
    /// Every unicast peer is an address of this host.
    NoPeer,
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the interface does not exist"),
            Self::NotEthernet => f.write_str("the interface is not Ethernet"),
            Self::Down => f.write_str("the interface is down"),
            Self::NoCarrier => f.write_str("the interface has no carrier"),
            Self::Port => f.write_str("the interface is a port of another, which takes what peers send; name that one"),
            Self::Ipv6Disabled => f.write_str("IPv6 is switched off on the interface"),
            Self::NoPrimary(Family::V4) => f.write_str("the interface has no IPv4 address of its own"),
            Self::NoPrimary(Family::V6) => f.write_str("the interface has no link-local IPv6 address of its own"),
            Self::NoBearer => f.write_str("the interface with the virtual MAC address is not there"),
            Self::NoPeer => f.write_str("every unicast peer is an address of this host"),
            Self::NoSource(source) => write!(f, "the interface does not have the source address {source}"),
        }
    }
}

/// Where `instance` is to live.
///
/// # Errors
/// The first thing that is missing.
pub fn find(instance: &Instance, observed: &Observed) -> Result<Place, Unready> {
    let link = observed.link(instance.interface.as_str()).ok_or(Unready::Missing)?;
    let mac = link.mac.filter(|_| link.ethernet).ok_or(Unready::NotEthernet)?;
    if !link.up {
        return Err(Unready::Down);
    }
    if !link.carrier {
        return Err(Unready::NoCarrier);
    }
    // A managed address hears nobody, and is reached by way of the other.
    if instance.vrrp().is_some() && link.port_of.is_some() {
        return Err(Unready::Port);
    }
    if instance.family() == Family::V6 && link.disables_ipv6 {
        return Err(Unready::Ipv6Disabled);
    }
    let primary = primary(instance, link, observed)?;
    let (mac, carrier) = match bearer(instance, link) {
        None => (mac, Carrier { link: link.index, dev: instance.interface.to_string(), bearer: None }),
        Some(bearer) => {
            let there = bearer.find(observed).ok_or(Unready::NoBearer)?;
            (bearer.mac, Carrier { link: there.index, dev: there.name.clone(), bearer: Some(bearer) })
        }
    };
    let own_peers = own_peers(instance, observed);
    if !own_peers.is_empty() && own_peers.len() == peers(instance).len() {
        return Err(Unready::NoPeer);
    }
    Ok(Place { link: link.index, mac, carrier, primary, router: link.forwards_ipv6, own_peers })
}

/// The unicast peers of `instance` that are addresses of this host.
#[must_use]
pub fn own_peers(instance: &Instance, observed: &Observed) -> Vec<IpAddr> {
    let link = observed.link(instance.interface.as_str()).map(|link| link.index);
    let is_own = |peer: &&IpAddr| {
        // A link-local address means another host on another link.
        let here = |address: &Address| !is_link_local_v6(**peer) || Some(address.link) == link;
        observed.addresses.iter().any(|address| address.net.addr() == **peer && answers(address) && here(address))
    };
    peers(instance).iter().filter(is_own).copied().collect()
}

fn peers(instance: &Instance) -> &[IpAddr] {
    match instance.vrrp().map(|vrrp| &vrrp.peers) {
        Some(PeerSet::Unicast(unicast)) => &unicast.peers,
        Some(PeerSet::Multicast) | None => &[],
    }
}

/// The macvlan on `link` that `instance` wants to be carried by, if it wants one.
#[must_use]
pub fn bearer(instance: &Instance, link: &Link) -> Option<Bearer> {
    let vrrp = instance.vrrp().filter(|vrrp| vrrp.virtual_mac)?;
    Bearer::new(vrrp.vrid.mac(instance.family()).into(), link.index)
}

/// The same, wherever its interface is; `None` as long as that is not there.
#[must_use]
pub fn bearer_of(instance: &Instance, observed: &Observed) -> Option<Bearer> {
    bearer(instance, observed.link(instance.interface.as_str())?)
}

/// Whether the interface `name` is up and has carrier.
#[must_use]
pub fn is_up(name: &str, observed: &Observed) -> bool {
    observed.link(name).is_some_and(|link| link.up && link.carrier)
}

/// The interface's own first address: never a virtual one, for IPv6 the link-local one (RFC 9568 §5.1.1.1, §5.1.2.1).
fn primary(instance: &Instance, link: &Link, observed: &Observed) -> Result<IpAddr, Unready> {
    let family = instance.family();
    if let Some(source) = instance.vrrp().and_then(|vrrp| match &vrrp.peers {
        PeerSet::Multicast => None,
        PeerSet::Unicast(unicast) => unicast.source,
    }) {
        let has_it = observed.on(link.index).any(|address| address.net.addr() == source && answers(address));
        return if has_it { Ok(source) } else { Err(Unready::NoSource(source)) };
    }
    let owner = instance.vrrp().is_some_and(|vrrp| vrrp.priority.is_owner());
    let is_virtual =
        |address: &Address| address.is_ours() || instance.held().any(|net| net.addr() == address.net.addr());
    let fits = |address: &&Address| match address.net.addr() {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(v6) => family == Family::V6 && v6.is_unicast_link_local() && answers(address),
    };
    let candidates = || observed.on(link.index).filter(fits);
    candidates()
        .find(|address| !is_virtual(address))
        .or_else(|| candidates().find(|_| owner))
        .map(|address| address.net.addr())
        // A managed address speaks to no peers.
        .or_else(|| instance.vrrp().is_none().then(|| unspecified(family)))
        .ok_or(Unready::NoPrimary(family))
}

const fn answers(address: &Address) -> bool {
    !address.tentative && !address.duplicate
}

const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}
