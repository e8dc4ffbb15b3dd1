//! The programs that a script starts, and as whom, through the programs that start others: `runuser`, `sh -c`, `flock`, …

use super::shell::{Word, read};

/// One program that is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The other user that it is started as, if this is where the user changes.
    pub(super) to: Option<String>,
    /// The user who starts it; nothing for the login.
    pub(super) by: Option<String>,
    /// Whether another program starts it, so that a function of the shell cannot stand in for it.
    pub(super) within: bool,
    /// Program and arguments.
    pub(super) words: Vec<Word>,
}

/// What a script does.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The programs that it starts.
    pub(super) calls: Vec<Call>,
    /// Files that it reads or writes by redirection, and who does.
    pub(super) files: Vec<(Option<String>, Word)>,
    functions: Vec<String>,
}

/// Every program that `script` starts when the login runs it.
///
/// # Errors
/// What cannot be read.
pub(super) fn calls(script: &str) -> Result<Calls, String> {
    let mut calls = Calls::default();
    calls.script(script, None, false)?;
    // Its own functions were read where they are defined.
    let functions = std::mem::take(&mut calls.functions);
    calls.calls.retain(|call| !functions.contains(&call.words[0].text));
    Ok(calls)
}

impl Calls {
    fn script(&mut self, text: &str, by: Option<&str>, within: bool) -> Result<(), String> {
        let script = read(text)?;
        self.functions.extend(script.functions);
        self.files.extend(script.files.into_iter().map(|file| (by.map(str::to_owned), file)));
        for words in &script.commands {
            self.program(words, by, within)?;
        }
        Ok(())
    }

    fn program(&mut self, words: &[Word], by: Option<&str>, within: bool) -> Result<(), String> {
        let words = &words[words.iter().take_while(|word| assigns(&word.text)).count()..];
        let Some((program, arguments)) = words.split_first() else { return Ok(()) };
        if !program.literal {
            return Err(format!("a program that only the host knows: {}", program.text));
        }
        let rest = |with_value: &[&str]| operands(arguments, with_value);
        match program.text.as_str() {
            "sh" | "/bin/sh" | "/usr/bin/sh" => match arguments {
                [option, script, ..] if option.text == "-c" && script.literal => self.script(&script.text, by, true),
                _ => Err("a shell whose script cannot be read".to_owned()),
            },
            "trap" => match arguments {
                [script, ..] if script.literal => self.script(&script.text, by, within),
                _ => Err("a trap that cannot be read".to_owned()),
            },
            "runuser" | "sudo" if by.is_none() => {
                let user = arguments.iter().position(|word| word.text == "-u").and_then(|at| arguments.get(at + 1));
                let user = user.map_or("root", |word| word.text.as_str()).to_owned();
                if arguments.iter().any(|word| word.text == "-l") {
                    // It only asks.
                    return Ok(());
                }
                let words = rest(&["-u"]);
                self.calls.push(Call { to: Some(user.clone()), by: None, within, words: words.to_vec() });
                if words.is_empty() { Err("no program".to_owned()) } else { self.started(words, &user) }
            }
            "env" | "setsid" | "nohup" | "exec" => self.program(rest(&[]), by, true),
            "command" if arguments.first().is_none_or(|word| word.text != "-v") => self.program(rest(&[]), by, true),
            "timeout" => self.program(rest(&["-k", "-s"]).get(1..).unwrap_or_default(), by, true),
            "flock" => self.program(rest(&["-w", "-E"]).get(1..).unwrap_or_default(), by, true),
            "eval" | "xargs" | "." | "source" | "su" => Err(format!("{}: what it starts cannot be read", program.text)),
            _ => {
                self.calls.push(Call { to: None, by: by.map(str::to_owned), within, words: words.to_vec() });
                Ok(())
            }
        }
    }

    /// What a program that runs as `user` starts itself.
    fn started(&mut self, words: &[Word], user: &str) -> Result<(), String> {
        match words {
            [program, ..] if program.text == "sh" => self.program(words, Some(user), true),
            _ => Ok(()),
        }
    }
}

/// Whether a word before the program is an assignment.
fn assigns(text: &str) -> bool {
    text.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The words after the options; some options have a value.
fn operands<'a>(words: &'a [Word], with_value: &[&str]) -> &'a [Word] {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.text.starts_with('-')) {
        at += if with_value.contains(&word.text.as_str()) { 2 } else { 1 };
        if word.text == "--" {
            break;
        }
    }
    words.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_behind_those_that_start_them() {
        for (script, wanted) in [
            ("systemctl start x", vec!["systemctl start x"]),
            ("a=$(curl u) && X=1 test y", vec!["curl u", "test y"]),
            ("runuser -u go -- standbyd pull", vec!["go:standbyd pull"]),
            ("runuser -u pg -- sh -c 'mv a b; c'", vec!["pg:sh -c mv a b; c", "pg>mv a b", "pg>c"]),
            ("setsid -w flock -w 3 /l sh -c 'systemctl stop x'", vec!["|systemctl stop x"]),
            ("sudo -n -u go x", vec!["go:x"]),
            ("sudo -n x y", vec!["root:x y"]),
            ("sudo -n -l x y", vec![]),
            ("f() { id; }; f", vec!["id"]),
            ("flock -w 2 9", vec![]),
            ("trap 'rm x' EXIT", vec!["rm x"]),
        ] {
            let show = |call: &Call| {
                let words: Vec<&str> = call.words.iter().map(|word| word.text.as_str()).collect();
                let words = words.join(" ");
                match (&call.to, &call.by) {
                    (Some(user), _) => format!("{user}:{words}"),
                    (None, Some(user)) => format!("{user}>{words}"),
                    (None, None) if call.within => format!("|{words}"),
                    (None, None) => words,
                }
            };
            let calls = calls(script).unwrap_or_else(|error| panic!("{script}: {error}"));
            let seen: Vec<String> = calls.calls.iter().map(show).collect();
            assert_eq!(seen, wanted, "{script}");
        }
    }

    #[test]
    fn what_nobody_can_foresee_is_refused() {
        for script in ["$x y", "sh script", "eval a", "sh -c \"$x\"", "su - x", "runuser -u x --"] {
            assert!(calls(script).is_err(), "{script}");
        }
    }
}
