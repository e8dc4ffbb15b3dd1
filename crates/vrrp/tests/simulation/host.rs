//! A host: a router, its clock, its socket, and whether it runs.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp::wire::{ChecksumForm, Datagram, Endpoints, IPV4_GROUP, IPV6_GROUP, TTL};
use vrrp::{
    Action, AddressList, AdverInterval, AdvertPriority, Advertisement, Counters, Discard, Family, Heard, Input, Peers,
    Settings, VirtualRouter, Vrid,
};

use crate::clock::{Clock, Time};
use crate::flaw::{Flaw, Subject};
use crate::network::Packet;

const VIP_V4: [[u8; 4]; 1] = [[198, 18, 0, 100]];
const VIP_V6: [[u8; 16]; 1] = [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100).octets()];

/// What a stopped host does with the packets that arrive meanwhile, and with its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freeze {
    /// SIGSTOP: the clock runs, the socket keeps what fits.
    Process,
    /// A paused machine whose clock is put right afterwards.
    Machine,
    /// A paused machine whose clock stood still, so that it cannot know.
    MachineAndClock,
}

pub(crate) struct Host {
    pub(crate) subject: Subject,
    pub(crate) clock: Clock,
    pub(crate) frozen: Option<(Freeze, Time)>,
    pub(crate) dead: bool,
    pub(crate) settings: Settings,
    flaw: Option<Flaw>,
    family: Family,
    socket: VecDeque<Heard>,
    pub(crate) holds: bool,
    /// The interval in its last advertisement: what its peers count with.
    pub(crate) advertised: AdverInterval,
    pub(crate) counters: Counters,
}

impl Host {
    pub(crate) fn new(settings: Settings, clock: Clock, flaw: Option<Flaw>) -> Self {
        Self {
            subject: Subject::new(settings, flaw),
            clock,
            frozen: None,
            dead: false,
            settings,
            flaw,
            family: Family::of(settings.primary),
            socket: VecDeque::new(),
            holds: false,
            advertised: settings.interval,
            counters: Counters::ZERO,
        }
    }

    pub(crate) fn address(family: Family, index: usize) -> IpAddr {
        let last = u8::try_from(index + 1).unwrap();
        match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(198, 18, 0, last)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into())),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        !self.dead && self.frozen.is_none()
    }

    /// When its timer has to be served, in the world's time.
    pub(crate) fn due(&self) -> Time {
        match self.subject.deadline() {
            Some(deadline) if self.runs() => self.clock.shows(deadline),
            Some(_) | None => Time::MAX,
        }
    }

    /// A process of its own again, with nothing remembered.
    pub(crate) fn restart(&mut self) {
        self.subject = Subject::new(self.settings, self.flaw);
        self.socket.clear();
        self.dead = false;
        self.holds = false;
        self.frozen = None;
    }

    /// A packet reaches it: to be handled now, to be kept, or to be lost.
    pub(crate) fn receive(&mut self, packet: &Packet) -> Option<Heard> {
        if self.dead {
            return None;
        }
        let heard = self.read(packet);
        match self.frozen {
            None => heard.ok(),
            Some((Freeze::Process, _)) if self.socket.len() < 64 => {
                self.socket.extend(heard.ok());
                None
            }
            Some(_) => None,
        }
    }

    /// What the socket has kept, oldest first.
    pub(crate) fn read_socket(&mut self) -> VecDeque<Heard> {
        std::mem::take(&mut self.socket)
    }

    fn read(&mut self, packet: &Packet) -> Result<Heard, Discard> {
        let endpoints = Self::endpoints(Self::address(self.family, packet.from));
        let datagram = Datagram { endpoints, ttl: TTL, payload: packet.payload() };
        let settings = self.subject.router().settings();
        let router = VirtualRouter {
            vrid: VRID,
            priority: settings.priority,
            interval: settings.interval,
            addresses: Self::addresses(self.family),
            primary: settings.primary,
            peers: Peers::Multicast,
        };
        router.receive(&datagram, &mut self.counters).map(|received| received.heard)
    }

    /// The bytes of an advertisement.
    pub(crate) fn emit(&mut self, priority: AdvertPriority, buffer: &mut [u8]) -> usize {
        let Settings { interval, primary, .. } = *self.subject.router().settings();
        self.advertised = interval;
        let advertisement = Advertisement::new(VRID, priority, interval, Self::addresses(self.family)).unwrap();
        advertisement.emit(Self::endpoints(primary), ChecksumForm::default(), buffer).unwrap()
    }

    pub(crate) fn handle(&mut self, now: Time, input: Input, done: &mut VecDeque<Action>) {
        self.subject.handle(self.clock.reads(now), input, done);
    }

    pub(crate) fn interval(&self) -> AdverInterval {
        self.subject.router().settings().interval
    }

    fn addresses(family: Family) -> AddressList<'static> {
        match family {
            Family::V4 => AddressList::v4(&VIP_V4),
            Family::V6 => AddressList::v6(&VIP_V6),
        }
        .unwrap()
    }

    fn endpoints(source: IpAddr) -> Endpoints {
        match source {
            IpAddr::V4(source) => Endpoints::V4 { source, destination: IPV4_GROUP },
            IpAddr::V6(source) => Endpoints::V6 { source, destination: IPV6_GROUP },
        }
    }
}

const VRID: Vrid = Vrid::new(51).unwrap();
