//! `bcctl setup`: look, decide, show, ask, do.

use std::sync::atomic::{AtomicBool, Ordering};

use bc_model::exit::Exit;
use bc_model::inventory::{Inventory, Layout};
use bc_model::journal::Journal;

use super::edit::{Edit, Shown};
use super::{Copy, Role, Setup, files};
use crate::cli::Act;
use crate::clock::{SystemClock, time_of_day};
use crate::command::Command;
use crate::command::reseed::{self, Begun, Stage};
use crate::command::setup::has_timer;
use crate::command::standby;
use crate::confirm::{Answer, confirm};
use crate::execute::{End, Execution, Progress};
use crate::finding::kinds::{
    BROKE_OFF, MOUNT_POINT, NO_ROOM, NO_SENDER_FREE, NOT_ROOT, OFF, PROGRAMS_MISSING, TABLESPACES, TWO_PRIMARIES,
    UNIT_MISSING, UNREACHABLE, VERSION, WAL_ELSEWHERE,
};
use crate::finding::{Finding, Kind};
use crate::hosts::{Ended, Hosts, SystemHosts};
use crate::journal::Store;
use crate::observe::{Fences, Observation, SqlFacts, observe};
use crate::place::Place;
use crate::plan::needed;
use crate::render;
use crate::rules::{self, Site};
use crate::steps::{When, setup_steps};
use crate::sudo;
use crate::verbs::{Result, VerbError, stop_flag, take_part};

/// What keeps a host from being set up: the host itself, its version, its programs, two primaries.
const IN_THE_WAY: [&Kind; 8] =
    [&VERSION, &UNREACHABLE, &OFF, &NOT_ROOT, &BROKE_OFF, &UNIT_MISSING, &PROGRAMS_MISSING, &TWO_PRIMARIES];
/// The same for a base backup.
const IN_THE_WAY_OF_A_COPY: [&Kind; 5] = [&NO_SENDER_FREE, &TABLESPACES, &MOUNT_POINT, &WAL_ELSEWHERE, &NO_ROOM];

/// Makes a host what the inventory says it is.
pub(crate) fn setup(inventory: &Inventory, store: &Store, role: Role, how: &Act) -> Result<Exit> {
    let lock = if how.dry_run { None } else { Some(store.lock()?) };
    if let Some(found) = store.unfinished()? {
        render::refused(&role.to_string(), &[crate::verbs::unfinished(&found)]);
        return Ok(Exit::Refused);
    }
    let hosts = SystemHosts::new(inventory).map_err(VerbError::Sockets)?;
    if let Some(lock) = &lock
        && let Some(finding) = take_part(&hosts, store, lock)?
    {
        render::refused(&role.to_string(), &[finding]);
        return Ok(Exit::Refused);
    }
    // The hosts may know of an operation that this machine does not.
    if let Some(found) = store.unfinished()? {
        render::refused(&role.to_string(), &[crate::verbs::unfinished(&found)]);
        return Ok(Exit::Refused);
    }
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
    let stop = stop_flag(Exit::Failed)?;
    let clock = SystemClock::new();
    let changed = AtomicBool::new(false);
    // Nothing to resume: what is done is seen on the host, and a setup that stopped is run again.
    let journal = Journal { entries: Vec::new(), whole: 0 };
    let end = render::progress(&steps, &stop, "again: at once; run it again to go on", |tell| {
        let tell = |told: Progress<'_>| {
            // What is done always, done again, is no change.
            if matches!(told, Progress::Done { step, .. } if step.when == When::Needed && !step.run.is_empty()) {
                changed.store(true, Ordering::Relaxed);
            }
            tell(told);
        };
        let execution = Execution { hosts: &hosts, clock: &clock, record: &|_| Ok(()), tell: &tell, stop: &stop };
        execution.execute(&steps, &journal)
    })
    .map_err(VerbError::Write)?;
    drop(lock);
    Ok(match end {
        End::Done => {
            let words = if changed.load(Ordering::Relaxed) {
                "done"
            } else {
                "everything was so already, and nothing was changed"
            };
            render::say(&format!("{role}: {words}; `bcctl check` looks at all of it"));
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

fn is_one_of(finding: &Finding, kinds: &[&Kind]) -> bool {
    finding.kind.is_some_and(|kind| kinds.iter().any(|other| other.number == kind.number))
}

type Decided = std::result::Result<(Setup, Vec<String>), Vec<Finding>>;

fn decide(inventory: &Inventory, seen: &Observation, hosts: &dyn Hosts, role: Role, operation: String) -> Decided {
    // A site that is just being made may have no standby yet, and no primary that answers is only Home's to be.
    let serving = rules::serving(inventory, seen).unwrap_or(Place::Home);
    let mut setup = Setup { role, serving, operation, edits: Vec::new(), copy: None, timer: false };
    let host = setup.host(inventory).to_owned();
    let limit = inventory.timeouts.observe;
    let look = |command: &Command| hosts.run(command, limit);
    let findings = rules::findings(inventory, seen);
    let in_the_way = |kinds: &[&Kind]| -> Vec<Finding> {
        let about =
            |finding: &&Finding| is_one_of(finding, kinds) && (finding.subject == host || finding.subject == "site");
        findings.iter().filter(about).cloned().collect()
    };
    let mut refusals = in_the_way(&IN_THE_WAY);
    if sudo::by_command(inventory, &host) {
        refusals.push(
            Finding::fail(&host, &[], "setup writes files as root, and a rule that allows that gives root away").hint(
                format!(
                    "log in as root, or set `sudo = true` in [hosts.{host}], for as long as setup takes: docs/sudo.md"
                ),
            ),
        );
    }
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
    let mut begun = None;
    if role == Role::Standby {
        if rules::follows(&Site { inventory, seen, serving }) {
            notes.push(format!("{host} streams already, so it is not copied again"));
        } else {
            refusals.extend(findings.iter().filter(|finding| is_one_of(finding, &IN_THE_WAY_OF_A_COPY)).cloned());
            let found = Begun::parse(&look(&reseed::look_for_copy(inventory, &host)).stdout);
            let armed = |found: &Begun| {
                let check = standby::armed(inventory, &host, serving.postgresql(inventory));
                found.stage != Stage::InPlace || check.commands.iter().all(|command| look(command).succeeded())
            };
            match found {
                Some(found) if goes_on(&found, primary) && armed(&found) => {
                    notes.push(format!("goes on with what a setup that was stopped has left: {}", words(&found)));
                    begun = Some(found);
                }
                Some(found) if found.stage == Stage::Complete => {
                    notes.push(format!(
                        "{} is the copy of another cluster, and is left alone; remove it",
                        found.directory
                    ));
                }
                _ => {}
            }
            setup.copy = Some(Copy {
                needed: needed(inventory, primary.and_then(|primary| primary.size)),
                operation: begun.as_ref().map_or(&setup.operation, |found| &found.operation).clone(),
            });
            notes.push(format!("what is in {} is kept beside the copy", inventory.server(&host).data_directory));
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let wanted = files::of(inventory, role, &host, own, primary);
    for wanted in wanted {
        if wanted.id == "setup-gate" && !look(&Command::on(&host, "test -x /usr/bin/fence")).succeeded() {
            notes.push(format!(
                "{host} has no /usr/bin/fence, so it gets no boot gate; install fence there and run this again"
            ));
            continue;
        }
        let mut old = None;
        for (on, path) in places(inventory, &setup, &wanted.path, begun.as_ref()) {
            let output = look(&Edit::look(&on, &path));
            match output.end {
                Ended::Exit(0) => {
                    old = Some(Shown::parse(&output.stdout));
                    break;
                }
                Ended::Exit(44) => {}
                _ => {
                    return Err(vec![Finding::fail(
                        &on,
                        &[],
                        format!("{path} cannot be read: {}", output.complaint()),
                    )]);
                }
            }
        }
        match &old {
            Some(shown) if shown.torn() => {
                return Err(vec![
                    Finding::fail(
                        &host,
                        &[],
                        format!("{} has our first mark without the last: what is ours cannot be told", wanted.path),
                    )
                    .hint("restore the line `# bcctl end`, or remove our lines with their marks"),
                ]);
            }
            None if wanted.id == "setup-settings" => return Err(vec![no_cluster(inventory, &host, &wanted.path)]),
            _ => {}
        }
        setup.edits.push(wanted.seen(&host, old));
    }
    if role == Role::GocdStandby {
        setup.timer = look(&has_timer(&host)).succeeded();
        if !setup.timer {
            notes.push(format!(
                "{host} has no standbyd-pull.timer, so GoCD's configuration is copied once; `standbyd pull --once` copies it again"
            ));
        }
    }
    Ok((setup, notes))
}

/// Whether a copy that was begun is one of this primary. Of one that is not complete that is seen when it is.
fn goes_on(begun: &Begun, primary: Option<&SqlFacts>) -> bool {
    let [one, other] = [begun.system_identifier.as_deref(), primary.map(|primary| primary.system_identifier.as_str())];
    begun.stage == Stage::Partial || one == other
}

fn words(begun: &Begun) -> String {
    let directory = &begun.directory;
    match begun.stage {
        Stage::Partial => format!("{directory} is waited for if it is still being copied, and else taken anew"),
        Stage::Complete => format!("{directory} is complete"),
        Stage::InPlace => format!("the copy is in its place and was never started; the old data is {directory}"),
    }
}

/// Where a file is now that will be at `path` when it is written: there, or in what will take that place.
fn places(inventory: &Inventory, setup: &Setup, path: &str, begun: Option<&Begun>) -> Vec<(String, String)> {
    let host = setup.host(inventory);
    let here = (host.to_owned(), path.to_owned());
    let data = inventory.server(host).data_directory;
    let (Some(_), Some(rest)) = (&setup.copy, path.strip_prefix(data)) else { return vec![here] };
    match begun {
        Some(found) if found.stage == Stage::InPlace => vec![here],
        Some(found) if found.stage == Stage::Complete => vec![(host.to_owned(), format!("{}{rest}", found.directory))],
        _ => {
            let primary = setup.serving.postgresql(inventory);
            vec![here, (primary.to_owned(), format!("{}{rest}", inventory.server(primary).data_directory))]
        }
    }
}

/// The file that everything else is named in is not there.
fn no_cluster(inventory: &Inventory, host: &str, path: &str) -> Finding {
    let finding = Finding::fail(host, &[], format!("{path} is not there, so there is no cluster that could be set up"));
    if inventory.postgresql.layout == Layout::Debian {
        let part = |data: &str| data.rsplit('/').next().unwrap_or("main").to_owned();
        let cluster = part(inventory.server(host).data_directory);
        return finding.hint(format!(
            "on {host}: pg_createcluster {} {cluster}; it need not be started",
            inventory.postgresql.version
        ));
    }
    finding.hint("see `config-directory` and `data-directory` in the inventory")
}
