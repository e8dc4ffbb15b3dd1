//! The interface with the virtual router's MAC address (RFC 9568 §7.3): a macvlan on the instance's interface that carries
//! its addresses. What it is called, what it must be like, and how it is made and removed.
//!
//! ```text
//!   virtual router's MAC ─▶ vip4-51-2 ── the addresses, ARP and ND for them      (up while Active, down while Backup)
//!                               │ macvlan, mode bridge
//!   interface's own MAC ──▶   eth0 ───── everything else; advertisements too, as frames with the virtual MAC
//! ```
//!
//! It is ours if it is called what its own MAC address and parent say it must be, so a dead daemon's is found without a
//! file. What its parent was like before is written into its alias, for whoever has to put that right.

use std::fs;
use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkMessage, MacVlanMode};
use pnet::util::MacAddr;
use rtnetlink::{LinkMacVlan, LinkUnspec};

use super::batch::Changes;
use super::netlink::{ARP_ANNOUNCE, ARP_IGNORE, PROMOTE_SECONDARIES, RP_FILTER, settings};
use super::{Link, Observed};

/// Answers ARP only for addresses of the very interface that was asked (ip-sysctl: `arp_ignore`).
const OWN_ADDRESSES_ONLY: u32 = 1;
/// Asks in the name of the interface's own address only (ip-sysctl: `arp_announce`).
const OWN_NAME_ONLY: u32 = 2;
/// The sender must be reachable, through whatever interface (ip-sysctl: `rp_filter`). The higher one of this and that of
/// `all` counts, so this also undoes a strict one there, with which nothing would come in: answers leave by the parent.
const LOOSE: u32 = 2;

/// How an interface deals with ARP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArpHabits {
    /// `net.ipv4.conf.IF.arp_ignore`
    pub ignore: u32,
    /// `net.ipv4.conf.IF.arp_announce`
    pub announce: u32,
}

/// A macvlan of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Its name.
    pub name: String,
    /// Number of the interface that it is on.
    pub parent: u32,
    /// The virtual router's MAC address.
    pub mac: MacAddr,
}

impl Bearer {
    /// The one for `mac` on the interface with the number `parent`; `None` for a MAC address of no virtual router.
    #[must_use]
    pub fn new(mac: MacAddr, parent: u32) -> Option<Self> {
        // RFC 9568 §7.3. An index of more than six digits makes a name that the kernel refuses.
        let [0, 0, 0x5e, 0, family @ 1..=2, vrid] = mac.octets() else { return None };
        let family = if family == 1 { 4 } else { 6 };
        Some(Self { name: format!("vip{family}-{vrid}-{parent}"), parent, mac })
    }

    /// What `link` is, if it is a macvlan of ours.
    #[must_use]
    pub fn of(link: &Link) -> Option<Self> {
        Self::new(link.mac?, link.parent?).filter(|bearer| bearer.name == link.name)
    }

    /// The same as it is there.
    #[must_use]
    pub fn find<'o>(&self, observed: &'o Observed) -> Option<&'o Link> {
        observed.links.iter().find(|link| Self::of(link).as_ref() == Some(self))
    }

    const fn is_v6(&self) -> bool {
        self.mac.4 == 2
    }

    /// Makes it, down, unless it is there; its parent answers ARP for its own addresses only from then on. `known` is what
    /// the parent was like, if that is known.
    ///
    /// # Errors
    /// The kernel's refusal; then nothing of it is there.
    pub fn make(&self, known: Option<ArpHabits>, changes: &mut Changes, observed: &Observed) -> io::Result<Borne> {
        let parent = observed.link_by_index(self.parent).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        match changes.one(RouteNetlinkMessage::NewLink(self.creation()), NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.find(observed).is_some() => {}
            result => result?,
        }
        let others = all(observed).into_iter().filter(|other| other.bearer.parent == self.parent);
        let before = known.or_else(|| others.filter_map(|other| other.before).next()).unwrap_or(parent.arp);
        self.furnish(changes, parent, before).inspect_err(|_| {
            let _ = changes.one(RouteNetlinkMessage::DelLink(self.naming()), 0);
        })?;
        Ok(Borne { bearer: self.clone(), before: Some(before) })
    }

    fn furnish(&self, changes: &mut Changes, parent: &Link, before: ArpHabits) -> io::Result<()> {
        let own = [(ARP_IGNORE, OWN_ADDRESSES_ONLY), (RP_FILTER, LOOSE), (PROMOTE_SECONDARIES, 1)];
        let mut message = self.naming();
        message.attributes.push(LinkAttribute::IfAlias(alias(before)));
        // No address of its own: every host with this MAC address would make the same.
        let no_link_local = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![settings(&own), no_link_local]));
        let furnished = changes.one(RouteNetlinkMessage::SetLink(message), 0);
        // Without IPv6 in the kernel there is nothing to keep it from.
        if let Err(error) = furnished {
            let mut message = self.naming();
            message.attributes.push(LinkAttribute::IfAlias(alias(before)));
            message.attributes.push(LinkAttribute::AfSpecUnspec(vec![settings(&own)]));
            tracing::debug!(%error, "addrgenmode");
            changes.one(RouteNetlinkMessage::SetLink(message), 0)?;
        }
        self.refuse_advertised_prefixes();
        let habits = ArpHabits {
            ignore: parent.arp.ignore.max(OWN_ADDRESSES_ONLY),
            announce: parent.arp.announce.max(OWN_NAME_ONLY),
        };
        if parent.arp == habits { Ok(()) } else { set_habits(changes, self.parent, habits) }
    }

    /// A router's advertisement would give it an address. Netlink has no word for these.
    fn refuse_advertised_prefixes(&self) {
        let keys: &[(&str, &str)] =
            if self.is_v6() { &[("accept_ra", "0"), ("autoconf", "0")] } else { &[("disable_ipv6", "1")] };
        for (key, value) in keys {
            let path = format!("/proc/sys/net/ipv6/conf/{}/{key}", self.name);
            match fs::write(&path, value) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path, %error, "a router's advertisement may give it an address"),
            }
        }
    }

    /// Sets it up or down.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_up(&self, up: bool, changes: &mut Changes) -> io::Result<()> {
        let link = LinkUnspec::new_with_name(&self.name);
        let link = if up { link.up() } else { link.down() };
        changes.one(RouteNetlinkMessage::SetLink(link.build()), 0)
    }

    fn naming(&self) -> LinkMessage {
        LinkUnspec::new_with_name(&self.name).build()
    }

    fn creation(&self) -> LinkMessage {
        // Bridge: the only mode in which the parent hears a peer that advertises from the same MAC address.
        LinkMacVlan::new(&self.name, self.parent, MacVlanMode::Bridge).address(self.mac.octets().to_vec()).build()
    }
}

/// A macvlan of ours that is there, and what its parent was like before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borne {
    /// The macvlan.
    pub bearer: Bearer,
    /// `None`: its parent has been left alone, or nobody remembers.
    pub before: Option<ArpHabits>,
}

/// All macvlans of ours that are there.
#[must_use]
pub fn all(observed: &Observed) -> Vec<Borne> {
    let borne = |link: &Link| Some(Borne { bearer: Bearer::of(link)?, before: saved(link) });
    observed.links.iter().filter_map(borne).collect()
}

/// Removes macvlans, with the addresses that are on them, and gives each parent on which none `stays` its old habits back.
/// Goes on after an error; what is not there is done.
///
/// # Errors
/// The first refusal.
pub fn remove_all(bornes: &[Borne], stays: impl Fn(&Bearer) -> bool, changes: &mut Changes) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if super::is_gone(&error) => Ok(()),
        result => result,
    };
    let mut first = Ok(());
    for Borne { bearer, before } in bornes {
        let removed = gone(changes.one(RouteNetlinkMessage::DelLink(bearer.naming()), 0));
        let restored = match before {
            Some(habits) if removed.is_ok() && !stays(bearer) => gone(set_habits(changes, bearer.parent, *habits)),
            Some(_) | None => Ok(()),
        };
        first = first.and(removed).and(restored);
    }
    first
}

fn set_habits(changes: &mut Changes, link: u32, habits: ArpHabits) -> io::Result<()> {
    let values = settings(&[(ARP_IGNORE, habits.ignore), (ARP_ANNOUNCE, habits.announce)]);
    let link = LinkUnspec::new_with_index(link).append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![values]));
    changes.one(RouteNetlinkMessage::SetLink(link.build()), 0)
}

fn alias(before: ArpHabits) -> String {
    format!("vipd; its parent had arp_ignore={} arp_announce={}", before.ignore, before.announce)
}

/// What the alias says about the parent.
fn saved(link: &Link) -> Option<ArpHabits> {
    let alias = link.alias.as_deref()?.strip_prefix("vipd;")?;
    let value = |key: &str| {
        let word = alias.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        word?.parse().ok()
    };
    Some(ArpHabits { ignore: value("arp_ignore")?, announce: value("arp_announce")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_follows_from_its_mac_address_and_its_parent() {
        let name = |mac: [u8; 6], parent| Bearer::new(mac.into(), parent).map(|bearer| bearer.name);
        assert_eq!(name([0, 0, 0x5e, 0, 1, 51], 2).as_deref(), Some("vip4-51-2"));
        assert_eq!(name([0, 0, 0x5e, 0, 2, 255], 123_456).as_deref(), Some("vip6-255-123456"));
        assert_eq!(name([2, 0, 0x5e, 0, 1, 51], 2), None);
        assert_eq!(name([0, 0, 0x5e, 0, 3, 51], 2), None);
    }

    #[test]
    fn the_alias_tells_what_the_parent_was_like() {
        let before = ArpHabits { ignore: 8, announce: 1 };
        let link = Link { alias: Some(alias(before)), ..Link::default() };
        assert_eq!(saved(&link), Some(before));
        let strange = Link { alias: Some("vipd; arp_ignore=x".into()), ..Link::default() };
        assert_eq!(saved(&strange), None);
    }
}
