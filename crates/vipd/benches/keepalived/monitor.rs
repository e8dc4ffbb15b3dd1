//! When addresses come to a host: the kernel's own notifications (rtnetlink(7)).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::bed::observer::now;
use super::bed::world::Namespace;

/// `RTMGRP_IPV4_IFADDR`, `RTM_NEWADDR`, `IFA_LOCAL` (linux/rtnetlink.h, linux/if_addr.h).
const IPV4_ADDRESSES: u32 = 0x10;
const NEW_ADDRESS: u16 = 20;
const LOCAL: u16 = 2;

type Added = HashMap<IpAddr, Duration>;

/// Listens until it is dropped.
pub struct Monitor {
    added: Arc<Mutex<Added>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    pub fn new(namespace: &Namespace) -> Self {
        let socket = namespace.enter(open).join().unwrap();
        let (added, stop) = (Arc::new(Mutex::new(Added::new())), Arc::new(AtomicBool::new(false)));
        let (to, until) = (Arc::clone(&added), Arc::clone(&stop));
        let listen = move || {
            let mut bytes = vec![0; 1 << 16];
            while !until.load(Ordering::Relaxed) {
                match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                    Ok(length) => {
                        let (at, mut to) = (now(), to.lock().unwrap());
                        for address in new_addresses(&bytes[..length]) {
                            to.entry(address).or_insert(at);
                        }
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(errno) => panic!("the kernel's notifications are lost: {errno}"),
                }
            }
        };
        Self { added, stop, thread: Some(std::thread::spawn(listen)) }
    }

    /// When each address came, for the first time.
    pub fn added(&self) -> Added {
        self.added.lock().unwrap().clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the monitor failed");
        }
    }
}

fn open() -> OwnedFd {
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).unwrap();
    setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).expect("a large buffer");
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(20)).expect("a timeout");
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, IPV4_ADDRESSES)).expect("the group of addresses");
    socket
}

/// The addresses of the notifications in one datagram.
fn new_addresses(datagram: &[u8]) -> impl Iterator<Item = IpAddr> {
    // nlmsghdr: length and type at 0 and 4 of 16 bytes; ifaddrmsg: 8 bytes; then attributes: length, type, value.
    let messages = aligned(datagram, |message| u32::from_ne_bytes([message[0], message[1], message[2], message[3]]));
    let new = messages.filter(|message| half(message, 4) == Some(NEW_ADDRESS));
    let attributes = new
        .filter_map(|message| message.get(24..))
        .flat_map(|rest| aligned(rest, |attribute| u16::from_ne_bytes([attribute[0], attribute[1]]).into()));
    let local = attributes.filter(|attribute| half(attribute, 2) == Some(LOCAL));
    local.filter_map(|attribute| attribute.get(4..)?.first_chunk::<4>()).map(|octets| Ipv4Addr::from(*octets).into())
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_ne_bytes(*two))
}

/// Things that begin with their length, each at a multiple of four bytes.
fn aligned(mut rest: &[u8], length: impl Fn(&[u8]) -> u32) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::try_from(length(rest.get(..4)?)).ok().filter(|&length| length >= 4)?;
        let one = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(one)
    })
}
