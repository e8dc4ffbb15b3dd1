//! Why a packet is discarded, what is merely worth a note, and how often each happened.

use std::fmt;

macro_rules! counted {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident => ($label:literal, $text:literal),)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $doc])* $variant,)* }

        impl $name {
            /// Every one, in order.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$variant),*];

            /// A name for metrics and JSON: lower case, words joined by `_`.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    };
}

counted! {
    /// Why a packet is discarded (RFC 9568 §7.1, RFC 3768 §7.1). It costs a counter and nothing else.
    Discard {
        /// The packet is shorter than its IP header says, or than an IP header is.
        HeaderTruncated => ("header_truncated", "the packet is shorter than its IP header says"),
        /// The packet is not of the IP version that it came as.
        HeaderVersion => ("header_version", "the IP version is wrong"),
        /// The checksum of the IPv4 header is wrong.
        HeaderChecksum => ("header_checksum", "the IPv4 header checksum is wrong"),
        /// The IP protocol, or Next Header, is not 112.
        Protocol => ("protocol", "the IP protocol is not 112"),
        /// It is a fragment.
        Fragment => ("fragment", "it is a fragment"),
        /// The source is the unspecified address, a multicast or the broadcast address.
        Source => ("source", "no router has such a source address"),
        /// The source is our own address.
        OwnAddress => ("own_address", "the source is our own address"),
        /// It was not sent to the VRRP group, or, with unicast peers, not to us.
        Destination => ("destination", "it was not sent to the VRRP group or to our address"),
        /// The source is none of the configured unicast peers.
        UnknownPeer => ("unknown_peer", "the source is none of the configured peers"),
        /// TTL or Hop Limit is not 255, or for a unicast peer lower than configured.
        Ttl => ("ttl", "the TTL shows that it does not come from this link"),
        /// Version is not the instance's; v2 over IPv6 does not exist.
        Version => ("version", "the VRRP version is not ours"),
        /// Type is not 1.
        Type => ("type", "the message type is not ADVERTISEMENT"),
        /// IPvX Addr Count is 0 (§5.2.5, erratum 8299).
        NoAddresses => ("no_addresses", "the address count is 0"),
        /// The message is shorter than its fixed part and its addresses.
        Truncated => ("truncated", "the message is shorter than its address count says"),
        /// The message is longer than its fixed part and its addresses.
        Oversize => ("oversize", "the message is longer than its address count says"),
        /// The checksum is wrong, in v3 over IPv4 in both forms.
        Checksum => ("checksum", "the checksum is wrong"),
        /// VRID is 0.
        VridZero => ("vrid_zero", "the VRID is 0"),
        /// The VRID is not configured for this family on the interface that received it (erratum 8298).
        UnknownVrid => ("unknown_vrid", "the VRID is not configured on this interface"),
        /// v2: Auth Type is not 0; no authentication is supported.
        AuthType => ("auth_type", "the authentication type is not 0"),
        /// Max Advertise Interval, or Adver Int, is 0 (erratum 8301).
        IntervalZero => ("interval_zero", "the advertisement interval is 0"),
        /// v2: Adver Int is not the configured one (RFC 3768 §7.1).
        IntervalMismatch => ("interval_mismatch", "the advertisement interval is not the configured one"),
        /// The first IPv6 address is not link-local (§5.2.9, erratum 8300).
        FirstAddressNotLinkLocal => ("first_address_not_link_local", "the first IPv6 address is not link-local"),
    }
}

counted! {
    /// What is odd about an advertisement that is accepted all the same. Worth a log line, now and then (§7.1).
    Notice {
        /// v3 over IPv4 with the checksum of RFC 5798: a pseudo-header, as keepalived and FRR have it.
        Rfc5798Checksum => ("rfc5798_checksum", "the checksum covers a pseudo-header, as in RFC 5798"),
        /// v3: Max Advertise Interval is not our Advertisement_Interval; it is learnt.
        OtherInterval => ("other_interval", "the advertisement interval is not the configured one"),
        /// The addresses are not the configured ones, or not in the configured order.
        OtherAddresses => ("other_addresses", "the addresses are not the configured ones in the configured order"),
        /// We own the address, and somebody else advertises it (erratum 8298).
        HeardByOwner => ("heard_by_owner", "another router advertises the address that we own"),
        /// Somebody else claims to own the address as well: priority 255 twice (§8.3.2).
        SecondOwner => ("second_owner", "a second router claims to own the address (priority 255)"),
    }
}

/// How many packets were accepted, discarded and noted, each by its reason. Counts wrap after 584 years of 1 per ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    accepted: u64,
    discarded: [u64; Discard::ALL.len()],
    noticed: [u64; Notice::ALL.len()],
}

impl Counters {
    /// All zero.
    pub const ZERO: Self = Self { accepted: 0, discarded: [0; Discard::ALL.len()], noticed: [0; Notice::ALL.len()] };

    /// Advertisements that were accepted.
    #[must_use]
    pub const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Packets that were discarded for this reason.
    #[must_use]
    pub const fn discarded(&self, why: Discard) -> u64 {
        self.discarded[why as usize]
    }

    /// Advertisements that were accepted with this notice.
    #[must_use]
    pub const fn noticed(&self, what: Notice) -> u64 {
        self.noticed[what as usize]
    }

    /// Packets that were discarded for any reason.
    #[must_use]
    pub fn discarded_in_all(&self) -> u64 {
        self.discarded.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Count one packet more that was discarded for this reason.
    pub const fn count_discard(&mut self, why: Discard) {
        self.discarded[why as usize] = self.discarded[why as usize].wrapping_add(1);
    }

    pub(crate) fn count_accepted(&mut self, notices: Notices) {
        self.accepted = self.accepted.wrapping_add(1);
        for notice in notices.iter() {
            self.noticed[notice as usize] = self.noticed[notice as usize].wrapping_add(1);
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::ZERO
    }
}

/// A set of [`Notice`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Notices(u8);

impl Notices {
    pub(crate) const fn note(&mut self, notice: Notice, applies: bool) {
        self.0 |= (applies as u8) << notice as u8;
    }

    /// Whether this one is among them.
    #[must_use]
    pub const fn contains(self, notice: Notice) -> bool {
        self.0 & (1 << notice as u8) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set.
    pub fn iter(self) -> impl Iterator<Item = Notice> {
        Notice::ALL.into_iter().filter(move |notice| self.contains(*notice))
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_and_a_label_of_its_own() {
        let mut counters = Counters::ZERO;
        for (already, why) in Discard::ALL.into_iter().enumerate() {
            assert_eq!(counters.discarded(why), 0, "{why}");
            counters.count_discard(why);
            assert_eq!(counters.discarded(why), 1, "{why}");
            assert_eq!(counters.discarded_in_all(), already as u64 + 1);
        }
        let labels: std::collections::BTreeSet<_> = Discard::ALL.into_iter().map(Discard::label).collect();
        assert_eq!(labels.len(), Discard::ALL.len());
    }

    #[test]
    fn every_notice_is_counted_by_itself() {
        for what in Notice::ALL {
            let (mut counters, mut notices) = (Counters::ZERO, Notices::default());
            notices.note(what, true);
            counters.count_accepted(notices);
            assert_eq!(
                Notice::ALL.map(|other| counters.noticed(other)),
                Notice::ALL.map(|other| u64::from(other == what))
            );
            assert_eq!(counters.accepted(), 1);
        }
    }
}
