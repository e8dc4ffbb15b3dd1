//! Writes an nf_tables transaction: netlink messages between `NFNL_MSG_BATCH_BEGIN` and `…_END`. Pure.
//!
//! ```text
//!  nlmsghdr  len u32 │ type u16 │ flags u16 │ sequence u32 │ port u32      host byte order
//!  nfgenmsg  family u8 │ version u8 │ resource id u16                      resource id big endian
//!  nlattr    len u16 │ type u16 │ value, padded to 4                       numbers in values big endian
//! ```
//!
//! The kernel applies all messages of one datagram or none, before send(2) returns. The buffer is kept between
//! transactions, so a renewal that is no longer than the one before allocates nothing.

use std::fmt;
use std::io::Write as _;

use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST};

use super::ruleset::Family;
use super::uapi::{NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES};

/// Lengths of nlmsghdr and of nfgenmsg.
pub(super) const NETLINK_HEADER: usize = 16;
pub(super) const FAMILY_HEADER: usize = 4;

/// What a message asks for (`enum nf_tables_msg_types`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    AddTable = 0,
    DeleteTable = 2,
    AddChain = 3,
    AddRule = 6,
    /// Without a handle: all rules of the chain.
    DeleteRules = 8,
    AddSet = 9,
    AddElements = 12,
    ListElements = 13,
    DeleteElements = 14,
}

impl Operation {
    /// The message type (`NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_…`).
    pub(super) const fn message_type(self) -> u16 {
        NFNL_SUBSYS_NFTABLES << 8 | self as u16
    }

    /// Flags besides `NLM_F_REQUEST`. What is there already is no fault, but a rule is there twice then.
    const fn flags(self) -> u16 {
        match self {
            Self::AddTable | Self::AddChain | Self::AddSet | Self::AddElements => NLM_F_CREATE,
            Self::AddRule => NLM_F_CREATE | NLM_F_APPEND,
            Self::DeleteTable | Self::DeleteRules | Self::DeleteElements => 0,
            Self::ListElements => NLM_F_DUMP,
        }
    }

    fn from_message_type(kind: u16) -> Option<Self> {
        use Operation::*;
        [AddTable, DeleteTable, AddChain, AddRule, DeleteRules, AddSet, AddElements, ListElements, DeleteElements]
            .into_iter()
            .find(|operation| operation.message_type() == kind)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddTable => "add a table",
            Self::DeleteTable => "delete a table",
            Self::AddChain => "add a chain",
            Self::AddRule => "add a rule",
            Self::DeleteRules => "delete the rules of a chain",
            Self::AddSet => "add a set",
            Self::AddElements => "add elements to a set",
            Self::ListElements => "list the elements of a set",
            Self::DeleteElements => "delete elements from a set",
        })
    }
}

/// A transaction that is being written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Sequence number of the first message.
    first: u32,
    /// Sequence number of the next message.
    next: u32,
    /// Where the last message begins.
    last_at: usize,
}

impl Batch {
    /// Starts a new transaction in the same buffer.
    pub(super) fn begin(&mut self) {
        self.reset();
        self.control(NFNL_MSG_BATCH_BEGIN);
    }

    /// Starts a question, which stands alone.
    pub(super) fn ask(&mut self, family: Family, operation: Operation, write: impl FnOnce(&mut Attributes<'_>)) {
        self.reset();
        self.push(family, operation, write);
    }

    fn reset(&mut self) {
        self.bytes.clear();
        self.first = self.next;
    }

    /// Adds a message.
    pub(super) fn push(&mut self, family: Family, operation: Operation, write: impl FnOnce(&mut Attributes<'_>)) {
        self.last_at = self.bytes.len();
        self.header(operation.message_type(), NLM_F_REQUEST | operation.flags(), family as u8, 0);
        write(&mut Attributes { bytes: &mut self.bytes });
        self.patch_length();
    }

    /// Ends the transaction so that the kernel commits it, and answers for its last message.
    pub(super) fn commit(&mut self) {
        self.rehearse();
        self.control(NFNL_MSG_BATCH_END);
    }

    /// Ends the transaction so that the kernel tries all of it, answers, and then undoes it: there is no end message.
    pub(super) fn rehearse(&mut self) {
        let at = self.last_at + 6;
        if let Some(flags) = self.bytes.get_mut(at..at + 2) {
            let asked = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
            flags.copy_from_slice(&asked.to_ne_bytes());
        }
    }

    /// Whether there is nothing in the transaction yet.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() <= NETLINK_HEADER + FAMILY_HEADER
    }

    /// The datagram.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sequence number of the message whose answer ends the transaction.
    pub(super) fn last_sequence(&self) -> u32 {
        self.field(self.last_at + 8).map_or(self.first, u32::from_ne_bytes)
    }

    /// Whether `sequence` is that of one of our messages.
    pub(super) const fn contains(&self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.first) < self.next.wrapping_sub(self.first)
    }

    /// What the message with that number asked for; `None` for the begin and the end of the transaction.
    pub(super) fn operation(&self, sequence: u32) -> Option<(Operation, Family)> {
        let mut at = 0;
        while let Some(length) = self.field(at).map(u32::from_ne_bytes) {
            if self.field(at + 8).map(u32::from_ne_bytes) == Some(sequence) {
                let [kind @ .., _, _] = self.field(at + 4)?;
                let family = Family::from_number(*self.bytes.get(at + NETLINK_HEADER)?)?;
                return Some((Operation::from_message_type(u16::from_ne_bytes(kind))?, family));
            }
            at += length as usize;
        }
        None
    }

    fn field(&self, at: usize) -> Option<[u8; 4]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn control(&mut self, kind: u16) {
        let last_at = self.last_at;
        self.last_at = self.bytes.len();
        self.header(kind, NLM_F_REQUEST, 0, NFNL_SUBSYS_NFTABLES);
        self.patch_length();
        self.last_at = last_at;
    }

    fn header(&mut self, kind: u16, flags: u16, family: u8, resource: u16) {
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.next.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        self.next = self.next.wrapping_add(1);
    }

    fn patch_length(&mut self) {
        // A datagram is bounded by the socket's buffer, far below 4 GiB; a wrong length would be refused as a whole.
        let length = u32::try_from(self.bytes.len() - self.last_at).unwrap_or(u32::MAX);
        self.bytes[self.last_at..self.last_at + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The attributes of a message, or of a nest in one.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// Bytes as they are.
    pub(super) fn raw(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// A 32-bit number.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A 64-bit number.
    pub(super) fn long(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A text, with the zero byte that ends it.
    pub(super) fn text(&mut self, kind: u16, value: impl fmt::Display) {
        // Writing to memory cannot fail.
        self.attribute(kind, |bytes| _ = write!(bytes, "{value}\0"));
    }

    /// Attributes within an attribute. At most 65,535 bytes: the caller splits what may be longer.
    pub(super) fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Attributes<'_>)) {
        self.attribute(kind | NLA_F_NESTED, |bytes| write(&mut Attributes { bytes }));
    }

    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        write(self.bytes);
        // Too long a nest is a mistake of ours that the kernel refuses; it must not wrap round to a valid length.
        let length = u16::try_from(self.bytes.len() - at).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests;
