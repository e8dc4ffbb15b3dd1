//! Reads what nf_tables answers: acknowledgements, refusals with the kernel's own words, elements of sets. Pure.
//!
//! Whatever the bytes are, nothing here panics: what cannot be read is skipped or becomes [`Answer::Other`].

use std::time::Duration;

use netlink_packet_core::{
    ErrorBuffer, NLA_F_NESTED, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NlaBuffer, NlasIterator,
};

use super::batch::{FAMILY_HEADER, NETLINK_HEADER, Operation};
use super::uapi::{
    NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_EXPIRATION,
    NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_VERDICT_CHAIN, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS,
};

/// One message of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// The message, or the list, was carried out to its end.
    Done,
    /// The message was refused, and with it its whole transaction.
    Refused(Refused<'a>),
    /// Some elements of a set.
    Elements(&'a [u8]),
    /// The set was changed while it was being listed: the list may be wrong.
    Interrupted,
    /// Nothing that we have asked for.
    Other,
}

/// A refusal as the kernel words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused<'a> {
    /// The error number, positive (errno(3)).
    pub(super) errno: i32,
    /// The kernel's words, if it had any (`NLMSGERR_ATTR_MSG`).
    pub(super) words: Option<&'a str>,
    /// Where in our message the attribute is that it did not like (`NLMSGERR_ATTR_OFFS`).
    pub(super) offset: Option<u32>,
}

/// The messages of a datagram, each with the sequence number of the question.
pub(super) fn answers(mut datagram: &[u8]) -> impl Iterator<Item = (u32, Answer<'_>)> {
    std::iter::from_fn(move || {
        // The library would allocate in order to say that nothing is no message.
        if datagram.is_empty() {
            return None;
        }
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = (message.length() as usize).next_multiple_of(4).min(datagram.len());
        let answer = (message.sequence_number(), read(&message));
        datagram = &datagram[length..];
        Some(answer)
    })
}

fn read<'a>(message: &NetlinkBuffer<&'a [u8]>) -> Answer<'a> {
    let elements = Operation::AddElements.message_type();
    match message.message_type() {
        NLMSG_ERROR | NLMSG_DONE => end(message),
        _ if message.flags() & NLM_F_DUMP_INTR != 0 => Answer::Interrupted,
        kind if kind == elements => message.payload().get(FAMILY_HEADER..).map_or(Answer::Other, Answer::Elements),
        _ => Answer::Other,
    }
}

/// `NLMSG_ERROR` and `NLMSG_DONE` both begin with an error number, 0 or negative.
fn end<'a>(message: &NetlinkBuffer<&'a [u8]>) -> Answer<'a> {
    let Ok(error) = ErrorBuffer::new_checked(message.payload()) else { return Answer::Other };
    let Some(code) = error.code() else {
        let interrupted = message.message_type() == NLMSG_DONE && message.flags() & NLM_F_DUMP_INTR != 0;
        return if interrupted { Answer::Interrupted } else { Answer::Done };
    };
    let mut refused = Refused { errno: code.get().saturating_abs(), words: None, offset: None };
    if message.message_type() == NLMSG_ERROR && message.flags() & NLM_F_ACK_TLVS != 0 {
        let rest = message.payload().get(4..).unwrap_or_default();
        for attribute in attributes(rest.get(quoted(rest, message.flags())..).unwrap_or_default()) {
            match attribute.kind() {
                NLMSGERR_ATTR_MSG => refused.words = text(value(&attribute)),
                NLMSGERR_ATTR_OFFS => refused.offset = value(&attribute).first_chunk().copied().map(u32::from_ne_bytes),
                _ => {}
            }
        }
    }
    Answer::Refused(refused)
}

/// How many bytes of our own message the kernel quotes before its attributes: the header, or all of it.
fn quoted(rest: &[u8], flags: u16) -> usize {
    let whole = rest.first_chunk().copied().map_or(0, u32::from_ne_bytes) as usize;
    if flags & NLM_F_CAPPED != 0 { NETLINK_HEADER } else { whole.next_multiple_of(4) }
}

/// An element of a set or of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) key: &'a [u8],
    /// The chain that a map sends the key to, with the zero byte that ends it; empty for a set.
    pub(super) chain: &'a [u8],
    /// What is left of its timeout, if it has one.
    pub(super) left: Option<Duration>,
}

/// The elements in the answer to a list.
pub(super) fn elements(attributes_of_set: &[u8]) -> impl Iterator<Item = Element<'_>> {
    attributes(attributes_of_set)
        .filter(|attribute| attribute.kind() == NFTA_SET_ELEM_LIST_ELEMENTS)
        .flat_map(|list| attributes(value(&list)))
        .filter(|attribute| attribute.kind() == NFTA_LIST_ELEM)
        .filter_map(|element| {
            let element = value(&element);
            let key = nested(element, [NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE])?;
            let chain =
                nested(element, [NFTA_SET_ELEM_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CHAIN]).unwrap_or_default();
            let left = nested(element, [NFTA_SET_ELEM_EXPIRATION]).and_then(|left| left.first_chunk().copied());
            let left = left.map(|left| Duration::from_millis(u64::from_be_bytes(left)));
            Some(Element { key, chain, left })
        })
}

/// The value of an attribute in an attribute, and so on.
fn nested<const N: usize>(element: &[u8], path: [u16; N]) -> Option<&[u8]> {
    path.into_iter().try_fold(element, |within, kind| find(within, kind).map(|attribute| value(&attribute)))
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(bytes).map_while(Result::ok)
}

fn find(bytes: &[u8], kind: u16) -> Option<NlaBuffer<&[u8]>> {
    attributes(bytes).find(|attribute| attribute.kind() & !NLA_F_NESTED == kind)
}

/// The attribute's value with the lifetime of the datagram, which `NlaBuffer::value` does not give.
fn value<'a>(attribute: &NlaBuffer<&'a [u8]>) -> &'a [u8] {
    let (start, end) = (netlink_packet_core::NLA_HEADER_SIZE, usize::from(attribute.length()));
    (*attribute).into_inner().get(start..end).unwrap_or_default()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::ffi::CStr::from_bytes_until_nul(bytes).ok()?.to_str().ok()
}

#[cfg(test)]
mod tests;
