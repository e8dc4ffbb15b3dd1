//! Frames on an Ethernet: built from values, parsed from bytes that may be anything. No socket.
//!
//! ```text
//! announce ─┐                                  ┌─ probe (and, later, the conflict watch)
//! probe ────┴─▶ arp::Arp / ndp::* ──emit──▶ wire ──parse──▶ claim::Claim
//! ```
//!
//! Parsing never panics, whatever the bytes; it answers `None` for what is not a valid packet of its kind.

pub mod arp;
pub mod claim;
pub mod ndp;
pub mod vrrp;

use pnet::packet::ethernet::EtherType;
use pnet::util::MacAddr;

/// Length of destination, source and type.
pub const ETHERNET_HEADER: usize = 14;

/// An Ethernet II frame without trailer; the driver pads it to the minimum length.
pub(crate) fn ethernet(destination: MacAddr, source: MacAddr, kind: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_HEADER + payload.len());
    frame.extend(destination.octets());
    frame.extend(source.octets());
    frame.extend(kind.0.to_be_bytes());
    frame.extend(payload);
    frame
}
