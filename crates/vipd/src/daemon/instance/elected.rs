//! The half of an instance that the protocol decides about.

use std::net::IpAddr;
use std::time::Instant;

use vrrp::wire::{ChecksumForm, Datagram, EmitError, Endpoints, IPV4_GROUP, IPV6_GROUP};
use vrrp::{AddressList, AdvertPriority, Advertisement, Event, Family, Heard, Notice};

use super::{
    Action, Actions, Admission, Advertised, Brain, Effect, Elected, Instance, Observed, Router, Settings, Shutdown,
    VirtualRouter, Vrrp, What, config,
};
use crate::config::PeerSet;

impl Elected {
    pub(super) fn new(instance: &config::Instance, vrrp: &Vrrp) -> Self {
        let anywhere = match instance.family() {
            Family::V4 => IpAddr::from([0; 4]),
            Family::V6 => IpAddr::from([0; 16]),
        };
        Self {
            router: Router::new(vrrp.settings(anywhere)),
            config: vrrp.clone(),
            priority: vrrp.priority,
            addresses: Advertised::of(instance),
        }
    }

    pub(super) fn reconfigure(&mut self, instance: &config::Instance, vrrp: &Vrrp) {
        if self.config.priority != vrrp.priority {
            self.priority = vrrp.priority;
        }
        self.config = vrrp.clone();
        self.addresses = Advertised::of(instance);
    }

    fn settings(&self, primary: IpAddr) -> Settings {
        Settings { priority: self.priority, ..self.config.settings(primary) }
    }

    fn addresses(&self) -> Option<AddressList<'_>> {
        match &self.addresses {
            Advertised::V4(octets) => AddressList::v4(octets).ok(),
            Advertised::V6(octets) => AddressList::v6(octets).ok(),
        }
    }
}

impl Advertised {
    fn of(instance: &config::Instance) -> Self {
        let addresses = || instance.addresses.iter().map(ipnet::IpNet::addr);
        match instance.family() {
            Family::V4 => Self::V4(
                addresses().filter_map(|a| if let IpAddr::V4(v4) = a { Some(v4.octets()) } else { None }).collect(),
            ),
            Family::V6 => Self::V6(
                addresses().filter_map(|a| if let IpAddr::V6(v6) = a { Some(v6.octets()) } else { None }).collect(),
            ),
        }
    }
}

impl Instance {
    /// Hands an input to the router, and does what it says.
    pub(super) fn ask_router(&mut self, now: Instant, observed: &Observed, input: vrrp::Input, out: &mut Vec<Effect>) {
        let at = vrrp::Instant::after_origin(now.saturating_duration_since(self.origin));
        let Brain::Elected(elected) = &mut self.brain else { return };
        let actions = elected.router.handle(at, input);
        self.carry(now, observed, actions, out);
    }

    fn carry(&mut self, now: Instant, observed: &Observed, actions: Actions, out: &mut Vec<Effect>) {
        for action in actions {
            match action {
                Action::SendAdvertisement(priority) => out.push(Effect::Advertise(priority)),
                Action::AcquireAddresses => self.acquire(now, observed, out),
                // What has just been acquired is announced as it is placed.
                Action::Announce if !self.work.is_empty() => {}
                Action::Announce => {
                    self.announce_all(now);
                }
                Action::ReleaseAddresses => self.release(observed, out),
                Action::Report(Event::Transition { from, to, reason }) => {
                    self.transition(now, from, to, self.in_words(reason), out);
                }
                Action::Report(Event::Contested { by, priority }) => {
                    out.push(Effect::Report(What::Contested { by, priority: priority.to_wire() }));
                }
                Action::Report(Event::ListenAgain { late }) => {
                    let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                    out.push(Effect::Report(What::ListenAgain { late_ms }));
                }
            }
        }
    }

    /// Why the router changed its state: of an end only we know what led to it.
    fn in_words(&self, reason: vrrp::Reason) -> String {
        let known = match reason {
            vrrp::Reason::Shutdown(Shutdown::Stopped) => self.ending.map(str::to_owned),
            vrrp::Reason::Shutdown(Shutdown::Fault | Shutdown::InterfaceDown) => self.waiting_for.clone(),
            _ => None,
        };
        known.unwrap_or_else(|| reason.to_string())
    }

    /// Runs the router if nothing is in the way, with the settings of now.
    pub(super) fn govern_router(
        &mut self,
        now: Instant,
        observed: &Observed,
        obstacle: Option<Shutdown>,
        out: &mut Vec<Effect>,
    ) {
        let Brain::Elected(elected) = &mut self.brain else { return };
        let initialize = elected.router.state().name() == vrrp::StateName::Initialize;
        if let Some(why) = obstacle {
            if !initialize {
                self.ask_router(now, observed, vrrp::Input::Shutdown(why), out);
            }
            return;
        }
        let Ok(place) = &self.place else { return };
        let settings = elected.settings(place.primary);
        if *elected.router.settings() != settings {
            self.ask_router(now, observed, vrrp::Input::Reconfigured(settings), out);
        }
        if initialize {
            self.prepare(out);
            if self.adopts {
                self.ask_router(now, observed, vrrp::Input::Startup, out);
                // The election goes on from there: whoever is preferred preempts.
                self.ask_router(now, observed, vrrp::Input::TakeOver, out);
                self.adopts = false;
            } else {
                // Whatever a dead predecessor left must not answer while we are Backup.
                self.release(observed, out);
                self.ask_router(now, observed, vrrp::Input::Startup, out);
            }
        }
    }

    /// Asks for what it takes to begin.
    fn prepare(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Listen);
        if self.adopts {
            out.push(Effect::Adopt);
        }
        if !self.leased().is_empty() || self.admission() != Admission::All {
            out.push(Effect::Guard);
        }
    }

    /// Asks again for what was refused.
    pub(super) fn ask_again(&self, observed: &Observed, out: &mut Vec<Effect>) {
        match (&self.brain, &self.place) {
            (Brain::Elected(_), Ok(_)) => self.prepare(out),
            (Brain::Elected(_), Err(_)) => self.want_bearer(observed, out),
            (Brain::Managed(_), _) => {}
        }
    }

    /// Takes in what came for this virtual router.
    pub(super) fn hear(&mut self, now: Instant, observed: &Observed, datagram: &Datagram<'_>, out: &mut Vec<Effect>) {
        let (Brain::Elected(elected), Ok(place)) = (&mut self.brain, &self.place) else { return };
        let Some(addresses) = elected.addresses() else { return };
        let router = VirtualRouter {
            vrid: elected.config.vrid,
            priority: elected.priority,
            interval: elected.config.interval,
            addresses,
            primary: elected.config.settings(place.primary).primary,
            peers: elected.config.peers.as_peers(),
        };
        let (name, source) = (&self.config.name, datagram.endpoints.source());
        match router.receive(datagram, &mut self.counters) {
            Ok(received) => {
                for what in received.notices.iter() {
                    // What keepalived, FRR and we ourselves send unless told otherwise is worth no warning.
                    if what == Notice::Rfc5798Checksum || !self.noticed.admit(what as usize, now) {
                        tracing::debug!(instance = %name, %source, %what, "accepted");
                    } else {
                        tracing::warn!(instance = %name, %source, %what, "accepted; said once a minute");
                    }
                }
                self.ask_router(now, observed, vrrp::Input::Advertisement(received.heard), out);
            }
            Err(why) if self.discarded.admit(why as usize, now) => {
                let ttl = datagram.ttl;
                tracing::warn!(instance = %name, %source, ttl, %why, "discarded; said once a minute");
            }
            Err(why) => tracing::debug!(instance = %name, %source, %why, "discarded"),
        }
    }

    /// The peers wait anew from then on, and so does the kernel.
    pub(super) fn sent(&mut self, at: Instant, out: &mut Vec<Effect>) {
        // Its last word, after it has let go, promises nothing.
        if self.held {
            self.anchor = Some(at);
            if self.promised.take().is_some() {
                // The addresses, too, may stay for longer now.
                self.prolong = self.prolong.map(|_| (at, 0));
            }
            out.push(Effect::Renew);
        }
    }

    /// Nobody was told. Lets go when a peer may take over before the next attempt; at once when nobody has ever been told.
    pub(super) fn not_sent(&mut self, now: Instant, observed: &Observed, why: &str, out: &mut Vec<Effect>) {
        let Some(vrrp) = self.config.vrrp().filter(|_| self.held) else { return };
        let next = now + vrrp.interval.duration();
        if self.anchor.is_none_or(|at| at + vrrp.peers_patience() < next) {
            self.step_out(now, observed, format!("cannot advertise: {why}"), out);
        }
    }

    /// Takes in the resignation of its predecessor on this host, which every other Backup hears on the wire.
    pub(super) fn hear_predecessor(&mut self, now: Instant, observed: &Observed, out: &mut Vec<Effect>) {
        let (Brain::Elected(elected), Ok(place)) = (&self.brain, &self.place) else { return };
        if let vrrp::State::Backup(_) = elected.router.state() {
            let Settings { primary, interval, .. } = elected.settings(place.primary);
            let heard = Heard { source: primary, priority: AdvertPriority::Resigning, interval };
            self.ask_router(now, observed, vrrp::Input::Advertisement(heard), out);
        }
    }

    /// Writes the advertisement for each destination into `buffer`, and hands it to `send`.
    ///
    /// # Errors
    /// The advertisement cannot be written; never for an instance of a checked configuration.
    pub fn advertisements(
        &self,
        priority: AdvertPriority,
        buffer: &mut [u8],
        mut send: impl FnMut(Endpoints, &[u8]),
    ) -> Result<(), EmitError> {
        let (Brain::Elected(elected), Ok(place)) = (&self.brain, &self.place) else { return Ok(()) };
        let Some(addresses) = elected.addresses() else { return Ok(()) };
        let config = &elected.config;
        let Ok(advertisement) = Advertisement::new(config.vrid, priority, config.interval, addresses) else {
            return Err(EmitError::Family);
        };
        let source = config.settings(place.primary).primary;
        let form: ChecksumForm = config.checksum;
        let mut emit = |endpoints| {
            let length = advertisement.emit(endpoints, form, buffer)?;
            send(endpoints, buffer.get(..length).unwrap_or_default());
            Ok(())
        };
        match (&config.peers, source) {
            (PeerSet::Multicast, IpAddr::V4(source)) => emit(Endpoints::V4 { source, destination: IPV4_GROUP }),
            (PeerSet::Multicast, IpAddr::V6(source)) => emit(Endpoints::V6 { source, destination: IPV6_GROUP }),
            (PeerSet::Unicast(unicast), source) => {
                let mut others = unicast.peers.iter().filter(|peer| !place.own_peers.contains(peer));
                others.try_for_each(|peer| match (source, *peer) {
                    (IpAddr::V4(source), IpAddr::V4(destination)) => emit(Endpoints::V4 { source, destination }),
                    (IpAddr::V6(source), IpAddr::V6(destination)) => emit(Endpoints::V6 { source, destination }),
                    (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Err(EmitError::Family),
                })
            }
        }
    }
}
