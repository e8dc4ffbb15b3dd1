//! `vipd status`, against what the kernel says by other means.

use std::process::Stdio;

use bc_model::vip::VipStatus;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::world::{Host, World};

fn status(host: &Host, arguments: &str) -> VipStatus {
    let shown = host.vipd(&format!("status --json{arguments}"));
    assert_eq!(shown.code, Some(0), "{shown:?}");
    serde_json::from_str(&shown.out).unwrap()
}

#[test]
fn status_shows_what_vipd_placed_and_what_was_asked_for() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    assert_eq!(status(host, "").addresses, []);
    assert_eq!(host.vipd("status").err, "no virtual IP on this host\n");
    assert_eq!(host.vipd("assign 198.18.5.200/24 --dev eth0 --no-probe").code, Some(0));

    let shown = status(host, " 198.18.5.10 198.18.5.99");
    let mine: Vec<_> = shown.addresses.iter().map(|held| (held.address.to_string(), held.placed_by_vipd)).collect();
    assert_eq!(mine, [("198.18.5.10/24".to_owned(), false), ("198.18.5.200/24".to_owned(), true)]);
    assert!(shown.addresses.iter().all(|held| held.interface == "eth0" && held.lease_remaining_ms.is_none()));
    assert!(shown.holds("198.18.5.200".parse().unwrap()));
}

#[test]
fn the_tag_is_in_the_kernel() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    assert_eq!(host.vipd("assign 198.18.5.200/24 --dev eth0 --no-probe").code, Some(0));
    let tagged = host.namespace.enter(|| {
        let mut question = NetlinkMessage::from(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
        question.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        question.finalize();
        let mut bytes = vec![0; question.buffer_len()];
        question.serialize(&mut bytes);
        let socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.send(&bytes, 0).unwrap();
        let (answer, _) = socket.recv_from_full().unwrap();
        let (mut rest, mut tagged) = (&answer[..], Vec::new());
        while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) = message.payload
                && address.attributes.contains(&AddressAttribute::Protocol(AddressProtocol::Other(0x56)))
            {
                tagged.extend(address.attributes);
            }
            rest = rest.get(message.header.length as usize..).filter(|rest| !rest.is_empty()).unwrap_or(&[0]);
        }
        tagged
    });
    let attributes = tagged.join().unwrap();
    assert!(attributes.contains(&AddressAttribute::Local("198.18.5.200".parse().unwrap())), "{attributes:?}");
}

#[test]
fn a_lease_is_shown_in_milliseconds() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    host.namespace.ip("address add 198.18.5.200/24 dev eth0 valid_lft 100 preferred_lft 100\n");
    let left = status(host, " 198.18.5.200").addresses[0].lease_remaining_ms;
    assert!(left.is_some_and(|ms| (90_000..=100_000).contains(&ms)), "{left:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut vipd = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
    let code = vipd.args(["status", "--json"]).stdout(Stdio::from(writer)).status().unwrap().code();
    assert_eq!(code, Some(0));
}
