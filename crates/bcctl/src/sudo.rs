//! `sudo = "commands"`: the shell on a host is the login's own, and what needs another user goes through `sudo -n`, each
//! command allowed by a rule of its own. docs/sudo.md is for people.
//!
//! ```text
//! steps, look ──▶ scripts of a host ──▶ programs that they start ──▶ rules ──▶ `bcctl sudoers HOST`
//!                                                                     └──────▶ `sudo -n -l` of each, in every look
//! ```
//!
//! Scripts do not know about it: they say `systemctl stop UNIT` and `runuser -u USER -- PROGRAM`, and functions of the
//! [`PRELUDE`] stand in for those.

mod call;
mod page;
mod scripts;
mod shell;

use std::collections::BTreeSet;

use bc_model::inventory::{Inventory, Sudo};

pub(crate) use page::{login, page};

use crate::command::{At, Command, quote};
use crate::observe::Observation;
use crate::steps::Step;
use call::{Call, calls};
use shell::Word;

/// Stands before each script on a host with `sudo = "commands"`. What only looks needs no rule.
pub(crate) const PRELUDE: &str = "\
systemctl() { case $1 in show|is-enabled|is-active) command systemctl \"$@\";; *) sudo -n systemctl \"$@\";; esac; }
vipd() { sudo -n vipd \"$@\"; }
runuser() {
    [ \"$1\" = -u ] && [ \"$3\" = -- ] || { echo 'write: runuser -u USER -- PROGRAM ARGUMENT...' >&2; return 2; }
    bcctl_user=$2; shift 3; sudo -n -u \"$bcctl_user\" -- \"$@\"
}
";

/// The verbs of systemctl that only look.
const LOOKS: [&str; 3] = ["show", "is-enabled", "is-active"];

/// One command that a login may run as somebody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    /// As whom.
    pub(crate) user: String,
    /// The program, as the script names it: a path, or a name that sudo finds on its own path.
    program: String,
    /// Its arguments; nothing if they may be any.
    arguments: Option<Vec<String>>,
}

impl Rule {
    /// Where the program is, unless somebody has put it elsewhere.
    pub(crate) fn path(&self) -> String {
        if self.program.starts_with('/') { self.program.clone() } else { format!("/usr/bin/{}", self.program) }
    }

    /// As a line of sudoers.
    pub(crate) fn line(&self, login: &str, path: &str) -> String {
        let mut line = format!("{} ALL=({}) NOPASSWD: {}", word(login), word(&self.user), word(path));
        for argument in self.arguments.iter().flatten() {
            line.push(' ');
            line.push_str(&word(argument));
        }
        if self.arguments.as_ref().is_some_and(Vec::is_empty) {
            line.push_str(" \"\"");
        }
        line
    }

    /// Whether it allows all that `other` does.
    fn covers(&self, other: &Self) -> bool {
        (&self.user, &self.program) == (&other.user, &other.program)
            && (self.arguments.is_none() || self.arguments == other.arguments)
    }

    /// As a person would try it.
    pub(crate) fn words(&self) -> String {
        let arguments: String =
            self.arguments.iter().flatten().map(|argument| format!(" {}", quote(argument))).collect();
        format!("{}{arguments} as {}", quote(&self.program), self.user)
    }

    /// A command that says `PREFIX=NUMBER|PATH` if sudo does not allow it without asking.
    fn question(&self, number: usize) -> String {
        let arguments: String =
            self.arguments.iter().flatten().map(|argument| format!(" {}", quote(argument))).collect();
        let program = quote(&self.program);
        // A function of the prelude would hide where the program is.
        let found = format!("$(unset -f {program}; command -v {program})");
        let found = if self.program.starts_with('/') { self.program.clone() } else { found };
        format!(
            "sudo -n -l -u {} -- {program}{arguments} >/dev/null 2>&1 || echo \"host.denied={number}|{found}\"\n",
            quote(&self.user)
        )
    }

    /// The rule for a call, if it needs one. The owner of the database may do all that its programs can; what another user
    /// does is known word for word, unless it differs from time to time; and what root does, always.
    fn of(call: &Call, owner: &str) -> Result<Option<Self>, String> {
        let Some((program, arguments)) = call.words.split_first() else { return Ok(None) };
        let name = program.text.as_str();
        let user = match (&call.to, &call.by) {
            (Some(user), _) => user.as_str(),
            (None, None) if name == "vipd" => "root",
            (None, None) if name == "systemctl" => {
                let verb = arguments.first().map(|verb| verb.text.as_str());
                if verb.is_some_and(|verb| LOOKS.contains(&verb)) {
                    return Ok(None);
                }
                "root"
            }
            _ => return Ok(None),
        };
        let exact = arguments.iter().all(always);
        if user == "root" && !exact {
            return Err(format!("{name}: root's arguments differ from time to time, so no rule can list them"));
        }
        let any = user == owner || !exact;
        let arguments = (!any).then(|| arguments.iter().map(|word| word.text.clone()).collect());
        Ok(Some(Self { user: user.to_owned(), program: name.to_owned(), arguments }))
    }
}

/// Whether a word is the same in every operation, and can stand in sudoers so that nothing else fits.
fn always(word: &Word) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    word.literal && !word.text.is_empty() && word.text.chars().all(plain) && !word.text.contains(scripts::OPERATION)
}

/// A word as sudoers reads it.
fn word(text: &str) -> String {
    text.chars().flat_map(|c| (",:=\\*?[]!#\" ".contains(c)).then_some('\\').into_iter().chain([c])).collect()
}

/// The rules for some scripts of a host.
fn rules_of<'a>(inventory: &Inventory, scripts: impl Iterator<Item = &'a str>) -> Result<Vec<Rule>, String> {
    let mut rules = BTreeSet::new();
    for script in scripts {
        for call in calls(script)?.calls {
            rules.extend(Rule::of(&call, &inventory.postgresql.os_user)?);
        }
    }
    let any: Vec<Rule> = rules.iter().filter(|rule| rule.arguments.is_none()).cloned().collect();
    rules.retain(|rule| rule.arguments.is_none() || !any.iter().any(|any| any.covers(rule)));
    Ok(rules.into_iter().collect())
}

/// What has to be allowed on a host: all that any operation, `check` and `status` do there, but not `setup`.
///
/// # Errors
/// A script that cannot be read, or that wants what no rule can allow: the site's own `commands`.
pub(crate) fn rules(inventory: &Inventory, host: &str) -> Result<Vec<Rule>, String> {
    let scripts = scripts::of(inventory, host);
    rules_of(inventory, scripts.iter().map(String::as_str))
}

/// Whether the login on a host is let through command by command.
pub(crate) fn by_command(inventory: &Inventory, host: &str) -> bool {
    inventory.hosts.get(host).is_some_and(|host| host.sudo == Sudo::Commands)
}

/// Lines of a look: what sudo does not allow on `host`, and whether the directory of the journals can be written.
pub(crate) fn questions(inventory: &Inventory, host: &str) -> Option<String> {
    if !by_command(inventory, host) {
        return None;
    }
    let rules = rules(inventory, host).unwrap_or_default();
    let questions: String = rules.iter().enumerate().map(|(number, rule)| rule.question(number)).collect();
    Some(format!(
        "{{ :; {questions}}} >\"$tmp\"/rights &\n\
         d={}; while [ ! -e \"$d\" ]; do d=$(dirname \"$d\"); done; [ -w \"$d\" ] || echo \"host.unwritable=$d\"",
        quote(&inventory.journal_directory)
    ))
}

/// A rule that is missing on a host, and where its program is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The rule.
    pub(crate) rule: Rule,
    /// The path.
    pub(crate) path: String,
}

/// What sudo was seen not to allow on a host.
///
/// # Errors
/// As [`rules`].
pub(crate) fn missing(inventory: &Inventory, seen: &Observation, host: &str) -> Result<Vec<Missing>, String> {
    let denied = seen.host(host).map(|facts| facts.denied.as_slice()).unwrap_or_default();
    if denied.is_empty() && !by_command(inventory, host) {
        return Ok(Vec::new());
    }
    let rules = rules(inventory, host)?;
    let of = |(number, path): &(usize, String)| {
        let rule = rules.get(*number)?.clone();
        let path = if path.starts_with('/') { path.clone() } else { rule.path() };
        Some(Missing { rule, path })
    };
    Ok(denied.iter().filter_map(of).collect())
}

/// What these steps need and sudo was seen not to allow, by host; or why that cannot be said.
pub(crate) fn missing_for(
    inventory: &Inventory,
    seen: &Observation,
    steps: &[Step],
) -> Vec<(String, Result<Vec<Missing>, String>)> {
    let commands: Vec<&Command> = steps.iter().flat_map(Step::commands).collect();
    let needed = |host: &String| {
        let at = At::Host(host.clone());
        let mut scripts =
            commands.iter().filter(|command| command.at == at).map(|command| command.script.as_str()).peekable();
        scripts.peek()?;
        let missing = rules_of(inventory, scripts).and_then(|rules| {
            let mut missing = missing(inventory, seen, host)?;
            missing.retain(|missing| rules.iter().any(|rule| missing.rule.covers(rule)));
            Ok(missing)
        });
        (missing != Ok(Vec::new())).then(|| (host.clone(), missing))
    };
    inventory.hosts.keys().filter(|host| by_command(inventory, host)).filter_map(needed).collect()
}

#[cfg(test)]
mod tests;
