//! The Internet checksum (RFC 1071), and the two forms that VRRP v3 over IPv4 has had.

use super::{Endpoints, PROTOCOL};

/// What the checksum of a v3 advertisement over IPv4 covers.
///
/// RFC 5798 §5.2.8 put a pseudo-header before the message, and so do keepalived and FRR; RFC 9568 §5.2.8 says that there
/// is none. Neither of the two accepts the other form, so the older one is what we send unless told otherwise. Both are
/// accepted. Over IPv6 there is always a pseudo-header, in v2 never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChecksumForm {
    /// With a pseudo-header.
    #[default]
    Rfc5798,
    /// The message only.
    Rfc9568,
}

/// A running one's complement sum of 16-bit words.
///
/// 32 bits hold the sum of 65 537 words, and no IP packet has as many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum(u32);

impl Sum {
    /// The sum of these bytes; an odd last byte is padded with a zero.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        let words: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        let rest = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
        Self(words + rest)
    }

    /// The sum of the pseudo-header (RFC 8200 §8.1; for IPv4 as in RFC 5798) of a message of this length.
    pub(super) fn of_pseudo_header(endpoints: Endpoints, length: usize) -> Self {
        let addresses = match endpoints {
            Endpoints::V4 { source, destination } => Self::of(&source.octets()).and(Self::of(&destination.octets())),
            Endpoints::V6 { source, destination } => Self::of(&source.octets()).and(Self::of(&destination.octets())),
        };
        let length = u32::try_from(length & 0xffff).unwrap_or_default();
        addresses.and(Self(length + u32::from(PROTOCOL)))
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum field that makes the whole sum to all ones.
    pub(super) const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_be_bytes()
    }

    /// Whether a sum that included its checksum field is right.
    pub(super) const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    #[expect(clippy::cast_possible_truncation, reason = "two folds leave 16 bits")]
    const fn fold(self) -> u16 {
        let once = (self.0 >> 16) + (self.0 & 0xffff);
        ((once >> 16) + (once & 0xffff)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_rfc_1071_is_ddf2() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).fold(), 0xddf2);
        assert_eq!(Sum::of(&bytes).checksum(), [0x22, 0x0d]);
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_high_one() {
        assert_eq!(Sum::of(&[0x12, 0x34, 0x56]).fold(), 0x1234 + 0x5600);
    }

    #[test]
    fn the_longest_packet_does_not_overflow() {
        assert_eq!(Sum::of(&[0xff; 65_535]).and(Sum::of(&[0xff; 40])).fold(), 0xff00, "the odd byte is short of ones");
    }
}
