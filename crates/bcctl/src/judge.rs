//! Whether what a command said means that a condition holds. Pure.

mod artifacts;
mod maintenance;

use std::collections::BTreeMap;
use std::net::IpAddr;

use bc_model::fencing::{FenceReport, Grade, NodeState, TokenReport};
use bc_model::manifest::Manifest;
use bc_model::vip::VipStatus;

use crate::command::Command;
use crate::hosts::{Ended, Output, one_line};

pub(crate) use maintenance::{Mode, is_on};

/// A condition: commands that only look, and what they have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// What is looked at, in order.
    pub(crate) commands: Vec<Command>,
    /// What it has to say.
    pub(crate) expect: Expect,
}

impl Check {
    /// One command that has to end with status 0.
    pub(crate) fn succeeds(command: Command) -> Self {
        Self { commands: vec![command], expect: Expect::Success }
    }

    /// One command whose first line has to be `t`, as `psql` prints true.
    pub(crate) fn says_true(command: Command) -> Self {
        Self { commands: vec![command], expect: Expect::True }
    }
}

/// What the commands of a [`Check`] have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Exit status 0. Lines `name=value` of the output are facts, others are words.
    Success,
    /// Exit status 0, and `t` as the first line; the rest as with [`Expect::Success`].
    True,
    /// Any answer at all: the host can be reached.
    Reached,
    /// A confirmed [`FenceReport`] with state off.
    FencedOff,
    /// The same, proven by a look at the host, which is therefore still there.
    FencedStopped,
    /// A [`TokenReport`] whose highest token of this cluster is of a later timeline.
    TokenPast {
        /// The cluster.
        system_identifier: u64,
        /// The timeline whose requests are to be refused.
        timeline: u32,
    },
    /// A [`VipStatus`] that holds the address.
    VipHeld(IpAddr),
    /// A [`VipStatus`] that does not hold the address.
    VipAbsent(IpAddr),
    /// Two [`Manifest`]s with the same files.
    SameFiles,
    /// GoCD's account of its maintenance mode.
    Maintenance(Mode),
    /// Folders of artifacts, and the counters that the database knows; which are beyond is a fact.
    Compared,
}

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds.
    True(Evidence),
    /// It was seen not to hold; why, in words.
    False(String),
    /// Nothing was seen; why, in words.
    Unknown(String),
}

/// What was seen of a condition that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// For people.
    pub(crate) words: String,
    /// For later steps.
    pub(crate) facts: BTreeMap<String, String>,
}

/// Judges the outputs of the commands of a check, one for each.
pub(crate) fn judge(expect: &Expect, outputs: &[Output]) -> Verdict {
    if let (Expect::Reached, [output]) = (expect, outputs) {
        return match output.end {
            Ended::Exit(_) => Verdict::True(Evidence { words: "answers".to_owned(), facts: BTreeMap::new() }),
            Ended::TimedOut | Ended::Unreached(_) => Verdict::False(output.complaint()),
        };
    }
    if let Some(unknown) = outputs.iter().find(|output| output.is_unknown()) {
        return Verdict::Unknown(unknown.complaint());
    }
    match (expect, outputs) {
        (Expect::Success, [output]) => spoken(output, output.succeeded(), &output.stdout),
        (Expect::True, [output]) => {
            let (first, rest) = output.stdout.split_once('\n').unwrap_or((&output.stdout, ""));
            spoken(output, output.succeeded() && first.trim() == "t", rest)
        }
        (Expect::FencedOff | Expect::FencedStopped, [output]) => match json::<FenceReport>(output) {
            Ok(report) if report.is_off() => {
                let by = report.evidence.iter().rev().find(|call| call.state == NodeState::Off);
                let words = match by {
                    Some(call) => format!("{} is off, {} says (grade {})", report.node, call.device, report.grade),
                    None => format!("{} is off (grade {})", report.node, report.grade),
                };
                if *expect == Expect::FencedStopped && report.grade != Grade::D {
                    return Verdict::False(format!("{words}: its disk cannot be read"));
                }
                Verdict::True(Evidence { words, facts: BTreeMap::new() })
            }
            Ok(report) => {
                let last = report.evidence.last().map(|call| format!(": {}: {}", call.device, call.detail));
                let state = match report.state {
                    NodeState::On => "on",
                    NodeState::Off if report.grade < report.required => "off, but not proven well enough",
                    NodeState::Off => "off, not confirmed",
                    NodeState::Unknown => "unknown",
                };
                Verdict::False(format!("state of {} is {state}{}", report.node, last.unwrap_or_default()))
            }
            Err(problem) => Verdict::False(problem),
        },
        (Expect::TokenPast { system_identifier, timeline }, [output]) => match json::<TokenReport>(output) {
            Ok(report) => match report.highest(*system_identifier) {
                Some(token) if token.timeline > *timeline => {
                    let words = format!(
                        "fence knows of timeline {}: what was decided on timeline {timeline} is refused",
                        token.timeline
                    );
                    Verdict::True(Evidence { words, facts: BTreeMap::new() })
                }
                Some(token) => Verdict::False(format!("fence knows of timeline {} only", token.timeline)),
                None => Verdict::False("fence has seen no token of this cluster".to_owned()),
            },
            Err(problem) => Verdict::False(problem),
        },
        (Expect::VipHeld(address) | Expect::VipAbsent(address), [output]) => match json::<VipStatus>(output) {
            Ok(status) => {
                let held = status.holds(*address);
                let words = format!("{address} is {}", if held { "held" } else { "not held" });
                if held == matches!(expect, Expect::VipHeld(_)) {
                    Verdict::True(Evidence { words, facts: BTreeMap::new() })
                } else {
                    Verdict::False(words)
                }
            }
            Err(problem) => Verdict::False(problem),
        },
        (Expect::SameFiles, [one, other]) => match (json::<Manifest>(one), json::<Manifest>(other)) {
            (Ok(one), Ok(other)) => match difference(&one, &other) {
                None => {
                    let words = format!("{} files with the same hashes", one.files.len());
                    Verdict::True(Evidence { words, facts: BTreeMap::new() })
                }
                Some(words) => Verdict::False(words),
            },
            (Err(problem), _) | (_, Err(problem)) => Verdict::False(problem),
        },
        (Expect::Maintenance(mode), [output]) if output.succeeded() => maintenance::judge(*mode, &output.stdout),
        (Expect::Maintenance(_), [output]) => Verdict::False(output.complaint()),
        (Expect::Compared, [folders, counters]) => match [folders, counters].into_iter().find(|one| !one.succeeded()) {
            Some(failed) => Verdict::False(failed.complaint()),
            None => artifacts::judge(&folders.stdout, &counters.stdout),
        },
        _ => Verdict::Unknown("the check has the wrong number of commands".to_owned()),
    }
}

/// The ids that differ, or nothing if the files are the same and the needed ones are there.
pub(crate) fn difference(one: &Manifest, other: &Manifest) -> Option<String> {
    if let Some(id) = missing(one) {
        return Some(format!("{id} is missing"));
    }
    let mut ids: Vec<&str> =
        one.files.iter().filter(|file| !other.files.contains(file)).map(|file| file.id.as_str()).collect();
    ids.extend(other.files.iter().filter(|file| !one.files.contains(file)).map(|file| file.id.as_str()));
    ids.sort_unstable();
    ids.dedup();
    (!ids.is_empty()).then(|| format!("not the same: {}", ids.join(", ")))
}

/// A file that GoCD cannot serve the site without, and that is not there.
pub(crate) fn missing(manifest: &Manifest) -> Option<&'static str> {
    ["cruise-config.xml", "cipher.aes"].into_iter().find(|id| !manifest.files.iter().any(|file| file.id == *id))
}

fn json<T: serde::de::DeserializeOwned>(output: &Output) -> Result<T, String> {
    serde_json::from_str(&output.stdout).map_err(|error| {
        if output.succeeded() { format!("the answer was not understood: {error}") } else { output.complaint() }
    })
}

fn spoken(output: &Output, holds: bool, text: &str) -> Verdict {
    let (facts, words): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| fact(line).is_some());
    let facts: BTreeMap<String, String> =
        facts.into_iter().filter_map(fact).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut words = one_line(&words.join("\n"));
    if words.is_empty() {
        words = facts.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ");
    }
    if holds {
        Verdict::True(Evidence { words, facts })
    } else if output.succeeded() {
        Verdict::False(if words.is_empty() { "not yet".to_owned() } else { format!("not yet: {words}") })
    } else {
        Verdict::False(output.complaint())
    }
}

/// A line `name=value` whose name is a shell variable in lower case.
fn fact(line: &str) -> Option<(&str, &str)> {
    line.split_once('=')
        .filter(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

#[cfg(test)]
mod tests;
