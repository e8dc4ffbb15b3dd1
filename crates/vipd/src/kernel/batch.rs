//! Requests to rtnetlink(7), many in one system call, done when the call returns.
//!
//! The kernel works through the requests while send(2) runs, and its answers are there when it returns, so nothing here
//! waits, and no other task sees a half of it.

use std::io;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc::MSG_DONTWAIT;

use super::datagram::messages;
use super::netlink::{addition, naming, promotion};
use crate::lease::Lifetimes;

/// Requests that go into one system call; the refusals of all of them must fit into the socket's buffer.
const TOGETHER: usize = 128;
/// A list that was disturbed by a change is asked for again, so often.
const LIST_ATTEMPTS: usize = 10;
/// The kernel makes the parts of a list as large as the reader's buffer, up to this. Only what it fills is ever touched.
const INBOX: usize = 32 << 10;

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

/// A connection to rtnetlink(7). Changing needs `CAP_NET_ADMIN`.
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
        Ok(Self { socket, sequence: 0, outbox: Vec::new(), inbox: Vec::with_capacity(INBOX) })
    }

    /// Carries out `requests` in order, and goes on after a refusal; `refused` is told each with its place.
    ///
    /// # Errors
    /// The socket failed, or the kernel did not answer: what of the requests was done is not known.
    pub fn carry_out(&mut self, requests: &[Request], mut refused: impl FnMut(usize, io::Error)) -> io::Result<()> {
        for (part, some) in requests.chunks(TOGETHER).enumerate() {
            let first = self.sequence.wrapping_add(1);
            self.outbox.clear();
            for (at, request) in some.iter().enumerate() {
                // A refusal comes without being asked for; that all have been done, the last one says.
                self.write(*request, if at + 1 == some.len() { NLM_F_ACK } else { 0 });
            }
            self.send()?;
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
    /// The kernel's refusal, or as [`carry_out`](Self::carry_out).
    pub(super) fn one(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.outbox.clear();
        self.put(message, NLM_F_ACK | flags);
        self.send()?;
        let (asked, mut result) = (self.sequence, Ok(()));
        self.answers(|sequence, error| {
            if sequence == asked {
                result = Err(error);
            }
        })?;
        result
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// The kernel's refusal: there is no such thing.
    pub(super) fn ask(&mut self, question: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        self.outbox.clear();
        self.put(question, 0);
        self.send()?;
        let asked = self.sequence;
        while self.receive()? {
            for message in messages(&self.inbox).filter(|one| one.header.sequence_number == asked) {
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => return Ok(answer),
                    NetlinkPayload::Error(answer) => return Err(answer.to_io()),
                    _ => {}
                }
            }
        }
        Err(unanswered())
    }

    /// Asks for a list.
    ///
    /// # Errors
    /// The kernel's refusal; or it was changed each time while it was read.
    pub(super) fn list(&mut self, question: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..LIST_ATTEMPTS {
            self.outbox.clear();
            self.put(question.clone(), NLM_F_DUMP);
            self.send()?;
            if let Some(list) = self.read_list()? {
                return Ok(list);
            }
        }
        Err(io::Error::other("the list changes all the time while it is read"))
    }

    /// The list that was asked for; `None` if it was disturbed.
    fn read_list(&mut self) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        let (mut list, mut disturbed) = (Vec::new(), false);
        loop {
            if !self.receive()? {
                return Err(unanswered());
            }
            for message in messages(&self.inbox) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                disturbed |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(entry) => list.push(entry),
                    NetlinkPayload::Done(_) => return Ok(Some(list).filter(|_| !disturbed)),
                    NetlinkPayload::Error(answer) if answer.code.is_some() => return Err(answer.to_io()),
                    _ => {}
                }
            }
        }
    }

    fn send(&self) -> io::Result<()> {
        while let Err(error) = self.socket.send(&self.outbox, 0) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reads the next datagram that is there into the inbox; false if there is none.
    fn receive(&mut self) -> io::Result<bool> {
        self.inbox.clear();
        loop {
            match self.socket.recv(&mut self.inbox, MSG_DONTWAIT) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, request: Request, flags: u16) {
        let (message, kind) = match request {
            Request::Add { net, link, lifetimes, route } => {
                (RouteNetlinkMessage::NewAddress(addition(net, link, lifetimes, route)), NLM_F_CREATE | NLM_F_REPLACE)
            }
            Request::Remove { net, link } => (RouteNetlinkMessage::DelAddress(naming(net, link)), 0),
            Request::Promote { link, on } => (RouteNetlinkMessage::SetLink(promotion(link, on)), 0),
        };
        self.put(message, kind | flags);
    }

    fn put(&mut self, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = self.outbox.len();
        self.outbox.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut self.outbox[start..]);
    }

    /// Reads the answers up to the last one, and hands on the refusals.
    fn answers(&mut self, mut refused: impl FnMut(u32, io::Error)) -> io::Result<()> {
        let mut done = false;
        while !done {
            if !self.receive()? {
                return Err(unanswered());
            }
            for message in messages(&self.inbox) {
                let sequence = message.header.sequence_number;
                if let NetlinkPayload::Error(answer) = &message.payload {
                    done |= sequence == self.sequence;
                    if answer.code.is_some() {
                        refused(sequence, answer.to_io());
                    }
                }
            }
        }
        Ok(())
    }
}

fn unanswered() -> io::Error {
    io::Error::other("the kernel did not answer")
}
