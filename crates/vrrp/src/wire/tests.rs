//! Golden bytes are what keepalived 2.2.7 put on a wire; the rest is held against them.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::{AddressList, AdverInterval, AdvertPriority, Centis, Discard, Priority, Seconds, Version, Vrid};

const VIP: [[u8; 4]; 1] = [[198, 18, 0, 100]];

/// VRID 51, priority 200, 1 s, 198.18.0.100: the reference advertisement of RFC 5798's form, from 198.18.0.1.
const V3: [u8; 12] = [0x31, 0x33, 0xc8, 0x01, 0x00, 0x64, 0x99, 0x4d, 198, 18, 0, 100];

/// keepalived, VRID 52, 198.18.0.101: a whole IPv4 packet.
const V3_PACKET: [u8; 32] = [
    0x45, 0xc0, 0x00, 0x20, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0x14, 0x87, 198, 18, 0, 1, 224, 0, 0, 18, 0x31, 0x34,
    0xc8, 0x01, 0x00, 0x64, 0x99, 0x4b, 198, 18, 0, 101,
];

/// keepalived, VRID 51 in version 2, 198.18.0.100: a whole IPv4 packet.
const V2_PACKET: [u8; 40] = [
    0x45, 0xc0, 0x00, 0x28, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0x14, 0x7f, 198, 18, 0, 1, 224, 0, 0, 18, 0x21, 0x33,
    0xc8, 0x01, 0x00, 0x01, 0x50, 0x53, 198, 18, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// keepalived, VRID 53 over IPv6, 100 ms, fe80::100 and fd00:18::100, from fe80::1: a whole IPv6 packet.
const V6_PACKET: [u8; 80] = [
    0x6c, 0x04, 0x2f, 0x01, 0x00, 0x28, 0x70, 0xff, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff,
    0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x31, 0x35, 0xc8, 0x02, 0x00, 0x0a, 0x0a, 0xf5, 0xfe, 0x80, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00, 0xfd, 0x00, 0x00, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00,
];

fn vrid(number: u8) -> Vrid {
    Vrid::new(number).unwrap()
}

fn holding(level: u8) -> AdvertPriority {
    AdvertPriority::Holding(Priority::new(level).unwrap())
}

fn centis(centis: u16) -> AdverInterval {
    AdverInterval::V3(Centis::new(centis).unwrap())
}

fn from_v4(last: u8) -> Endpoints {
    Endpoints::V4 { source: Ipv4Addr::new(198, 18, 0, last), destination: IPV4_GROUP }
}

fn from_v6() -> Endpoints {
    Endpoints::V6 { source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), destination: IPV6_GROUP }
}

fn reference(level: u8) -> Advertisement<'static> {
    Advertisement::new(vrid(51), holding(level), centis(100), AddressList::v4(&VIP).unwrap()).unwrap()
}

fn emitted(advertisement: &Advertisement<'_>, endpoints: Endpoints, form: ChecksumForm) -> Vec<u8> {
    let mut buffer = vec![0xa5; advertisement.buffer_len() + 3];
    let length = advertisement.emit(endpoints, form, &mut buffer).unwrap();
    assert_eq!(buffer[length..], [0xa5; 3], "it should write no more than it says");
    buffer.truncate(length);
    buffer
}

fn parse(endpoints: Endpoints, payload: &[u8]) -> Result<Parsed<'_>, Discard> {
    Advertisement::parse(&Datagram { endpoints, ttl: TTL, payload })
}

/// The bytes with one changed, and the checksum made right again for a message without pseudo-header.
fn with_byte(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] = value;
    resummed(changed)
}

fn resummed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[6..8].fill(0);
    let checksum = checksum::Sum::of(&bytes).checksum();
    bytes[6..8].copy_from_slice(&checksum);
    bytes
}

// ── transmit ───────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_checksum_of_rfc_5798_covers_a_pseudo_header() {
    assert_eq!(emitted(&reference(200), from_v4(1), ChecksumForm::Rfc5798), V3);
    assert_eq!(emitted(&reference(150), from_v4(2), ChecksumForm::Rfc5798)[6..8], [0xcb, 0x4c]);
    assert_eq!(ChecksumForm::default(), ChecksumForm::Rfc5798, "keepalived and FRR accept no other");
}

#[test]
fn the_checksum_of_rfc_9568_covers_the_message_only() {
    assert_eq!(emitted(&reference(200), from_v4(1), ChecksumForm::Rfc9568)[6..8], [0x3f, 0xf0]);
    assert_eq!(emitted(&reference(150), from_v4(2), ChecksumForm::Rfc9568)[6..8], [0x71, 0xf0]);
}

#[test]
fn an_ipv6_advertisement_is_byte_for_byte_keepaliveds() {
    let addresses = [[0xfe80, 0, 0, 0, 0, 0, 0, 0x100], [0xfd00, 0x18, 0, 0, 0, 0, 0, 0x100]];
    let addresses = addresses.map(|[a, b, c, d, e, f, g, h]| Ipv6Addr::new(a, b, c, d, e, f, g, h).octets());
    let list = AddressList::v6(&addresses).unwrap();
    let advertisement = Advertisement::new(vrid(53), holding(200), centis(10), list).unwrap();
    for form in [ChecksumForm::Rfc5798, ChecksumForm::Rfc9568] {
        assert_eq!(emitted(&advertisement, from_v6(), form), V6_PACKET[40..], "IPv6 always has a pseudo-header");
    }
}

#[test]
fn a_version_2_advertisement_is_byte_for_byte_keepaliveds() {
    let interval = AdverInterval::V2(Seconds::new(1).unwrap());
    let list = AddressList::v4(&VIP).unwrap();
    let advertisement = Advertisement::new(vrid(51), holding(200), interval, list).unwrap();
    for form in [ChecksumForm::Rfc5798, ChecksumForm::Rfc9568] {
        assert_eq!(emitted(&advertisement, from_v4(1), form), V2_PACKET[20..], "v2 never has a pseudo-header");
    }
}

#[test]
fn the_reserve_field_is_zero_even_for_the_longest_interval() {
    let longest = Advertisement::new(vrid(51), holding(1), centis(4095), AddressList::v4(&VIP).unwrap()).unwrap();
    assert_eq!(emitted(&longest, from_v4(1), ChecksumForm::Rfc9568)[4..6], [0x0f, 0xff]);
}

#[test]
fn a_resignation_has_priority_0() {
    let list = AddressList::v4(&VIP).unwrap();
    let resignation = Advertisement::new(vrid(51), AdvertPriority::Resigning, centis(100), list).unwrap();
    assert_eq!(emitted(&resignation, from_v4(1), ChecksumForm::Rfc5798)[2], 0);
}

#[test]
fn families_are_never_mixed() {
    let mut buffer = [0; 64];
    assert_eq!(reference(200).emit(from_v6(), ChecksumForm::Rfc5798, &mut buffer), Err(EmitError::Family));
    assert_eq!(buffer, [0; 64], "nothing is written");
    let link_local = [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets()];
    let list = AddressList::v6(&link_local).unwrap();
    let interval = AdverInterval::V2(Seconds::new(1).unwrap());
    assert_eq!(Advertisement::new(vrid(51), holding(1), interval, list), Err(VersionError), "v2 has no IPv6");
}

#[test]
fn a_buffer_that_is_too_short_stays_as_it_was() {
    let mut buffer = [0xa5; 11];
    let error = reference(200).emit(from_v4(1), ChecksumForm::Rfc5798, &mut buffer);
    assert_eq!(error, Err(EmitError::BufferTooShort { needed: 12, given: 11 }));
    assert_eq!(buffer, [0xa5; 11]);
}

// ── receive ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn keepaliveds_packets_are_read() {
    let v3 = Ipv4Packet::new_checked(&V3_PACKET).unwrap();
    assert_eq!((v3.endpoints(), v3.ttl()), (from_v4(1), 255));
    let parsed = Advertisement::parse(&v3.datagram()).unwrap();
    assert_eq!(parsed.checksum, Some(ChecksumForm::Rfc5798));
    assert_eq!(parsed.advertisement.vrid(), vrid(52));
    assert_eq!(parsed.advertisement.priority(), holding(200));
    assert_eq!(parsed.advertisement.interval(), centis(100));

    let v2 = Advertisement::parse(&Ipv4Packet::new_checked(&V2_PACKET).unwrap().datagram()).unwrap();
    assert_eq!(v2.advertisement.interval().version(), Version::V2);
    assert_eq!(v2.advertisement.addresses().as_bytes(), VIP.as_flattened());

    let v6 = Ipv6Packet::new_checked(&V6_PACKET).unwrap();
    assert_eq!((v6.endpoints(), v6.hop_limit()), (from_v6(), 255));
    let parsed = Advertisement::parse(&v6.datagram()).unwrap();
    assert_eq!((parsed.checksum, parsed.advertisement.addresses().count()), (None, 2));
}

#[test]
fn both_forms_of_the_checksum_are_accepted_and_told_apart() {
    for form in [ChecksumForm::Rfc5798, ChecksumForm::Rfc9568] {
        let bytes = emitted(&reference(200), from_v4(1), form);
        assert_eq!(parse(from_v4(1), &bytes).unwrap().checksum, Some(form));
    }
    assert_eq!(parse(from_v4(2), &V3), Err(Discard::Checksum), "the pseudo-header has the sender's address");
}

#[test]
fn a_wrong_checksum_is_discarded() {
    for bit in 0..16 {
        let mut bytes = V3;
        bytes[6 + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse(from_v4(1), &bytes), Err(Discard::Checksum), "bit {bit}");
    }
    let mut v2 = V2_PACKET;
    v2[26] ^= 1;
    assert_eq!(parse(from_v4(1), &v2[20..]), Err(Discard::Checksum));
    let mut v6 = V6_PACKET;
    v6[47] ^= 1;
    assert_eq!(parse(from_v6(), &v6[40..]), Err(Discard::Checksum));
}

#[test]
fn an_ipv6_checksum_without_pseudo_header_is_discarded() {
    assert_eq!(parse(from_v6(), &resummed(V6_PACKET[40..].to_vec())), Err(Discard::Checksum));
}

#[test]
fn a_version_2_checksum_with_pseudo_header_is_discarded() {
    let mut bytes = V2_PACKET[20..].to_vec();
    bytes[6..8].fill(0);
    let sum = checksum::Sum::of(&bytes).and(checksum::Sum::of_pseudo_header(from_v4(1), bytes.len()));
    bytes[6..8].copy_from_slice(&sum.checksum());
    assert_eq!(parse(from_v4(1), &bytes), Err(Discard::Checksum));
}

#[test]
fn a_version_that_does_not_exist_is_discarded() {
    for version in (0..=15).filter(|version| !matches!(version, 2 | 3)) {
        let bytes = with_byte(&V3, 0, version << 4 | 1);
        assert_eq!(parse(from_v4(1), &bytes), Err(Discard::Version), "version {version}");
    }
    let v2_over_v6 = with_byte(&V6_PACKET[40..], 0, 0x21);
    assert_eq!(parse(from_v6(), &v2_over_v6), Err(Discard::Version), "there is no v2 over IPv6");
}

#[test]
fn a_type_that_is_not_1_is_discarded() {
    for kind in (0..=15).filter(|kind| *kind != 1) {
        assert_eq!(parse(from_v4(1), &with_byte(&V3, 0, 0x30 | kind)), Err(Discard::Type), "type {kind}");
    }
}

#[test]
fn an_address_count_of_0_is_ignored() {
    assert_eq!(parse(from_v4(1), &with_byte(&V3, 3, 0)), Err(Discard::NoAddresses), "with an address after it");
    assert_eq!(parse(from_v4(1), &with_byte(&V3[..8], 3, 0)), Err(Discard::NoAddresses), "with none");
    assert_eq!(parse(from_v4(1), &with_byte(&V2_PACKET[20..], 3, 0)), Err(Discard::NoAddresses));
}

#[test]
fn a_message_shorter_than_its_count_is_discarded_at_every_length() {
    for (endpoints, whole) in [(from_v4(1), &V3[..]), (from_v4(1), &V2_PACKET[20..]), (from_v6(), &V6_PACKET[40..])] {
        for length in 0..whole.len() {
            assert_eq!(
                parse(endpoints, &whole[..length]),
                Err(Discard::Truncated),
                "{length} of {} bytes",
                whole.len()
            );
        }
    }
    assert_eq!(parse(from_v4(1), &with_byte(&V3, 3, 2)), Err(Discard::Truncated), "two addresses, bytes of one");
}

#[test]
fn a_message_longer_than_its_count_is_discarded() {
    for extra in [1, 4, 28, 100] {
        let mut bytes = V3.to_vec();
        bytes.resize(V3.len() + extra, 0);
        assert_eq!(parse(from_v4(1), &resummed(bytes)), Err(Discard::Oversize), "{extra} bytes too many");
    }
    assert_eq!(parse(from_v6(), &with_byte(&V6_PACKET[40..], 3, 1)), Err(Discard::Oversize));
}

#[test]
fn a_vrid_of_0_is_discarded() {
    assert_eq!(parse(from_v4(1), &with_byte(&V3, 1, 0)), Err(Discard::VridZero));
}

#[test]
fn an_interval_of_0_is_discarded() {
    assert_eq!(parse(from_v4(1), &with_byte(&V3, 5, 0)), Err(Discard::IntervalZero));
    assert_eq!(
        parse(from_v4(1), &with_byte(&with_byte(&V3, 5, 0), 4, 0xf0)),
        Err(Discard::IntervalZero),
        "reserve set"
    );
    assert_eq!(parse(from_v4(1), &with_byte(&V2_PACKET[20..], 5, 0)), Err(Discard::IntervalZero));
}

#[test]
fn the_reserve_field_is_ignored_on_reception() {
    let bytes = with_byte(&V3, 4, 0xf0);
    assert_eq!(parse(from_v4(1), &bytes).unwrap().advertisement, reference(200));
}

#[test]
fn authentication_is_discarded_and_its_data_ignored() {
    for kind in [1, 2, 255] {
        assert_eq!(parse(from_v4(1), &with_byte(&V2_PACKET[20..], 4, kind)), Err(Discard::AuthType), "type {kind}");
    }
    assert!(parse(from_v4(1), &with_byte(&V2_PACKET[20..], 19, 7)).is_ok(), "RFC 3768 §5.3.10: ignored on reception");
}

#[test]
fn a_first_ipv6_address_that_is_not_link_local_is_discarded() {
    let mut bytes = V6_PACKET[40..].to_vec();
    bytes[8] = 0xfd;
    bytes[6..8].fill(0);
    let sum = checksum::Sum::of(&bytes).and(checksum::Sum::of_pseudo_header(from_v6(), bytes.len()));
    bytes[6..8].copy_from_slice(&sum.checksum());
    assert_eq!(parse(from_v6(), &bytes), Err(Discard::FirstAddressNotLinkLocal));
}

// ── IP headers ─────────────────────────────────────────────────────────────────────────────────────────────────────

fn with_header_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let header = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let checksum = checksum::Sum::of(&packet[..header.min(packet.len())]).checksum();
    packet[10..12].copy_from_slice(&checksum);
    packet
}

#[test]
fn an_ipv4_header_with_options_is_read() {
    for options in 1..=10_u8 {
        let mut packet = V3_PACKET[..20].to_vec();
        packet.extend(vec![1; usize::from(options) * 4]); // No Operation
        packet.extend(&V3_PACKET[20..]);
        packet[0] = 0x45 + options;
        packet[3] += options * 4;
        let packet = with_header_checksum(packet);
        let read = Ipv4Packet::new_checked(&packet).unwrap();
        assert_eq!(read.payload(), &V3_PACKET[20..], "IHL {}", 5 + options);
        assert!(Advertisement::parse(&read.datagram()).is_ok());
    }
}

#[test]
fn ethernet_padding_to_46_bytes_is_left_out() {
    let mut padded = V3_PACKET.to_vec();
    padded.resize(46, 0x5a);
    assert!(Advertisement::parse(&Ipv4Packet::new_checked(&padded).unwrap().datagram()).is_ok());
    padded[3] = 46;
    let claimed = with_header_checksum(padded);
    let datagram = Ipv4Packet::new_checked(&claimed).unwrap().datagram();
    assert_eq!(Advertisement::parse(&datagram), Err(Discard::Oversize), "what the IP header claims is no padding");
}

#[test]
fn an_ipv4_packet_that_is_none_is_discarded_with_its_reason() {
    let changed = |at: usize, value: u8| {
        let mut packet = V3_PACKET.to_vec();
        packet[at] = value;
        with_header_checksum(packet)
    };
    for (packet, why) in [
        (changed(0, 0x65), Discard::HeaderVersion),
        (changed(0, 0x44), Discard::HeaderTruncated),
        (changed(0, 0x4f), Discard::HeaderTruncated),
        (changed(3, 33), Discard::HeaderTruncated),
        (changed(3, 19), Discard::HeaderTruncated),
        (changed(3, 0), Discard::HeaderTruncated),
        (changed(9, 17), Discard::Protocol),
        (changed(6, 0x20), Discard::Fragment),
        (changed(7, 0x01), Discard::Fragment),
    ] {
        assert_eq!(Ipv4Packet::new_checked(&packet).unwrap_err(), why, "{packet:02x?}");
    }
    assert!(Ipv4Packet::new_checked(&changed(6, 0x40)).is_ok(), "Don't Fragment is no fragment");
    let mut corrupt = V3_PACKET;
    corrupt[11] ^= 1;
    assert_eq!(Ipv4Packet::new_checked(&corrupt).unwrap_err(), Discard::HeaderChecksum);
    for length in 0..V3_PACKET.len() {
        assert_eq!(Ipv4Packet::new_checked(&V3_PACKET[..length]).unwrap_err(), Discard::HeaderTruncated);
    }
}

#[test]
fn an_ipv6_packet_that_is_none_is_discarded_with_its_reason() {
    let changed = |at: usize, value: u8| {
        let mut packet = V6_PACKET;
        packet[at] = value;
        packet
    };
    for (packet, why) in [
        (changed(0, 0x45), Discard::HeaderVersion),
        (changed(5, 0x29), Discard::HeaderTruncated),
        (changed(6, 0), Discard::Protocol),
    ] {
        assert_eq!(Ipv6Packet::new_checked(&packet).unwrap_err(), why);
    }
    for length in 0..V6_PACKET.len() {
        assert_eq!(Ipv6Packet::new_checked(&V6_PACKET[..length]).unwrap_err(), Discard::HeaderTruncated);
    }
}

// ── properties ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// The Internet checksum in the most obvious way: a sum modulo 65535.
fn plain_checksum(bytes: &[u8]) -> u16 {
    let sum: u64 =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u64::from(*low))).sum();
    let folded = if sum > 0 && sum.is_multiple_of(65_535) { 65_535 } else { sum % 65_535 };
    65_535 - u16::try_from(folded).unwrap()
}

prop_compose! {
    fn any_interval()(v2 in any::<bool>(), centis in 1_u16..=4095, seconds in 1_u8..=255) -> AdverInterval {
        if v2 { AdverInterval::V2(Seconds::new(seconds).unwrap()) } else { AdverInterval::V3(Centis::new(centis).unwrap()) }
    }
}

proptest! {
    #[test]
    fn an_ipv4_advertisement_survives_the_wire(
        number in 1_u8..=255, level: u8, interval in any_interval(), octets in prop::collection::vec(any::<[u8; 4]>(), 1..=255),
        source: [u8; 4], destination: [u8; 4], rfc9568: bool,
    ) {
        let list = AddressList::v4(&octets).unwrap();
        let sent = Advertisement::new(vrid(number), AdvertPriority::from_wire(level), interval, list).unwrap();
        let endpoints = Endpoints::V4 { source: source.into(), destination: destination.into() };
        let form = if rfc9568 { ChecksumForm::Rfc9568 } else { ChecksumForm::Rfc5798 };
        let bytes = emitted(&sent, endpoints, form);
        prop_assert_eq!(parse(endpoints, &bytes).unwrap().advertisement, sent);
        if rfc9568 || interval.version() == Version::V2 {
            let mut blank = bytes.clone();
            blank[6..8].fill(0);
            prop_assert_eq!(u16::from_be_bytes([bytes[6], bytes[7]]), plain_checksum(&blank));
        }
    }

    #[test]
    fn an_ipv6_advertisement_survives_the_wire(
        number in 1_u8..=255, level: u8, units in 1_u16..=4095, mut octets in prop::collection::vec(any::<[u8; 16]>(), 1..=255),
        source: [u8; 16], destination: [u8; 16],
    ) {
        octets[0][..2].copy_from_slice(&[0xfe, 0x80]);
        let list = AddressList::v6(&octets).unwrap();
        let sent = Advertisement::new(vrid(number), AdvertPriority::from_wire(level), centis(units), list).unwrap();
        let endpoints = Endpoints::V6 { source: source.into(), destination: destination.into() };
        let bytes = emitted(&sent, endpoints, ChecksumForm::default());
        prop_assert_eq!(parse(endpoints, &bytes).unwrap().advertisement, sent);
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let mut blank = [&source[..], &destination, &length, &[0, 0, 0, PROTOCOL], &bytes].concat();
        blank[46..48].fill(0);
        prop_assert_eq!(u16::from_be_bytes([bytes[6], bytes[7]]), plain_checksum(&blank));
    }

    #[test]
    fn random_bytes_never_panic_and_what_is_accepted_is_what_would_be_sent(
        bytes in prop::collection::vec(any::<u8>(), 0..200), first in prop::sample::select(vec![0x21_u8, 0x31]), v6: bool,
    ) {
        let endpoints = if v6 { from_v6() } else { from_v4(1) };
        let _ = Ipv4Packet::new_checked(&bytes);
        let _ = Ipv6Packet::new_checked(&bytes);
        let mut bytes = bytes;
        if bytes.len() >= 8 {
            bytes[0] = first;
            bytes = resummed(bytes);
        }
        if let Ok(parsed) = parse(endpoints, &bytes) {
            let form = parsed.checksum.unwrap_or_default();
            let again = emitted(&parsed.advertisement, endpoints, form);
            prop_assert_eq!(parse(endpoints, &again).unwrap().advertisement, parsed.advertisement);
        }
    }
}
