//! A VRRP router of any make, told in RFC words what to do.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::process::Process;
use super::world::{Host, PATIENCE, can_make_namespaces};
use super::{frr, keepalived, vipd};

/// Who made the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    Vipd,
    Keepalived,
    Frr,
}

impl Make {
    /// Whether it is installed. If not, says so and the test is skipped; with `CI=true` it fails instead.
    pub fn is_installed(self) -> bool {
        let needs: &[&str] = match self {
            Self::Vipd => &[],
            Self::Keepalived => &[keepalived::PROGRAM],
            Self::Frr => &[frr::ZEBRA, frr::VRRPD],
        };
        let Some(missing) = needs.iter().find(|program| !Path::new(program).exists()) else {
            return can_make_namespaces();
        };
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must run the tests with peers, but lacks {missing}");
        eprintln!("skipped: {missing} is not installed");
        false
    }

    /// Starts one on `host`.
    pub fn start(self, host: &Host, setting: &Setting) -> Router {
        match self {
            Self::Vipd => vipd::start(host, setting),
            Self::Keepalived => keepalived::start(host, setting),
            Self::Frr => frr::start(host, setting),
        }
    }
}

/// What a router shall do, on `eth0`.
#[derive(Clone, Debug)]
pub struct Setting {
    pub version: u8,
    pub interval: Duration,
    pub priority: u8,
    pub preempt: bool,
    /// Advertises from, and holds the addresses on, the virtual router's MAC address. FRR always does.
    pub virtual_mac: bool,
    pub instances: Vec<Instance>,
}

/// A virtual router.
#[derive(Clone, Debug)]
pub struct Instance {
    pub vrid: u8,
    /// With prefix lengths.
    pub addresses: Vec<String>,
    /// Held but not advertised.
    pub unadvertised: Vec<String>,
}

impl Setting {
    pub fn is_ipv6(&self) -> bool {
        self.instances[0].addresses[0].contains(':')
    }

    /// Skew_Time (RFC 9568 §6.1; RFC 3768 §6.1: of one second, whatever the interval).
    pub fn skew(&self) -> Duration {
        let base = if self.version == 2 { Duration::from_secs(1) } else { self.interval };
        base * (256 - u32::from(self.priority)) / 256
    }

    /// Active_Down_Interval (RFC 9568 §6.1).
    pub fn active_down_interval(&self) -> Duration {
        self.interval * 3 + self.skew()
    }

    /// What a vipd takes longer to become Active if its Active_Down_Timer finds it an interval late: it listens once more.
    pub fn listening_again(&self) -> Duration {
        self.interval + self.active_down_interval()
    }
}

/// A running router. Killed when dropped; its directory goes with it.
pub struct Router {
    /// The last is the one that speaks VRRP.
    pub processes: Vec<Process>,
    pub directory: tempfile::TempDir,
}

impl Router {
    /// The process that speaks VRRP.
    pub fn daemon(&mut self) -> &mut Process {
        self.processes.last_mut().unwrap()
    }

    /// Kills it; nothing is tidied up.
    pub fn kill(&mut self) {
        self.daemon().kill();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.daemon().terminate();
        self.daemon().wait(PATIENCE);
    }
}

/// An address without its prefix length.
pub fn bare(address: &str) -> IpAddr {
    address.split('/').next().unwrap().parse().unwrap()
}
