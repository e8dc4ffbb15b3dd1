//! The journal of an operation on the hosts themselves, so that it can be resumed when the operator's machine is lost.
//!
//! ```text
//! DIRECTORY/SITE/HOST/OPERATION.jsonl   a copy, as far as this host was written to; the longest one counts
//! DIRECTORY/SITE/HOST/lock              held (flock) by the shell of the bcctl at work; who that is, and since when
//! ```
//!
//! A line reaches a host with the next thing that is done there, in the same round trip and before it, on disk. So whatever
//! was begun on a host is in that host's copy. What is done on the operator's machine (fencing) is in all of them first.

use std::collections::BTreeMap;

use crate::command::quote;

/// The copies of one operation.
#[derive(Debug)]
pub(super) struct Copies {
    directory: String,
    site: String,
    operation: String,
    /// Lines that a host does not have yet. A host that is not in it gets no more.
    pending: BTreeMap<String, String>,
}

/// Where the copies of a host are, quoted. The host is part of it, for two names may mean one machine.
pub(super) fn place(directory: &str, site: &str, host: &str) -> String {
    quote(&format!("{}/{site}/{host}", directory.trim_end_matches('/')))
}

/// Prints the name of the newest journal on the host, then its text.
pub(super) fn newest(directory: &str, site: &str, host: &str) -> String {
    let place = place(directory, site, host);
    // An operation whose plan was never written whole has not begun.
    format!(
        "cd {place} 2>/dev/null || exit 0\n\
         for file in $(ls -r *.jsonl 2>/dev/null); do [ \"$(wc -l <\"$file\")\" -gt 0 ] && {{ echo \"$file\"; cat \"$file\"; break; }}; done; true"
    )
}

/// Lines for an open shell: takes the lock of the host and keeps it as long as the shell lives. Says `t`, or who has it. One that
/// was just killed needs a moment to let go.
pub(super) fn lock(directory: &str, site: &str, host: &str, owner: &str) -> String {
    let place = place(directory, site, host);
    format!(
        "umask 077; mkdir -p {place} && exec 9>>{place}/lock && if flock -w 2 9; then \
         printf '%s, since %s, shell %s on {host}\\n' {} \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\" $$ >{place}/lock; echo t; \
         else cat {place}/lock; fi",
        quote(owner)
    )
}

impl Copies {
    /// Copies on `hosts`, none of which has anything yet.
    pub(super) fn new(directory: &str, site: &str, operation: &str, hosts: impl Iterator<Item = String>) -> Self {
        let pending = hosts.map(|host| (host, String::new())).collect();
        let (directory, site, operation) = (directory.to_owned(), site.to_owned(), operation.to_owned());
        Self { directory, site, operation, pending }
    }

    /// Hosts that still get copies.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.pending.keys().cloned().collect()
    }

    /// This host gets no more.
    pub(super) fn drop_host(&mut self, host: &str) {
        self.pending.remove(host);
    }

    /// A line that every host shall have.
    pub(super) fn add(&mut self, line: &str) {
        for text in self.pending.values_mut() {
            text.push_str(line);
        }
    }

    /// A script that writes the whole journal to a host, whatever was there.
    pub(super) fn seed(&self, host: &str, text: &str) -> String {
        let (place, name) = (place(&self.directory, &self.site, host), quote(&format!("{}.jsonl", self.operation)));
        format!(
            "umask 077; mkdir -p {place} && cd {place} && printf %s {} >{name}.new && sync {name}.new && mv {name}.new {name} && sync .",
            quote(text)
        )
    }

    /// A script that writes what a host does not have yet, if there is such a thing.
    pub(super) fn take(&mut self, host: &str) -> Option<String> {
        let text = self.pending.get_mut(host).filter(|text| !text.is_empty()).map(std::mem::take)?;
        let place = place(&self.directory, &self.site, host);
        let name = quote(&format!("{}.jsonl", self.operation));
        Some(format!("cd {place} && printf %s {} >>{name} && sync -d {name}", quote(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> String {
        let output = std::process::Command::new("sh").args(["-c", script]).output().expect("sh starts");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn what_is_written_is_read_back_and_the_newest_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().to_string_lossy();
        assert_eq!(sh(&newest(&at, "gocd", "pg1")), "", "nothing yet");
        for operation in ["1-failover", "2-failback"] {
            let mut copies = Copies::new(&at, "gocd", operation, ["pg1".to_owned(), "pg2".to_owned()].into_iter());
            sh(&copies.seed("pg1", "{\"it's\": \"$HOME\"}\n"));
            assert_eq!(copies.take("pg1"), None);
            copies.add("second\n");
            copies.add("third\n");
            sh(&copies.take("pg1").expect("two lines"));
            copies.drop_host("pg2");
            assert_eq!((copies.take("pg1"), copies.take("pg2"), copies.hosts()), (None, None, vec!["pg1".to_owned()]));
        }
        // Torn before its first line was whole: it never began.
        std::fs::write(directory.path().join("gocd/pg1/3-failover.jsonl"), "{\"at").expect("a file");
        assert_eq!(sh(&newest(&at, "gocd", "pg1")), "2-failback.jsonl\n{\"it's\": \"$HOME\"}\nsecond\nthird\n");
    }
}
