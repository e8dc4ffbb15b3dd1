//! Carries out effects, one after the other, and looks afterwards whether they are true.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;

use crate::announce::{self, Announcement};
use crate::clock;
use crate::error::Error;
use crate::holder::{self, Effect, Vip};
use crate::kernel::capability::Capability;
use crate::kernel::netlink::Netlink;
use crate::kernel::{Address, Addresses, Link, Observed};
use crate::wire::Wire;

/// The hands of the program: netlink, and the wires that are open.
pub struct Hands {
    netlink: Netlink,
    wires: BTreeMap<u32, Wire>,
}

impl Hands {
    /// Connects to the kernel.
    ///
    /// # Errors
    /// [`Error::Kernel`] if there is no netlink.
    pub fn new() -> Result<Self, Error> {
        let netlink = Netlink::connect().map_err(|source| Error::Kernel { what: "opening netlink".into(), source })?;
        Ok(Self { netlink, wires: BTreeMap::new() })
    }

    /// The host as it is now.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the kernel's answer.
    pub fn observe(&mut self) -> Result<Observed, Error> {
        let observed = self.netlink.observe();
        observed.map_err(|source| Error::Kernel { what: "listing links and addresses".into(), source })
    }

    /// As much of the host as concerns `address` on the interface called `dev`, if that is enough to know it: its own
    /// interface, and all addresses of its family.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the kernel's answer.
    pub fn observe_near(&mut self, dev: &str, address: IpAddr) -> Result<Option<Observed>, Error> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let observed = self.netlink.observe_near(dev, family);
        observed.map_err(|source| Error::Kernel { what: "asking for the interface".into(), source })
    }

    /// The addresses of the host as they are now.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the kernel's answer.
    pub fn addresses(&mut self) -> Result<Addresses, Error> {
        let addresses = self.netlink.addresses();
        addresses.map_err(|source| Error::Kernel { what: "listing addresses".into(), source })
    }

    /// The wire of `link`, opened at the first call.
    ///
    /// # Errors
    /// As [`Wire::open`].
    pub fn wire(&mut self, link: &Link) -> Result<&mut Wire, Error> {
        use std::collections::btree_map::Entry;
        match self.wires.entry(link.index) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(none) => Ok(none.insert(Wire::open(link)?)),
        }
    }

    /// Carries out one effect; returns how many frames were announced.
    ///
    /// Every effect may be repeated: what is already so counts as done.
    ///
    /// # Errors
    /// [`Error::Kernel`] or [`Error::MissingCapability`] when refused, [`Error::NotVerified`] when the kernel said yes
    /// but reading back says no, [`Error::LostSecondaries`] when more went than was asked for.
    pub fn apply(&mut self, effect: &Effect, observed: &Observed) -> Result<u32, Error> {
        tracing::debug!(%effect, "apply");
        match effect {
            Effect::Add(vip) => self.add(vip).map(|()| 0),
            Effect::Announce(vip) => self.announce(vip, observed),
            Effect::Remove(vip) => self.remove(&[vip]).pop().unwrap_or(Ok(())).map(|()| 0),
            Effect::PromoteSecondaries { link, on, .. } => {
                let done = self.netlink.promote_secondaries(*link, *on);
                done.map(|()| 0).map_err(|source| Error::kernel(effect.to_string(), Capability::NetAdmin, source))
            }
        }
    }

    fn add(&mut self, vip: &Vip) -> Result<(), Error> {
        let added = self.netlink.add(vip.net, vip.link);
        added.map_err(|source| Error::kernel(format!("adding {vip}"), Capability::NetAdmin, source))?;
        if vip.net.addr().is_ipv4() {
            // It answers from the acknowledgement on. Whether it stays, the caller sees when it has been announced.
            return Ok(());
        }
        let answers = |address: &Address| !address.tentative && !address.duplicate;
        if self.addresses()?.get(vip.link, vip.net).is_some_and(answers) {
            Ok(())
        } else {
            Err(Error::NotVerified { what: format!("the kernel said that {vip} was added") })
        }
    }

    /// Removes `vips`, and looks once whether all of them are gone, and nothing else. One result for each, in order.
    pub fn remove(&mut self, vips: &[&Vip]) -> Vec<Result<(), Error>> {
        let before = match self.observe() {
            Ok(before) => before,
            Err(error) => return vec![Err(error)],
        };
        let mut results: Vec<_> = vips.iter().map(|vip| self.remove_one(vip)).collect();
        let after = match self.addresses() {
            Ok(after) => after,
            Err(error) => return vec![Err(error)],
        };
        let gone = |address: &Address| after.get(address.link, address.net).is_none();
        let named: BTreeSet<_> = vips.iter().map(|vip| (vip.link, vip.net)).collect();
        for (vip, result) in vips.iter().zip(&mut results).filter(|(_, result)| result.is_ok()) {
            if after.get(vip.link, vip.net).is_some() {
                *result = Err(Error::NotVerified { what: format!("the kernel said that {vip} was removed") });
                continue;
            }
            let hung_on_it =
                before.addresses.get(vip.link, vip.net).into_iter().flat_map(|it| holder::secondaries(it, &before));
            let lost = hung_on_it.filter(|address| gone(address) && !named.contains(&(address.link, address.net)));
            let lost: Vec<_> = lost.map(|address| address.net).collect();
            if !lost.is_empty() {
                *result = Err(Error::LostSecondaries { removed: vip.net, lost });
            }
        }
        results
    }

    fn remove_one(&mut self, vip: &Vip) -> Result<(), Error> {
        match self.netlink.remove(vip.net, vip.link) {
            Err(error) if error.kind() != ErrorKind::AddrNotAvailable => {
                Err(Error::kernel(format!("removing {vip}"), Capability::NetAdmin, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn announce(&mut self, vip: &Vip, observed: &Observed) -> Result<u32, Error> {
        let link = observed.link_by_index(vip.link);
        let (Some(link), Some(own)) = (link, link.and_then(|link| link.mac)) else {
            return Err(Error::NoInterface { name: vip.dev.clone(), existing: Vec::new() });
        };
        let wire = self.wire(link)?;
        let frames = announce::round(vip.net.addr(), own, link.forwards_ipv6);
        let mut announcement = Announcement::new(clock::now());
        let mut sent = 0;
        while let Some(deadline) = announcement.deadline() {
            clock::sleep_until(deadline);
            if announcement.take(clock::now()) {
                for frame in &frames {
                    wire.send(frame)?;
                    sent += 1;
                }
            }
        }
        Ok(sent)
    }
}
