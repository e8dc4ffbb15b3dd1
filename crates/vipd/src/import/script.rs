//! `vrrp_script`: a check.

use std::time::Duration;

use super::global::Globals;
use super::ledger::Ledger;
use super::number::{seconds, toml_duration};
use super::outcome::{Draft, Item, quoted, quoted_list};
use super::tree::Statement;
use super::words;

pub(super) fn read(block: &Statement, globals: &Globals, draft: &mut Draft, ledger: &mut Ledger) {
    let Some(original) = block.argument() else {
        return ledger.leave(block, "it has no name");
    };
    let mut command = None;
    // keepalived's defaults; there a script that takes longer than its interval has failed.
    let (mut interval, mut timeout) = (Duration::from_secs(1), None);
    let (mut rise, mut fall, mut weight) = (1_u32, 1_u32, 0_i16);
    let mut user = globals.script_user.clone();
    ledger.carry(block);
    for statement in block.children() {
        let argument = statement.argument();
        let taken = match statement.keyword() {
            "script" => argument.and_then(|line| argv(line, &statement.words[2..])).map(|argv| command = Some(argv)),
            "interval" => argument.and_then(positive).map(|value| interval = value),
            "timeout" => argument.and_then(positive).map(|value| timeout = Some(value)),
            "rise" => argument.and_then(|text| text.parse().ok()).map(|value: u32| rise = value.clamp(1, 1000)),
            "fall" => argument.and_then(|text| text.parse().ok()).map(|value: u32| fall = value.clamp(1, 1000)),
            "weight" if statement.words.len() > 2 => {
                ledger.leave(statement, "a reversed weight does not exist; turn the sign, and the check, round");
                continue;
            }
            "weight" => {
                let number = argument.and_then(|text| text.parse().ok()).filter(|weight| (-253..=253).contains(weight));
                number.map(|value: i16| weight = value)
            }
            "user" => argument.map(|name| {
                user = Some(name.to_owned());
                if statement.words.len() > 2 {
                    ledger.leave(statement, "the user is carried over; the group is always the user's own");
                }
            }),
            "init_fail" => {
                ledger.leave(statement, "a check counts neither as up nor as down before its first result");
                continue;
            }
            other => {
                ledger.leave(statement, &format!("the keyword {other:?} is not known in a vrrp_script"));
                continue;
            }
        };
        match taken {
            Some(()) => ledger.carry(statement),
            None => ledger.leave(statement, "the value cannot be read; the default is used"),
        }
    }
    let Some(command) = command else {
        return ledger.leave(block, "it has no script");
    };
    let mut keys = vec![
        ("command", quoted_list(&command)),
        ("interval", toml_duration(interval)),
        ("rise", rise.to_string()),
        ("fall", fall.to_string()),
    ];
    keys.extend(timeout.map(|timeout| ("timeout", toml_duration(timeout))));
    keys.extend((weight != 0).then(|| ("weight", weight.to_string())));
    keys.extend(user.map(|user| ("user", quoted(&user))));
    let name = draft.name_for(original, block, ledger);
    draft.checks.push(Item { original: original.to_owned(), name, statement: block.clone(), keys });
}

fn positive(text: &str) -> Option<Duration> {
    seconds(text).filter(|duration| !duration.is_zero())
}

/// A program by its absolute path as it is; anything else is for the shell to find, as keepalived does.
fn argv(line: &str, more: &[String]) -> Option<Vec<String>> {
    let mut argv = words::of_script(line).ok()?;
    argv.extend_from_slice(more);
    let first = argv.first()?;
    if first.starts_with('/') {
        return Some(argv);
    }
    let line = std::iter::once(line).chain(more.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    Some(["/bin/sh", "-c"].into_iter().map(str::to_owned).chain([line]).collect())
}
