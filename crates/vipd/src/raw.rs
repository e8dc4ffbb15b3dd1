//! The raw socket edge: VRRP packets of one family on one interface.
//!
//! IPv4 sends its own IP header and is given the received one. IPv6 is given the payload, and says source, destination
//! and hop limit in control messages (RFC 3542).

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::{Context, Poll};

use nix::cmsg_space;
use nix::libc::{in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use vrrp::wire::{self, Datagram, Endpoints, Ipv4Packet};
use vrrp::{Discard, Family};

use crate::ready::Ready;

/// The longest packet that is looked at: an advertisement of 255 IPv6 addresses and an IP header fit.
pub const LONGEST: usize = 9216;
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
        Ok(Self { socket, ready, link, family })
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
                let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: source.octets() }, ipi6_ifindex: self.link };
                let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, self.link));
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                let slices = [io::IoSlice::new(message)];
                sendmsg(self.socket.as_raw_fd(), &slices, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
                Ok(())
            }
        }
    }

    /// Reads one packet that has come in, and hands it to `take`; false if there is none.
    ///
    /// # Errors
    /// What recvmsg(2) says.
    pub fn receive(&self, buffer: &mut [u8], take: impl FnOnce(Result<Datagram<'_>, Discard>)) -> io::Result<bool> {
        let received = match self.family {
            Family::V4 => self.receive_v4(buffer, take),
            Family::V6 => self.receive_v6(buffer, take),
        };
        match received {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn receive_v4(&self, buffer: &mut [u8], take: impl FnOnce(Result<Datagram<'_>, Discard>)) -> io::Result<()> {
        let length = nix::sys::socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        take(Ipv4Packet::new_checked(buffer.get(..length).unwrap_or_default()).map(Ipv4Packet::datagram));
        Ok(())
    }

    fn receive_v6(&self, buffer: &mut [u8], take: impl FnOnce(Result<Datagram<'_>, Discard>)) -> io::Result<()> {
        let mut control = cmsg_space!(in6_pktinfo, i32);
        let (length, source, destination, hop_limit) = {
            let mut slices = [IoSliceMut::new(buffer)];
            let descriptor = self.socket.as_raw_fd();
            let message = recvmsg::<SockaddrIn6>(descriptor, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
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

    /// Ready when there may be a packet. To be followed by [`receive`](Self::receive) until there is none.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.ready.poll(context)
    }
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
    fn a_packet_without_a_vrid_belongs_to_nobody() {
        let source = std::net::Ipv4Addr::new(198, 18, 0, 1);
        let endpoints = Endpoints::V4 { source, destination: wire::IPV4_GROUP };
        assert_eq!(vrid_of(&Datagram { endpoints, ttl: 255, payload: &[0x31] }), None);
        assert_eq!(vrid_of(&Datagram { endpoints, ttl: 255, payload: &[0x31, 51] }), Some(51));
    }
}
