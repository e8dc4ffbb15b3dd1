//! `vipd status --watch`: the status of the running daemon, again whenever it is different, until somebody stops it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use bc_model::vip::{HeldAddress, InstanceStatus, VipStatus};
use thiserror::Error;

use crate::client::{Client, ClientError, Next};
use crate::clock;
use crate::daemon::protocol::{Answer, Request};
use crate::render;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole of it, in place, every second.
    Screen,
    /// A line for each instance and each address that is different.
    Lines,
    /// One object on one line for each change.
    Json,
}

/// Why it ended.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The daemon cannot be asked, or has ended.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nobody reads it any more.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// How often it is looked at without an event: an address that comes or goes is none.
const PACE: Duration = Duration::from_secs(1);
/// Cursor home, and clear from there (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows the status of the daemon at `socket` until it or the reader ends.
///
/// # Errors
/// [`WatchError`]; it does not end otherwise.
pub fn watch(socket: &Path, form: Form, out: &mut impl Write) -> Result<(), WatchError> {
    let mut events = Client::ask(socket, &Request::Events { recent: false })?;
    let mut shown = None;
    loop {
        if let Answer::Status { status } = Client::ask(socket, &Request::Status)?.only()? {
            show(form, shown.as_ref(), &status, out)?;
            shown = Some(essence(status));
        }
        if let Next::End = events.receive_until(Some(clock::now() + PACE))? {
            // The same error as for whoever asks now.
            Client::ask(socket, &Request::Status)?;
        }
    }
}

fn show(form: Form, before: Option<&VipStatus>, status: &VipStatus, out: &mut impl Write) -> io::Result<()> {
    let changed = before != Some(&essence(status.clone()));
    match form {
        Form::Screen => {
            write!(out, "{CLEAR}")?;
            let mut words = Vec::new();
            render::status(status, false, out, &mut words)?;
            out.write_all(&words)?;
        }
        Form::Json if changed => {
            serde_json::to_writer(&mut *out, status)?;
            writeln!(out)?;
        }
        Form::Lines if changed => lines(before, &essence(status.clone()), out)?,
        Form::Json | Form::Lines => {}
    }
    out.flush()
}

/// One line for each instance and each address that was not so before.
fn lines(before: Option<&VipStatus>, now: &VipStatus, out: &mut impl Write) -> io::Result<()> {
    let instances = |status: &VipStatus| -> BTreeMap<String, InstanceStatus> {
        status.instances.iter().flatten().map(|one| (one.name.clone(), one.clone())).collect()
    };
    let (old, new) = (before.map(instances).unwrap_or_default(), instances(now));
    for (name, instance) in new.iter().filter(|(name, instance)| old.get(*name) != Some(instance)) {
        write!(out, "{name}: {} on {}", instance.state, instance.interface)?;
        render::circumstances(instance, out)?;
        writeln!(out)?;
    }
    old.keys().filter(|name| !new.contains_key(*name)).try_for_each(|name| writeln!(out, "{name}: gone"))?;
    let held = before.map(|status| status.addresses.as_slice()).unwrap_or_default();
    let differ = |these: &[HeldAddress], those: &[HeldAddress]| -> Vec<HeldAddress> {
        these.iter().filter(|one| !those.contains(one)).cloned().collect()
    };
    for come in differ(&now.addresses, held) {
        writeln!(out, "{} is on {}", come.address, come.interface)?;
    }
    differ(held, &now.addresses)
        .iter()
        .try_for_each(|gone| writeln!(out, "{} is no longer on {}", gone.address, gone.interface))
}

/// The status without what is different every time.
fn essence(mut status: VipStatus) -> VipStatus {
    for instance in status.instances.iter_mut().flatten() {
        (instance.state_age_ms, instance.received, instance.discarded) = (0, 0, 0);
        instance.discards.clear();
        instance.notices.clear();
    }
    status.addresses.iter_mut().for_each(|held| held.lease_remaining_ms = None);
    status
}
