//! What changes about links and addresses, as the kernel tells it (rtnetlink(7), multicast groups).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc::{MSG_DONTWAIT, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_LINK};
use nix::sys::socket::{setsockopt, sockopt};

use super::datagram::messages;
use super::{Change, netlink};
use crate::ready::Ready;

/// What the kernel may have told us and we have not yet read, in bytes: thousands of addresses may come at once.
const UNREAD: usize = 16 << 20;
/// The longest message; that of a link with many virtual functions is long.
const LONGEST: usize = 64 << 10;

/// An ear at the kernel.
pub struct Monitor {
    socket: Socket,
    ready: Ready,
    inbox: Box<[u8]>,
    heard: VecDeque<Change>,
}

impl Monitor {
    /// Listens from now on, in the network namespace of the calling thread; must be called within a tokio runtime. What is
    /// observed afterwards misses nothing that the ear does not hear.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open() -> io::Result<Self> {
        Self::with_room_for(UNREAD)
    }

    /// The same with room for so many bytes that are not yet read. What does not fit is lost, and looked up.
    fn with_room_for(unread: usize) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Without CAP_NET_ADMIN it stays as it is.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &unread);
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR] {
            socket.add_membership(group)?;
        }
        let ready = Ready::watch(socket.as_fd().try_clone_to_owned()?)?;
        Ok(Self { socket, ready, inbox: vec![0; LONGEST].into(), heard: VecDeque::new() })
    }

    /// The next change. Cancel safe.
    pub async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.try_next() {
                return change;
            }
            poll_fn(|context| self.ready.poll(context)).await;
        }
    }

    /// The next change, if one is there already.
    pub fn try_next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.heard.pop_front() {
                return Some(change);
            }
            let mut space = &mut self.inbox[..];
            match self.socket.recv(&mut space, MSG_DONTWAIT) {
                Ok(length) => {
                    let datagram = self.inbox.get(..length).unwrap_or_default();
                    self.heard.extend(messages(datagram).filter_map(|message| change(message.payload)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // ENOBUFS: there was more to tell than fits.
                Err(error) => {
                    tracing::warn!(%error, "the kernel's notifications; looking again");
                    return Some(Change::Lost);
                }
            }
        }
    }

    /// Forgets what has been told until now: to be called before looking at all of it, once something is
    /// [lost](Change::Lost). The error comes before what was told before it, which would be taken for news.
    pub fn forget(&mut self) {
        // What goes on at such a rate is lost again, and looked up again.
        for _ in 0..UNREAD / 256 {
            self.heard.clear();
            let mut space = &mut self.inbox[..];
            match self.socket.recv(&mut space, MSG_DONTWAIT) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

fn change(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    match payload {
        // A bridge says something about its ports in messages of its own family.
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message))
            if message.header.interface_family == AddressFamily::Unspec =>
        {
            Some(Change::Link(netlink::link(&message)))
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

#[cfg(test)]
mod tests {
    use super::super::batch::{Changes, Request};
    use super::super::namespace;
    use super::super::netlink::Netlink;
    use super::*;

    #[test]
    fn what_does_not_fit_is_lost_is_said_to_be_and_can_be_looked_up() {
        namespace::within(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut monitor = Monitor::with_room_for(4096).unwrap();
                let mut changes = Changes::open().unwrap();
                let request = |n: u8| Request::Add {
                    net: ipnet::IpNet::new([198, 18, 0, n].into(), 32).unwrap(),
                    link: 1,
                    lifetimes: None,
                    route: true,
                };
                let requests: Vec<_> = (1..=200).map(request).collect();
                changes.carry_out(&requests, |at, error| panic!("address {at}: {error}")).unwrap();

                let heard: Vec<_> = std::iter::from_fn(|| monitor.try_next()).collect();
                assert!(heard.contains(&Change::Lost), "200 notifications fit into 4 KiB: {}", heard.len());
                assert!(heard.len() < 200);
                assert_eq!(heard.first(), Some(&Change::Lost), "before what was told before");
                changes.carry_out(&requests, |at, error| panic!("address {at}: {error}")).unwrap();
                assert_eq!(monitor.try_next(), Some(Change::Lost));
                monitor.forget();
                assert_eq!(monitor.try_next(), None, "what is old is no news");
                let observed = Netlink::connect().unwrap().observe().unwrap();
                assert_eq!(observed.on(1).count(), 200);

                // And it goes on hearing.
                let net = "198.18.0.1/32".parse().unwrap();
                changes.carry_out(&[Request::Remove { net, link: 1 }], |_, error| panic!("{error}")).unwrap();
                assert_eq!(monitor.next().await, Change::AddressGone { net, link: 1 });
            });
        });
    }
}
