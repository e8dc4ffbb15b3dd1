//! The only message that VRRP has, in the only forms that are valid.

use super::checksum::{ChecksumForm, Sum};
use super::message::{HEAD, Message};
use super::{Datagram, Endpoints};
use crate::{AddressList, AdverInterval, AdvertPriority, Centis, Discard, Family, Seconds, Version, Vrid};

/// Type 1.
const ADVERTISEMENT: u8 = 1;

/// Authentication Data of v2: eight zero bytes (RFC 3768 §5.3.10).
const AUTH_DATA: usize = 8;

/// An ADVERTISEMENT, v3 or v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement<'a> {
    vrid: Vrid,
    priority: AdvertPriority,
    interval: AdverInterval,
    addresses: AddressList<'a>,
}

/// What [`Advertisement::parse`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The advertisement.
    pub advertisement: Advertisement<'a>,
    /// For v3 over IPv4, the form of its checksum.
    pub checksum: Option<ChecksumForm>,
}

/// A v2 interval with IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("VRRP version 2 has no IPv6; use version 3")]
pub struct VersionError;

/// Why an advertisement could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The buffer is shorter than [`Advertisement::buffer_len`].
    #[error("an advertisement of {needed} bytes does not fit into {given}")]
    BufferTooShort {
        /// Bytes of the advertisement.
        needed: usize,
        /// Bytes of the buffer.
        given: usize,
    },
    /// The virtual addresses and the packet are of different families (RFC 9568 §5.2.9).
    #[error("virtual addresses of one family cannot be advertised in a packet of the other")]
    Family,
}

impl<'a> Advertisement<'a> {
    /// An advertisement; its version is the interval's.
    ///
    /// # Errors
    /// [`VersionError`] for a v2 interval with IPv6 addresses.
    pub fn new(
        vrid: Vrid,
        priority: AdvertPriority,
        interval: AdverInterval,
        addresses: AddressList<'a>,
    ) -> Result<Self, VersionError> {
        match (interval, addresses.family()) {
            (AdverInterval::V2(_), Family::V6) => Err(VersionError),
            (AdverInterval::V2(_), Family::V4) | (AdverInterval::V3(_), Family::V4 | Family::V6) => {
                Ok(Self { vrid, priority, interval, addresses })
            }
        }
    }

    /// The virtual router that it is about.
    #[must_use]
    pub const fn vrid(&self) -> Vrid {
        self.vrid
    }

    /// The sender's priority, or its resignation.
    #[must_use]
    pub const fn priority(&self) -> AdvertPriority {
        self.priority
    }

    /// How often the sender advertises: Max Advertise Interval, or Adver Int.
    #[must_use]
    pub const fn interval(&self) -> AdverInterval {
        self.interval
    }

    /// The virtual addresses.
    #[must_use]
    pub const fn addresses(&self) -> AddressList<'a> {
        self.addresses
    }

    /// Read and verify what a packet carries: everything in RFC 9568 §7.1 (RFC 3768 §7.1) that needs no configuration.
    ///
    /// # Errors
    /// In the RFC's order: [`Discard::Truncated`], [`Discard::Version`], [`Discard::Type`], [`Discard::NoAddresses`],
    /// [`Discard::Truncated`], [`Discard::Oversize`], [`Discard::Checksum`], [`Discard::VridZero`],
    /// [`Discard::AuthType`], [`Discard::IntervalZero`], [`Discard::FirstAddressNotLinkLocal`].
    pub fn parse(datagram: &Datagram<'a>) -> Result<Parsed<'a>, Discard> {
        let message = Message::new_checked(datagram.payload)?;
        let family = datagram.endpoints.family();
        let version = match (message.version(), family) {
            (2, Family::V4) => Version::V2,
            (3, Family::V4 | Family::V6) => Version::V3,
            _ => return Err(Discard::Version),
        };
        if message.kind() != ADVERTISEMENT {
            return Err(Discard::Type);
        }
        if message.address_count() == 0 {
            return Err(Discard::NoAddresses);
        }
        let list = list_of(message, family, version)?;
        let checksum = verify(message, datagram.endpoints, version)?;
        let vrid = Vrid::new(message.vrid()).ok_or(Discard::VridZero)?;
        let interval = interval_of(message, version)?;
        // The count is 1 to 255, so only the first address can be wrong.
        let addresses = match family {
            Family::V4 => AddressList::v4(list.as_chunks().0),
            Family::V6 => AddressList::v6(list.as_chunks().0),
        }
        .map_err(|_| Discard::FirstAddressNotLinkLocal)?;
        let priority = AdvertPriority::from_wire(message.priority());
        Ok(Parsed { advertisement: Self { vrid, priority, interval, addresses }, checksum })
    }

    /// Bytes that [`Advertisement::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        let trailer = match self.interval {
            AdverInterval::V3(_) => 0,
            AdverInterval::V2(_) => AUTH_DATA,
        };
        HEAD + self.addresses.as_bytes().len() + trailer
    }

    /// Write the message for a packet between these endpoints, and return its length.
    ///
    /// `form` matters to v3 over IPv4 only. The rest of the buffer stays as it was.
    ///
    /// # Errors
    /// The buffer is too short, or the endpoints are of the other family; nothing is written then.
    pub fn emit(&self, endpoints: Endpoints, form: ChecksumForm, buffer: &mut [u8]) -> Result<usize, EmitError> {
        if endpoints.family() != self.addresses.family() {
            return Err(EmitError::Family);
        }
        let needed = self.buffer_len();
        let given = buffer.len();
        let message = buffer.get_mut(..needed).ok_or(EmitError::BufferTooShort { needed, given })?;
        let Some((head, rest)) = message.split_first_chunk_mut::<HEAD>() else {
            return Err(EmitError::BufferTooShort { needed, given });
        };
        let (version, [i0, i1]) = match self.interval {
            AdverInterval::V3(centis) => (3, centis.get().to_be_bytes()), // Reserve: the upper four bits are 0
            AdverInterval::V2(seconds) => (2, [0, seconds.get()]),        // Auth Type 0: no authentication
        };
        let (priority, count) = (self.priority.to_wire(), self.addresses.count());
        *head = [version << 4 | ADVERTISEMENT, self.vrid.get(), priority, count, i0, i1, 0, 0];
        let addresses = self.addresses.as_bytes();
        rest[..addresses.len()].copy_from_slice(addresses);
        rest[addresses.len()..].fill(0);
        let mut sum = Sum::of(message);
        if pseudo_header(self.interval.version(), endpoints.family(), form) {
            sum = sum.and(Sum::of_pseudo_header(endpoints, needed));
        }
        message[6..8].copy_from_slice(&sum.checksum());
        Ok(needed)
    }
}

/// The bytes of the address list, once the message has turned out to be exactly as long as it must be.
fn list_of(message: Message<'_>, family: Family, version: Version) -> Result<&[u8], Discard> {
    let list = usize::from(message.address_count()) * family.octets();
    let trailer = match version {
        Version::V3 => 0,
        Version::V2 => AUTH_DATA,
    };
    if message.rest().len() > list + trailer {
        return Err(Discard::Oversize);
    }
    if message.rest().len() < list + trailer {
        return Err(Discard::Truncated);
    }
    message.rest().get(..list).ok_or(Discard::Truncated)
}

fn verify(message: Message<'_>, endpoints: Endpoints, version: Version) -> Result<Option<ChecksumForm>, Discard> {
    let sum = Sum::of(message.head()).and(Sum::of(message.rest()));
    let length = HEAD + message.rest().len();
    let with_pseudo_header = sum.and(Sum::of_pseudo_header(endpoints, length));
    match (version, endpoints.family()) {
        (Version::V3, Family::V4) if sum.is_valid() => Ok(Some(ChecksumForm::Rfc9568)),
        (Version::V3, Family::V4) if with_pseudo_header.is_valid() => Ok(Some(ChecksumForm::Rfc5798)),
        (Version::V3, Family::V6) if with_pseudo_header.is_valid() => Ok(None),
        (Version::V2, Family::V4 | Family::V6) if sum.is_valid() => Ok(None),
        (Version::V2 | Version::V3, Family::V4 | Family::V6) => Err(Discard::Checksum),
    }
}

const fn pseudo_header(version: Version, family: Family, form: ChecksumForm) -> bool {
    match (version, family, form) {
        (Version::V3, Family::V6, _) | (Version::V3, Family::V4, ChecksumForm::Rfc5798) => true,
        (Version::V3, Family::V4, ChecksumForm::Rfc9568) | (Version::V2, _, _) => false,
    }
}

fn interval_of(message: Message<'_>, version: Version) -> Result<AdverInterval, Discard> {
    match version {
        Version::V3 => {
            Centis::new(message.max_advertise_interval()).map(AdverInterval::V3).ok_or(Discard::IntervalZero)
        }
        Version::V2 if message.auth_type() != 0 => Err(Discard::AuthType),
        Version::V2 => Seconds::new(message.adver_int()).map(AdverInterval::V2).ok_or(Discard::IntervalZero),
    }
}
