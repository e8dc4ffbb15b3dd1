//! `vrrp_script`: a check.

use std::time::Duration;

use super::global::Globals;
use super::ledger::Ledger;
use super::number::{seconds, toml_duration};
use super::outcome::{Draft, Item, quoted, quoted_list};
use super::tree::Statement;
use super::words::{self, UnclosedQuote};

/// What the block says.
struct Spoken {
    command: Option<Vec<String>>,
    interval: Duration,
    timeout: Option<Duration>,
    rise: u32,
    fall: u32,
    weight: i16,
    reversed: bool,
    user: Option<String>,
}

/// How many runs in a row vipd can wait for.
const RUNS: std::ops::RangeInclusive<u32> = 1..=1000;

pub(super) fn read(block: &Statement, globals: &Globals, draft: &mut Draft, ledger: &mut Ledger) {
    let Some(original) = block.argument() else {
        return ledger.leave(block, "it has no name");
    };
    // keepalived's defaults; there a script that takes longer than its interval has failed.
    let mut spoken = Spoken {
        command: None,
        interval: Duration::from_secs(1),
        timeout: None,
        rise: 1,
        fall: 1,
        weight: 0,
        reversed: false,
        user: globals.script_user.clone(),
    };
    for statement in ledger.block(block) {
        match spoken.hear(statement) {
            Ok(()) => ledger.carry(statement),
            Err(reason) => ledger.leave(statement, &reason),
        }
    }
    let Spoken { command, interval, timeout, rise, fall, weight, reversed, user } = spoken;
    let Some(command) = command else {
        return ledger.leave(block, "it has no script");
    };
    if reversed {
        // Without the weight it would be a fault.
        return ledger.leave(block, "a reversed weight does not exist; turn the sign, and the check, round");
    }
    if user.is_none() {
        ledger.remark(
            block,
            "keepalived runs it as keepalived_script, or as root if there is no such user; vipd runs it as itself, which may \
             do less: set user if that is not enough",
        );
    }
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

impl Spoken {
    /// Takes one statement; an error is what of it is left behind, and why.
    fn hear(&mut self, statement: &Statement) -> Result<(), String> {
        let argument = statement.argument();
        match statement.keyword() {
            "script" => self.command = Some(argv(&statement.text)?),
            "interval" => self.interval = positive(argument)?,
            "timeout" => self.timeout = Some(positive(argument)?),
            "rise" => return runs(argument, &mut self.rise),
            "fall" => return runs(argument, &mut self.fall),
            "weight" => {
                let weight = argument.and_then(|text| text.parse().ok()).filter(|weight| (-253..=253).contains(weight));
                self.weight = weight.ok_or("expected a weight from -253 to 253; the default, 0, is used")?;
                self.reversed = statement.words.len() > 2;
            }
            "user" => {
                self.user = Some(argument.ok_or("expected the name of a user")?.to_owned());
                if statement.words.len() > 2 {
                    return Err("the user is carried over; the group is always the user's own".to_owned());
                }
            }
            "init_fail" => return Err("a check counts neither as up nor as down before its first result".to_owned()),
            other => return Err(format!("the keyword {other:?} is not known in a vrrp_script")),
        }
        Ok(())
    }
}

fn positive(text: Option<&str>) -> Result<Duration, &'static str> {
    let duration = text.and_then(seconds).filter(|duration| !duration.is_zero());
    duration.ok_or("expected seconds; the default is used")
}

fn runs(text: Option<&str>, count: &mut u32) -> Result<(), String> {
    let found: u32 = text.and_then(|text| text.parse().ok()).unwrap_or(1);
    *count = found.clamp(*RUNS.start(), *RUNS.end());
    match text.is_some_and(|text| *count.to_string() == *text) {
        true => Ok(()),
        false => Err(format!("expected 1 to 1000 runs; {count} is used")),
    }
}

/// A program by its absolute path as it is; anything else is for the shell to find, as keepalived does. The words are split
/// twice: the line has one word for the whole command, which has words of its own.
fn argv(text: &str) -> Result<Vec<String>, String> {
    let unclosed = |quote: UnclosedQuote| quote.to_string();
    let line = words::escaped(text).map_err(unclosed)?;
    let [_, command, more @ ..] = line.as_slice() else { return Err("expected a command".to_owned()) };
    let mut argv = words::escaped(command).map_err(unclosed)?;
    if argv.first().is_some_and(|program| program.starts_with('/')) {
        argv.extend_from_slice(more);
        return Ok(argv);
    }
    Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), line[1..].join(" ")])
}
