//! `vipd assign`: look, probe, add, announce.
//!
//! ```text
//!  preflight ─▶ held here? ── yes ──────────────────────────▶ announce ─▶ done
//!                   │ no, or a dead daemon left it silent or to lapse
//!                   ▼
//!                 probe ── in use ─▶ refuse (or warn, with --force)
//!                   │ free
//!                   ▼
//!        lift a dead daemon's guard ─▶ add ─▶ announce ─▶ read back ─▶ done
//!                                       └── any error ─▶ remove again ─▶ failed and undone
//! ```
//!
//! A signal stops it up to the end of the probe. From the addition on it runs to the end, which takes half a second, so
//! that no address is ever left unannounced. SIGKILL may leave one; the next `assign` announces it.

use std::time::Duration;

use bc_model::vip::{VipChange, VipConflict, VipOutcome, VipReport};
use ipnet::IpNet;

use crate::apply::Hands;
use crate::clock;
use crate::error::Error;
use crate::frame::claim::Claim;
use crate::holder::{Effect, Holder, Vip};
use crate::interrupt::{Interrupt, Woken};
use crate::kernel::Observed;
use crate::kernel::capability::Capability;
use crate::preflight::{self, Assignable};
use crate::probe::{self, Next, Probe, Verdict};
use crate::verbs::guard;
use crate::wire::Wire;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The address with its prefix length.
    pub net: IpNet,
    /// Name of the interface.
    pub dev: String,
    /// How long to probe; `None` to skip it.
    pub probe: Option<Duration>,
    /// Take the address although another host has it.
    pub force: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Carries out `request`; `report` tells afterwards what was done, also if this fails; `progress` is told before each
/// step that takes time.
///
/// # Errors
/// Anything in [`Error`] but what only `unassign` can meet. Unless it is [`Error::NotUndone`], the host is as it was.
pub fn assign(request: &Request, report: &mut VipReport, progress: &dyn Fn(&str)) -> Result<(), Error> {
    let mut hands = Hands::new()?;
    let (mut observed, assignable) = look(request, &mut hands)?;
    let Assignable { vip, link, held, warnings } = assignable;
    report.warnings.extend(warnings);
    let silent = guard::over(&vip)?;
    if !held {
        // What lapses by itself is not there: it is added for good.
        observed.addresses.remove(vip.link, vip.net);
    }

    let mut holder = Holder::default();
    holder.hold(vip.clone());
    let mut effects = holder.reconcile(&observed);
    if held {
        effects.push(Effect::Announce(vip.clone()));
    }
    // While it was silent another host may have taken it.
    let probe = request.probe.filter(|_| !held || silent.is_some());
    let was_silent = silent.as_ref().map(|_| format!("let {} be heard again, which a dead vipd left silent", vip.net));
    // Put into words for a dry run, or afterwards: no address waits for words.
    let planned = || VipChange {
        address: vip.net,
        interface: vip.dev.clone(),
        outcome: if held { VipOutcome::AlreadyHeld } else { VipOutcome::Assigned },
        steps: probe
            .map(|time| question(&vip, time))
            .into_iter()
            .chain(was_silent.clone())
            .chain(effects.iter().map(ToString::to_string))
            .collect(),
        announcements: 0,
        conflict: None,
        instance: None,
        lease: (!held).then(|| VipChange::NO_LEASE.to_owned()),
    };
    if request.dry_run {
        report.changes.push(planned());
        return Ok(());
    }

    permitted(held)?;
    let interrupt = Interrupt::listen().map_err(waiting)?;
    let wire = hands.wire(&link)?;
    let mut conflict = None;
    if let Some(time) = probe {
        wire.listen_for(vip.net.addr())?;
        progress(&question(&vip, time));
        if let Verdict::InUse(claim) = ask(&vip, time, &observed, wire, &interrupt)? {
            if !request.force {
                report.changes.push(in_use(&vip, claim));
                return Err(Error::InUse { claim, dev: vip.dev });
            }
            report.warnings.push(format!(
                "{} is in use by {} on {}; taken all the same (--force), so two hosts answer for it until that one lets go",
                claim.address, claim.mac, vip.dev
            ));
            conflict = Some(conflict_of(claim));
        }
    }

    progress(&format!("add and announce {vip}"));
    if let Some(silent) = silent {
        silent.lift()?;
        let address = vip.net.addr();
        report.warnings.push(format!("a vipd that has died left {address} silent; it is heard again"));
    }
    let done = carry_out(&effects, &observed, &mut hands)
        .and_then(|announcements| Ok((announcements, last_look(&vip, &mut hands)?)));
    let (announcements, untagged) = match done {
        Ok(done) => done,
        Err(cause) if held => return Err(cause),
        Err(cause) => return Err(take_back(cause, &vip, &mut hands)),
    };
    report.warnings.extend(untagged.filter(|_| !held));
    report.changes.push(VipChange { announcements, conflict, ..planned() });
    Ok(())
}

/// Looks whether anything speaks against it. An announcement that waits for no probe does not wait for a list of all
/// interfaces either; what is refused is refused in view of all of them, and in their names.
fn look(request: &Request, hands: &mut Hands) -> Result<(Observed, Assignable), Error> {
    if request.probe.is_none()
        && let Some(near) = hands.observe_near(&request.dev, request.net.addr())?
        && let Ok(assignable) = preflight::assign(request.net, &request.dev, &near)
    {
        return Ok((near, assignable));
    }
    let observed = hands.observe()?;
    let assignable = preflight::assign(request.net, &request.dev, &observed)?;
    Ok((observed, assignable))
}

/// The step that stands for the probe in a plan.
fn question(vip: &Vip, time: Duration) -> String {
    let form = if vip.net.addr().is_ipv4() { "ARP probes" } else { "neighbour solicitations from ::" };
    format!("probe {vip}: {} {form} in {} ms", probe::PROBES, time.as_millis())
}

/// Asks for the capabilities before anything is touched; an address that is here already only needs frames.
fn permitted(held: bool) -> Result<(), Error> {
    let needed: &[_] = if held { &[Capability::NetRaw] } else { &[Capability::NetAdmin, Capability::NetRaw] };
    needed.iter().find(|capability| !capability.is_effective()).map_or(Ok(()), |&c| Err(Error::MissingCapability(c)))
}

/// Probes for `vip`, up to `time`.
fn ask(
    vip: &Vip,
    time: Duration,
    observed: &Observed,
    wire: &mut Wire,
    interrupt: &Interrupt,
) -> Result<Verdict, Error> {
    let address = vip.net.addr();
    let ours = observed.own_macs();
    let own = wire.link().mac.unwrap_or_default();
    let mut probe = Probe::new(address, own, ours, time, clock::jitter(), clock::now());
    loop {
        match probe.next(clock::now()) {
            Next::Send(frame) => wire.send(&frame)?,
            Next::Verdict(verdict) => return Ok(verdict),
            Next::Listen(until) => match interrupt.wait(wire.as_fd(), until).map_err(waiting)? {
                Woken::Readable => {
                    while let Some(frame) = wire.try_receive()? {
                        probe.hear(frame);
                    }
                }
                Woken::Due => {}
                Woken::Interrupted => return Err(Error::Interrupted { address }),
            },
        }
    }
}

fn waiting(source: std::io::Error) -> Error {
    Error::Kernel { what: "waiting for signals".into(), source }
}

/// Applies the effects up to the first that fails; returns how many frames were announced.
fn carry_out(effects: &[Effect], observed: &Observed, hands: &mut Hands) -> Result<u32, Error> {
    effects.iter().try_fold(0, |frames, effect| Ok(frames + hands.apply(effect, observed)?))
}

/// Whether the address is still there after it was announced; a warning if it has lost its tag.
fn last_look(vip: &Vip, hands: &mut Hands) -> Result<Option<String>, Error> {
    let addresses = hands.addresses()?;
    let Some(address) = addresses.get(vip.link, vip.net) else {
        let what = format!("{vip} was added and announced (does a network manager remove what it did not configure?)");
        return Err(Error::NotVerified { what });
    };
    let warning = "this kernel does not keep vipd's tag (Linux 5.18 does): unassign --all will not find the address";
    Ok((!address.is_ours()).then(|| warning.to_owned()))
}

fn take_back(cause: Error, vip: &Vip, hands: &mut Hands) -> Error {
    let undo = |hands: &mut Hands| {
        let observed = hands.observe()?;
        let mut holder = Holder::default();
        holder.release(vip.clone());
        for effect in holder.reconcile(&observed) {
            hands.apply(&effect, &observed)?;
        }
        Ok(())
    };
    match undo(hands) {
        Ok(()) => cause,
        Err(undo) => Error::NotUndone { cause: Box::new(cause), undo: Box::new(undo) },
    }
}

fn in_use(vip: &Vip, claim: Claim) -> VipChange {
    VipChange {
        address: vip.net,
        interface: vip.dev.clone(),
        outcome: VipOutcome::InUse,
        steps: Vec::new(),
        announcements: 0,
        conflict: Some(conflict_of(claim)),
        instance: None,
        lease: None,
    }
}

fn conflict_of(claim: Claim) -> VipConflict {
    VipConflict { mac: claim.mac.to_string(), how: claim.manner.as_str().to_owned() }
}
