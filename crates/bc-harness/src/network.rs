//! The run's own network: an internal bridge with a /24 that nobody on this machine uses.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptions;
use ipnet::Ipv4Net;
use tokio::sync::{Mutex, MutexGuard};

use crate::run::{self, RunId};

/// Benchmarking addresses (RFC 2544): never routed on the Internet, and ours to use.
const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);
const NETWORKS: u32 = 1 << (24 - 15);

static CHANGE: Mutex<()> = Mutex::const_new(());

/// Whoever starts, stops, plugs or removes containers does it while holding this.
///
/// Docker 20.10 counts the endpoints of a network, and was seen to lose count, we believe because some came while others
/// went: then the network "has active endpoints", though it has none, and cannot be removed (decision 0055).
pub(crate) async fn change() -> MutexGuard<'static, ()> {
    CHANGE.lock().await
}

/// The run's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Name in Docker, and of the bridge on the machine.
    pub(crate) name: String,
    /// The /24.
    pub(crate) subnet: Ipv4Net,
}

impl Network {
    /// The address of the host with this last octet.
    pub(crate) fn address(&self, octet: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.subnet.network().octets();
        Ipv4Addr::new(a, b, c, octet)
    }

    /// The MAC address that Docker derives from an address; newer engines are told to use it.
    pub(crate) fn mac(address: Ipv4Addr) -> String {
        let [a, b, c, d] = address.octets();
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }
}

/// The first /24 of the pool, counted from `start`, that overlaps none of `taken`.
pub(crate) fn choose(start: u32, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let first = u32::from(POOL.network());
    (0..NETWORKS).find_map(|step| {
        let address = Ipv4Addr::from(first + (start.wrapping_add(step) % NETWORKS) * 256);
        let candidate = Ipv4Net::new_assert(address, 24);
        let free = !taken.iter().any(|net| net.contains(&candidate) || candidate.contains(net));
        free.then_some(candidate)
    })
}

/// Makes the network of `run`. Containers on it reach each other and the machine, and nothing else.
///
/// # Errors
/// If no /24 is free, or Docker refuses for another reason than that one was just taken.
pub(crate) async fn create(docker: &Docker, run: &RunId, kept: bool) -> Result<Network> {
    let mut taken = taken_by_docker(docker).await?;
    taken.extend(taken_by_machine());
    let start = run.as_str().bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    loop {
        let Some(subnet) = choose(start, &taken) else { bail!("no /24 of {POOL} is free on this machine") };
        let network = Network { name: run.network(), subnet };
        match docker.create_network(request(&network, run, kept)).await {
            Ok(_) => return Ok(network),
            // Somebody else, another run perhaps, was faster.
            Err(DockerError::DockerResponseServerError { message, .. }) if message.contains("overlap") => {
                taken.push(subnet);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot make the network {subnet}")),
        }
    }
}

fn request(network: &Network, run: &RunId, kept: bool) -> NetworkCreateRequest {
    let config = IpamConfig {
        subnet: Some(network.subnet.to_string()),
        gateway: Some(network.address(1).to_string()),
        ..Default::default()
    };
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        labels: Some(run::labels(run, kept)),
        options: Some(HashMap::from([("com.docker.network.bridge.name".to_owned(), network.name.clone())])),
        ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
        ..Default::default()
    }
}

async fn taken_by_docker(docker: &Docker) -> Result<Vec<Ipv4Net>> {
    let networks = docker.list_networks(None::<ListNetworksOptions>).await.context("cannot list Docker's networks")?;
    let configs = networks.into_iter().filter_map(|network| network.ipam?.config).flatten();
    Ok(configs.filter_map(|config| config.subnet?.parse().ok()).collect())
}

/// Addresses of the machine's interfaces, and its routes other than the default.
fn taken_by_machine() -> Vec<Ipv4Net> {
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?.as_sockaddr_in()?.ip();
        let mask = interface.netmask?.as_sockaddr_in()?.ip();
        Ipv4Net::with_netmask(address, mask).ok()
    });
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    addresses.chain(parse_routes(&routes)).collect()
}

/// Destinations of `/proc/net/route`: hexadecimal in the machine's byte order. The default route is left out.
fn parse_routes(table: &str) -> Vec<Ipv4Net> {
    let address = |text: &str| u32::from_str_radix(text, 16).ok().map(|raw| Ipv4Addr::from(u32::from_be(raw)));
    let nets = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Ipv4Net::with_netmask(address(fields.get(1)?)?, address(fields.get(7)?)?).ok()
    });
    nets.filter(|net| net.prefix_len() > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(text: &[&str]) -> Vec<Ipv4Net> {
        text.iter().map(|net| net.parse().expect("a network")).collect()
    }

    #[test]
    fn a_free_subnet_is_chosen() {
        for (start, taken, chosen) in [
            (0, vec![], Some("198.18.0.0/24")),
            (511, vec![], Some("198.19.255.0/24")),
            (512, vec![], Some("198.18.0.0/24")),
            (0, vec!["198.18.0.0/24"], Some("198.18.1.0/24")),
            (0, vec!["198.18.0.128/25", "198.18.1.7/32"], Some("198.18.2.0/24")),
            (0, vec!["198.18.0.0/16"], Some("198.19.0.0/24")),
            (511, vec!["198.19.255.0/24", "10.0.0.0/8"], Some("198.18.0.0/24")),
            (5, vec!["198.18.0.0/15"], None),
            (5, vec!["0.0.0.0/0"], None),
        ] {
            let found = choose(start, &nets(&taken)).map(|net| net.to_string());
            assert_eq!(found.as_deref(), chosen, "start {start}, taken {taken:?}");
        }
    }

    #[test]
    fn the_default_route_takes_nothing() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     br0\t000512C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(parse_routes(table), nets(&["198.18.5.0/24"]));
    }

    #[test]
    fn addresses_and_macs_follow_the_subnet() {
        let network = Network { name: "bc-x".into(), subnet: "198.18.5.0/24".parse().expect("subnet") };
        assert_eq!(network.address(200).to_string(), "198.18.5.200");
        assert_eq!(Network::mac(network.address(13)), "02:42:c6:12:05:0d");
    }
}
