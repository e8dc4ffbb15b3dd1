//! From nothing to a daemon that is ready and holds nothing.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::path::PathBuf;

use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Service, Signals, Spare, WAITING};
use crate::clock::{self, Alarm};
use crate::config::{self, Config};
use crate::daemon::control::Listener;
use crate::daemon::edge::Edge;
use crate::daemon::error::DaemonError;
use crate::daemon::event::What;
use crate::daemon::hook::Runner;
use crate::daemon::privilege;
use crate::daemon::sandbox;
use crate::daemon::stream::Stream;
use crate::daemon::watchdog::Watchdog;
use crate::kernel::monitor::Monitor;
use crate::kernel::netlink::Netlink;
use crate::lease::{LeaseError, Missing};

impl Service {
    /// Gets everything ready, unless another daemon is at work here; `socket` is used instead of the one that `config` names. Nothing is held yet, and what a dead daemon left is gone.
    ///
    /// # Errors
    /// Anything that is needed and not there.
    pub async fn start(file: PathBuf, config: Config, socket: Option<PathBuf>) -> Result<Self, DaemonError> {
        let calls = mpsc::channel(WAITING);
        // First of all: what a daemon that lives has is not ours to sweep.
        let path = socket.clone().unwrap_or_else(|| config.control.socket.clone());
        let listener = Listener::open(&path, &config.control, calls.0.clone());
        let listener = listener.map_err(|source| DaemonError::Socket { path, source })?;
        let kernel = |what: &'static str| move |source| DaemonError::Kernel { what, source };
        let monitor = Monitor::open().map_err(kernel("listening to rtnetlink"))?;
        let mut netlink = Netlink::connect().map_err(kernel("opening rtnetlink"))?;
        let observed = netlink.observe().map_err(kernel("listing links and addresses"))?;
        let with_lease = config.instances.values().any(|instance| instance.lease != config::LeaseSetting::Off);
        let (edge, missing) = Edge::open().map_err(kernel("opening rtnetlink"))?;
        if let Some(LeaseError::Unavailable(taken @ Missing::Taken(_))) = missing {
            return Err(DaemonError::Another(taken));
        }
        let listen = |kind| signal(kind).map_err(kernel("waiting for signals"));
        let signals = Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        };
        let (failures, hook_failed) = mpsc::channel(WAITING);
        let mut service = Self {
            instances: BTreeMap::new(),
            leaving: Vec::new(),
            roster: None,
            untidy: false,
            unread: false,
            uneven: false,
            observed,
            look_again: None,
            netlink,
            monitor,
            edge,
            stream: Stream::default(),
            checks: BTreeMap::new(),
            ran: mpsc::channel(WAITING),
            hook: Runner::start(failures),
            hook_failed,
            listener,
            metrics: None,
            unserved: None,
            calls,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            next_lease: NonZeroU32::MIN,
            retiring: Vec::new(),
            withheld: None,
            queue: VecDeque::new(),
            spare: Spare::default(),
            alarm: Alarm::new().map_err(kernel("setting a timer"))?,
            signals,
            watchdog: Watchdog::from_environment(clock::now()),
            file,
            socket,
            config: Config::default(),
        };
        service.sweep(&config)?;
        let switches_user = config.checks.values().any(|check| check.user.is_some());
        privilege::drop_others(switches_user).map_err(DaemonError::Privilege)?;
        sandbox::close().map_err(|error| DaemonError::Privilege(format!("seccomp: {error}")))?;
        if let Some(missing) = missing.filter(|_| with_lease) {
            let what = "the dead-man switch".to_owned();
            service.report(None, What::Failed { what, error: missing.to_string() });
        }
        // The first configuration is a reload of an empty one.
        service.change_to(config);
        service.report(None, What::Started { instances: service.instances.len() });
        service.watchdog.ready();
        Ok(service)
    }

    fn sweep(&mut self, config: &Config) -> Result<(), DaemonError> {
        let place = |instance: &config::Instance| {
            let link = self.observed.link(instance.interface.as_str()).map(|link| link.index)?;
            Some(instance.held().map(move |net| (link, net)).collect::<Vec<(u32, IpNet)>>())
        };
        let configured: Vec<_> = config.instances.values().filter_map(place).flatten().collect();
        let swept = self.edge.sweep(&mut self.observed, &configured).map_err(DaemonError::Sweep)?;
        if !swept.is_empty() {
            tracing::warn!(addresses = ?swept, "removed what an earlier vipd had left");
        }
        Ok(())
    }
}
