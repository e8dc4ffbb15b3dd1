//! Many changes of addresses in few system calls, done when the call returns.
//!
//! The kernel works through the requests while send(2) runs, and its answers are there when it returns, so nothing here
//! waits, and no other task sees a half of it.

use std::io;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc::MSG_DONTWAIT;

use super::netlink::{addition, naming, promotion};
use crate::lease::Lifetimes;

/// Requests that go into one system call; the answers to all of them must fit into the socket's buffer.
const TOGETHER: usize = 64;

/// One thing to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Add the address, tagged as ours; if it is there, give it these lifetimes.
    Add {
        /// The address with its prefix length.
        net: IpNet,
        /// Number of the interface.
        link: u32,
        /// How long it stays unless it is renewed; `None`: for ever.
        lifetimes: Option<Lifetimes>,
        /// Whether its subnet is to be reached through the interface.
        route: bool,
    },
    /// Remove the address.
    Remove {
        /// The address with its prefix length.
        net: IpNet,
        /// Number of the interface.
        link: u32,
    },
    /// Set `promote_secondaries`.
    Promote {
        /// Number of the interface.
        link: u32,
        /// Its new value.
        on: bool,
    },
}

/// A connection to rtnetlink(7) for changes. Needs `CAP_NET_ADMIN`.
pub struct Changes {
    socket: Socket,
    sequence: u32,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
}

impl Changes {
    /// Connects to the network namespace of the calling thread.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // A refusal need not quote our whole request (Linux 4.12).
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, sequence: 0, outbox: Vec::new(), inbox: vec![0; 32 << 10] })
    }

    /// Carries out `requests` in order, and goes on after a refusal; `refused` is told each with its place.
    ///
    /// # Errors
    /// The socket failed: what of the requests was done is not known.
    pub fn carry_out(&mut self, requests: &[Request], mut refused: impl FnMut(usize, io::Error)) -> io::Result<()> {
        for (part, some) in requests.chunks(TOGETHER).enumerate() {
            let first = self.sequence.wrapping_add(1);
            self.outbox.clear();
            some.iter().for_each(|request| self.write(*request));
            while let Err(error) = self.socket.send(&self.outbox, 0) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            self.answers(|sequence, error| {
                let at = sequence.wrapping_sub(first) as usize;
                if at < some.len() {
                    refused(part * TOGETHER + at, error);
                }
            })?;
        }
        Ok(())
    }

    /// Carries out one request of another kind.
    ///
    /// # Errors
    /// The kernel's refusal, or the socket's.
    pub(super) fn one(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.outbox.clear();
        self.put(message, flags);
        while let Err(error) = self.socket.send(&self.outbox, 0) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let mut refused = Ok(());
        self.answers(|_, error| refused = Err(error))?;
        refused
    }

    fn write(&mut self, request: Request) {
        let (message, flags) = match request {
            Request::Add { net, link, lifetimes, route } => {
                (RouteNetlinkMessage::NewAddress(addition(net, link, lifetimes, route)), NLM_F_CREATE | NLM_F_REPLACE)
            }
            Request::Remove { net, link } => (RouteNetlinkMessage::DelAddress(naming(net, link)), 0),
            Request::Promote { link, on } => (RouteNetlinkMessage::SetLink(promotion(link, on)), 0),
        };
        self.put(message, flags);
    }

    fn put(&mut self, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = self.outbox.len();
        self.outbox.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut self.outbox[start..]);
    }

    /// Reads all answers that are there, and hands on the refusals.
    fn answers(&mut self, mut refused: impl FnMut(u32, io::Error)) -> io::Result<()> {
        loop {
            let mut space = &mut self.inbox[..];
            let length = match self.socket.recv(&mut space, MSG_DONTWAIT) {
                Ok(length) => length.min(self.inbox.len()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut rest = &self.inbox[..length];
            while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
                if let NetlinkPayload::Error(answer) = &message.payload
                    && answer.code.is_some()
                {
                    refused(message.header.sequence_number, answer.to_io());
                }
                let step = (message.header.length as usize).next_multiple_of(4);
                match rest.get(step..) {
                    Some(more) if step > 0 => rest = more,
                    Some(_) | None => break,
                }
            }
        }
    }
}
