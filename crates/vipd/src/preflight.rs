//! Everything that can be refused by looking: before a frame is sent, before an address is changed. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{self, NamedAddress};
use crate::error::Error;
use crate::holder::Vip;
use crate::kernel::{Address, Link, Observed};

/// A request to assign that nothing speaks against so far.
#[derive(Debug)]
pub struct Assignable {
    /// The address and the interface.
    pub vip: Vip,
    /// The interface.
    pub link: Link,
    /// The address is there already, and not only until a dead daemon's lease is over.
    pub held: bool,
    /// What the operator should know although it goes on.
    pub warnings: Vec<String>,
}

/// Whether `net` may be assigned to the interface called `dev`.
///
/// # Errors
/// The first thing that speaks against it; nothing has been touched.
pub fn assign(net: IpNet, dev: &str, observed: &Observed) -> Result<Assignable, Error> {
    let link = interface(dev, observed)?;
    let dev = || link.name.clone();
    let address = net.addr();
    if !link.ethernet || link.mac.is_none() {
        return Err(Error::NotEthernet { dev: dev(), address });
    }
    if !link.up {
        return Err(Error::Down { dev: dev() });
    }
    if !link.carrier {
        return Err(Error::NoCarrier { dev: dev() });
    }
    if address.is_ipv6() && link.disables_ipv6 {
        return Err(Error::Ipv6Disabled { dev: dev() });
    }
    if let Some(held) = elsewhere(address, link, observed) {
        return Err(on_other_interface(held, link, observed));
    }
    if let Some(held) = same_address(address, link, observed).find(|held| held.net != net) {
        return Err(Error::OtherPrefix { dev: dev(), held: held.net, asked: net });
    }
    let held = same_address(address, link, observed).next();
    if let Some(held) = held.filter(|held| held.duplicate) {
        return Err(Error::Duplicate { dev: dev(), held: held.net });
    }
    // The interface may have a longer or shorter prefix than the request: 198.18.5.255/32 is still its broadcast.
    let subnets = || observed.on(link.index).map(|other| other.net).filter(|other| other.addr() != address);
    for subnet in subnets().filter(|subnet| subnet.contains(&address)) {
        address::check_host_part(address, &subnet)?;
    }

    let mut warnings = Vec::new();
    if !subnets().any(|subnet| subnet.contains(&address)) {
        warnings.push(format!("{address} belongs to no subnet of {}{}", link.name, own_subnets(address, subnets())));
    }
    if let Some(master) = link.port_of {
        let master = observed.link_name(master);
        warnings.push(format!("{} is a port of {master}; an address usually belongs on {master}", link.name));
    }
    if let Some(held) = held.filter(|held| !held.is_ours()) {
        let ends = held.valid_for.map(|left| format!(": it goes in {} s unless somebody renews it", left.as_secs()));
        let (dev, ends) = (&link.name, ends.unwrap_or_default());
        warnings.push(format!("{net} on {dev} was not placed by vipd; it is announced, and left as it is{ends}"));
    }
    let vip = Vip { net, link: link.index, dev: link.name.clone() };
    // Only a daemon gives a lifetime, and a running one has been asked: nobody renews it any more.
    let stays = |held: &Address| !held.is_ours() || held.valid_for.is_none();
    Ok(Assignable { vip, link: link.clone(), held: held.is_some_and(stays), warnings })
}

/// A request to unassign that nothing speaks against.
#[derive(Debug)]
pub struct Unassignable {
    /// What is there and has to go; empty if nothing is there. Several if the address is there with several prefixes.
    pub vips: Vec<Vip>,
    /// What the operator should know although it goes on.
    pub warnings: Vec<String>,
}

/// Whether what `named` means may be removed from the interface called `dev`.
///
/// # Errors
/// What speaks against removing it, or shows that something else was meant; nothing has been touched.
pub fn unassign(named: NamedAddress, dev: &str, force: bool, observed: &Observed) -> Result<Unassignable, Error> {
    let link = interface(dev, observed)?;
    let also = elsewhere(named.addr, link, observed);
    let (mut vips, mut warnings) = (Vec::new(), Vec::new());
    for held in same_address(named.addr, link, observed) {
        // Whoever unassigns an address wants this host to stop answering for it.
        if !named.matches(&held.net) {
            return Err(Error::OtherPrefix { dev: link.name.clone(), held: held.net, asked: named.as_net() });
        }
        if !held.is_ours() && !force && is_last_of_host(held, observed) {
            return Err(Error::HostAddress { dev: link.name.clone(), held: held.net });
        }
        let vip = Vip { net: held.net, link: link.index, dev: link.name.clone() };
        if !held.is_ours() {
            warnings.push(format!("{vip} was not placed by vipd; it is removed because it was named"));
        }
        vips.push(vip);
    }
    match also {
        Some(held) if vips.is_empty() => return Err(on_other_interface(held, link, observed)),
        Some(held) => warnings.push(format!("{} is also on {}", named.addr, observed.link_name(held.link))),
        None => {}
    }
    Ok(Unassignable { vips, warnings })
}

/// The interface called `dev`.
///
/// # Errors
/// [`Error::NoInterface`], with those that exist.
pub fn interface<'a>(dev: &str, observed: &'a Observed) -> Result<&'a Link, Error> {
    observed.link(dev).ok_or_else(|| Error::NoInterface {
        name: dev.to_owned(),
        existing: observed.links.iter().map(|link| link.name.clone()).collect(),
    })
}

/// `address` on `link`, with whatever prefix lengths.
fn same_address<'a>(address: IpAddr, link: &Link, observed: &'a Observed) -> impl Iterator<Item = &'a Address> {
    observed.on(link.index).filter(move |held| held.net.addr() == address)
}

/// `address` on another interface of this host than `link`.
///
/// The same link-local address may well be on two interfaces: it means a different host on each.
fn elsewhere<'a>(address: IpAddr, link: &Link, observed: &'a Observed) -> Option<&'a Address> {
    let is_it = |held: &&Address| held.net.addr() == address && held.link != link.index;
    observed.addresses.iter().find(is_it).filter(|_| !address::is_link_local_v6(address))
}

fn on_other_interface(held: &Address, link: &Link, observed: &Observed) -> Error {
    Error::OnOtherInterface {
        address: held.net.addr(),
        dev: link.name.clone(),
        other: observed.link_name(held.link),
        held: held.net,
    }
}

/// Whether `held` is the only address of its kind on its interface that vipd did not place: then it is the host's own.
fn is_last_of_host(held: &Address, observed: &Observed) -> bool {
    let kind = |address: &Address| (address.net.addr().is_ipv4(), address::is_link_local_v6(address.net.addr()));
    !observed.on(held.link).any(|other| other.net != held.net && !other.is_ours() && kind(other) == kind(held))
}

/// "; it has 198.18.5.0/24", or nothing.
fn own_subnets(address: IpAddr, subnets: impl Iterator<Item = IpNet>) -> String {
    let mut subnets: Vec<_> = subnets
        .filter(|subnet| subnet.addr().is_ipv4() == address.is_ipv4() && !address::is_link_local_v6(subnet.addr()))
        .map(|subnet| subnet.trunc().to_string())
        .collect();
    subnets.sort();
    subnets.dedup();
    if subnets.is_empty() { String::new() } else { format!("; it has {}", subnets.join(", ")) }
}

#[cfg(test)]
mod tests;
