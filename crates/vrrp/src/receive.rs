//! RFC 9568 §7.1: which advertisements reach the state machine of which virtual router.

use std::net::IpAddr;

use crate::wire::{self, ChecksumForm, Datagram};
use crate::{
    AddressList, AdverInterval, AdvertPriority, Advertisement, Counters, Discard, Heard, Notice, Notices, Priority,
    Vrid,
};

/// A virtual router as its configuration has it: what advertisements are held against.
///
/// It borrows, and is made anew for each packet. The daemon finds it by (receiving interface, family, VRID); when there
/// is none it counts [`Discard::UnknownVrid`] (erratum 8298: the right VRID on another interface is as unknown).
#[derive(Debug, Clone, Copy)]
pub struct VirtualRouter<'a> {
    /// Its number.
    pub vrid: Vrid,
    /// Our present priority.
    pub priority: Priority,
    /// Our Advertisement_Interval; its version is the one that we speak.
    pub interval: AdverInterval,
    /// The virtual addresses that we advertise.
    pub addresses: AddressList<'a>,
    /// Our own source address: the interface's primary IPv4 address, or its link-local IPv6 address.
    pub primary: IpAddr,
    /// From whom, and how, advertisements come.
    pub peers: Peers<'a>,
}

/// From whom, and how, advertisements come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers<'a> {
    /// From any router on the link, to the VRRP group, with TTL 255.
    Multicast,
    /// From these addresses only, to our primary address. An extension: the RFC knows multicast only.
    Unicast {
        /// The peers.
        peers: &'a [IpAddr],
        /// The lowest TTL to accept: 255 on one link, 255 − n across n routers.
        min_ttl: u8,
    },
}

/// An advertisement that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// What the state machine is told.
    pub heard: Heard,
    /// What was odd about it: to be logged, and not too often.
    pub notices: Notices,
    /// The whole of it.
    pub advertisement: Advertisement<'a>,
}

impl VirtualRouter<'_> {
    /// Judge a packet, and count the verdict.
    ///
    /// # Errors
    /// Why it is discarded; the counter of that reason has been incremented, and there is nothing else to do.
    pub fn receive<'d>(&self, datagram: &Datagram<'d>, counters: &mut Counters) -> Result<Received<'d>, Discard> {
        let verdict = self.judge(datagram);
        match &verdict {
            Ok(received) => counters.count_accepted(received.notices),
            Err(why) => counters.count_discard(*why),
        }
        verdict
    }

    fn judge<'d>(&self, datagram: &Datagram<'d>) -> Result<Received<'d>, Discard> {
        self.check_path(datagram)?;
        if wire::Message::new_checked(datagram.payload)?.version() != self.version_number() {
            return Err(Discard::Version);
        }
        let parsed = Advertisement::parse(datagram)?;
        let advertisement = parsed.advertisement;
        if advertisement.vrid() != self.vrid {
            return Err(Discard::UnknownVrid);
        }
        let other_interval = advertisement.interval() != self.interval;
        if other_interval && matches!(self.interval, AdverInterval::V2(_)) {
            return Err(Discard::IntervalMismatch);
        }
        let second_owner = advertisement.priority() == AdvertPriority::Holding(Priority::OWNER);
        let mut notices = Notices::default();
        notices.note(Notice::Rfc5798Checksum, parsed.checksum == Some(ChecksumForm::Rfc5798));
        notices.note(Notice::OtherInterval, other_interval);
        notices.note(Notice::OtherAddresses, advertisement.addresses() != self.addresses);
        notices.note(Notice::HeardByOwner, self.priority.is_owner());
        notices.note(Notice::SecondOwner, self.priority.is_owner() && second_owner);
        let heard = Heard {
            source: datagram.endpoints.source(),
            priority: advertisement.priority(),
            interval: advertisement.interval(),
        };
        Ok(Received { heard, notices, advertisement })
    }

    /// Whom it is from, whom it is to, and over how many routers it came.
    fn check_path(&self, datagram: &Datagram<'_>) -> Result<(), Discard> {
        let (source, destination) = (datagram.endpoints.source(), datagram.endpoints.destination());
        let broadcast = matches!(source, IpAddr::V4(v4) if v4.is_broadcast());
        if source.is_unspecified() || source.is_multicast() || broadcast {
            return Err(Discard::Source);
        }
        if source == self.primary {
            return Err(Discard::OwnAddress);
        }
        match self.peers {
            Peers::Multicast => {
                if destination != wire::IPV4_GROUP && destination != wire::IPV6_GROUP {
                    return Err(Discard::Destination);
                }
                if datagram.ttl != wire::TTL {
                    return Err(Discard::Ttl);
                }
            }
            Peers::Unicast { peers, min_ttl } => {
                if !peers.contains(&source) {
                    return Err(Discard::UnknownPeer);
                }
                if destination != self.primary {
                    return Err(Discard::Destination);
                }
                if datagram.ttl < min_ttl {
                    return Err(Discard::Ttl);
                }
            }
        }
        Ok(())
    }

    const fn version_number(&self) -> u8 {
        match self.interval {
            AdverInterval::V3(_) => 3,
            AdverInterval::V2(_) => 2,
        }
    }
}

#[cfg(test)]
mod tests;
