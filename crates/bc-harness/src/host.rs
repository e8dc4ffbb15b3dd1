//! A container as a host: systemd as PID 1, a fixed address, a power cable.
//!
//! testcontainers creates and starts it. Its requests have no field for a fixed address, and on a running container
//! a network can only be swapped under a new interface name, so a host comes to be in three moves:
//!
//! 1. *delivered*: created and started by testcontainers; the first start ends at once;
//! 2. *plugged in*: taken off the network and put back on it at its own address, while it is off;
//! 3. *switched on*: started again; now systemd boots, with the address on `eth0`, and so at every later start.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::models::{
    EndpointIpamConfig, EndpointSettings, HostConfig, NetworkConnectRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::KillContainerOptionsBuilder;
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{AccessMode, CgroupnsMode, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};

use crate::exec::{self, Exec, Output};
use crate::network::{self, Network};
use crate::run::{self, RunId};

/// The command of a host: the first start only delivers, later ones boot as the image does.
const BOOT: &str = "[ -e /etc/bc-delivered ] || { : >/etc/bc-delivered; exit 0; }; exec /usr/lib/bc-testenv/init";

/// What distinguishes one host from another.
#[derive(Clone, Debug)]
pub(crate) struct Design {
    /// Host name.
    pub(crate) name: &'static str,
    /// Last octet of the address.
    pub(crate) octet: u8,
    /// Image, without tag.
    pub(crate) image: &'static str,
    /// Named volumes and where they are mounted.
    pub(crate) volumes: Vec<(String, &'static str)>,
    /// Files and directories of the machine, where they are mounted, and whether they can be written.
    pub(crate) binds: Vec<(String, &'static str, AccessMode)>,
    /// Kernel parameters in addition to those of every host.
    pub(crate) sysctls: &'static [(&'static str, &'static str)],
}

/// `ip_forward=0` and `send_redirects=0`: the old owner of the VIP must not route packets to the new one and hide a
/// missing announcement. `arp_ignore=1`: an address is answered for on its own interface only.
const SYSCTLS: [(&str, &str); 4] = [
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.conf.all.arp_ignore", "1"),
];

/// A host of the run.
pub(crate) struct Host {
    /// Host name.
    pub(crate) name: &'static str,
    /// Its address on the run's network.
    pub(crate) address: Ipv4Addr,
    /// The MAC address of its `eth0`.
    pub(crate) mac: String,
    docker: Docker,
    container: ContainerAsync<GenericImage>,
}

impl Host {
    /// Delivers, plugs in and switches on. `hosts` are the names that it shall know.
    ///
    /// # Errors
    /// If Docker refuses any of it.
    pub(crate) async fn create(
        docker: &Docker,
        run: &RunId,
        kept: bool,
        network: &Network,
        design: Design,
        hosts: &[(&'static str, Ipv4Addr)],
    ) -> Result<Self> {
        let name = design.name;
        let address = network.address(design.octet);
        let request = request(docker, run, kept, network, &design, hosts).await?;
        let change = network::change().await;
        let container = request.start().await.with_context(|| format!("cannot create {name}"))?;
        let plugged = async {
            unplug(docker, container.id(), network).await?;
            plug_in(docker, container.id(), network, address).await
        };
        plugged.await.with_context(|| format!("cannot plug in {name}"))?;
        container.start().await.with_context(|| format!("cannot switch on {name}"))?;
        drop(change);
        let host = Self { name, address, mac: Network::mac(address), docker: docker.clone(), container };
        host.check_mac().await?;
        Ok(host)
    }

    /// Id of the container.
    pub(crate) fn id(&self) -> &str {
        self.container.id()
    }

    /// The engine it lives on.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// If it cannot be started or does not end in time.
    pub(crate) async fn run(&self, exec: &Exec, limit: Duration) -> Result<Output> {
        exec::run(&self.docker, self.id(), exec, limit).await.with_context(|| format!("on {}", self.name))
    }

    /// Runs a command that must succeed, and answers what it printed, without the white space at its end.
    ///
    /// # Errors
    /// As [`Host::run`], and if it exits with anything but 0: its last words are told.
    pub(crate) async fn ask(&self, exec: &Exec, limit: Duration) -> Result<String> {
        let output = self.run(exec, limit).await?;
        if output.code != 0 {
            bail!("on {}: `{}` exited with {}: {}", self.name, exec.words(), output.code, output.last_words());
        }
        Ok(output.stdout.trim_end().to_owned())
    }

    /// Freezes every process; the kernel goes on answering ARP and accepting connections.
    ///
    /// # Errors
    /// If Docker refuses.
    pub(crate) async fn freeze(&self) -> Result<()> {
        self.container.pause().await.with_context(|| format!("cannot freeze {}", self.name))
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// If Docker refuses.
    pub(crate) async fn thaw(&self) -> Result<()> {
        self.container.unpause().await.with_context(|| format!("cannot thaw {}", self.name))
    }

    /// Kills every process at once, as a power cut does.
    ///
    /// # Errors
    /// If Docker refuses.
    pub(crate) async fn cut_power(&self) -> Result<()> {
        let _change = network::change().await;
        kill(&self.docker, self.id()).await.with_context(|| format!("cannot cut the power of {}", self.name))
    }

    /// Whether it has power: running or frozen, but not off. And whether it is frozen.
    ///
    /// # Errors
    /// If Docker does not answer.
    pub(crate) async fn power(&self) -> Result<(bool, bool)> {
        power_of(&self.docker, self.id()).await.with_context(|| format!("cannot see whether {} is on", self.name))
    }

    /// Gives it up without removing it: the clean-up of the run does, or nobody when the world is kept.
    pub(crate) fn abandon(self) {
        std::mem::forget(self.container);
    }

    /// The observer tells hosts by their MAC address, so it must be the one we expect.
    async fn check_mac(&self) -> Result<()> {
        let found = self.ask(&Exec::new(["cat", "/sys/class/net/eth0/address"]), Duration::from_secs(10)).await?;
        if found != self.mac {
            bail!("{} has the MAC address {found} and not {}", self.name, self.mac);
        }
        Ok(())
    }
}

/// Whether a container runs (frozen or not), and whether it is frozen.
///
/// # Errors
/// If Docker does not answer.
pub(crate) async fn power_of(docker: &Docker, container: &str) -> Result<(bool, bool)> {
    let state = docker.inspect_container(container, None).await?.state.context("Docker tells no state")?;
    Ok((state.running == Some(true), state.paused == Some(true)))
}

/// Gives a container power; one that has it keeps it.
///
/// # Errors
/// If Docker refuses.
pub(crate) async fn switch_on(docker: &Docker, container: &str) -> Result<()> {
    let _change = network::change().await;
    // Starting what runs is no error to Docker.
    Ok(docker.start_container(container, None).await?)
}

/// Takes the power from a container, at once and without a last word.
///
/// Docker thaws a frozen container to let it die, and in that instant its processes answer whatever waits in their
/// sockets. No host without power does that, so the cable of a frozen one is pulled first.
///
/// # Errors
/// If Docker refuses.
pub(crate) async fn switch_off(docker: &Docker, container: &str, network: &Network, address: Ipv4Addr) -> Result<()> {
    let _change = network::change().await;
    let (running, frozen) = power_of(docker, container).await?;
    if running && frozen {
        unplug(docker, container, network).await?;
        kill(docker, container).await?;
        plug_in(docker, container, network, address).await?;
    } else if running {
        kill(docker, container).await?;
    }
    Ok(())
}

async fn kill(docker: &Docker, container: &str) -> Result<()> {
    let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
    Ok(docker.kill_container(container, Some(options)).await?)
}

async fn request(
    docker: &Docker,
    run: &RunId,
    kept: bool,
    network: &Network,
    design: &Design,
    hosts: &[(&'static str, Ipv4Addr)],
) -> Result<ContainerRequest<GenericImage>> {
    let sysctls: HashMap<String, String> =
        SYSCTLS.iter().chain(design.sysctls).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let delivered =
        WaitFor::Exit(ExitWaitStrategy::new().with_exit_code(0).with_poll_interval(Duration::from_millis(20)));
    let mut request = GenericImage::new(design.image, "latest")
        .with_wait_for(delivered)
        .with_cmd(["/bin/sh", "-c", BOOT])
        .with_container_name(run.object(design.name))
        .with_hostname(design.name)
        .with_network(&network.name)
        .with_labels(run::labels(run, kept))
        .with_cap_add("SYS_ADMIN")
        .with_cap_add("NET_ADMIN")
        .with_cap_add("NET_RAW")
        .with_security_opt("seccomp=unconfined")
        .with_security_opt("apparmor=unconfined")
        .with_shm_size(128 << 20)
        .with_startup_timeout(Duration::from_secs(30));
    for (name, address) in hosts {
        request = request.with_host(*name, testcontainers::core::Host::Addr((*address).into()));
    }
    for (volume, target) in &design.volumes {
        request = request.with_mount(Mount::volume_mount(volume, *target));
    }
    for (source, target, mode) in &design.binds {
        request = request.with_mount(Mount::bind_mount(source, *target).with_access_mode(*mode));
    }
    let unified = is_unified(docker).await?;
    if unified {
        request = request.with_cgroupns_mode(CgroupnsMode::Private);
    } else {
        request = request
            .with_mount(Mount::bind_mount("/sys/fs/cgroup", "/sys/fs/cgroup").with_access_mode(AccessMode::ReadOnly));
    }
    Ok(request.with_host_config_modifier(move |host: &mut HostConfig| {
        host.publish_all_ports = Some(false);
        host.sysctls = Some(sysctls.clone());
        host.tmpfs = Some(["/run", "/run/lock"].map(|path| (path.to_owned(), String::new())).into());
    }))
}

/// Whether the engine's containers live on cgroup v2.
async fn is_unified(docker: &Docker) -> Result<bool> {
    use bollard::models::SystemInfoCgroupVersionEnum as Version;
    let info = docker.info().await.context("Docker does not describe itself")?;
    Ok(info.cgroup_version == Some(Version::_2))
}

async fn unplug(docker: &Docker, container: &str, network: &Network) -> Result<()> {
    let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(true) };
    Ok(docker.disconnect_network(&network.name, request).await?)
}

async fn plug_in(docker: &Docker, container: &str, network: &Network, address: Ipv4Addr) -> Result<()> {
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..Default::default() }),
        mac_address: Some(Network::mac(address)),
        ..Default::default()
    };
    let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
    Ok(docker.connect_network(&network.name, request).await?)
}
