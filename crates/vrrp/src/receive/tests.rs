//! RFC 9568 §7.1 by its sentences, for one virtual router: VRID 51, priority 100, 10 cs, 198.18.0.100, at 198.18.0.2.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::wire::{ChecksumForm, Endpoints, IPV4_GROUP, IPV6_GROUP, TTL};
use crate::{Centis, Seconds};

const VIP: [[u8; 4]; 1] = [[198, 18, 0, 100]];
const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const US: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

fn centis(centis: u16) -> AdverInterval {
    AdverInterval::V3(Centis::new(centis).unwrap())
}

fn seconds(seconds: u8) -> AdverInterval {
    AdverInterval::V2(Seconds::new(seconds).unwrap())
}

fn ours() -> VirtualRouter<'static> {
    VirtualRouter {
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::DEFAULT,
        interval: centis(10),
        addresses: AddressList::v4(&VIP).unwrap(),
        primary: US.into(),
        peers: Peers::Multicast,
    }
}

/// An advertisement, and how it travels.
#[derive(Clone, Copy)]
struct Sent {
    vrid: u8,
    priority: u8,
    interval: AdverInterval,
    addresses: &'static [[u8; 4]],
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    form: ChecksumForm,
}

const NORMAL: fn() -> Sent = || Sent {
    vrid: 51,
    priority: 200,
    interval: centis(10),
    addresses: &VIP,
    source: PEER,
    destination: IPV4_GROUP,
    ttl: TTL,
    form: ChecksumForm::Rfc9568,
};

/// What becomes of it; and that exactly the counter of that verdict, and none else, has moved.
fn verdict(router: &VirtualRouter<'_>, sent: Sent) -> Result<(Heard, Notices), Discard> {
    let list = AddressList::v4(sent.addresses).unwrap();
    let vrid = Vrid::new(sent.vrid).unwrap();
    let advertisement =
        Advertisement::new(vrid, AdvertPriority::from_wire(sent.priority), sent.interval, list).unwrap();
    let endpoints = Endpoints::V4 { source: sent.source, destination: sent.destination };
    let mut buffer = [0; 64];
    let length = advertisement.emit(endpoints, sent.form, &mut buffer).unwrap();
    let mut counters = Counters::ZERO;
    let datagram = Datagram { endpoints, ttl: sent.ttl, payload: &buffer[..length] };
    let verdict = router.receive(&datagram, &mut counters).map(|received| (received.heard, received.notices));
    let mut expected = Counters::ZERO;
    match &verdict {
        Ok((_, notices)) => expected.count_accepted(*notices),
        Err(why) => expected.count_discard(*why),
    }
    assert_eq!(counters, expected);
    verdict
}

fn notices(of: Result<(Heard, Notices), Discard>) -> Vec<Notice> {
    of.unwrap().1.iter().collect()
}

#[test]
fn a_valid_advertisement_reaches_the_state_machine() {
    let (heard, notices) = verdict(&ours(), NORMAL()).unwrap();
    assert_eq!(heard.source, IpAddr::V4(PEER));
    assert_eq!(heard.priority, AdvertPriority::Holding(Priority::new(200).unwrap()));
    assert_eq!(heard.interval, centis(10));
    assert!(notices.is_empty(), "{notices:?}");
}

#[test]
fn it_must_verify_that_the_ttl_is_255() {
    for ttl in 0..=254 {
        assert_eq!(verdict(&ours(), Sent { ttl, ..NORMAL() }), Err(Discard::Ttl));
    }
}

#[test]
fn it_must_verify_the_version() {
    assert_eq!(verdict(&ours(), Sent { interval: seconds(1), ..NORMAL() }), Err(Discard::Version), "v2 at a v3 router");
    let version_2 = VirtualRouter { interval: seconds(1), ..ours() };
    assert_eq!(verdict(&version_2, NORMAL()), Err(Discard::Version), "v3 at a v2 router");
    assert!(verdict(&version_2, Sent { interval: seconds(1), ..NORMAL() }).is_ok());
}

#[test]
fn it_must_verify_that_the_vrid_is_configured_here() {
    assert_eq!(verdict(&ours(), Sent { vrid: 52, ..NORMAL() }), Err(Discard::UnknownVrid));
}

#[test]
fn both_checksum_forms_are_accepted_and_the_older_one_is_counted() {
    assert_eq!(notices(verdict(&ours(), Sent { form: ChecksumForm::Rfc5798, ..NORMAL() })), [Notice::Rfc5798Checksum]);
    assert_eq!(notices(verdict(&ours(), NORMAL())), []);
}

#[test]
fn another_interval_is_accepted_and_noted_in_version_3() {
    let (heard, notices) = verdict(&ours(), Sent { interval: centis(50), ..NORMAL() }).unwrap();
    assert_eq!(heard.interval, centis(50), "the state machine learns it");
    assert!(notices.contains(Notice::OtherInterval));
}

#[test]
fn another_interval_is_discarded_in_version_2() {
    let version_2 = VirtualRouter { interval: seconds(1), ..ours() };
    assert_eq!(verdict(&version_2, Sent { interval: seconds(2), ..NORMAL() }), Err(Discard::IntervalMismatch));
}

#[test]
fn other_addresses_are_accepted_and_noted() {
    for addresses in [&[[198, 18, 0, 101]][..], &[[198, 18, 0, 100], [198, 18, 0, 101]]] {
        assert_eq!(notices(verdict(&ours(), Sent { addresses, ..NORMAL() })), [Notice::OtherAddresses]);
    }
}

#[test]
fn the_owner_hears_others_and_says_so() {
    let owner = VirtualRouter { priority: Priority::OWNER, ..ours() };
    assert_eq!(notices(verdict(&owner, NORMAL())), [Notice::HeardByOwner], "erratum 8298: noted, not discarded");
    let second = verdict(&owner, Sent { priority: 255, ..NORMAL() });
    assert_eq!(notices(second), [Notice::HeardByOwner, Notice::SecondOwner]);
    assert_eq!(notices(verdict(&ours(), Sent { priority: 255, ..NORMAL() })), [], "one owner is as it should be");
}

#[test]
fn our_own_advertisement_is_ignored() {
    assert_eq!(verdict(&ours(), Sent { source: US, ..NORMAL() }), Err(Discard::OwnAddress));
}

#[test]
fn a_source_that_no_router_has_is_discarded() {
    for source in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, IPV4_GROUP] {
        assert_eq!(verdict(&ours(), Sent { source, ..NORMAL() }), Err(Discard::Source), "{source}");
    }
}

#[test]
fn a_packet_that_was_not_sent_to_the_group_is_discarded() {
    for destination in [US, Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::BROADCAST] {
        assert_eq!(verdict(&ours(), Sent { destination, ..NORMAL() }), Err(Discard::Destination), "{destination}");
    }
}

#[test]
fn with_unicast_peers_only_they_are_heard_and_only_from_near_enough() {
    let peers = [IpAddr::V4(PEER)];
    let router = VirtualRouter { peers: Peers::Unicast { peers: &peers, min_ttl: 253 }, ..ours() };
    let direct = Sent { destination: US, ..NORMAL() };
    assert!(verdict(&router, direct).is_ok());
    assert!(verdict(&router, Sent { ttl: 253, ..direct }).is_ok());
    assert_eq!(verdict(&router, Sent { ttl: 252, ..direct }), Err(Discard::Ttl));
    assert_eq!(verdict(&router, Sent { source: Ipv4Addr::new(198, 18, 0, 3), ..direct }), Err(Discard::UnknownPeer));
    assert_eq!(verdict(&router, NORMAL()), Err(Discard::Destination), "multicast, where unicast is configured");
}

#[test]
fn a_packet_that_is_no_advertisement_counts_under_its_own_reason() {
    let endpoints = Endpoints::V4 { source: PEER, destination: IPV4_GROUP };
    for (payload, why) in [
        (&[][..], Discard::Truncated),
        (&[0x31, 51, 200, 1, 0, 10, 0, 0], Discard::Truncated),
        (&[0x32, 51, 200, 1, 0, 10, 0, 0], Discard::Type),
        (&[0x41, 51, 200, 1, 0, 10, 0, 0], Discard::Version),
        (&[0x31, 51, 200, 0, 0, 10, 0, 0], Discard::NoAddresses),
        (&[0x31, 51, 200, 1, 0, 10, 0, 0, 198, 18, 0, 100], Discard::Checksum),
    ] {
        let mut counters = Counters::ZERO;
        let verdict = ours().receive(&Datagram { endpoints, ttl: TTL, payload }, &mut counters);
        assert_eq!(verdict.unwrap_err(), why);
        assert_eq!((counters.discarded(why), counters.discarded_in_all(), counters.accepted()), (1, 1, 0));
    }
}

#[test]
fn the_hop_limit_and_the_group_hold_for_ipv6_as_well() {
    let octets = [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x64).octets()];
    let list = AddressList::v6(&octets).unwrap();
    let us = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let router = VirtualRouter { addresses: list, primary: us.into(), ..ours() };
    let peer = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let advertisement =
        Advertisement::new(router.vrid, AdvertPriority::Holding(Priority::DEFAULT), router.interval, list);
    for (source, destination, ttl, verdict) in [
        (peer, IPV6_GROUP, 255, None),
        (peer, IPV6_GROUP, 254, Some(Discard::Ttl)),
        (peer, us, 255, Some(Discard::Destination)),
        (us, IPV6_GROUP, 255, Some(Discard::OwnAddress)),
        (IPV6_GROUP, IPV6_GROUP, 255, Some(Discard::Source)),
        (Ipv6Addr::UNSPECIFIED, IPV6_GROUP, 255, Some(Discard::Source)),
    ] {
        let endpoints = Endpoints::V6 { source, destination };
        let mut buffer = [0; 64];
        let length = advertisement.unwrap().emit(endpoints, ChecksumForm::default(), &mut buffer).unwrap();
        let datagram = Datagram { endpoints, ttl, payload: &buffer[..length] };
        assert_eq!(
            router.receive(&datagram, &mut Counters::ZERO.clone()).err(),
            verdict,
            "{source} {destination} {ttl}"
        );
    }
}
