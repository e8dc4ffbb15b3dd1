//! Everything that can stop a verb: what happened, what to do about it, and the exit code.

use std::io;
use std::net::IpAddr;

use bc_model::exit::Exit;
use ipnet::IpNet;
use pnet::util::MacAddr;
use thiserror::Error;

use crate::address::AddressError;
use crate::client::ClientError;
use crate::frame::claim::Claim;
use crate::kernel::capability::Capability;
use crate::lease::LeaseError;

/// Why a verb stopped.
#[derive(Debug, Error)]
pub enum Error {
    /// The interface does not exist in this network namespace.
    #[error("there is no interface {name}")]
    NoInterface {
        /// As it was given.
        name: String,
        /// The interfaces that exist.
        existing: Vec<String>,
    },
    /// The address cannot be a virtual IP on this interface.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// The interface cannot carry ARP or neighbour discovery.
    #[error("{dev} is not an Ethernet interface, so nobody can be asked or told about {address} on it")]
    NotEthernet {
        /// The interface.
        dev: String,
        /// The address.
        address: IpAddr,
    },
    /// `IFF_UP` is missing.
    #[error("{dev} is down")]
    Down {
        /// The interface.
        dev: String,
    },
    /// `IFF_LOWER_UP` is missing.
    #[error("{dev} has no carrier: nobody would hear the probe or the announcement")]
    NoCarrier {
        /// The interface.
        dev: String,
    },
    /// `disable_ipv6` is set.
    #[error("IPv6 is switched off on {dev}")]
    Ipv6Disabled {
        /// The interface.
        dev: String,
    },
    /// The process may not do what it must.
    #[error("no permission to {purpose}: {0} is missing", purpose = .0.purpose())]
    MissingCapability(Capability),
    /// Another host has the address.
    #[error("{} is in use by {} on {dev}; unassign it there, or fence that host", .claim.address, .claim.mac)]
    InUse {
        /// Who said so, and how.
        claim: Claim,
        /// Where it was heard.
        dev: String,
    },
    /// This host has the address, on another interface than the one named.
    #[error("{address} is on {other} of this host, not on {dev}")]
    OnOtherInterface {
        /// The address.
        address: IpAddr,
        /// The interface that was named.
        dev: String,
        /// The interface that has it.
        other: String,
        /// As it is there.
        held: IpNet,
    },
    /// This host has the address on this interface, with another prefix length.
    #[error("{dev} has this address as {held}, not as {asked}")]
    OtherPrefix {
        /// The interface.
        dev: String,
        /// As it is there.
        held: IpNet,
        /// As it was named.
        asked: IpNet,
    },
    /// The address is there but dead.
    #[error("{held} is on {dev}, but the kernel has found a duplicate and does not answer for it")]
    Duplicate {
        /// The interface.
        dev: String,
        /// The address.
        held: IpNet,
    },
    /// The address looks like the host's own, and vipd did not place it.
    #[error("{held} is the host's own address on {dev}: vipd did not place it, and there is no other")]
    HostAddress {
        /// The interface.
        dev: String,
        /// The address.
        held: IpNet,
    },
    /// The running daemon decides about the address.
    #[error("{address} belongs to the instance {instance} of the running vipd")]
    Daemons {
        /// The address.
        address: IpAddr,
        /// The instance.
        instance: String,
        /// What to ask the daemon for instead.
        instead: String,
    },
    /// The running daemon elects who holds addresses that were to go: removed here, they would come back.
    #[error("the running vipd takes part in the election of {}: what is removed by hand comes back", list(.instances))]
    Elects {
        /// The instances.
        instances: Vec<String>,
    },
    /// There is a daemon, and what it has is not known.
    #[error("a vipd runs here and cannot be asked: {0}")]
    Unasked(ClientError),
    /// A daemon guards what was named, and is not the one that was asked.
    #[error("a running vipd guards {what}, and nobody answered for it")]
    Guarded {
        /// The address, or all.
        what: String,
    },
    /// What a dead daemon guards could not be let go of.
    #[error("what a dead vipd guards could not be let go of: {0}")]
    Guard(#[source] LeaseError),
    /// The running daemon did not do it.
    #[error(transparent)]
    Daemon(ClientError),
    /// SIGINT, SIGTERM or SIGHUP before anything was changed.
    #[error("stopped by a signal before {address} was added; nothing was changed")]
    Interrupted {
        /// The address.
        address: IpAddr,
    },
    /// The kernel refused.
    #[error("{what}: {source}")]
    Kernel {
        /// What was asked of it.
        what: String,
        /// Its answer.
        source: io::Error,
    },
    /// A change was acknowledged but cannot be seen.
    #[error("{what}, but reading back shows otherwise")]
    NotVerified {
        /// What the kernel had acknowledged.
        what: String,
    },
    /// Addresses went together with the one that was removed.
    #[error("removing {removed} also removed {}", list(.lost))]
    LostSecondaries {
        /// The address that was to be removed.
        removed: IpNet,
        /// The others.
        lost: Vec<IpNet>,
    },
    /// Assigning failed, and so did taking it back.
    #[error("{cause}; and the address could not be taken back: {undo}")]
    NotUndone {
        /// Why assigning failed.
        cause: Box<Error>,
        /// Why taking it back failed.
        undo: Box<Error>,
    },
    /// Addresses could not be removed.
    #[error("{}", list(.errors))]
    Unremoved {
        /// Why, one by one.
        errors: Vec<Error>,
        /// Whether others were.
        others: bool,
    },
    /// The report could not be printed.
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
}

impl Error {
    /// What the kernel answered when it was asked to do `what`; "no permission" becomes [`Error::MissingCapability`].
    #[must_use]
    pub fn kernel(what: impl Into<String>, capability: Capability, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied if source.raw_os_error() == Some(nix::errno::Errno::EPERM as i32) => {
                Self::MissingCapability(capability)
            }
            _ => Self::Kernel { what: what.into(), source },
        }
    }

    /// What the caller's script gets.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NoInterface { .. } | Self::Address(_) => Exit::Usage,
            Self::NotEthernet { .. }
            | Self::Down { .. }
            | Self::NoCarrier { .. }
            | Self::Ipv6Disabled { .. }
            | Self::MissingCapability(_)
            | Self::InUse { .. }
            | Self::OnOtherInterface { .. }
            | Self::OtherPrefix { .. }
            | Self::Duplicate { .. }
            | Self::Daemons { .. }
            | Self::Elects { .. }
            | Self::Unasked(_)
            | Self::Guarded { .. }
            | Self::HostAddress { .. } => Exit::Refused,
            Self::Daemon(error) => error.exit(),
            Self::Interrupted { .. }
            | Self::Kernel { .. }
            | Self::NotVerified { .. }
            | Self::Guard(_)
            | Self::Unremoved { others: false, .. }
            | Self::Print(_) => Exit::Failed,
            Self::LostSecondaries { .. } | Self::NotUndone { .. } | Self::Unremoved { others: true, .. } => {
                Exit::HalfWay
            }
        }
    }

    /// What to do about it, when we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoInterface { existing, .. } if existing.is_empty() => "this host has no interface".to_owned(),
            Self::NoInterface { existing, .. } => format!("this host has {}", shortened(existing)),
            Self::NotEthernet { .. } => "name the interface that faces the clients of the address".to_owned(),
            Self::Down { dev } => format!("ip link set {dev} up"),
            Self::NoCarrier { .. } => {
                "check the cable, the switch port, or the other end of the virtual link".to_owned()
            }
            Self::Ipv6Disabled { dev } => format!("sysctl net.ipv6.conf.{dev}.disable_ipv6=0"),
            Self::MissingCapability(capability) => {
                format!("run as root, or give the service AmbientCapabilities={capability}")
            }
            Self::OnOtherInterface { other, held, .. } => format!("vipd unassign {held} --dev {other}"),
            Self::OtherPrefix { dev, held, .. } | Self::Duplicate { dev, held } => {
                format!("vipd unassign {held} --dev {dev}")
            }
            Self::HostAddress { dev, held } => {
                format!("if it is to go all the same: vipd unassign {held} --dev {dev} --force")
            }
            Self::Daemons { instead, .. } => instead.clone(),
            Self::Elects { .. } => "systemctl stop vipd: it lets go of everything until it is started again".to_owned(),
            Self::Unasked(ClientError::Refused { hint, .. }) => return hint.clone(),
            Self::Unasked(_) => "systemctl stop vipd, or restart it, and look again: vipd status".to_owned(),
            Self::Guarded { .. } => "where does it listen? name it with --socket; or systemctl stop vipd".to_owned(),
            Self::Guard(error) => return error.hint().map(str::to_owned),
            Self::Daemon(error) => return error.hint(),
            Self::Unremoved { others: true, .. } => "vipd status shows what is left".to_owned(),
            Self::Interrupted { .. } => "run it again".to_owned(),
            Self::LostSecondaries { lost, .. } => format!("add back {}", list(lost)),
            Self::NotUndone { .. } => "vipd status shows what is there; vipd unassign removes it".to_owned(),
            // The sentence for InUse carries its own hint, word for word as documented.
            Self::InUse { .. }
            | Self::Address(_)
            | Self::Kernel { .. }
            | Self::NotVerified { .. }
            | Self::Unremoved { others: false, .. }
            | Self::Print(_) => return None,
        })
    }

    /// The host in the way, if that is why.
    #[must_use]
    pub const fn conflict(&self) -> Option<(MacAddr, &'static str)> {
        match self {
            Self::InUse { claim, .. } => Some((claim.mac, claim.manner.as_str())),
            _ => None,
        }
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The first names of a list that may be long: a hypervisor has hundreds of interfaces.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::claim::Manner;

    #[test]
    fn the_sentence_that_scripts_look_for_never_changes() {
        let mac = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x02);
        let claim = Claim { address: IpAddr::from([198, 18, 5, 200]), mac, manner: Manner::Answered };
        let error = Error::InUse { claim, dev: "eth0".into() };
        assert_eq!(
            error.to_string(),
            "198.18.5.200 is in use by 02:42:c6:12:05:02 on eth0; unassign it there, or fence that host"
        );
        assert_eq!((error.exit(), error.hint()), (Exit::Refused, None));
    }

    #[test]
    fn a_long_list_of_interfaces_is_cut() {
        let names: Vec<_> = (0..14).map(|n| format!("veth{n}")).collect();
        assert!(shortened(&names).ends_with("veth11 and 2 more"));
        assert_eq!(shortened(&names[..2]), "veth0, veth1");
    }

    #[test]
    fn eperm_names_the_capability_and_other_refusals_keep_their_words() {
        let eperm = io::Error::from_raw_os_error(nix::errno::Errno::EPERM as i32);
        let error = Error::kernel("adding it", Capability::NetAdmin, eperm);
        assert_eq!(error.to_string(), "no permission to add and remove addresses: CAP_NET_ADMIN is missing");
        let other = io::Error::from_raw_os_error(nix::errno::Errno::ENOBUFS as i32);
        let error = Error::kernel("adding it", Capability::NetAdmin, other);
        assert!(error.to_string().starts_with("adding it: "), "{error}");
    }
}
