//! `vipd assign` and `unassign` beside a running daemon: an address of one of its managed instances is the daemon's to hold.
//!
//! ```text
//!   address ─▶ of an instance? ── no, or no daemon ──▶ the verb's own business, without a lease
//!                   │ managed: acquire, release          │ vrrp: refused
//!                   ▼                                    ▼
//!              the daemon does it, with its lease    the election decides; handover
//!
//!   unassign --all ─▶ every managed instance is released; where one is elected, refused
//! ```
//!
//! A daemon that is there and cannot be asked may hold any address: then everything is refused.

use std::net::IpAddr;
use std::path::Path;

use bc_model::vip::{InstanceStatus, VipChange, VipOutcome, VipReport};

use super::assign;
use crate::address::NamedAddress;
use crate::client::{Client, ClientError};
use crate::daemon::protocol::{Answer, Request};
use crate::error::Error;

/// The running daemon, as it was when it was asked.
pub struct Daemon<'s> {
    socket: &'s Path,
    instances: Vec<InstanceStatus>,
}

/// The instances of the daemon that listens at `socket`; `None` without one.
///
/// # Errors
/// There is a daemon, and it cannot be asked.
pub fn instances(socket: &Path) -> Result<Option<Vec<InstanceStatus>>, ClientError> {
    match Client::ask(socket, &Request::Status).and_then(Client::only) {
        Ok(Answer::Status { status }) => Ok(Some(status.instances.unwrap_or_default())),
        Ok(_) => Err(ClientError::Broken { path: socket.to_owned(), source: std::io::ErrorKind::InvalidData.into() }),
        Err(ClientError::NoDaemon { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl<'s> Daemon<'s> {
    /// The daemon that listens at `socket`, if one does.
    ///
    /// # Errors
    /// [`Error::Unasked`]: whatever is done beside it may be undone, or be one address on two hosts.
    pub fn find(socket: &'s Path) -> Result<Option<Self>, Error> {
        let instances = instances(socket).map_err(Error::Unasked)?;
        Ok(instances.map(|instances| Self { socket, instances }))
    }

    /// The instance that has `address`.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&InstanceStatus> {
        self.instances.iter().find(|one| one.addresses.iter().any(|net| net.addr() == address))
    }

    /// Has the daemon acquire `owner`, whose address was to be assigned.
    ///
    /// # Errors
    /// [`Error::Daemons`] if that is not the same thing, or the daemon's refusal.
    pub fn acquire(
        &self,
        owner: &InstanceStatus,
        request: &assign::Request,
        report: &mut VipReport,
    ) -> Result<(), Error> {
        managed(owner, request.net.addr(), "acquire")?;
        if owner.interface != request.dev || !owner.addresses.contains(&request.net) {
            return Err(other_than(owner, request.net.addr(), "acquire"));
        }
        let outcome = if owner.state == "Active" { VipOutcome::AlreadyHeld } else { VipOutcome::Assigned };
        let force = request.force || request.probe.is_none();
        let wanted = Request::Acquire { instance: owner.name.clone(), force };
        self.ask(owner, &wanted, outcome, request.dry_run, report)
    }

    /// Has the daemon release `owner`, whose address was to be unassigned.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn release(
        &self,
        owner: &InstanceStatus,
        address: NamedAddress,
        dev: &str,
        dry_run: bool,
        report: &mut VipReport,
    ) -> Result<(), Error> {
        managed(owner, address.addr, "release")?;
        if owner.interface != dev || !owner.addresses.iter().any(|net| address.matches(net)) {
            return Err(other_than(owner, address.addr, "release"));
        }
        let outcome = if owner.state == "Active" { VipOutcome::Unassigned } else { VipOutcome::NotThere };
        let wanted = Request::Release { instance: owner.name.clone() };
        self.ask(owner, &wanted, outcome, dry_run, report)
    }

    /// Has the daemon release all instances, or those on the interface `on`; returns the refusals.
    ///
    /// # Errors
    /// [`Error::Elects`]: an election would bring its addresses back. Nothing was released.
    pub fn release_all(
        &self,
        on: impl Fn(&str) -> bool,
        dry_run: bool,
        report: &mut VipReport,
    ) -> Result<Vec<Error>, Error> {
        let concerned = || self.instances.iter().filter(|one| on(&one.interface));
        let elected: Vec<_> = concerned().filter(|one| !is_managed(one)).map(|one| one.name.clone()).collect();
        if !elected.is_empty() {
            return Err(Error::Elects { instances: elected });
        }
        let mut refusals = Vec::new();
        for one in concerned() {
            // Also one that holds nothing now: it may be about to, or wait for its interface.
            let before = report.changes.len();
            let wanted = Request::Release { instance: one.name.clone() };
            refusals.extend(self.ask(one, &wanted, VipOutcome::Unassigned, dry_run, report).err());
            if one.state != "Active" {
                report.changes.truncate(before);
            }
        }
        Ok(refusals)
    }

    fn ask(
        &self,
        owner: &InstanceStatus,
        wanted: &Request,
        outcome: VipOutcome,
        dry_run: bool,
        report: &mut VipReport,
    ) -> Result<(), Error> {
        let (verb, holds) = match wanted {
            Request::Acquire { .. } => ("acquire", true),
            _ => ("release", false),
        };
        if !dry_run {
            Client::ask(self.socket, wanted).and_then(Client::only).map_err(Error::Daemon)?;
        }
        // Whatever an instance has is acquired and released together.
        report.changes.extend(owner.addresses.iter().map(|&address| VipChange {
            address,
            interface: owner.interface.clone(),
            outcome,
            steps: vec![format!("run: vipd {verb} {}", owner.name)],
            announcements: 0,
            conflict: None,
            instance: Some(owner.name.clone()),
            lease: holds.then(|| owner.lease.clone()),
        }));
        Ok(())
    }
}

fn is_managed(owner: &InstanceStatus) -> bool {
    owner.mode == "managed"
}

fn managed(owner: &InstanceStatus, address: IpAddr, verb: &str) -> Result<(), Error> {
    if is_managed(owner) {
        return Ok(());
    }
    let name = owner.name.clone();
    let instead = format!("it is elected, so no {verb}; where it is Active, vipd handover {name} gives it to a peer");
    Err(Error::Daemons { address, instance: name, instead })
}

fn other_than(owner: &InstanceStatus, address: IpAddr, verb: &str) -> Error {
    let name = owner.name.clone();
    let nets: Vec<_> = owner.addresses.iter().map(ToString::to_string).collect();
    let instead = format!("vipd {verb} {name}, which is {} on {}", nets.join(", "), owner.interface);
    Error::Daemons { address, instance: name, instead }
}
