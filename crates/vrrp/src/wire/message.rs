//! The eight bytes that every VRRP message starts with, read without judging them.
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +-------+-------+---------------+---------------+---------------+
//!  |Version| Type  | Virtual Rtr ID|   Priority    |   Addr Count  |
//!  +-------+-------+---------------+---------------+---------------+
//!  |Reserve| Max Advertise Interval|           Checksum            |   v3
//!  |   Auth Type   |   Adver Int   |           Checksum            |   v2
//!  +---------------+---------------+-------------------------------+
//!  |   Addr Count × 4 or 16 bytes of addresses                     |
//!  +---------------------------------------------------------------+
//!  |   8 bytes of zeroes (authentication data)                     |   v2 only
//!  +---------------------------------------------------------------+
//! ```

use crate::Discard;

/// Bytes before the addresses.
pub(super) const HEAD: usize = 8;

/// A VRRP message of at least eight bytes.
///
/// A daemon with many instances reads [`Message::vrid`] to find the one that a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    head: &'a [u8; HEAD],
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    /// View these bytes as a message.
    ///
    /// # Errors
    /// [`Discard::Truncated`] for fewer than eight bytes.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, Discard> {
        let (head, rest) = bytes.split_first_chunk().ok_or(Discard::Truncated)?;
        Ok(Self { head, rest })
    }

    /// Version, 4 bits.
    #[must_use]
    pub const fn version(self) -> u8 {
        self.head[0] >> 4
    }

    /// Type, 4 bits; 1 is ADVERTISEMENT, and there is no other.
    #[must_use]
    pub const fn kind(self) -> u8 {
        self.head[0] & 0x0f
    }

    /// Virtual Rtr ID.
    #[must_use]
    pub const fn vrid(self) -> u8 {
        self.head[1]
    }

    /// Priority.
    #[must_use]
    pub const fn priority(self) -> u8 {
        self.head[2]
    }

    /// IPvX Addr Count.
    #[must_use]
    pub const fn address_count(self) -> u8 {
        self.head[3]
    }

    /// Max Advertise Interval of a v3 message, in centiseconds; the Reserve bits are ignored (RFC 9568 §5.2.6).
    #[must_use]
    pub const fn max_advertise_interval(self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]]) & 0x0fff
    }

    /// Auth Type of a v2 message.
    #[must_use]
    pub const fn auth_type(self) -> u8 {
        self.head[4]
    }

    /// Adver Int of a v2 message, in seconds.
    #[must_use]
    pub const fn adver_int(self) -> u8 {
        self.head[5]
    }

    /// Checksum, as it stands.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]])
    }

    /// Everything after the eight bytes.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The eight bytes.
    pub(super) const fn head(self) -> &'a [u8; HEAD] {
        self.head
    }
}
