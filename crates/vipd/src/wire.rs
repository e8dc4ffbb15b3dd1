//! The AF_PACKET edge: sends and receives whole frames on one interface.

use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use pnet::datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender, NetworkInterface};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::error::Error;
use crate::frame::ndp;
use crate::kernel::Link;
use crate::kernel::capability::Capability;
use crate::ready::Ready;

/// Classic BPF: let through ARP, and IPv6 whose next header is ICMPv6 of type 135 or 136 (socket(7), `SO_ATTACH_FILTER`).
///
/// A busy host receives a million packets a second that are none of our business.
const ARP_AND_ND: [SockFilter; 10] = [
    SockFilter::new(LOAD_HALF, 0, 0, 12),      // ethertype
    SockFilter::new(JUMP_EQUAL, 6, 0, 0x0806), // ARP: accept
    SockFilter::new(JUMP_EQUAL, 0, 6, 0x86dd), // IPv6, or reject
    SockFilter::new(LOAD_BYTE, 0, 0, 20),      // next header
    SockFilter::new(JUMP_EQUAL, 0, 4, 58),     // ICMPv6, or reject
    SockFilter::new(LOAD_BYTE, 0, 0, 54),      // ICMPv6 type
    SockFilter::new(JUMP_EQUAL, 1, 0, 135),    // solicitation: accept
    SockFilter::new(JUMP_EQUAL, 0, 1, 136),    // advertisement: accept, or reject
    SockFilter::new(RETURN, 0, 0, 0xffff),     // accept
    SockFilter::new(RETURN, 0, 0, 0),          // reject
];
/// `BPF_LD | BPF_H | BPF_ABS` and its companions (linux/bpf_common.h).
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// An open wire. Needs `CAP_NET_RAW`.
pub struct Wire {
    /// A second descriptor of the same socket: tokio watches this one, pnet reads and writes the other.
    ready: Ready,
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    /// Keeps us in the multicast group in which the holder of an IPv6 address is asked.
    groups: Vec<UdpSocket>,
    link: Link,
}

impl Wire {
    /// Opens the wire of `link` and listens to ARP and neighbour discovery from now on.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] without `CAP_NET_RAW`, [`Error::Kernel`] for any other refusal.
    pub fn open(link: &Link) -> Result<Self, Error> {
        Self::open_socket(link).map_err(|source| failed("opening the wire", link, source))
    }

    fn open_socket(link: &Link) -> io::Result<Self> {
        // Protocol 0 receives nothing: without it, frames of all interfaces would come in before the socket is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.attach_filter(&ARP_AND_ND)?;
        let watched = OwnedFd::from(socket.try_clone()?);
        // pnet takes the descriptor over, binds it to the link and makes it non-blocking; it closes it, also if it fails.
        let config = Config {
            socket_fd: Some(socket.into_raw_fd()),
            promiscuous: false,
            read_timeout: Some(Duration::ZERO),
            write_timeout: Some(Duration::from_millis(200)),
            ..Config::default()
        };
        let interface = NetworkInterface {
            name: link.name.clone(),
            description: String::new(),
            index: link.index,
            mac: link.mac,
            ips: Vec::new(),
            flags: 0,
        };
        match datalink::channel(&interface, config)? {
            Channel::Ethernet(sender, receiver) => {
                Ok(Self { ready: Ready::watch(watched)?, sender, receiver, groups: Vec::new(), link: link.clone() })
            }
            _ => Err(io::Error::other("no Ethernet channel")),
        }
    }

    /// The interface.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Asks the network for what is said about `address`: IPv6 joins its solicited-node group, so that snooping
    /// switches forward it (RFC 4862 §5.4.2). IPv4 needs nothing, ARP is broadcast.
    ///
    /// # Errors
    /// [`Error::Kernel`] if the group cannot be joined.
    pub fn listen_for(&mut self, address: IpAddr) -> Result<(), Error> {
        let IpAddr::V6(address) = address else { return Ok(()) };
        let join = || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
            socket.join_multicast_v6(&ndp::solicited_node(address), self.link.index)?;
            Ok(socket)
        };
        self.groups
            .push(join().map_err(|source| failed("joining the multicast group of the address", &self.link, source))?);
        Ok(())
    }

    /// Puts one frame on the wire.
    ///
    /// # Errors
    /// [`Error::Kernel`], for instance when the link has gone down.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        tracing::debug!(dev = self.link.name, bytes = frame.len(), "send");
        let sent = self.sender.send_to(frame, None).unwrap_or_else(|| Err(io::Error::other("the frame is too long")));
        sent.map_err(|source| failed("sending", &self.link, source))
    }

    /// The next frame that is heard. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Kernel`], for instance when the link has gone away.
    pub async fn receive(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(frame) = self.try_receive()? {
                return Ok(frame.to_vec());
            }
            std::future::poll_fn(|context| self.poll_ready(context)).await;
        }
    }

    /// The next frame that has been heard already; `None` if there is none.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn try_receive(&mut self) -> Result<Option<&[u8]>, Error> {
        match self.receiver.next() {
            Ok(frame) => Ok(Some(frame)),
            Err(error) if is_transient(&error) => Ok(None),
            Err(source) => Err(failed("listening", &self.link, source)),
        }
    }

    /// Ready when there may be a frame. To be followed by [`try_receive`](Self::try_receive) until there is none.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.ready.poll(context)
    }
}

/// Nothing to read after all, or a signal came.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn failed(what: &str, link: &Link, source: io::Error) -> Error {
    Error::kernel(format!("{what} on {}", link.name), Capability::NetRaw, source)
}
