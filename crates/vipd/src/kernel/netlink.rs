//! The rtnetlink edge: observes links and addresses, adds and removes addresses. Nobody else touches a message.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, InfoKind, InfoPortKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkLayerType, LinkMessage, Prop,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use pnet::util::MacAddr;
use rtnetlink::{AddressMessageBuilder, LinkUnspec};

use super::batch::Changes;
use super::bearer::ArpHabits;
use super::{Address, Addresses, Link, Observed, TAG};
use crate::lease::Lifetimes;

/// `IFLA_INET_CONF` (linux/if_link.h) and `IPV4_DEVCONF_…` (linux/ip.h).
const IFLA_INET_CONF: u16 = 1;
pub(super) const RP_FILTER: u16 = 8;
pub(super) const ARP_ANNOUNCE: u16 = 18;
pub(super) const ARP_IGNORE: u16 = 19;
pub(super) const PROMOTE_SECONDARIES: u16 = 20;
/// A lifetime that does not end.
const FOR_EVER: u32 = u32::MAX;

/// A connection to rtnetlink(7). Observing needs no privilege; changing needs `CAP_NET_ADMIN`.
///
/// Nothing here waits: the kernel's answer is there when the question has been sent.
pub struct Netlink {
    requests: Changes,
}

impl Netlink {
    /// Connects to the network namespace of the calling thread.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn connect() -> io::Result<Self> {
        Ok(Self { requests: Changes::open()? })
    }

    /// All links and addresses as they are now.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn observe(&mut self) -> io::Result<Observed> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let list = self.requests.list(&RouteNetlinkMessage::GetLink(question))?.into_iter();
        let messages: Vec<_> = list
            .filter_map(|entry| if let RouteNetlinkMessage::NewLink(message) = entry { Some(message) } else { None })
            .collect();
        let links = messages.iter().map(link).collect();
        Ok(Observed { links, addresses: self.addresses()? })
    }

    /// The interface called `name` by itself, and all addresses of one family; `None` if it takes more to know the interface:
    /// there is none of that name, or it is the port of another. A list of all costs several times as much.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn observe_near(&mut self, name: &str, family: AddressFamily) -> io::Result<Option<Observed>> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let Ok(RouteNetlinkMessage::NewLink(message)) = self.requests.ask(RouteNetlinkMessage::GetLink(question))
        else {
            return Ok(None);
        };
        if message.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::Controller(_))) {
            return Ok(None);
        }
        let links = vec![link(&message)];
        Ok(Some(Observed { links, addresses: self.addresses_of(family)? }))
    }

    /// All addresses as they are now.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn addresses(&mut self) -> io::Result<Addresses> {
        self.addresses_of(AddressFamily::Unspec)
    }

    fn addresses_of(&mut self, family: AddressFamily) -> io::Result<Addresses> {
        let mut question = AddressMessage::default();
        question.header.family = family;
        let list = self.requests.list(&RouteNetlinkMessage::GetAddress(question))?;
        let one =
            |entry: &_| if let RouteNetlinkMessage::NewAddress(message) = entry { address(message) } else { None };
        Ok(list.iter().filter_map(one).collect())
    }

    /// Adds `net` to a link for good, tagged as ours; if it is there, it stays for good from now on.
    ///
    /// IPv6: no duplicate address detection, because the caller has probed and the address must answer at once; and
    /// deprecated from the start, so that the host does not choose it as source of its own connections, which
    /// would die when the address moves (RFC 6724 §5 rule 3; keepalived does the same).
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn add(&mut self, net: IpNet, link: u32) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewAddress(addition(net, link, None, true));
        self.requests.one(message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes `net` from a link.
    ///
    /// # Errors
    /// `AddrNotAvailable` if it is not there; `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn remove(&mut self, net: IpNet, link: u32) -> io::Result<()> {
        self.requests.one(RouteNetlinkMessage::DelAddress(naming(net, link)), 0)
    }

    /// Sets `net.ipv4.conf.IF.promote_secondaries`, by netlink because /proc/sys is read-only in most containers.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn promote_secondaries(&mut self, link: u32, on: bool) -> io::Result<()> {
        self.requests.one(RouteNetlinkMessage::SetLink(promotion(link, on)), 0)
    }
}

/// The message that adds `net`, or, if it is there, gives it new lifetimes; without lifetimes it stays for ever.
///
/// Without `route` its subnet is not reached through this link because of it.
pub(super) fn addition(net: IpNet, link: u32, lifetimes: Option<Lifetimes>, route: bool) -> AddressMessage {
    let mut message = naming(net, link);
    message.header.scope =
        if crate::address::is_link_local_v6(net.addr()) { AddressScope::Link } else { AddressScope::Universe };
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(TAG)));
    let mut flags = AddressFlags::empty();
    if net.addr().is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        flags |= AddressFlags::Nodad;
    }
    if !route {
        flags |= AddressFlags::Noprefixroute;
    }
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    let for_ever = net.addr().is_ipv6().then_some(Lifetimes { valid: FOR_EVER, preferred: 0 });
    if let Some(lifetimes) = lifetimes.or(for_ever) {
        let mut info = CacheInfo::default();
        info.ifa_valid = lifetimes.valid;
        info.ifa_preferred = lifetimes.preferred;
        message.attributes.push(AddressAttribute::CacheInfo(info));
    }
    message
}

/// The message that names `net` on a link, and says nothing else about it.
pub(super) fn naming(net: IpNet, link: u32) -> AddressMessage {
    let mut message = match net {
        IpNet::V4(net) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(net.addr(), net.prefix_len()).build()
        }
        IpNet::V6(net) => {
            AddressMessageBuilder::<Ipv6Addr>::new().index(link).address(net.addr(), net.prefix_len()).build()
        }
    };
    // The builder guesses a broadcast address; the kernel makes that route by itself.
    message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
    message
}

/// The message that sets `promote_secondaries`.
pub(super) fn promotion(link: u32, on: bool) -> LinkMessage {
    let settings = LinkAttribute::AfSpecUnspec(vec![settings(&[(PROMOTE_SECONDARIES, u32::from(on))])]);
    LinkUnspec::new_with_index(link).append_extra_attribute(settings).build()
}

/// `net.ipv4.conf.IF.…`, each by its number.
pub(super) fn settings(of: &[(u16, u32)]) -> AfSpecUnspec {
    let values: Vec<_> = of.iter().map(|&(key, value)| DefaultNla::new(key, value.to_ne_bytes().to_vec())).collect();
    let mut bytes = vec![0; values.as_slice().buffer_len()];
    values.as_slice().emit(&mut bytes);
    AfSpecUnspec::Inet(vec![AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, bytes))])
}

pub(super) fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alternatives: Vec::new(),
        mac: None,
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        port_of: None,
        promotes_secondaries: false,
        forwards_ipv6: false,
        disables_ipv6: false,
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::PropList(properties) => link.alternatives.extend(properties.iter().filter_map(alternative)),
            LinkAttribute::Address(octets) => {
                link.mac = <[u8; 6]>::try_from(octets.as_slice()).ok().map(MacAddr::from);
            }
            LinkAttribute::Controller(index) if gives_frames_away(message) => link.port_of = Some(*index),
            LinkAttribute::Link(below) if is_macvlan(message) => link.parent = Some(*below),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()).filter(|alias| !alias.is_empty()),
            LinkAttribute::AfSpecUnspec(families) => {
                families.iter().for_each(|family| configuration(&mut link, family))
            }
            _ => {}
        }
    }
    link
}

fn is_macvlan(message: &LinkMessage) -> bool {
    info(message).any(|info| matches!(info, LinkInfo::Kind(InfoKind::MacVlan)))
}

/// Whether it is the port of something that takes its frames: a bridge, bond, team or switch does, a VRF does not.
fn gives_frames_away(message: &LinkMessage) -> bool {
    info(message).any(|info| matches!(info, LinkInfo::PortKind(kind) if *kind != InfoPortKind::Vrf))
}

fn info(message: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let infos = message.attributes.iter();
    infos.filter_map(|one| if let LinkAttribute::LinkInfo(info) = one { Some(info) } else { None }).flatten()
}

fn alternative(property: &Prop) -> Option<String> {
    if let Prop::AltIfName(name) = property { Some(name.clone()) } else { None }
}

fn configuration(link: &mut Link, family: &AfSpecUnspec) {
    match family {
        AfSpecUnspec::Inet(values) => {
            for value in values {
                if let AfSpecInet::DevConf(conf) = value {
                    link.promotes_secondaries = conf.promote_secondaries != 0;
                    link.arp = ArpHabits {
                        ignore: u32::try_from(conf.arp_ignore).unwrap_or(0),
                        announce: u32::try_from(conf.arp_announce).unwrap_or(0),
                    };
                }
            }
        }
        AfSpecUnspec::Inet6(values) => {
            for value in values {
                if let AfSpecInet6::DevConf(conf) = value {
                    link.forwards_ipv6 = conf.forwarding != 0;
                    link.disables_ipv6 = conf.disable_ipv6 != 0;
                }
            }
        }
        _ => {}
    }
}

/// `None` for what is no IPv4 or IPv6 address of the host.
pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut peer, mut tag, mut valid_for): (Option<IpAddr>, Option<IpAddr>, _, _) =
        (None, None, None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link IFA_ADDRESS is the other end; IPv6 without peer has no IFA_LOCAL.
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => peer = Some(*addr),
            AddressAttribute::Protocol(protocol) => tag = Some(u8::from(*protocol)),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::CacheInfo(info) if info.ifa_valid != FOR_EVER => {
                valid_for = Some(Duration::from_secs(u64::from(info.ifa_valid)));
            }
            _ => {}
        }
    }
    Some(Address {
        net: IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?,
        link: message.header.index,
        tag,
        secondary: flags.contains(AddressFlags::Secondary),
        tentative: flags.contains(AddressFlags::Tentative),
        duplicate: flags.contains(AddressFlags::Dadfailed),
        valid_for,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_takes_the_frames_of_its_ports_and_a_vrf_does_not() {
        for (kind, port_of) in [
            (Some(InfoPortKind::Bridge), Some(3)),
            (Some(InfoPortKind::Bond), Some(3)),
            (Some(InfoPortKind::Other("openvswitch".to_owned())), Some(3)),
            (Some(InfoPortKind::Vrf), None),
            (None, None),
        ] {
            let mut message = LinkMessage::default();
            let info = kind.clone().map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(kind)]));
            message.attributes.extend(info.into_iter().chain([LinkAttribute::Controller(3)]));
            assert_eq!(link(&message).port_of, port_of, "{kind:?}");
        }
    }
}
