//! What changes about links and addresses, as the kernel tells it (rtnetlink(7), multicast groups).

use std::io;

use futures_util::StreamExt as _;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::AsyncSocket as _;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::MulticastGroup;

use super::Change;
use super::netlink::{self, Netlink};

/// What the kernel may have told us and we have not yet read, in bytes.
const INBOX: usize = 16 << 20;

/// An ear at the kernel. Needs no privilege.
pub struct Monitor {
    messages: futures_util::stream::BoxStream<'static, Change>,
}

impl Monitor {
    /// Listens from now on, in the network namespace of the calling thread; must be called within a tokio runtime. What
    /// the connection observes afterwards misses nothing that the ear does not hear.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open() -> io::Result<(Self, Netlink)> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (mut connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)?;
        // Thousands of addresses that come at once must not overflow it. Without the privilege it stays as it is, and what
        // is lost is looked up.
        let _ = setsockopt(connection.socket_mut().socket_ref(), sockopt::RcvBufForce, &INBOX);
        tokio::spawn(connection);
        let changes = messages.filter_map(|(message, _)| std::future::ready(change(message.payload)));
        Ok((Self { messages: changes.boxed() }, Netlink::of(handle)))
    }

    /// The next change; never `None` as long as the kernel speaks to us. Cancel safe.
    pub async fn next(&mut self) -> Option<Change> {
        self.messages.next().await
    }

    /// The next change, if one is there already.
    pub fn try_next(&mut self) -> Option<Change> {
        futures_util::FutureExt::now_or_never(self.messages.next()).flatten()
    }
}

fn change(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    match payload {
        // A bridge says something about its ports in messages of its own family.
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message))
            if message.header.interface_family == AddressFamily::Unspec =>
        {
            Some(Change::Link(netlink::link(&message, std::slice::from_ref(&message))))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message))
            if message.header.interface_family == AddressFamily::Unspec =>
        {
            Some(Change::LinkGone(message.header.index))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
            netlink::address(&message).map(Change::Address)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
            netlink::address(&message).map(|gone| Change::AddressGone { net: gone.net, link: gone.link })
        }
        NetlinkPayload::Overrun(_) => Some(Change::Lost),
        _ => None,
    }
}
