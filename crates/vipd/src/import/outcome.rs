//! The new configuration: written down, read back by the daemon's own rules, and cut down until they accept it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::ledger::{Ledger, Note, Place};
use super::track::Tracked;
use super::tree::Statement;
use super::{Import, weights};
use crate::config::{Config, Name, Problem};

/// What has been translated so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) instances: Vec<Instance>,
    pub(super) checks: Vec<Item>,
    pub(super) groups: Vec<Group>,
    /// Whether a script is to be told of changes.
    pub(super) notify: bool,
    names: BTreeSet<String>,
}

/// A table of the new file.
#[derive(Debug)]
pub(super) struct Item {
    /// Its name in keepalived.conf.
    pub(super) original: String,
    /// Its name here.
    pub(super) name: String,
    pub(super) statement: Statement,
    /// Keys and values as TOML.
    pub(super) keys: Vec<(&'static str, String)>,
}

/// `[[instance]]`.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) item: Item,
    pub(super) unicast: Vec<(&'static str, String)>,
    pub(super) interfaces: Vec<Tracked>,
    pub(super) checks: Vec<Tracked>,
    /// Whether it is the owner of its addresses: priority 255.
    pub(super) owner: bool,
}

/// `[[sync-group]]`.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) item: Item,
    /// The instances, and where they are named.
    pub(super) members: Vec<(String, Place)>,
    pub(super) interfaces: Vec<Tracked>,
    pub(super) checks: Vec<Tracked>,
    /// Whether keepalived lets the weights of its instances count.
    pub(super) tracking_weight: bool,
}

impl Draft {
    /// A name that vipd takes for what keepalived calls `original`.
    pub(super) fn name_for(&mut self, original: &str, statement: &Statement, ledger: &mut Ledger) -> String {
        let key = |name: &str| format!("{} {name}", statement.keyword());
        let cleaned = cleaned(original);
        let mut name = cleaned.clone();
        // The same name twice is left to the rules; but two different ones must not become one.
        for number in 2.. {
            if name == original || !self.names.contains(&key(&name)) {
                break;
            }
            name = format!("{cleaned}-{number}");
        }
        self.names.insert(key(&name));
        if name != original {
            let reason = format!("a name has letters, digits, `-`, `_` and `.` only; it is {name:?} now");
            ledger.remark(statement, &reason);
        }
        name
    }
}

/// The name itself, or what is left of it without the characters that a name may not have.
fn cleaned(original: &str) -> String {
    if Name::new(original).is_some() {
        return original.to_owned();
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let clean: String = original.chars().map(|c| if allowed(c) { c } else { '-' }).take(Name::MAX - 8).collect();
    let clean = clean.trim_start_matches(['-', '_', '.']);
    if clean.is_empty() { "unnamed".to_owned() } else { clean.to_owned() }
}

/// Writes the new file, as much of it as the daemon accepts.
pub(super) fn settle(mut draft: Draft, mut ledger: Ledger) -> Import {
    references(&mut draft, &mut ledger);
    weights::settle(&mut draft, &mut ledger);
    let body = loop {
        groups_of_two(&mut draft, &mut ledger);
        let (text, owners) = render(&draft);
        let Err(refused) = Config::parse("imported", &text) else { break text };
        // Each round takes at least one table away, so this ends.
        let mut guilty: Vec<(Owner, String)> = Vec::new();
        let owner_of = |line: usize| owners.iter().rev().find(|(first, _)| *first <= line).map(|(_, owner)| *owner);
        for Problem { line, message, earlier, .. } in refused.problems {
            // The lines of what was rendered are nobody's; those of what it came from are.
            let place = earlier.and_then(owner_of).map(|owner| &item(&draft, owner).statement.place);
            let reason = place.map_or_else(|| message.clone(), |place| format!("{message} ({place})"));
            guilty.extend(owner_of(line).map(|owner| (owner, reason)));
        }
        guilty.sort_by_key(|(owner, _)| *owner);
        guilty.dedup_by_key(|(owner, _)| *owner);
        if guilty.is_empty() {
            draft.instances.clear();
            draft.checks.clear();
            draft.groups.clear();
            break String::new();
        }
        for (owner, reason) in guilty.into_iter().rev() {
            remove(&mut draft, owner, &reason, &mut ledger);
        }
    };
    let instances = draft.instances.len();
    let (file, notify) = (ledger.file.clone(), draft.notify);
    let (notes, carried) = ledger.into_parts();
    let toml = if instances == 0 { String::new() } else { header(&file, &notes, notify) + &body };
    Import { toml, instances, notes, carried }
}

/// A table of the file that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Instance(usize),
    Check(usize),
    Group(usize),
}

fn item(draft: &Draft, owner: Owner) -> &Item {
    match owner {
        Owner::Instance(index) => &draft.instances[index].item,
        Owner::Check(index) => &draft.checks[index],
        Owner::Group(index) => &draft.groups[index].item,
    }
}

fn remove(draft: &mut Draft, owner: Owner, reason: &str, ledger: &mut Ledger) {
    let statement = match owner {
        Owner::Instance(index) => draft.instances.remove(index).item.statement,
        Owner::Check(index) => {
            let check = draft.checks.remove(index);
            let tracked = draft.instances.iter_mut().map(|instance| &mut instance.checks);
            let gone = !draft.checks.iter().any(|other| other.name == check.name);
            for list in tracked.chain(draft.groups.iter_mut().map(|group| &mut group.checks)) {
                for tracked in list.extract_if(.., |tracked| gone && tracked.name == check.name) {
                    tracked.remark(NO_SCRIPT, ledger);
                }
            }
            check.statement
        }
        Owner::Group(index) => draft.groups.remove(index).item.statement,
    };
    ledger.leave(&statement, reason);
}

const NO_SCRIPT: &str = "there is no vrrp_script of this name that was carried over";
const NO_INSTANCE: &str = "there is no vrrp_instance of this name that was carried over";

/// Names of keepalived.conf become names of the new file, where there is what they name.
fn references(draft: &mut Draft, ledger: &mut Ledger) {
    let Draft { instances, checks, groups, .. } = draft;
    let tracked = instances.iter_mut().map(|instance| &mut instance.checks);
    for list in tracked.chain(groups.iter_mut().map(|group| &mut group.checks)) {
        list.retain_mut(|tracked| {
            let check = checks.iter().find(|check| check.original == tracked.name);
            match check {
                Some(check) => tracked.name.clone_from(&check.name),
                None => tracked.remark(NO_SCRIPT, ledger),
            }
            check.is_some()
        });
    }
    let tracked = instances.iter_mut().flat_map(|instance| [&mut instance.interfaces, &mut instance.checks]);
    for list in tracked.chain(groups.iter_mut().flat_map(|group| [&mut group.interfaces, &mut group.checks])) {
        let mut seen = BTreeSet::new();
        for tracked in list.extract_if(.., |tracked| !seen.insert(tracked.name.clone())) {
            tracked.remark("it is tracked already, and keepalived takes the first", ledger);
        }
    }
    for group in groups.iter_mut() {
        let mut taken = BTreeSet::new();
        group.members.retain_mut(|(member, place)| {
            let Some(instance) = instances.iter().find(|instance| instance.item.original == *member) else {
                ledger.note(place, place.line, member, NO_INSTANCE);
                return false;
            };
            member.clone_from(&instance.item.name);
            taken.insert(member.clone())
        });
    }
}

/// Whether the group names the instance.
pub(super) fn is_member(group: &Group, instance: &Instance) -> bool {
    group.members.iter().any(|(name, _)| *name == instance.item.name)
}

/// A group of one is none.
fn groups_of_two(draft: &mut Draft, ledger: &mut Ledger) {
    let names: BTreeSet<_> = draft.instances.iter().map(|instance| instance.item.name.clone()).collect();
    draft.groups.retain_mut(|group| {
        group.members.retain(|(member, place)| {
            let known = names.contains(member);
            if !known {
                ledger.note(place, place.line, member, NO_INSTANCE);
            }
            known
        });
        let enough = group.members.len() > 1;
        if !enough {
            let reason =
                "a sync group needs at least two instances that were carried over; what it tracks counts for the one";
            ledger.leave(&group.item.statement, reason);
            if let Some(alone) = draft.instances.iter_mut().find(|instance| is_member(group, instance)) {
                alone.interfaces.append(&mut group.interfaces);
                alone.checks.append(&mut group.checks);
            }
        }
        enough
    });
}

/// The tables, and on which line each begins.
fn render(draft: &Draft) -> (String, Vec<(usize, Owner)>) {
    let mut text = String::new();
    let mut owners = Vec::new();
    for (index, instance) in draft.instances.iter().enumerate() {
        begin(&mut text, "instance", &instance.item, &mut owners, Owner::Instance(index));
        tracked(&mut text, "track-interfaces", &instance.interfaces);
        tracked(&mut text, "checks", &instance.checks);
        if !instance.unicast.is_empty() {
            text.push_str("[instance.unicast]\n");
            keys(&mut text, &instance.unicast);
        }
    }
    for (index, check) in draft.checks.iter().enumerate() {
        begin(&mut text, "check", check, &mut owners, Owner::Check(index));
    }
    for (index, group) in draft.groups.iter().enumerate() {
        begin(&mut text, "sync-group", &group.item, &mut owners, Owner::Group(index));
        let members: Vec<_> = group.members.iter().map(|(member, _)| member.clone()).collect();
        keys(&mut text, &[("instances", quoted_list(&members))]);
        tracked(&mut text, "track-interfaces", &group.interfaces);
        tracked(&mut text, "checks", &group.checks);
    }
    (text, owners)
}

fn begin(text: &mut String, table: &str, item: &Item, owners: &mut Vec<(usize, Owner)>, owner: Owner) {
    text.push('\n');
    owners.push((text.lines().count() + 1, owner));
    let _ = writeln!(text, "[[{table}]]");
    keys(text, &[("name", quoted(&item.name))]);
    keys(text, &item.keys);
}

fn keys(text: &mut String, keys: &[(&'static str, String)]) {
    for (key, value) in keys {
        let _ = writeln!(text, "{key} = {value}");
    }
}

fn tracked(text: &mut String, key: &'static str, list: &[Tracked]) {
    if list.is_empty() {
        return;
    }
    let shown = |tracked: &Tracked| match tracked.weight {
        None => quoted(&tracked.name),
        Some(weight) => format!("{{ name = {}, weight = {weight} }}", quoted(&tracked.name)),
    };
    keys(text, &[(key, format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", ")))]);
}

fn header(file: &str, notes: &[Note], notify: bool) -> String {
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut text = format!("# From {} by `vipd import`. Read it, then run `vipd check` on it.\n", clean(file));
    if notes.is_empty() {
        text.push_str("# Everything was carried over.\n");
    } else {
        text.push_str("#\n# Not carried over, or not as it was:\n");
        for note in notes {
            let _ = writeln!(text, "#   {}", clean(&note.to_string()));
        }
    }
    if notify {
        text.push_str("#\n# [hook]\n# command = [\"/usr/local/sbin/vip-moved\"]   # in place of the notify scripts\n");
    }
    text
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A TOML list of strings.
pub(super) fn quoted_list(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}
