//! One function per verb: what is looked at, decided, shown, asked, done and said at the end.

mod records;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bc_model::exit::Exit;
use bc_model::inventory::{Inventory, InventoryError};
use bc_model::journal::{Event, Intent, Journal, Outcome, SCHEMA};
use thiserror::Error;

use crate::cli::{Act, Cli, Explain, Look, Sudoers, Verb, Watch};
use crate::clock::{Clock as _, SystemClock, time_of_day};
use crate::confirm::{Answer, confirm, confirm_host};
use crate::execute::{End, Execution};
use crate::finding;
use crate::finding::kinds::UNFINISHED;
use crate::finding::{ALL, Finding, by_cause};
use crate::hosts::SystemHosts;
use crate::journal::{Found, Store, StoreError, Writer};
use crate::observe::{Fences, observe};
use crate::plan::partial::{self, Part};
use crate::plan::{Accepted, Decision, Plan, plan};
use crate::render;
use crate::rules;
use crate::steps::{Step, table};
use crate::sudo;

pub(crate) use records::take_part;

/// Why a verb ended early.
#[derive(Debug, Error)]
pub(crate) enum VerbError {
    /// The inventory cannot be read.
    #[error("inventory {}: {source}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The inventory is wrong.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The journals cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal could not be written in the middle of an operation.
    #[error("the journal could not be written, so nothing more was done: {0}")]
    Write(std::io::Error),
    /// A directory for the connections could not be made.
    #[error("no directory for temporary files: {0}")]
    Sockets(std::io::Error),
    /// There is no such number.
    #[error("no finding has the number {0}")]
    NoSuchFinding(String),
    /// There is nobody to ask.
    #[error("there is no terminal to ask on")]
    Nobody,
    /// A rule is overridden without the name of the host that is given up.
    #[error("{flags} needs the name of the host that is given up")]
    Unsure {
        /// The flags that override.
        flags: String,
        /// The host.
        host: String,
    },
    /// The journal was written for another inventory or by another version.
    #[error("operation {operation} cannot be continued: {why}")]
    Changed {
        /// Which.
        operation: String,
        /// What does not fit.
        why: String,
    },
    /// No sudo rules can be made for a host.
    #[error("sudo rules of {host}: {why}")]
    Sudoers {
        /// Which.
        host: String,
        /// Why.
        why: String,
    },
    /// Output could not be written.
    #[error("output: {0}")]
    Output(std::io::Error),
}

impl VerbError {
    /// What it means to the caller.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read { .. }
            | Self::Inventory(_)
            | Self::Nobody
            | Self::Unsure { .. }
            | Self::NoSuchFinding(_)
            | Self::Sudoers { .. } => Exit::Usage,
            Self::Store(_) | Self::Sockets(_) | Self::Changed { .. } => Exit::Refused,
            Self::Write(_) => Exit::HalfWay,
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Failed,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => {
                Some("name the file with --inventory or BC_INVENTORY; packaging/bc.toml is an example".to_owned())
            }
            Self::Store(error) => Some(error.hint().to_owned()),
            Self::NoSuchFinding(_) => Some("`bcctl explain --all` lists them".to_owned()),
            Self::Unsure { host, .. } => Some(format!("if you are sure: --i-am-sure {host}")),
            Self::Nobody => Some("look at the plan, then run it again with --yes".to_owned()),
            Self::Write(_) => Some("make room on its disk, then `bcctl resume`".to_owned()),
            Self::Changed { .. } => Some("continue with the inventory and the version it was begun with".to_owned()),
            Self::Inventory(_) | Self::Sockets(_) | Self::Output(_) | Self::Sudoers { .. } => None,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, VerbError>;

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> Result<Exit> {
    if let Verb::Explain(what) = &cli.verb {
        return explain(what);
    }
    let inventory = load(&cli.inventory)?;
    let store = Store::new(&cli.state_directory, &inventory.site);
    match &cli.verb {
        Verb::Explain(what) => explain(what),
        Verb::Setup(how) => crate::setup::setup(&inventory, &store, how.role, &how.act),
        Verb::Check(look) => check(&inventory, &store, look),
        Verb::Status(look) => status(&inventory, &store, look),
        Verb::Switchover(how) => act(&inventory, &store, Intent::Switchover, Accepted::default(), how),
        Verb::Failover(how) => {
            let accepted = Accepted {
                healthy_primary: how.even_if_healthy,
                stale_config: how.accept_stale_config,
                loss: how.accept_loss,
            };
            let wish = Wish::Whole(Intent::Failover, accepted);
            sure_or_not(&inventory, &store, &wish, &how.act, how.i_am_sure.as_deref())
        }
        Verb::Failback(how) => act(&inventory, &store, Intent::Failback, Accepted::default(), how),
        Verb::Rejoin(how) => {
            let part = Part::Rejoin { host: how.host.clone(), rewind: how.rewind };
            act_on(&inventory, &store, &Wish::Part(part), &how.act)
        }
        Verb::PromoteOnly(how) => act_on(&inventory, &store, &Wish::Part(Part::Promote), how),
        Verb::VipOnly(how) => act_on(&inventory, &store, &Wish::Part(Part::Vip { host: how.to.clone() }), &how.act),
        Verb::Sudoers(how) => sudoers(&inventory, how),
        Verb::Resume(how) => resume(&inventory, &store, &how.act, how.abandon),
        Verb::Abort(how) => resume(&inventory, &store, how, true),
        Verb::History(how) => records::history(&inventory, &store, how),
        Verb::Report(how) => records::report(&store, how),
    }
}

fn load(path: &Path) -> Result<Inventory> {
    let text = std::fs::read_to_string(path).map_err(|source| VerbError::Read { path: path.to_owned(), source })?;
    Ok(Inventory::parse(&path.display().to_string(), &text)?)
}

fn check(inventory: &Inventory, store: &Store, how: &Look) -> Result<Exit> {
    let hosts = SystemHosts::new(inventory).map_err(VerbError::Sockets)?;
    let seen = observe(inventory, &hosts, Fences::Devices);
    let mut findings = rules::findings(inventory, &seen);
    findings.extend(store.unfinished()?.map(|found| unfinished(&found)));
    let findings = by_cause(findings);
    render::check(&inventory.site, &findings, how.json).map_err(VerbError::Output)?;
    Ok(render::exit(&findings))
}

fn explain(what: &Explain) -> Result<Exit> {
    let text = match &what.code {
        Some(code) => finding::explain(code).ok_or_else(|| VerbError::NoSuchFinding(code.clone()))?,
        None => finding::page(),
    };
    render::page(&text).map_err(VerbError::Output)?;
    Ok(Exit::Done)
}

fn sudoers(inventory: &Inventory, how: &Sudoers) -> Result<Exit> {
    let error = |why: String| VerbError::Sudoers { host: how.host.clone(), why };
    if !inventory.hosts.contains_key(&how.host) {
        let known = inventory.hosts.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(error(format!("no such host in the inventory; expected one of {known}")));
    }
    let login = how.login.as_deref().or_else(|| sudo::login(inventory, &how.host));
    let login = login.ok_or_else(|| {
        error(
            "the inventory names no login there but root, which needs no rules; --login USER names another".to_owned(),
        )
    })?;
    render::page(&sudo::page(inventory, &how.host, login).map_err(error)?).map_err(VerbError::Output)?;
    Ok(Exit::Done)
}

fn status(inventory: &Inventory, store: &Store, how: &Watch) -> Result<Exit> {
    let hosts = SystemHosts::new(inventory).map_err(VerbError::Sockets)?;
    // Devices may be slow, and are not made for being asked every second.
    let fences = if how.watch { Fences::Unasked } else { Fences::States };
    let look = || {
        let seen = observe(inventory, &hosts, fences);
        Ok::<_, VerbError>(render::Screen::new(inventory, &seen, store.unfinished()?.as_ref(), time_of_day()))
    };
    if !how.watch {
        look()?.show(how.look.json).map_err(VerbError::Output)?;
        return Ok(Exit::Done);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(VerbError::Sockets)?;
    }
    let clock = SystemClock::new();
    let mut terminal = render::Watch::default();
    while !stop.load(Ordering::Relaxed) {
        terminal.show(&look()?, how.look.json).map_err(VerbError::Output)?;
        let next = clock.now() + Duration::from_secs(how.interval);
        while clock.now() < next && !stop.load(Ordering::Relaxed) {
            clock.pause(Duration::from_millis(50));
        }
    }
    Ok(Exit::Done)
}

/// An operation that is not over forbids every other one.
pub(crate) fn unfinished(found: &Found) -> Finding {
    let name = name(&found.journal);
    let step = found.journal.last_done().map(|step| format!(", last done: {step}")).unwrap_or_default();
    let abandon = if found.journal.past_point_of_no_return() { "" } else { "; `bcctl abort` gives it up" };
    Finding::of(&UNFINISHED, "site", format!("operation {name} is not over{step}"))
        .hint(format!("`bcctl resume` continues it{abandon}"))
}

fn name(journal: &Journal) -> String {
    match journal.entries.first().map(|entry| &entry.event) {
        Some(Event::Planned { operation, .. }) => operation.clone(),
        _ => String::new(),
    }
}

/// What is wanted: a whole operation, or a part of one.
enum Wish {
    Whole(Intent, Accepted),
    Part(Part),
}

fn act(inventory: &Inventory, store: &Store, intent: Intent, accepted: Accepted, how: &Act) -> Result<Exit> {
    act_on(inventory, store, &Wish::Whole(intent, accepted), how)
}

fn act_on(inventory: &Inventory, store: &Store, wish: &Wish, how: &Act) -> Result<Exit> {
    sure_or_not(inventory, store, wish, how, None)
}

impl Wish {
    /// The flags that override a rule.
    fn overrides(&self) -> Vec<&'static str> {
        let Self::Whole(_, accepted) = self else { return Vec::new() };
        [
            (accepted.healthy_primary, "--even-if-healthy"),
            (accepted.stale_config, "--accept-stale-config"),
            (accepted.loss, "--accept-loss"),
        ]
        .into_iter()
        .filter_map(|(given, flag)| given.then_some(flag))
        .collect()
    }
}

/// Whether the operator has named the host that is given up, which every override asks for.
fn named(host: &str, overrides: &[&str], sure: Option<&str>) -> Result<bool> {
    if overrides.is_empty() {
        return Ok(true);
    }
    let flags = overrides.join(", ");
    match sure {
        Some(name) if name == host => Ok(true),
        Some(_) => Err(VerbError::Unsure { flags, host: host.to_owned() }),
        None => match confirm_host(host, &flags) {
            Answer::Yes => Ok(true),
            Answer::No => Ok(false),
            Answer::Nobody => Err(VerbError::Unsure { flags, host: host.to_owned() }),
        },
    }
}

fn sure_or_not(inventory: &Inventory, store: &Store, wish: &Wish, how: &Act, sure: Option<&str>) -> Result<Exit> {
    let intent = match wish {
        Wish::Whole(intent, _) => *intent,
        Wish::Part(part) => part.intent(),
    };
    let lock = if how.dry_run { None } else { Some(store.lock()?) };
    if let Some(found) = store.unfinished()? {
        render::refused(&intent.to_string(), &[unfinished(&found)]);
        return Ok(Exit::Refused);
    }
    let hosts = SystemHosts::new(inventory).map_err(VerbError::Sockets)?;
    // Only these turn hosts on, so only these have to know which are off.
    let fences = if matches!(intent, Intent::Failback | Intent::Rejoin) { Fences::States } else { Fences::Unasked };
    // The lock first: what is seen before it may be the doing of somebody who has just let go of it.
    if let Some(lock) = &lock
        && let Some(finding) = take_part(&hosts, store, lock)?
    {
        render::refused(&intent.to_string(), &[finding]);
        return Ok(Exit::Refused);
    }
    // The hosts may know of an operation that this machine does not.
    if let Some(found) = store.unfinished()? {
        render::refused(&intent.to_string(), &[unfinished(&found)]);
        return Ok(Exit::Refused);
    }
    let operation = store.new_id(time_of_day(), intent)?;
    let decide = || {
        let seen = observe(inventory, &hosts, fences);
        let decided = match wish {
            Wish::Whole(intent, accepted) => plan(inventory, &seen, *intent, *accepted, &operation),
            Wish::Part(part) => partial::plan(inventory, &seen, part, &operation),
        };
        let Plan::Steps { decision, .. } = &decided else { return decided };
        let missing = rules::not_allowed(inventory, &seen, &table(inventory, decision));
        if missing.is_empty() { decided } else { Plan::Refused(missing) }
    };
    let decided = decide();
    let (decision, notes) = match &decided {
        Plan::Nothing(words) => {
            render::say(words);
            return Ok(Exit::Done);
        }
        Plan::Refused(findings) => {
            render::refused(&intent.to_string(), findings);
            return Ok(Exit::Refused);
        }
        Plan::Steps { decision, notes } => (decision, notes),
    };
    let steps = table(inventory, decision);
    let Some(lock) = lock else {
        render::dry_run(inventory, decision, notes, &steps).map_err(VerbError::Output)?;
        return Ok(Exit::Done);
    };
    render::plan(decision, notes, &steps);
    let overrides = wish.overrides();
    let given_up = decision.from().postgresql(inventory);
    if !named(given_up, &overrides, sure)? {
        render::say("nothing was done");
        return Ok(Exit::Refused);
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
        // A person may have thought about it for an hour.
        match decide() {
            Plan::Steps { decision: now, .. } if decision.stands(&now) => {}
            Plan::Refused(findings) => {
                render::refused(&intent.to_string(), &findings);
                return Ok(Exit::Refused);
            }
            Plan::Steps { .. } | Plan::Nothing(_) => {
                render::say("the site has changed while the plan was read; nothing was done");
                return Ok(Exit::Refused);
            }
        }
    }
    let mut writer = store.create(&operation, &lock)?;
    let planned = Event::Planned {
        schema: SCHEMA,
        operation,
        site: inventory.site.clone(),
        intent,
        by: by(),
        steps: steps.iter().map(Step::planned).collect(),
        decision: serde_json::to_value(decision).map_err(|error| VerbError::Write(std::io::Error::other(error)))?,
        notes: notes.clone(),
        overrides: overrides.iter().map(|flag| format!("{flag}, confirmed with {given_up}")).collect(),
    };
    writer.write(time_of_day(), planned).map_err(VerbError::Write)?;
    let Some(found) = store.newest()? else { return Err(VerbError::Write(std::io::ErrorKind::NotFound.into())) };
    carry_out(&hosts, &steps, &found, &mut writer)
}

fn resume(inventory: &Inventory, store: &Store, how: &Act, abandon_it: bool) -> Result<Exit> {
    let lock = if how.dry_run { None } else { Some(store.lock()?) };
    let hosts = SystemHosts::new(inventory).map_err(VerbError::Sockets)?;
    if let Some(lock) = &lock
        && let Some(finding) = take_part(&hosts, store, lock)?
    {
        render::refused("resume", &[finding]);
        return Ok(Exit::Refused);
    }
    let Some(found) = store.unfinished()? else {
        render::say("nothing to resume: no operation is unfinished");
        return Ok(Exit::Done);
    };
    let (decision, steps) = planned(inventory, &found.journal)?;
    if abandon_it && found.journal.past_point_of_no_return() {
        let words = "the promotion may have happened: from here there is only forward";
        render::refused("giving up", &[Finding::fail("site", ALL, words).hint("`bcctl resume` continues it")]);
        return Ok(Exit::Refused);
    }
    let Some(lock) = lock else {
        if abandon_it {
            render::way_back(inventory, &found.journal, &steps).map_err(VerbError::Output)?;
        } else {
            render::dry_run(inventory, &decision, &[], &steps).map_err(VerbError::Output)?;
        }
        return Ok(Exit::Done);
    };
    render::resume(&found, abandon_it);
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
    let mut writer = Store::reopen(&found, &lock)?;
    writer.write(time_of_day(), Event::Resumed { by: by() }).map_err(VerbError::Write)?;
    if abandon_it {
        abandon(&hosts, &steps, &found, &mut writer)
    } else {
        carry_out(&hosts, &steps, &found, &mut writer)
    }
}

/// The decision of a journal, and the same table of steps again.
fn planned(inventory: &Inventory, journal: &Journal) -> Result<(Decision, Vec<Step>)> {
    let changed = |why: String| VerbError::Changed { operation: name(journal), why };
    let decision = match journal.entries.first().map(|entry| &entry.event) {
        Some(Event::Planned { decision, .. }) => decision.clone(),
        _ => serde_json::Value::Null,
    };
    let decision: Decision =
        serde_json::from_value(decision).map_err(|error| changed(format!("its plan is not understood: {error}")))?;
    let steps = table(inventory, &decision);
    if steps.iter().map(Step::planned).ne(journal.steps().iter().cloned()) {
        return Err(changed(
            "the inventory, or this program, gives other steps than those that were planned".to_owned(),
        ));
    }
    Ok((decision, steps))
}

fn carry_out(hosts: &SystemHosts<'_>, steps: &[Step], found: &Found, writer: &mut Writer) -> Result<Exit> {
    keep_copies(hosts, found)?;
    let end = with_execution(hosts, steps, writer, |execution| execution.execute(steps, &found.journal))?;
    render::end(&end, &found.path);
    Ok(match end {
        End::Done => Exit::Done,
        End::Undone { .. } => Exit::Failed,
        End::NotFenced { .. } => Exit::NotFenced,
        End::HalfWay { .. } | End::Interrupted { .. } => Exit::HalfWay,
    })
}

fn abandon(hosts: &SystemHosts<'_>, steps: &[Step], found: &Found, writer: &mut Writer) -> Result<Exit> {
    keep_copies(hosts, found)?;
    let begun: std::collections::BTreeSet<String> = found.journal.begun().into_iter().map(str::to_owned).collect();
    let left = with_execution(hosts, steps, writer, |execution| execution.undo(steps, &begun, &found.journal.facts()))?;
    if !left.failed.is_empty() {
        render::not_put_back(&left.failed);
        return Ok(Exit::HalfWay);
    }
    let words = if left.stays.is_empty() {
        "given up, and put back".to_owned()
    } else {
        format!("given up; {}", left.stays.join("; "))
    };
    render::say(&words);
    let over = Event::Finished { outcome: Outcome::Abandoned, words };
    hosts.copy(&writer.write(time_of_day(), over).map_err(VerbError::Write)?);
    Ok(Exit::Done)
}

/// Puts the journal, as it is on disk now, on every host that answers; from here on they get what is added to it.
fn keep_copies(hosts: &SystemHosts<'_>, found: &Found) -> Result<()> {
    let text = std::fs::read_to_string(&found.path).map_err(VerbError::Write)?;
    for (host, why) in hosts.keep(&name(&found.journal), &text) {
        render::say(&format!("  note: {host} keeps no copy of the journal: {why}"));
    }
    Ok(())
}

fn with_execution<T>(
    hosts: &SystemHosts<'_>,
    steps: &[Step],
    writer: &mut Writer,
    work: impl FnOnce(&Execution<'_>) -> std::io::Result<T>,
) -> Result<T> {
    let stop = stop_flag(Exit::HalfWay)?;
    let clock = SystemClock::new();
    let writer = Mutex::new(writer);
    let record = |event| {
        // Under one lock, so that the copies have the lines in the order of the journal.
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write(time_of_day(), event).map(|line| hosts.copy(&line))
    };
    let again = "again: at once; `bcctl resume` continues";
    render::progress(steps, &stop, again, |tell| {
        work(&Execution { hosts, clock: &clock, record: &record, tell, stop: &stop })
    })
    .map_err(VerbError::Write)
}

/// A flag that Ctrl-C sets (and SIGTERM, and the end of the terminal). The second one ends the program with `exit`, in the
/// middle of whatever it does: the journal makes that safe.
pub(crate) fn stop_flag(exit: Exit) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, exit.code().into(), Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(VerbError::Sockets)?;
    }
    Ok(stop)
}

/// Login and host of the caller.
fn by() -> String {
    let login = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let login = login.unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()));
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{login}@{host}")
}
