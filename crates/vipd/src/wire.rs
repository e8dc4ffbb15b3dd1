//! The AF_PACKET edge: sends and receives whole frames on one interface.

use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::libc::{AF_PACKET, ETH_P_ALL, sa_family_t, sockaddr_ll};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use crate::error::Error;
use crate::frame::ndp;
use crate::kernel::Link;
use crate::kernel::capability::Capability;
use crate::ready::Ready;

/// Classic BPF: let through ARP, and IPv6 whose next header is ICMPv6 of type 135 or 136 (socket(7), `SO_ATTACH_FILTER`).
///
/// A busy host receives a million packets a second that are none of our business. Neither are those of the VLANs on a trunk, whose
/// tag the kernel has taken out of the frame and put beside it; with VLAN 0 it says a priority, and the frame is ours.
const ARP_AND_ND: [SockFilter; 15] = [
    SockFilter::new(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
    SockFilter::new(JUMP_EQUAL, 3, 0, 0), // no tag: go on
    SockFilter::new(LOAD_HALF, 0, 0, VLAN_TAG),
    SockFilter::new(AND, 0, 0, 0x0fff),        // without the priority
    SockFilter::new(JUMP_EQUAL, 0, 9, 0),      // no VLAN, or reject
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
const NOTHING: [SockFilter; 1] = [SockFilter::new(RETURN, 0, 0, 0)];
/// `BPF_LD | BPF_H | BPF_ABS` and its companions (linux/bpf_common.h).
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG` and its companion (linux/filter.h): what the kernel knows of the frame.
const VLAN_TAG: u32 = 0xffff_f02c;
const VLAN_TAG_PRESENT: u32 = 0xffff_f030;

/// How long a frame may wait for room in the interface's queue. Nothing else is done meanwhile.
const PATIENCE: Duration = Duration::from_millis(20);
/// The longest frame that is looked at: ARP and neighbour discovery are short.
const LONGEST: usize = 2048;

/// An open wire. Needs `CAP_NET_RAW`.
pub struct Wire {
    socket: Socket,
    /// Tells the daemon that there is something to read.
    ready: Option<Ready>,
    /// `None`: it has never heard anything.
    inbox: Option<Box<[u8; LONGEST]>>,
    hears: bool,
    /// Keeps us in the multicast group in which the holder of an IPv6 address is asked.
    groups: Vec<UdpSocket>,
    link: Link,
}

impl Wire {
    /// Opens the wire of `link` to send; it hears nothing yet.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] without `CAP_NET_RAW`, [`Error::Kernel`] for any other refusal.
    pub fn open(link: &Link) -> Result<Self, Error> {
        let open = || {
            // Protocol 0 receives nothing: with another, frames of all interfaces would come in before it is bound.
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            bind(&socket, link, 0)?;
            Ok(socket)
        };
        let socket = open().map_err(|source| failed("opening the wire", link, source))?;
        Ok(Self { socket, ready: None, inbox: None, hears: false, groups: Vec::new(), link: link.clone() })
    }

    /// The same, with [`poll_ready`](Self::poll_ready); must be called within a tokio runtime.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn watched(mut self) -> Result<Self, Error> {
        let watch = |socket: &Socket| Ready::watch(OwnedFd::from(socket.try_clone()?));
        self.ready = Some(watch(&self.socket).map_err(|source| failed("watching the wire", &self.link, source))?);
        Ok(self)
    }

    /// Hears ARP and neighbour discovery from now on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn hear(&mut self) -> Result<(), Error> {
        if self.hears {
            return Ok(());
        }
        let mut hear = || {
            self.socket.attach_filter(&ARP_AND_ND)?;
            if self.inbox.is_none() {
                bind(&self.socket, &self.link, ETH_P_ALL)?;
                self.inbox = Some(Box::new([0; LONGEST]));
            }
            Ok(())
        };
        hear().map_err(|source| failed("listening", &self.link, source))?;
        self.hears = true;
        Ok(())
    }

    /// Hears nothing any more. Closing the socket instead would wait for all processors (`synchronize_net` in
    /// `packet_release`), for 10 ms and more.
    pub fn deafen(&mut self) {
        if self.hears && self.socket.attach_filter(&NOTHING).is_ok() {
            self.hears = false;
            self.groups.clear();
        }
    }

    /// The interface.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Hears what is said about `address`, and asks the network for it: IPv6 joins its solicited-node group, so that snooping
    /// switches forward it (RFC 4862 §5.4.2). IPv4 needs nothing, ARP is broadcast.
    ///
    /// # Errors
    /// [`Error::Kernel`] if the group cannot be joined.
    pub fn listen_for(&mut self, address: IpAddr) -> Result<(), Error> {
        self.hear()?;
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
        self.socket.send(frame).map(drop).map_err(|source| failed("sending", &self.link, source))
    }

    /// The next frame that has been heard already; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Kernel`], for instance when the link has gone away.
    pub fn try_receive(&mut self) -> Result<Option<&[u8]>, Error> {
        let Some(inbox) = &mut self.inbox else { return Ok(None) };
        match recv(self.socket.as_raw_fd(), &mut inbox[..], MsgFlags::MSG_DONTWAIT).map_err(io::Error::from) {
            Ok(length) => Ok(Some(inbox.get(..length).unwrap_or_default())),
            Err(error) if is_transient(&error) => Ok(None),
            Err(source) => Err(failed("listening", &self.link, source)),
        }
    }

    /// What to wait on for a frame.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Ready when there may be a frame, if it is [`watched`](Self::watched). It is not said again before
    /// another comes.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.ready.as_ref().map_or(Poll::Pending, |ready| ready.poll(context))
    }
}

/// Binds a packet socket to an interface; from then on it receives frames of `protocol` (`ETH_P_…`; 0: none).
fn bind(socket: &Socket, link: &Link, protocol: i32) -> io::Result<()> {
    let mut storage = SockAddrStorage::zeroed();
    #[expect(unsafe_code, reason = "no safe way to make the address of a packet socket")]
    // SAFETY: `sockaddr_ll` is one of the forms of a socket address; its family, and with it all that is read of it, is set.
    let address = unsafe {
        let address: &mut sockaddr_ll = storage.view_as();
        address.sll_family = sa_family_t::try_from(AF_PACKET).map_err(io::Error::other)?;
        address.sll_protocol = u16::try_from(protocol).map_err(io::Error::other)?.to_be();
        address.sll_ifindex = i32::try_from(link.index).map_err(io::Error::other)?;
        SockAddr::new(storage, nix::libc::socklen_t::try_from(size_of::<sockaddr_ll>()).map_err(io::Error::other)?)
    };
    socket.bind(&address)
}

/// Nothing to read after all, or a signal came.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn failed(what: &str, link: &Link, source: io::Error) -> Error {
    Error::kernel(format!("{what} on {}", link.name), Capability::NetRaw, source)
}
