//! The raw socket edge: VRRP packets of one family on one interface.
//!
//! IPv4 sends its own IP header and is given the received one. IPv6 is given the payload, and says source, destination
//! and hop limit in control messages (RFC 3542).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::{Context, Poll};

use nix::cmsg_space;
use nix::libc::{IPPROTO_IPV6, IPV6_PKTINFO, MSG_DONTWAIT, in6_pktinfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, MsgHdr, Protocol, SockAddr, Socket, Type};
use vrrp::wire::{self, Datagram, Endpoints, Ipv4Packet};
use vrrp::{Discard, Family};

use crate::ready::Ready;

/// The longest packet that is looked at: an advertisement of 255 IPv6 addresses and an IP header fit.
pub const LONGEST: usize = 9216;
/// Room for packets that are not yet read, in bytes as the kernel counts them: at least 512 for each, whatever its length. So
/// there are never more than [`PACKETS`], and whoever has read so many has read all that were there when he began.
const ROOM: usize = 512 * PACKETS;
/// Packets that are read before anything else has its turn.
const PACKETS: usize = 512;
/// An IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// Do not fragment.
const DONT_FRAGMENT: u8 = 0x40;

/// VRRP packets of one family on one interface. Needs `CAP_NET_RAW`.
#[derive(Debug)]
pub struct RawSocket {
    socket: Socket,
    ready: Ready,
    link: u32,
    family: Family,
    /// Room for the control messages of a received packet, kept for the next.
    control: Vec<u8>,
}

impl RawSocket {
    /// Hears, from now on, what comes in on the interface `name`, and is a member of the VRRP group there.
    ///
    /// # Errors
    /// What the system calls say: `PermissionDenied` without `CAP_NET_RAW`, `NoDevice` if the interface has gone.
    pub fn open(link: u32, name: &str, family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(wire::PROTOCOL))))?;
        socket.set_nonblocking(true)?;
        // The kernel doubles it.
        socket.set_recv_buffer_size(ROOM / 2)?;
        socket.bind_device(Some(name.as_bytes()))?;
        match family {
            Family::V4 => {
                socket.set_header_included_v4(true)?;
                socket.set_multicast_loop_v4(false)?;
                socket.join_multicast_v4_n(&wire::IPV4_GROUP, &InterfaceIndexOrAddress::Index(link))?;
            }
            Family::V6 => {
                socket.set_multicast_hops_v6(u32::from(wire::TTL))?;
                socket.set_unicast_hops_v6(u32::from(wire::TTL))?;
                socket.set_tclass_v6(u32::from(wire::TRAFFIC_CLASS))?;
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_if_v6(link)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
                socket.join_multicast_v6(&wire::IPV6_GROUP, link)?;
            }
        }
        let ready = Ready::watch(OwnedFd::from(socket.try_clone()?))?;
        Ok(Self { socket, ready, link, family, control: cmsg_space!(in6_pktinfo, i32) })
    }

    /// Sends one advertisement: TTL 255, class selector 6, from the given source.
    ///
    /// # Errors
    /// What sendmsg(2) says, for instance when the interface is down.
    pub fn send(&self, endpoints: Endpoints, message: &[u8]) -> io::Result<()> {
        match endpoints {
            Endpoints::V4 { source, destination } => {
                let mut packet = [0; LONGEST];
                let length = IPV4_HEADER + message.len();
                let total = u16::try_from(length).map_err(io::Error::other)?;
                let packet = packet.get_mut(..length).ok_or_else(|| io::Error::other("the message is too long"))?;
                // Identification and checksum are filled in by the kernel (raw(7)).
                packet[0] = 0x45;
                packet[1] = wire::TRAFFIC_CLASS;
                packet[2..4].copy_from_slice(&total.to_be_bytes());
                packet[6] = DONT_FRAGMENT;
                packet[8] = wire::TTL;
                packet[9] = wire::PROTOCOL;
                packet[12..16].copy_from_slice(&source.octets());
                packet[16..20].copy_from_slice(&destination.octets());
                packet[IPV4_HEADER..].copy_from_slice(message);
                self.socket.send_to(packet, &SocketAddr::from((destination, 0)).into()).map(drop)
            }
            Endpoints::V6 { source, destination } => {
                let to = SockAddr::from(SocketAddrV6::new(destination, 0, 0, self.link));
                let (slices, control) = ([IoSlice::new(message)], packet_info(source, self.link));
                let message = MsgHdr::new().with_addr(&to).with_buffers(&slices).with_control(&control);
                self.socket.sendmsg(&message, MSG_DONTWAIT).map(drop)
            }
        }
    }

    /// Reads the packets that have come in, and hands each to `take`; true if more may have come meanwhile.
    ///
    /// All that were there are read, however many come while they are: see [`ROOM`].
    ///
    /// # Errors
    /// What recvmsg(2) says.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(Result<Datagram<'_>, Discard>),
    ) -> io::Result<bool> {
        for _ in 0..PACKETS {
            let received = match self.family {
                Family::V4 => self.receive_v4(buffer, &mut take),
                Family::V6 => self.receive_v6(buffer, &mut take),
            };
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => received?,
            }
        }
        Ok(true)
    }

    fn receive_v4(&self, buffer: &mut [u8], take: impl FnOnce(Result<Datagram<'_>, Discard>)) -> io::Result<()> {
        let length = nix::sys::socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        take(Ipv4Packet::new_checked(buffer.get(..length).unwrap_or_default()).map(Ipv4Packet::datagram));
        Ok(())
    }

    fn receive_v6(&mut self, buffer: &mut [u8], take: impl FnOnce(Result<Datagram<'_>, Discard>)) -> io::Result<()> {
        let (length, source, destination, hop_limit) = {
            let mut slices = [IoSliceMut::new(buffer)];
            let descriptor = self.socket.as_raw_fd();
            let control = Some(&mut self.control[..]);
            let message = recvmsg::<SockaddrIn6>(descriptor, &mut slices, control, MsgFlags::MSG_DONTWAIT)?;
            let (mut destination, mut hop_limit) = (None, None);
            for one in message.cmsgs()? {
                match one {
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                    }
                    ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
                    _ => {}
                }
            }
            (message.bytes, message.address.map(|address| address.ip()), destination, hop_limit)
        };
        let datagram = match (source, destination, hop_limit) {
            (Some(source), Some(destination), Some(ttl)) => Ok(Datagram {
                endpoints: Endpoints::V6 { source, destination },
                ttl,
                payload: buffer.get(..length).unwrap_or_default(),
            }),
            _ => Err(Discard::HeaderTruncated),
        };
        take(datagram);
        Ok(())
    }

    /// Ready when there may be a packet. It is not said again before another comes.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.ready.poll(context)
    }
}

/// Bytes of a control message with a `struct in6_pktinfo` (RFC 3542 §6): cmsghdr, address, interface, and padding.
const PACKET_INFO: usize = (CONTROL_HEADER + size_of::<in6_pktinfo>()).next_multiple_of(size_of::<usize>());
const CONTROL_HEADER: usize = size_of::<usize>() + 8;

/// The control message that says from which address a packet is to go out. nix would allocate one for each packet.
fn packet_info(source: Ipv6Addr, link: u32) -> [u8; PACKET_INFO] {
    let mut bytes = [0; PACKET_INFO];
    let (header, info) = bytes.split_at_mut(CONTROL_HEADER);
    let (length, kind) = header.split_at_mut(size_of::<usize>());
    length.copy_from_slice(&(CONTROL_HEADER + size_of::<in6_pktinfo>()).to_ne_bytes());
    kind[..4].copy_from_slice(&IPPROTO_IPV6.to_ne_bytes());
    kind[4..].copy_from_slice(&IPV6_PKTINFO.to_ne_bytes());
    info[..16].copy_from_slice(&source.octets());
    info[16..20].copy_from_slice(&link.to_ne_bytes());
    bytes
}

/// The VRID of a packet, if it is long enough to have one: whose it is, before it is judged.
#[must_use]
pub fn vrid_of(datagram: &Datagram<'_>) -> Option<u8> {
    datagram.payload.get(1).copied()
}

/// The family of an address, as [`Ord`] wants it.
#[must_use]
pub const fn is_v6(family: Family) -> bool {
    matches!(family, Family::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_message_is_what_the_system_would_make_of_it() {
        use nix::libc::{CMSG_LEN, CMSG_SPACE};
        let source: Ipv6Addr = "fe80::10".parse().unwrap();
        let bytes = packet_info(source, 0x0102_0304);
        let size = u32::try_from(size_of::<in6_pktinfo>()).unwrap();
        #[expect(unsafe_code, reason = "these compute sizes and touch nothing")]
        // SAFETY: both are arithmetic on their argument.
        let (length, space) = unsafe { (CMSG_LEN(size), CMSG_SPACE(size)) };
        assert_eq!(bytes.len(), space as usize);
        assert_eq!(bytes[..size_of::<usize>()], (length as usize).to_ne_bytes());
        assert_eq!(bytes[CONTROL_HEADER..][..16], source.octets());
        assert_eq!(bytes[CONTROL_HEADER + 16..][..4], 0x0102_0304_u32.to_ne_bytes());
    }

    #[test]
    fn a_flood_is_read_piece_by_piece_and_what_was_there_at_once() {
        crate::kernel::namespace::within(|| {
            let set_up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(set_up.unwrap().success());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _context = runtime.enter();
            let mut socket = RawSocket::open(1, "lo", Family::V4).unwrap();
            let flood = RawSocket::open(1, "lo", Family::V4).unwrap();
            let here = std::net::Ipv4Addr::LOCALHOST;
            let send = |n: u16| {
                let endpoints = Endpoints::V4 { source: here, destination: here };
                flood.send(endpoints, &n.to_be_bytes()).unwrap();
            };
            // More than there is room for: the last ones are lost.
            (0..2000).for_each(send);
            let (mut buffer, mut heard) = (vec![0; LONGEST], Vec::new());
            let more = socket.receive(&mut buffer, |packet| {
                let payload = packet.unwrap().payload;
                heard.push(u16::from_be_bytes([payload[0], payload[1]]));
                // For each that is read another comes.
                send(u16::MAX);
            });
            assert!(more.unwrap(), "it would go on for ever");
            assert_eq!(heard.len(), PACKETS);
            let old = heard.iter().filter(|n| **n != u16::MAX).count();
            assert!(old < PACKETS, "{old} were there, and have all been read");
        });
    }

    #[test]
    fn a_packet_without_a_vrid_belongs_to_nobody() {
        let source = std::net::Ipv4Addr::new(198, 18, 0, 1);
        let endpoints = Endpoints::V4 { source, destination: wire::IPV4_GROUP };
        assert_eq!(vrid_of(&Datagram { endpoints, ttl: 255, payload: &[0x31] }), None);
        assert_eq!(vrid_of(&Datagram { endpoints, ttl: 255, payload: &[0x31, 51] }), Some(51));
    }
}
