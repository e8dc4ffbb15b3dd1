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
    /// The address is there already.
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
    let address = net.addr();
    if !link.ethernet || link.mac.is_none() {
        return Err(Error::NotEthernet { dev: dev.to_owned(), address });
    }
    if !link.up {
        return Err(Error::Down { dev: dev.to_owned() });
    }
    if !link.carrier {
        return Err(Error::NoCarrier { dev: dev.to_owned() });
    }
    if address.is_ipv6() && link.disables_ipv6 {
        return Err(Error::Ipv6Disabled { dev: dev.to_owned() });
    }

    let vip = Vip { net, link: link.index, dev: dev.to_owned() };
    let held = holds(address, link, observed);
    if let Some(held) = held {
        if held.net != net {
            return Err(Error::OtherPrefix { dev: dev.to_owned(), held: held.net, asked: net });
        }
        if held.duplicate {
            return Err(Error::Duplicate { dev: dev.to_owned(), held: held.net });
        }
    } else {
        not_elsewhere(address, link, observed)?;
    }
    // The interface may have a longer or shorter prefix than the request: 198.18.5.255/32 is still its broadcast.
    let subnets = || observed.on(link.index).map(|other| other.net).filter(|other| other.addr() != address);
    for subnet in subnets().filter(|subnet| subnet.contains(&address)) {
        address::check_host_part(address, &subnet)?;
    }

    let mut warnings = Vec::new();
    if !subnets().any(|subnet| subnet.contains(&address)) {
        warnings.push(format!("{address} belongs to no subnet of {dev}{}", own_subnets(address, subnets())));
    }
    if let Some(master) = link.port_of {
        let master = observed.link_name(master);
        warnings.push(format!("{dev} is a port of {master}; an address usually belongs on {master}"));
    }
    if held.is_some_and(|held| !held.is_ours()) {
        warnings.push(format!("{net} on {dev} was not placed by vipd; it is announced, and left as it is"));
    }
    Ok(Assignable { vip, link: link.clone(), held: held.is_some(), warnings })
}

/// The address on the interface called `dev` that `named` means; `None` if it is not there, nor anywhere else.
///
/// # Errors
/// What speaks against removing it, or shows that something else was meant; nothing has been touched.
pub fn unassign<'a>(
    named: NamedAddress,
    dev: &str,
    force: bool,
    observed: &'a Observed,
) -> Result<Option<(Vip, &'a Address)>, Error> {
    let link = interface(dev, observed)?;
    let Some(held) = holds(named.addr, link, observed) else {
        not_elsewhere(named.addr, link, observed)?;
        return Ok(None);
    };
    if !named.matches(&held.net) {
        return Err(Error::OtherPrefix { dev: dev.to_owned(), held: held.net, asked: named.as_net() });
    }
    if !held.is_ours() && !force && is_last_of_host(held, observed) {
        return Err(Error::HostAddress { dev: dev.to_owned(), held: held.net });
    }
    Ok(Some((Vip { net: held.net, link: link.index, dev: dev.to_owned() }, held)))
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

fn holds<'a>(address: IpAddr, link: &Link, observed: &'a Observed) -> Option<&'a Address> {
    observed.addresses.iter().find(|held| held.link == link.index && held.net.addr() == address)
}

/// Refuses an address that this host has on another interface than `link`.
fn not_elsewhere(address: IpAddr, link: &Link, observed: &Observed) -> Result<(), Error> {
    // The same link-local address may well be on two interfaces: it means a different host on each.
    let elsewhere = observed.addresses.iter().find(|held| held.net.addr() == address && held.link != link.index);
    match elsewhere {
        Some(held) if !address::is_link_local_v6(address) => Err(Error::OnOtherInterface {
            address,
            dev: link.name.clone(),
            other: observed.link_name(held.link),
            held: held.net,
        }),
        _ => Ok(()),
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
