//! The addresses this host ought to hold, and what has to be done so that it does. Pure.
//!
//! ```text
//!  wishes (verb; later: VRRP, hook, lease) ─┐
//!                                           ├─ reconcile ──▶ effects, in order ──▶ apply
//!  observed (netlink) ──────────────────────┘
//! ```
//!
//! Every way in which an address can be wanted goes through here, so that each is added, announced and removed in the
//! same way. Addresses about which nobody has a wish are never touched.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use crate::kernel::{Address, Observed};

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vip {
    /// The address with its prefix length.
    pub net: IpNet,
    /// Number of the interface.
    pub link: u32,
    /// Name of the interface.
    pub dev: String,
}

impl Vip {
    /// Whether `address` is this one.
    #[must_use]
    pub fn is(&self, address: &Address) -> bool {
        address.link == self.link && address.net == self.net
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.net, self.dev)
    }
}

/// One step towards the wishes. `Display` says it as the command that would do the same by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Add the address, tagged as ours, and see that it is there.
    Add(Vip),
    /// Tell the neighbours.
    Announce(Vip),
    /// Remove the address, and see that it is gone and nothing else with it.
    Remove(Vip),
    /// Choose what becomes of the secondary addresses of a subnet when its primary address goes.
    PromoteSecondaries {
        /// Number of the interface.
        link: u32,
        /// Name of the interface.
        dev: String,
        /// True: one of them becomes primary. False: the kernel removes them all.
        on: bool,
    },
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(vip) => {
                write!(f, "ip address add {vip} proto {:#x}", crate::kernel::TAG)?;
                if vip.net.addr().is_ipv6() { f.write_str(" nodad preferred_lft 0") } else { Ok(()) }
            }
            Self::Announce(vip) if vip.net.addr().is_ipv4() => {
                write!(f, "announce {vip}: gratuitous ARP as request and as reply, {} times", ROUNDS)
            }
            Self::Announce(vip) => {
                write!(f, "announce {vip}: unsolicited neighbour advertisement with override, {} times", ROUNDS)
            }
            Self::Remove(vip) => write!(f, "ip address del {vip}"),
            Self::PromoteSecondaries { dev, on, .. } => {
                write!(f, "sysctl net.ipv4.conf.{dev}.promote_secondaries={}", u8::from(*on))
            }
        }
    }
}

const ROUNDS: usize = crate::announce::ROUNDS.len();

/// What ought to be true of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Held,
    Gone,
}

/// The wishes for all addresses that somebody has spoken about.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    wishes: BTreeMap<Vip, Wish>,
}

impl Holder {
    /// This host ought to hold `vip`.
    pub fn hold(&mut self, vip: Vip) {
        self.wishes.insert(vip, Wish::Held);
    }

    /// This host must not hold `vip`.
    pub fn release(&mut self, vip: Vip) {
        self.wishes.insert(vip, Wish::Gone);
    }

    /// Somebody else sees to `vip` from now on.
    pub fn forget(&mut self, vip: &Vip) {
        self.wishes.remove(vip);
    }

    /// Whether this host ought to hold `vip`.
    #[must_use]
    pub fn holds(&self, vip: &Vip) -> bool {
        self.wishes.get(vip) == Some(&Wish::Held)
    }

    /// Forgets what was to go and is gone: whoever adds it from now on is somebody else.
    pub fn forget_gone(&mut self, observed: &Observed) {
        self.wishes.retain(|vip, wish| *wish == Wish::Held || observed.addresses.get(vip.link, vip.net).is_some());
    }

    /// What to do, in order; empty if every wish is fulfilled.
    ///
    /// Removals come first, and all additions before the first announcement: announcements take time, and must not
    /// delay an address.
    #[must_use]
    pub fn reconcile(&self, observed: &Observed) -> Vec<Effect> {
        let is_there = |vip: &Vip| observed.addresses.get(vip.link, vip.net);
        let wished = |wish| self.wishes.iter().filter(move |(_, w)| **w == wish).map(|(vip, _)| vip);

        let mut removals: BTreeMap<(u32, &str), Vec<(&Vip, &Address)>> = BTreeMap::new();
        for (vip, address) in wished(Wish::Gone).filter_map(|vip| is_there(vip).map(|address| (vip, address))) {
            removals.entry((vip.link, &vip.dev)).or_default().push((vip, address));
        }
        let mut effects = Vec::new();
        for ((link, dev), removals) in removals {
            // Around all removals of the link, because the first may make the next one primary.
            let promote = removals.iter().any(|(_, address)| takes_others_along(address, observed));
            let promotion = |on| promote.then(|| Effect::PromoteSecondaries { link, dev: dev.to_owned(), on });
            effects.extend(promotion(true));
            effects.extend(removals.iter().map(|&(vip, _)| Effect::Remove(vip.clone())));
            effects.extend(promotion(false));
        }
        let missing: Vec<_> = wished(Wish::Held).filter(|vip| is_there(vip).is_none()).collect();
        effects.extend(missing.iter().map(|&vip| Effect::Add(vip.clone())));
        effects.extend(missing.iter().map(|&vip| Effect::Announce(vip.clone())));
        effects
    }
}

/// The secondary addresses that hang on `primary`: same interface, same subnet, same prefix length.
pub fn secondaries<'a>(primary: &'a Address, observed: &'a Observed) -> impl Iterator<Item = &'a Address> {
    let has_any = primary.net.addr().is_ipv4() && !primary.secondary;
    let subnet = has_any.then(|| observed.addresses.in_subnet(primary.link, primary.net));
    subnet.into_iter().flatten().filter(|address| address.secondary)
}

/// Whether the kernel would remove other addresses together with `address`.
///
/// It does so when the primary address of a subnet goes and the link does not promote secondaries. (The switch for all
/// links cannot be seen here; promoting twice does no harm.)
fn takes_others_along(address: &Address, observed: &Observed) -> bool {
    let promotes = observed.link_by_index(address.link).is_some_and(|link| link.promotes_secondaries);
    !promotes && secondaries(address, observed).next().is_some()
}

#[cfg(test)]
mod tests;
