//! `bcctl setup`: look, decide, show, ask, do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bc_model::exit::Exit;
use bc_model::inventory::Inventory;
use bc_model::journal::Journal;

use super::edit::Edit;
use super::{Role, Setup, files};
use crate::cli::Act;
use crate::clock::{SystemClock, time_of_day};
use crate::command::Command;
use crate::confirm::{Answer, confirm};
use crate::execute::{End, Execution};
use crate::finding::Finding;
use crate::hosts::{Ended, Hosts, SystemHosts};
use crate::journal::Store;
use crate::observe::{Fences, Observation, observe};
use crate::place::Place;
use crate::plan::needed;
use crate::render;
use crate::rules::{self, Site};
use crate::steps::setup_steps;
use crate::verbs::{Result, VerbError};

/// What keeps a host from being set up, by number: the host itself, its version, its programs, two primaries.
const IN_THE_WAY: [u16; 8] = [102, 103, 104, 105, 106, 108, 201, 202];
/// The same for a base backup.
const IN_THE_WAY_OF_A_COPY: [u16; 5] = [305, 411, 412, 413, 414];

/// Makes a host what the inventory says it is.
pub(crate) fn setup(inventory: &Inventory, store: &Store, role: Role, how: &Act) -> Result<Exit> {
    let lock = if how.dry_run { None } else { Some(store.lock()?) };
    if let Some(found) = store.unfinished()? {
        render::refused(&role.to_string(), &[crate::verbs::unfinished(&found)]);
        return Ok(Exit::Refused);
    }
    let hosts = SystemHosts::new(inventory).map_err(VerbError::Sockets)?;
    let seen = observe(inventory, &hosts, Fences::Unasked);
    let operation = time_of_day().strftime("%Y%m%dT%H%M%SZ-setup").to_string();
    let (setup, notes) = match decide(inventory, &seen, &hosts, role, operation) {
        Ok(decided) => decided,
        Err(findings) => {
            render::refused(&role.to_string(), &findings);
            return Ok(Exit::Refused);
        }
    };
    let steps = setup_steps(inventory, &setup);
    render::setup(inventory, &setup, &notes, &steps, how.dry_run).map_err(VerbError::Output)?;
    if how.dry_run {
        return Ok(Exit::Done);
    }
    if !how.yes {
        match confirm(&inventory.site) {
            Answer::Yes => {}
            Answer::No => {
                render::say("nothing was done");
                return Ok(Exit::Refused);
            }
            Answer::Nobody => return Err(VerbError::Nobody),
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(VerbError::Sockets)?;
    }
    let clock = SystemClock::new();
    let mut progress = render::Progress::new(Arc::clone(&stop));
    let mut execution = Execution {
        hosts: &hosts,
        clock: &clock,
        // Nothing to resume: what is done is seen on the host, and a setup that stopped is run again.
        record: &mut |_| Ok(()),
        tell: &mut |told| progress.show(&told),
        stop: &stop,
    };
    let journal = Journal { entries: Vec::new(), whole: 0 };
    let end = execution.execute(&steps, &journal).map_err(VerbError::Write)?;
    drop(lock);
    Ok(match end {
        End::Done => {
            render::say(&format!("{role}: done; `bcctl check` looks at all of it"));
            Exit::Done
        }
        End::Interrupted { next, .. } => {
            render::say(&format!("stopped before {next}; run it again to go on"));
            Exit::Failed
        }
        End::Undone { step, error } | End::NotFenced { step, error } | End::HalfWay { step, error, .. } => {
            render::error(
                &format!("{step}: {error}"),
                Some("correct the reason and run it again; what is done is skipped"),
            );
            Exit::Failed
        }
    })
}

type Decided = std::result::Result<(Setup, Vec<String>), Vec<Finding>>;

fn decide(inventory: &Inventory, seen: &Observation, hosts: &dyn Hosts, role: Role, operation: String) -> Decided {
    // A site that is just being made may have no standby yet, and no primary that answers is only Home's to be.
    let serving = rules::serving(inventory, seen).unwrap_or(Place::Home);
    let mut setup = Setup { role, serving, operation, edits: Vec::new(), copy: None };
    let host = setup.host(inventory).to_owned();
    let findings = rules::findings(inventory, seen);
    let in_the_way = |numbers: &[u16]| -> Vec<Finding> {
        let about = |finding: &&Finding| {
            let number = finding.kind.map(|kind| kind.number);
            number.is_some_and(|number| numbers.contains(&number))
                && (finding.subject == host || finding.subject == "site")
        };
        findings.iter().filter(about).cloned().collect()
    };
    let mut refusals = in_the_way(&IN_THE_WAY);
    let mut notes = Vec::new();
    let primary = seen.sql(inventory, serving).filter(|sql| !sql.in_recovery);
    if primary.is_none() && role != Role::GocdStandby {
        let host = serving.postgresql(inventory);
        refusals.push(
            Finding::fail(host, &[], "is not a running primary, and there is nothing to set up beside it")
                .hint(format!("make a cluster there (initdb, or pg_createcluster) and start it; `bcctl status` says what {host} is now")),
        );
    }
    let own = match role {
        Role::Primary => primary,
        Role::Standby => seen.sql(inventory, serving.other()).or(primary),
        Role::GocdStandby => None,
    };
    if role == Role::Standby {
        if rules::follows(&Site { inventory, seen, serving }) {
            notes.push(format!("{host} streams already, so it is not copied again"));
        } else {
            setup.copy = Some(needed(inventory, primary.and_then(|primary| primary.size)));
            refusals.extend(
                findings
                    .iter()
                    .filter(|finding| finding.kind.is_some_and(|kind| IN_THE_WAY_OF_A_COPY.contains(&kind.number)))
                    .cloned(),
            );
            notes.push(format!("what is in {} is kept beside the copy", inventory.server(&host).data_directory));
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let wanted = files::of(inventory, role, &host, own);
    let limit = inventory.timeouts.observe;
    for wanted in wanted {
        if wanted.id == "setup-gate"
            && !hosts.run(&Command::on(&host, "test -x /usr/bin/fence"), limit, &mut |_| {}).succeeded()
        {
            notes.push(format!(
                "{host} has no /usr/bin/fence, so it gets no boot gate; install fence there and run this again"
            ));
            continue;
        }
        let mut output = hosts.run(&Edit::look(&host, &wanted.path), limit, &mut |_| {});
        let data = inventory.server(&host).data_directory;
        if let (Ended::Exit(44), Some(_), Some(rest)) = (output.end, setup.copy, wanted.path.strip_prefix(data)) {
            // The copy will bring the primary's file here.
            let primary = serving.postgresql(inventory);
            let path = format!("{}{rest}", inventory.server(primary).data_directory);
            output = hosts.run(&Edit::look(primary, &path), limit, &mut |_| {});
        }
        let old = match output.end {
            Ended::Exit(0) => Some(output.stdout),
            Ended::Exit(44) => None,
            _ => {
                return Err(vec![Finding::fail(
                    &host,
                    &[],
                    format!("{} cannot be read: {}", wanted.path, output.complaint()),
                )]);
            }
        };
        setup.edits.push(wanted.seen(&host, old));
    }
    Ok((setup, notes))
}
