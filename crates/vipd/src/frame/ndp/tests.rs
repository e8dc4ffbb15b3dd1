use proptest::prelude::*;

use super::*;

const OWN: MacAddr = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d);

fn vip() -> Ipv6Addr {
    "fd00:5::a1:b2c3".parse().unwrap()
}

/// Sets the checksum right again after a change.
fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let source = <[u8; 16]>::try_from(&frame[22..38]).unwrap().into();
    let destination = <[u8; 16]>::try_from(&frame[38..54]).unwrap().into();
    let sum = ipv6_checksum(&frame[54..], 1, &[], &source, &destination, IpNextHeaderProtocols::Icmpv6);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn a_probe_is_the_solicitation_of_duplicate_address_detection() {
    let golden = [
        0x33, 0x33, 0xff, 0xa1, 0xb2, 0xc3, 0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, 0x86, 0xdd, // to the group's MAC
        0x60, 0, 0, 0, 0, 24, 58, 255, // IPv6: 24 bytes, ICMPv6, hop limit 255
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // from ::
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xa1, 0xb2, 0xc3, // to ff02::1:ffa1:b2c3
        135, 0, 0x16, 0xd9, 0, 0, 0, 0, // neighbour solicitation
        0xfd, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa1, 0xb2, 0xc3, // for the VIP
    ];
    assert_eq!(probe(OWN, vip()), golden);
}

#[test]
fn an_announcement_overrides_is_not_solicited_and_names_our_mac() {
    let golden = [
        0x33, 0x33, 0, 0, 0, 1, 0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, 0x86, 0xdd, // to all nodes
        0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6: 32 bytes, ICMPv6, hop limit 255
        0xfd, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa1, 0xb2, 0xc3, // from the VIP
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // to ff02::1
        136, 0, 0x28, 0x69, 0x20, 0, 0, 0, // neighbour advertisement, O
        0xfd, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa1, 0xb2, 0xc3, // for the VIP
        2, 1, 0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d, // target link-layer address
    ];
    assert_eq!(announcement(OWN, vip(), false), golden);
    assert_eq!(announcement(OWN, vip(), true)[58], 0xa0, "R is set on a host that forwards");
}

#[test]
fn what_is_emitted_is_parsed_back() {
    let solicitation = Ndp::Solicitation { target: vip(), source: Ipv6Addr::UNSPECIFIED, mac: OWN };
    assert_eq!(Ndp::parse(&probe(OWN, vip())), Some(solicitation));
    let advertisement =
        Ndp::Advertisement { target: vip(), source: vip(), mac: OWN, router: false, solicited: false, overrides: true };
    assert_eq!(Ndp::parse(&announcement(OWN, vip(), false)), Some(advertisement));
}

#[test]
fn each_check_of_rfc_4861_section_7_1_discards() {
    let frame = announcement(OWN, vip(), false);
    for len in 0..frame.len() {
        assert_eq!(Ndp::parse(&frame[..len]), None, "{len} bytes");
    }
    let table = [
        (21, 254, "hop limit 254: a router forwarded it"),
        (20, 17, "not ICMPv6"),
        (14, 0x40, "not version 6"),
        (54, 134, "another ICMPv6 type"),
        (55, 1, "code 1"),
        (62, 0xff, "multicast target"),
        (58, 0x60, "solicited, but to a multicast address"),
        (79, 0, "option of length 0"),
        (79, 2, "option longer than the message"),
    ];
    for (at, value, what) in table {
        let mut bad = frame.clone();
        bad[at] = value;
        assert_eq!(Ndp::parse(&with_checksum(bad)), None, "{what}");
    }
    let mut bad = frame.clone();
    bad[56] ^= 1;
    assert_eq!(Ndp::parse(&bad), None, "checksum");
    let mut bad = probe(OWN, vip());
    bad[53] ^= 1;
    assert_eq!(Ndp::parse(&with_checksum(bad)), None, "a probe to another group");
}

#[test]
fn an_advertisement_without_option_names_the_frame_source() {
    let mut frame = announcement(OWN, vip(), false);
    frame.truncate(78);
    frame[19] = 24;
    let parsed = Ndp::parse(&with_checksum(frame));
    assert!(matches!(parsed, Some(Ndp::Advertisement { mac: OWN, .. })), "{parsed:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = Ndp::parse(&bytes);
    }

    #[test]
    fn no_mutation_of_a_valid_frame_makes_it_panic(at in 0_usize..86, value: u8, len in 0_usize..86) {
        let mut frame = announcement(OWN, vip(), false);
        frame[at] = value;
        let _ = Ndp::parse(&with_checksum(frame.clone()));
        let _ = Ndp::parse(&frame[..len]);
    }
}
