//! The messages in what the kernel says on rtnetlink(7).

use netlink_packet_core::{NetlinkBuffer, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;

/// The messages of one datagram. What cannot be read is skipped: it is of a kind that we do not know.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    std::iter::from_fn(move || {
        while !datagram.is_empty() {
            let length = NetlinkBuffer::new_checked(datagram).ok()?.length() as usize;
            let message = datagram.get(..length)?;
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            if let Ok(message) = NetlinkMessage::deserialize(message) {
                return Some(message);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkPayload;
    use netlink_packet_route::address::AddressMessage;

    use super::*;

    fn address(index: u32) -> Vec<u8> {
        let mut inner = AddressMessage::default();
        inner.header.index = index;
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewAddress(inner));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn indices(datagram: &[u8]) -> Vec<u32> {
        let index = |message: NetlinkMessage<_>| match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => Some(address.header.index),
            _ => None,
        };
        messages(datagram).filter_map(index).collect()
    }

    #[test]
    fn a_message_that_cannot_be_read_does_not_hide_those_after_it() {
        let mut broken = address(2);
        // An address message without its header.
        broken.truncate(16);
        broken[..4].copy_from_slice(&16_u32.to_ne_bytes());
        assert_eq!(indices(&[address(1), broken, address(3)].concat()), [1, 3]);
    }

    #[test]
    fn no_bytes_are_read_for_ever_or_beyond_their_end() {
        let two = [address(1), address(2)].concat();
        for length in 0..=two.len() {
            assert!(indices(&two[..length]).len() <= 2);
        }
        let mut nothing = address(1);
        nothing[..4].fill(0);
        assert_eq!(indices(&nothing), [0; 0]);
        assert_eq!(indices(&[0xff; 64]), [0; 0]);
    }
}
