//! The protocols that two routers can speak with each other.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::bed::router::{Instance, Setting};

pub const VRID: u8 = 51;
/// The virtual IP of [`Protocol::V2`] and [`Protocol::V3`].
pub const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 200);

#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// VRRP version 2 (RFC 3768), IPv4: whole seconds.
    V2,
    /// VRRP version 3 (RFC 9568), IPv4.
    V3,
    /// VRRP version 3, IPv6.
    V3Ipv6,
    /// The same two, with the virtual router's MAC address.
    V3VirtualMac,
    V3Ipv6VirtualMac,
}

impl Protocol {
    /// A router that speaks it, as quickly as it may without being hurried.
    pub fn setting(self, priority: u8) -> Setting {
        let (version, interval, addresses) = match self {
            Self::V2 => (2, 1000, ["198.18.5.200/24"].as_slice()),
            Self::V3 | Self::V3VirtualMac => (3, 100, ["198.18.5.200/24"].as_slice()),
            Self::V3Ipv6 | Self::V3Ipv6VirtualMac => (3, 100, ["fe80::5:200/64", "fd00:5::200/64"].as_slice()),
        };
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        Setting {
            version,
            interval: Duration::from_millis(interval),
            priority,
            preempt: true,
            virtual_mac: matches!(self, Self::V3VirtualMac | Self::V3Ipv6VirtualMac),
            instances: vec![Instance { vrid: VRID, addresses, unadvertised: Vec::new() }],
        }
    }
}
