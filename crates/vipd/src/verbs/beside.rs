//! `vipd assign` and `unassign` beside a running daemon: an address of one of its managed instances is the daemon's to hold.
//!
//! ```text
//!   address ─▶ of an instance? ── no, or no daemon ──▶ the verb's own business, without a lease
//!                   │ managed: acquire, release          │ vrrp: refused
//!                   ▼                                    ▼
//!              the daemon does it, with its lease    the election decides; handover
//! ```

use std::net::IpAddr;
use std::path::Path;

use bc_model::vip::{InstanceStatus, VipChange, VipOutcome, VipReport};

use super::{assign, unassign};
use crate::client::{Client, ClientError};
use crate::daemon::protocol::{Answer, Request};
use crate::error::Error;

/// The instances of the daemon that listens at `socket`; `None` without one.
///
/// # Errors
/// There is a daemon, and it cannot be asked.
pub fn instances(socket: &Path) -> Result<Option<Vec<InstanceStatus>>, ClientError> {
    match Client::ask(socket, &Request::Status).and_then(Client::only) {
        Ok(Answer::Status { status }) => Ok(status.instances),
        Ok(_) | Err(ClientError::NoDaemon { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The instance that has `address`; a warning in `report` if the daemon cannot be asked.
pub fn owner(socket: &Path, address: IpAddr, report: &mut VipReport) -> Option<InstanceStatus> {
    match instances(socket) {
        Ok(instances) => instances?.into_iter().find(|one| one.addresses.iter().any(|net| net.addr() == address)),
        Err(error) => {
            report.warnings.push(error.to_string());
            None
        }
    }
}

/// Has the daemon acquire `owner`, whose address was to be assigned.
///
/// # Errors
/// [`Error::Daemons`] if that is not the same thing, or the daemon's refusal.
pub fn acquire(
    socket: &Path,
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
    ask(socket, owner, &wanted, outcome, request.dry_run, report)
}

/// Has the daemon release `owner`, whose address was to be unassigned.
///
/// # Errors
/// As [`acquire`].
pub fn release(
    socket: &Path,
    owner: &InstanceStatus,
    request: &unassign::Request,
    report: &mut VipReport,
) -> Result<(), Error> {
    let unassign::Which::One { address, dev } = &request.which else { return Ok(()) };
    managed(owner, address.addr, "release")?;
    if owner.interface != *dev || !owner.addresses.iter().any(|net| address.matches(net)) {
        return Err(other_than(owner, address.addr, "release"));
    }
    let outcome = if owner.state == "Active" { VipOutcome::Unassigned } else { VipOutcome::NotThere };
    let wanted = Request::Release { instance: owner.name.clone() };
    ask(socket, owner, &wanted, outcome, request.dry_run, report)
}

fn ask(
    socket: &Path,
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
        Client::ask(socket, wanted).and_then(Client::only).map_err(Error::Daemon)?;
    }
    // The addresses of an instance are held together or not at all.
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

fn managed(owner: &InstanceStatus, address: IpAddr, verb: &str) -> Result<(), Error> {
    if owner.mode == "managed" {
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
