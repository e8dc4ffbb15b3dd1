//! A shell command line and the machine it is for, as plain data: the same value is shown, run and recorded.

pub(crate) mod artifacts;
pub(crate) mod fencing;
pub(crate) mod gocd;
pub(crate) mod maintenance;
pub(crate) mod postgresql;
pub(crate) mod reseed;
pub(crate) mod rewind;
pub(crate) mod salvage;
pub(crate) mod service;
pub(crate) mod setup;
pub(crate) mod standby;
pub(crate) mod vip;

use std::fmt;
use std::time::Duration;

/// Where a command runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    /// The machine `bcctl` runs on.
    Operator,
    /// A host of the inventory.
    Host(String),
}

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => out.write_str("operator"),
            Self::Host(name) => out.write_str(name),
        }
    }
}

/// A command line for `sh`, already quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Where it runs.
    pub(crate) at: At,
    /// What runs. It may use facts of earlier steps as shell variables, such as `${checkpoint}`.
    pub(crate) script: String,
}

impl Command {
    /// A command for a host of the inventory.
    pub(crate) fn on(host: &str, script: impl Into<String>) -> Self {
        Self { at: At::Host(host.to_owned()), script: script.into() }
    }

    /// A command for the operator's own machine.
    pub(crate) fn here(script: impl Into<String>) -> Self {
        Self { at: At::Operator, script: script.into() }
    }
}

/// How [`outliving`] begins.
const OUTLIVING: &str = "setsid -w flock ";

/// `job` in a session of its own, with its words in the file `log`: it survives the connection, and `lock` says that it is alive.
pub(crate) fn outliving(job: &str, lock: &str, log: &str) -> String {
    format!("{OUTLIVING}{lock} sh -c {} >{log} 2>&1 || {{ tail -n 3 {log} >&2; false; }}", quote(job))
}

/// Whether a script goes on without its shell ([`outliving`]), whoever runs it.
pub(crate) fn outlives(script: &str) -> bool {
    script.contains(OUTLIVING)
}

/// Lines that wait until `condition` holds, and end with status 1 if it does not within `limit`: the shell may outlive its bcctl, and keeps
/// the next one away while it waits. They end a little before the step that they are in.
pub(crate) fn waiting(condition: &str, limit: Duration) -> String {
    let seconds = limit.as_secs().saturating_sub(5).max(1);
    format!(
        "end=$(($(date +%s) + {seconds})); until {condition}; do [ \"$(date +%s)\" -lt $end ] || exit 1; sleep 0.2; done"
    )
}

/// `text` as one word for `sh`.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if reads_in_double_quotes(text) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Whether single quotes in `text` are easier to read between double quotes, and nothing in it means something there.
fn reads_in_double_quotes(text: &str) -> bool {
    let special = |c: char| matches!(c, '"' | '$' | '`' | '!' | '\\');
    // A backslash stands for itself unless one of those follows; SQL has many of them, as in E'\n'.
    let escapes = |(at, _): (usize, &str)| text[at + 1..].chars().next().is_none_or(special);
    text.contains('\'') && !text.chars().any(|c| c != '\\' && special(c)) && !text.match_indices('\\').any(escapes)
}

/// `text` as one word for `sh`, in which `{name}` of each of `facts` becomes the shell variable of that name.
pub(crate) fn quote_with(text: &str, facts: &[&str]) -> String {
    let mut quoted = quote(text);
    let double = quoted.starts_with('"');
    for fact in facts {
        let variable = if double { format!("${{{fact}}}") } else { format!("'\"${{{fact}}}\"'") };
        quoted = quoted.replace(&format!("{{{fact}}}"), &variable);
    }
    quoted
}

/// Whether a fact may become part of a command: letters, digits and `/ . : _ -`, as LSNs, timelines and names are.
pub(crate) fn harmless(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "/.:_-".contains(c))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{harmless, quote, quote_with, waiting};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads the clock")]
    fn a_wait_ends_by_itself() {
        let wait = |condition: &str, limit: u64| {
            let script = waiting(condition, Duration::from_secs(limit));
            std::process::Command::new("sh").args(["-c", &script]).status().expect("sh starts").code()
        };
        assert_eq!(wait("true", 600), Some(0));
        let begun = Instant::now();
        assert_eq!(wait("false", 6), Some(1));
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    }

    #[test]
    fn words_are_quoted_only_when_the_shell_would_read_them_differently() {
        assert_eq!(quote("postgresql@15-main.service"), "postgresql@15-main.service");
        assert_eq!(quote("SELECT 1"), "'SELECT 1'");
        assert_eq!(quote(r"SELECT E'\n'"), r#""SELECT E'\n'""#);
        assert_eq!(quote("it's $5"), r"'it'\''s $5'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("$(id)"), "'$(id)'");
    }

    #[test]
    fn the_shell_reads_back_what_was_quoted() {
        for text in [
            "",
            "a b",
            "it's",
            "$HOME `id` \"x\" \\",
            "E'\\n'",
            "'\\",
            "'\\\\'",
            "'\\$'",
            "tab\tline\nend'",
            "!'",
            "ü'",
            "'$'",
        ] {
            let script = format!("printf %s {}", quote(text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh starts");
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
        }
    }

    #[test]
    fn facts_become_variables_that_the_shell_reads() {
        for text in ["SELECT '{lsn}'::pg_lsn", "SELECT \"{lsn}\", 'x'", "a {lsn} b"] {
            let script = format!("lsn=0/40; printf %s {}", quote_with(text, &["lsn"]));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh starts");
            assert_eq!(String::from_utf8_lossy(&output.stdout), text.replace("{lsn}", "0/40"), "{script}");
        }
    }

    #[test]
    fn a_fact_that_could_end_a_quote_is_not_harmless() {
        assert!(harmless("0/4000028"));
        assert!(!harmless("0/4'; DROP TABLE x"));
        assert!(!harmless(""));
    }
}
