//! `vipd unassign`: remove one address, or all that vipd placed; what is not there is already done.

use bc_model::exit::Exit;
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
use crate::lease::DeadMan;
use crate::preflight;
use crate::render::how_to_mend;
use crate::verbs::beside::Daemon;
use crate::verbs::guard;
use crate::verbs::status::select;

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

/// Carries out `request`, by way of the running `daemon` where it is responsible; `report` tells afterwards what was done, also
/// if this fails.
///
/// # Errors
/// With `All` it goes on after an error and reports all of them ([`Error::Unremoved`]).
pub fn unassign(request: &Request, daemon: Option<&Daemon<'_>>, report: &mut VipReport) -> Result<(), Error> {
    let mut hands = Hands::new()?;
    let observed = hands.observe()?;
    match (&request.which, daemon) {
        (Which::One { address, dev }, Some(daemon)) if let Some(owner) = daemon.owner(address.addr) => {
            daemon.release(owner, *address, dev, request.dry_run, report)
        }
        (Which::One { .. }, _) => {
            let vips = find(request, &observed, report)?;
            // Of a daemon that listens elsewhere it would be put back.
            vips.iter().try_for_each(|vip| guard::over(vip).map(drop))?;
            judge(remove(&vips, request.dry_run, &observed, report, &mut hands)?, report)
        }
        (Which::All { dev }, Some(daemon)) => {
            let only =
                dev.as_deref().map(|dev| preflight::interface(dev, &observed)).transpose()?.map(|link| link.index);
            let on = |name: &str| only.is_none_or(|only| observed.link(name).is_some_and(|link| link.index == only));
            let mut errors = daemon.release_all(on, request.dry_run, report)?;
            let observed = if request.dry_run { observed } else { hands.observe()? };
            let mut vips = find(request, &observed, report)?;
            // In a plan they are there yet.
            vips.retain(|vip| daemon.owner(vip.net.addr()).is_none());
            errors.extend(remove(&vips, request.dry_run, &observed, report, &mut hands)?);
            judge(errors, report)
        }
        (Which::All { dev }, None) => {
            let guarded = guard::left()?;
            let vips = find(request, &observed, report)?;
            judge(remove(&vips, request.dry_run, &observed, report, &mut hands)?, report)?;
            if dev.is_none() && !request.dry_run {
                let observed = hands.observe()?;
                clear_bearers(&observed);
                guarded.into_iter().for_each(|switch| clear_guards(switch, &observed, report));
            }
            Ok(())
        }
    }
}

/// What the errors amount to, in view of what was done.
fn judge(mut errors: Vec<Error>, report: &VipReport) -> Result<(), Error> {
    let removed = report.changes.iter().any(|change| change.outcome == VipOutcome::Unassigned);
    let others = removed || errors.iter().any(|error| error.exit() == Exit::HalfWay);
    match errors.pop() {
        None => Ok(()),
        Some(only) if errors.is_empty() && !others => Err(only),
        Some(last) => {
            errors.push(last);
            Err(Error::Unremoved { errors, others })
        }
    }
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
fn clear_guards(mut switch: DeadMan, observed: &Observed, report: &mut VipReport) {
    let left: Vec<_> = observed.addresses.iter().map(|address| address.net.addr()).collect();
    match switch.sweep(&left) {
        Ok(kept) if kept.is_empty() => {}
        Ok(_) => {
            let silent = switch.list().map(|guarded| select(&[], observed, &guarded).addresses).unwrap_or_default();
            report.warnings.extend(silent.iter().filter(|held| held.silent).map(|held| {
                let (address, how) = (held.address, how_to_mend(held));
                format!("{address} was not placed by vipd, and stays silent under a dead daemon's guard; {how}")
            }));
        }
        Err(error) => tracing::warn!(%error, "a dead daemon's guard could not be cleared away"),
    }
}

/// Removes `vips`; returns the refusals.
fn remove(
    vips: &[Vip],
    dry_run: bool,
    observed: &Observed,
    report: &mut VipReport,
    hands: &mut Hands,
) -> Result<Vec<Error>, Error> {
    let mut holder = Holder::default();
    vips.iter().for_each(|vip| holder.release(vip.clone()));
    let effects = holder.reconcile(observed);
    if dry_run {
        report.changes.extend(vips.iter().map(|vip| change(vip, VipOutcome::Unassigned, &effects)));
        return Ok(Vec::new());
    }
    if effects.is_empty() {
        return Ok(Vec::new());
    }
    if !Capability::NetAdmin.is_effective() {
        return Err(Error::MissingCapability(Capability::NetAdmin));
    }
    // Held for its effect: a removal and what belongs around it are not cut in two by a signal.
    let kernel = |source| Error::Kernel { what: "waiting for signals".into(), source };
    let _interrupt = Interrupt::listen().map_err(kernel)?;

    let mut errors = Vec::new();
    let removed = |effect: &Effect| matches!(effect, Effect::Remove(_));
    for some in effects.chunk_by(|one, next| removed(one) && removed(next)) {
        if let [promotion @ Effect::PromoteSecondaries { on, .. }] = some {
            errors.extend(hands.apply(promotion, observed).err());
            if *on && !errors.is_empty() {
                // Without this switch the removal that follows would take other addresses along.
                break;
            }
            continue;
        }
        let gone = some.iter().filter_map(|effect| if let Effect::Remove(vip) = effect { Some(vip) } else { None });
        let gone: Vec<_> = gone.collect();
        for (vip, result) in gone.iter().zip(hands.remove(&gone)) {
            match result {
                Ok(()) => report.changes.push(change(vip, VipOutcome::Unassigned, &effects)),
                Err(error) => errors.push(error),
            }
        }
    }
    Ok(errors)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_beside_something_that_was_removed_is_a_job_half_done() {
        let vip = Vip { net: "198.18.5.200/24".parse().unwrap(), link: 2, dev: "eth0".into() };
        let refusal = || Error::NotVerified { what: "it was removed".into() };
        let mut report = VipReport::new(false, None);
        let exit = |errors, report: &VipReport| judge(errors, report).map_err(|error| error.exit());
        assert_eq!(exit(Vec::new(), &report), Ok(()));
        assert_eq!(exit(vec![refusal()], &report), Err(Exit::Failed));
        assert_eq!(exit(vec![refusal(), refusal()], &report), Err(Exit::Failed), "nothing was changed");
        let lost = Error::LostSecondaries { removed: vip.net, lost: Vec::new() };
        assert_eq!(exit(vec![lost, refusal()], &report), Err(Exit::HalfWay), "that is a change");
        report.changes.push(change(&vip, VipOutcome::NotThere, &[]));
        assert_eq!(exit(vec![refusal()], &report), Err(Exit::Failed));
        report.changes.push(change(&vip, VipOutcome::Unassigned, &[]));
        assert_eq!(exit(vec![refusal()], &report), Err(Exit::HalfWay));
        assert_eq!(exit(Vec::new(), &report), Ok(()));
    }
}
