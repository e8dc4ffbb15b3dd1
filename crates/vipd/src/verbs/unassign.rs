//! `vipd unassign`: remove one address, or all that vipd placed; what is not there is already done.

use bc_model::vip::{VipChange, VipOutcome, VipReport};

use crate::address::NamedAddress;
use crate::apply::Hands;
use crate::error::Error;
use crate::holder::{Effect, Holder, Vip};
use crate::interrupt::Interrupt;
use crate::kernel::Observed;
use crate::kernel::batch::Changes;
use crate::kernel::bearer;
use crate::kernel::capability::Capability;
use crate::lease::{DeadMan, TableName};
use crate::preflight;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which addresses.
    pub which: Which,
    /// Remove also an address that looks like the host's own.
    pub force: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// One address, or all.
#[derive(Clone, Debug)]
pub enum Which {
    /// The named address on an interface.
    One {
        /// The address.
        address: NamedAddress,
        /// Name of the interface.
        dev: String,
    },
    /// Every address that carries vipd's tag.
    All {
        /// Only on this interface.
        dev: Option<String>,
    },
}

/// Carries out `request`; `report` tells afterwards what was done, also if this fails.
///
/// # Errors
/// With `All` it goes on after an error and reports all of them ([`Error::Several`]).
pub fn unassign(request: &Request, report: &mut VipReport) -> Result<(), Error> {
    let mut hands = Hands::new()?;
    remove(request, report, &mut hands)?;
    if matches!(request.which, Which::All { dev: None }) && !request.dry_run {
        let observed = hands.observe()?;
        clear_bearers(&observed);
        clear_guards(&observed);
    }
    Ok(())
}

/// Removes the interfaces with virtual MAC addresses that a dead daemon left.
fn clear_bearers(observed: &Observed) {
    let left = bearer::all(observed);
    if left.is_empty() {
        return;
    }
    let removed = Changes::open().and_then(|mut changes| bearer::remove_all(&left, |_| false, &mut changes));
    if let Err(error) = removed {
        tracing::warn!(%error, "an interface with a virtual MAC address that a dead daemon left could not be removed");
    }
}

/// Clears away what a dead daemon guards in vain, or the address would be silent wherever it is assigned next.
fn clear_guards(observed: &Observed) {
    // Without privilege there is nothing to be done, and beside a running daemon it is not ours.
    let Ok(mut dead_man) = DeadMan::open(TableName::default()) else { return };
    let left: Vec<_> = observed.addresses.iter().map(|address| address.net.addr()).collect();
    if let Err(error) = dead_man.sweep(&left) {
        tracing::warn!(%error, "a dead daemon's guard could not be cleared away");
    }
}

fn remove(request: &Request, report: &mut VipReport, hands: &mut Hands) -> Result<(), Error> {
    let observed = hands.observe()?;
    let vips = find(request, &observed, report)?;

    let mut holder = Holder::default();
    vips.iter().for_each(|vip| holder.release(vip.clone()));
    let effects = holder.reconcile(&observed);
    if request.dry_run {
        report.changes.extend(vips.iter().map(|vip| change(vip, VipOutcome::Unassigned, &effects)));
        return Ok(());
    }
    if effects.is_empty() {
        return Ok(());
    }
    if !Capability::NetAdmin.is_effective() {
        return Err(Error::MissingCapability(Capability::NetAdmin));
    }
    // Held for its effect: a removal and what belongs around it are not cut in two by a signal.
    let kernel = |source| Error::Kernel { what: "waiting for signals".into(), source };
    let _interrupt = Interrupt::listen().map_err(kernel)?;

    let mut errors = Vec::new();
    for effect in &effects {
        match (hands.apply(effect, &observed), effect) {
            (Ok(_), Effect::Remove(vip)) => report.changes.push(change(vip, VipOutcome::Unassigned, &effects)),
            (Ok(_), _) => {}
            // Without this switch the removal that follows would take other addresses along.
            (Err(error), Effect::PromoteSecondaries { on: true, .. }) => return Err(error),
            (Err(error), _) => errors.push(error),
        }
    }
    match errors.pop() {
        None => Ok(()),
        Some(only) if errors.is_empty() => Err(only),
        Some(last) => {
            errors.push(last);
            Err(Error::Several(errors))
        }
    }
}

/// The addresses that are there and have to go.
fn find(request: &Request, observed: &Observed, report: &mut VipReport) -> Result<Vec<Vip>, Error> {
    match &request.which {
        Which::One { address, dev } => {
            let found = preflight::unassign(*address, dev, request.force, observed)?;
            report.warnings.extend(found.warnings);
            if found.vips.is_empty() {
                let vip = Vip { net: address.as_net(), link: 0, dev: dev.clone() };
                report.changes.push(change(&vip, VipOutcome::NotThere, &[]));
            }
            Ok(found.vips)
        }
        Which::All { dev } => {
            let only = dev.as_deref().map(|dev| preflight::interface(dev, observed)).transpose()?;
            let ours = observed.addresses.iter().filter(|address| address.is_ours());
            Ok(ours
                .filter(|address| only.is_none_or(|link| link.index == address.link))
                .map(|address| Vip { net: address.net, link: address.link, dev: observed.link_name(address.link) })
                .collect())
        }
    }
}

/// The change of one address, with those of the effects that concern it.
fn change(vip: &Vip, outcome: VipOutcome, effects: &[Effect]) -> VipChange {
    let concerns = |effect: &&Effect| match effect {
        Effect::Add(other) | Effect::Announce(other) | Effect::Remove(other) => other == vip,
        Effect::PromoteSecondaries { link, .. } => *link == vip.link,
    };
    VipChange {
        address: vip.net,
        interface: vip.dev.clone(),
        outcome,
        steps: effects.iter().filter(concerns).map(ToString::to_string).collect(),
        announcements: 0,
        conflict: None,
        instance: None,
        lease: None,
    }
}
