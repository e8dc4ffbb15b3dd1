//! One instance: the addresses that move together, and what decides where they are.

use std::net::IpAddr;
use std::num::NonZeroI16;
use std::time::Duration;

use ipnet::IpNet;
use vrrp::wire::ChecksumForm;
use vrrp::{AdverInterval, Family, Peers, Preempt, Priority, Settings, Vrid};

use super::name::{InterfaceName, Name};
use crate::lease::{Enforcement, LeasePlan, PlanError};

/// Addresses that are held together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: Name,
    /// The interface that carries the addresses. It need not exist yet.
    pub interface: InterfaceName,
    /// The virtual addresses, at least one, all of one family. VRRP advertises these, in this order.
    pub addresses: Vec<IpNet>,
    /// Who decides when they are held.
    pub mode: Mode,
    /// Whether the kernel lets go of them when the daemon no longer renews them.
    pub lease: LeaseSetting,
    /// What to do when another host claims one of them.
    pub on_conflict: OnConflict,
    /// How many times a minute an address that somebody else removed is put back, before stepping down; 0 is at once.
    pub restore_limit: u32,
}

/// Who decides when the addresses are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A person, a hook or `bcctl`, by `vipd acquire` and `vipd release`. Never at start.
    Managed,
    /// An election between routers (RFC 9568, RFC 3768).
    Vrrp(Vrrp),
}

/// A VRRP router as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrp {
    /// Virtual Router Identifier.
    pub vrid: Vrid,
    /// Priority before any weight; 255 is the address owner.
    pub priority: Priority,
    /// Advertisement_Interval; the version is its.
    pub interval: AdverInterval,
    /// What the checksum of a v3 advertisement over IPv4 covers when we send one.
    pub checksum: ChecksumForm,
    /// When to take over from an Active router of lower priority.
    pub preempt: Preempt,
    /// Added to the first Active_Down_Interval after start.
    pub startup_delay: Duration,
    /// Accept_Mode: whether packets to the addresses are let in (RFC 9568 §6.1). The owner always does.
    pub accept: bool,
    /// Whether a macvlan with the virtual router's MAC address carries the addresses.
    pub virtual_mac: bool,
    /// Whether it is in a sync group.
    pub in_sync_group: bool,
    /// Whom advertisements go to and come from.
    pub peers: PeerSet,
    /// Addresses that are held like the others and not advertised.
    pub unadvertised: Vec<IpNet>,
    /// Other interfaces that matter, those of the sync group included.
    pub interfaces: Vec<Tracked<InterfaceName>>,
    /// Checks that matter, by name, those of the sync group included.
    pub checks: Vec<Tracked<Name>>,
}

/// Whom advertisements go to and come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerSet {
    /// The link's VRRP group.
    Multicast,
    /// Named routers.
    Unicast(Unicast),
}

/// Advertisements to and from named routers: an extension, for networks that carry no multicast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unicast {
    /// The peers, at least one, of the family of the addresses.
    pub peers: Vec<IpAddr>,
    /// Our own address; without it the interface's primary one.
    pub source: Option<IpAddr>,
    /// The lowest TTL or hop limit to accept: 255 on one link.
    pub minimum_ttl: u8,
}

/// Something that an instance depends on, and what its failure does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked<T, E = Effect> {
    /// What is watched.
    pub what: T,
    /// What follows.
    pub effect: E,
}

/// What the state of something tracked does to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// While it is down the instance cannot hold the addresses.
    Fault,
    /// It moves the priority.
    Weight(Weight),
}

/// A change of priority, −253 to 253 and not 0: a positive one is added while the thing is up, a negative one while it is
/// down (as in keepalived). The sum stays within 1 to 254.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(NonZeroI16);

/// Whether the kernel lets go of the addresses when the daemon no longer renews them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseSetting {
    /// No: they stay until they are removed.
    Off,
    /// Yes, before any peer may take over.
    Automatic,
    /// Yes, this long after the last renewal.
    Fixed(Duration),
}

/// What to do when another host claims an address that we hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Announce it again, and hold it.
    Defend,
    /// Let it go.
    Release,
}

impl Weight {
    /// A weight; `None` for 0 and beyond ±253.
    #[must_use]
    pub const fn new(weight: i16) -> Option<Self> {
        match NonZeroI16::new(weight) {
            Some(weight) if weight.get() >= -253 && weight.get() <= 253 => Some(Self(weight)),
            Some(_) | None => None,
        }
    }

    /// What it adds to the priority.
    #[must_use]
    pub const fn when(self, up: bool) -> i16 {
        match (self.0.get() > 0, up) {
            (true, true) | (false, false) => self.0.get(),
            (true, false) | (false, true) => 0,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i16 {
        self.0.get()
    }
}

impl Instance {
    /// The family of all its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        self.addresses.first().map_or(Family::V4, |net| Family::of(net.addr()))
    }

    /// Every address that it holds: those that are advertised, then the others.
    pub fn held(&self) -> impl Iterator<Item = IpNet> + '_ {
        let unadvertised: &[IpNet] = match &self.mode {
            Mode::Managed => &[],
            Mode::Vrrp(vrrp) => &vrrp.unadvertised,
        };
        self.addresses.iter().chain(unadvertised).copied()
    }

    /// What the kernel is to enforce by these means, or `None` if nothing: `lease = false`, or the address owner, whose
    /// addresses are the interface's own.
    ///
    /// # Errors
    /// The lease is too short to be renewed, or too long. Never for an instance of a [`Config`](super::Config).
    pub fn lease_plan(&self, enforcement: Enforcement) -> Result<Option<LeasePlan>, PlanError> {
        let patience = self.vrrp().map(|vrrp| (vrrp.interval.duration(), vrrp.peers_patience()));
        match (self.lease, patience) {
            _ if self.vrrp().is_some_and(|vrrp| vrrp.priority.is_owner()) => Ok(None),
            (LeaseSetting::Off, _) => Ok(None),
            (LeaseSetting::Automatic, None) => LeasePlan::managed(LeasePlan::MANAGED, enforcement).map(Some),
            (LeaseSetting::Fixed(length), None) => LeasePlan::managed(length, enforcement).map(Some),
            (LeaseSetting::Automatic, Some((interval, patience))) => {
                LeasePlan::elected(interval, patience.min(LeasePlan::LONGEST), enforcement).map(Some)
            }
            (LeaseSetting::Fixed(length), Some((interval, _))) => {
                LeasePlan::elected(interval, length, enforcement).map(Some)
            }
        }
    }

    /// The VRRP router, if it is one.
    #[must_use]
    pub const fn vrrp(&self) -> Option<&Vrrp> {
        match &self.mode {
            Mode::Managed => None,
            Mode::Vrrp(vrrp) => Some(vrrp),
        }
    }
}

impl Vrrp {
    /// What the state machine is told, with the interface's `primary` address unless a source is configured.
    #[must_use]
    pub fn settings(&self, primary: IpAddr) -> Settings {
        let source = match &self.peers {
            PeerSet::Multicast => None,
            PeerSet::Unicast(unicast) => unicast.source,
        };
        Settings {
            priority: self.priority,
            interval: self.interval,
            preempt: self.preempt,
            startup_delay: self.startup_delay,
            primary: source.unwrap_or(primary),
            shared_mac: self.virtual_mac,
            in_sync_group: self.in_sync_group,
        }
    }

    /// The priority after the weights of what is up (`true`) and down.
    ///
    /// The owner's is fixed; every other stays within 1 to 254 (RFC 9568 §5.2.4).
    #[must_use]
    pub fn weighted(&self, states: impl IntoIterator<Item = (Weight, bool)>) -> Priority {
        if self.priority.is_owner() {
            return self.priority;
        }
        let sum = states
            .into_iter()
            .fold(i32::from(self.priority.get()), |sum, (weight, up)| sum.saturating_add(i32::from(weight.when(up))));
        u8::try_from(sum.clamp(1, 254)).ok().and_then(Priority::backup).unwrap_or(self.priority)
    }

    /// The shortest time after our last advertisement in which a peer may take over: three intervals, since Skew_Time is
    /// never zero. The kernel must have let go before.
    #[must_use]
    pub fn peers_patience(&self) -> Duration {
        self.interval.duration().saturating_mul(3)
    }
}

impl PeerSet {
    /// What received advertisements are held against.
    #[must_use]
    pub fn as_peers(&self) -> Peers<'_> {
        match self {
            Self::Multicast => Peers::Multicast,
            Self::Unicast(unicast) => Peers::Unicast { peers: &unicast.peers, min_ttl: unicast.minimum_ttl },
        }
    }
}

#[cfg(test)]
mod tests {
    use vrrp::Version;

    use super::*;

    fn vrrp(priority: u8) -> Vrrp {
        Vrrp {
            vrid: Vrid::new(51).unwrap(),
            priority: Priority::new(priority).unwrap(),
            interval: AdverInterval::from_millis(Version::V3, 1000).unwrap(),
            checksum: ChecksumForm::default(),
            preempt: Preempt::Immediately,
            startup_delay: Duration::ZERO,
            accept: true,
            virtual_mac: false,
            in_sync_group: false,
            peers: PeerSet::Multicast,
            unadvertised: Vec::new(),
            interfaces: Vec::new(),
            checks: Vec::new(),
        }
    }

    #[test]
    fn a_positive_weight_counts_while_up_and_a_negative_one_while_down() {
        let weight = |number| Weight::new(number).unwrap();
        assert_eq!(vrrp(100).weighted([(weight(20), true), (weight(-30), true)]).get(), 120);
        assert_eq!(vrrp(100).weighted([(weight(20), false), (weight(-30), false)]).get(), 70);
    }

    #[test]
    fn no_weight_makes_an_owner_or_a_zero() {
        let weight = |number| Weight::new(number).unwrap();
        assert_eq!(vrrp(100).weighted([(weight(253), true), (weight(253), true)]).get(), 254);
        assert_eq!(vrrp(100).weighted([(weight(-253), false)]).get(), 1);
        assert!(vrrp(255).weighted([(weight(-253), false)]).is_owner());
        assert_eq!((Weight::new(0), Weight::new(254)), (None, None));
    }

    #[test]
    fn a_configured_source_is_the_primary_address() {
        let primary = IpAddr::from([198, 18, 0, 1]);
        let source = IpAddr::from([198, 18, 0, 9]);
        let peers = PeerSet::Unicast(Unicast { peers: Vec::new(), source: Some(source), minimum_ttl: 255 });
        assert_eq!(vrrp(100).settings(primary).primary, primary);
        assert_eq!(Vrrp { peers, ..vrrp(100) }.settings(primary).primary, source);
    }
}
