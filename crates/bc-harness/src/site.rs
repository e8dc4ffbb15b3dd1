//! The site of a drill: its hosts, and how they are provisioned (`testenv/images/README.md`, in its order).

mod facts;
mod files;
mod provision;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::models::VolumeCreateRequest;
use futures_util::future::try_join_all;
use testcontainers::core::AccessMode;

pub(crate) use facts::*;

use crate::host::{Design, Host};
use crate::network::Network;
use crate::run::{self, RunId};
use crate::workload::Database;
use crate::workload::arp::HARNESS_IN_BOX;

/// Last octet of the virtual IP.
const VIP: u8 = 200;
/// The port of a GoCD server.
pub(crate) const GOCD_PORT: u16 = 8153;
/// The agents.
pub(crate) const AGENTS: [&str; 2] = ["agent1", "agent2"];
/// The hosts of the site that the fault hits.
pub(crate) const PRIMARIES: [&str; 2] = ["pg1", "go1"];
/// The hosts that can be fenced.
pub(crate) const FENCED: [&str; 4] = ["pg1", "pg2", "go1", "go2"];

/// Name, last octet, image.
const HOSTS: [(&str, u8, &str); 7] = [
    ("pg1", 11, "bc-testenv/postgres"),
    ("pg2", 12, "bc-testenv/postgres"),
    ("go1", 13, "bc-testenv/gocd"),
    ("go2", 14, "bc-testenv/gocd"),
    ("agent1", 21, "bc-testenv/agent"),
    ("agent2", 22, "bc-testenv/agent"),
    ("operator", 31, "bc-testenv/box"),
];

/// Agents must notice within seconds that their server is gone for good.
const AGENT_SYSCTLS: [(&str, &str); 3] = [
    ("net.ipv4.tcp_keepalive_time", "5"),
    ("net.ipv4.tcp_keepalive_intvl", "1"),
    ("net.ipv4.tcp_keepalive_probes", "3"),
];

/// The secrets of a run: made for it, and gone with it.
#[derive(Clone)]
struct Secrets {
    replication: String,
    database: String,
    auto_register: String,
    gocd_token: String,
}

impl Secrets {
    fn fresh() -> Self {
        let word = || RunId::random().as_str().repeat(2) + RunId::random().as_str();
        Self { replication: word(), database: word(), auto_register: word(), gocd_token: word() }
    }
}

/// A site that is up.
pub(crate) struct Site {
    /// Its network.
    pub(crate) network: Network,
    hosts: BTreeMap<&'static str, Host>,
    secrets: Secrets,
}

impl Site {
    /// Makes volumes and hosts; they boot. `power` is the directory with the socket of the power switch.
    ///
    /// # Errors
    /// If Docker refuses.
    pub(crate) async fn create(
        docker: &Docker,
        run: &RunId,
        kept: bool,
        network: Network,
        power: &Path,
        harness: &Path,
    ) -> Result<Self> {
        for volume in ["pg1", "pg2", "wal"] {
            let request = VolumeCreateRequest {
                name: Some(run.object(volume)),
                labels: Some(run::labels(run, kept)),
                ..Default::default()
            };
            docker.create_volume(request).await.with_context(|| format!("cannot make the volume {volume}"))?;
        }
        let names: Vec<(&'static str, Ipv4Addr)> =
            HOSTS.iter().map(|(name, octet, _)| (*name, network.address(*octet))).collect();
        let (network_of, names) = (&network, &names);
        let creations =
            HOSTS.iter().map(|(name, octet, image)| {
                let design = design(run, name, *octet, image, power, harness);
                async move {
                    Ok::<_, anyhow::Error>((*name, Host::create(docker, run, kept, network_of, design, names).await?))
                }
            });
        let hosts = try_join_all(creations).await?.into_iter().collect();
        Ok(Self { network, hosts, secrets: Secrets::fresh() })
    }

    /// A host of the site.
    ///
    /// # Errors
    /// If there is none of this name: a mistake of the harness.
    pub(crate) fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.get(name).with_context(|| format!("the site has no host {name}"))
    }

    /// Every host.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// The virtual IP.
    pub(crate) fn vip(&self) -> Ipv4Addr {
        self.network.address(VIP)
    }

    /// GoCD at the virtual IP.
    pub(crate) fn gocd_at_vip(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.vip(), GOCD_PORT)
    }

    /// GoCD on one host.
    ///
    /// # Errors
    /// If there is no such host.
    pub(crate) fn gocd_on(&self, host: &str) -> Result<SocketAddrV4> {
        Ok(SocketAddrV4::new(self.host(host)?.address, GOCD_PORT))
    }

    /// How clients reach the database.
    ///
    /// # Errors
    /// If a host is missing.
    pub(crate) fn database(&self) -> Result<Database> {
        let server = |name: &str| Ok::<_, anyhow::Error>((name.to_owned(), self.host(name)?.address));
        Ok(Database { password: self.secrets.database.clone(), servers: vec![server("pg1")?, server("pg2")?] })
    }

    /// Leaves the hosts to the clean-up by label, or standing.
    pub(crate) fn abandon(self) {
        self.hosts.into_values().for_each(Host::abandon);
    }
}

fn design(run: &RunId, name: &'static str, octet: u8, image: &'static str, power: &Path, harness: &Path) -> Design {
    let volumes = match name {
        "pg1" | "pg2" => vec![(run.object(name), "/var/lib/postgresql"), (run.object("wal"), "/share/primary_wal")],
        _ => vec![],
    };
    let binds = match name {
        "operator" => vec![
            (power.display().to_string(), "/run/power", AccessMode::ReadWrite),
            (harness.display().to_string(), HARNESS_IN_BOX, AccessMode::ReadOnly),
        ],
        _ => vec![],
    };
    let sysctls: &'static [_] = if AGENTS.contains(&name) { &AGENT_SYSCTLS } else { &[] };
    Design { name, octet, image, volumes, binds, sysctls }
}
