//! The journal of an operation on the hosts themselves, so that it can be resumed when the operator's machine is lost.
//!
//! ```text
//! DIRECTORY/SITE/HOST/OPERATION.jsonl   a copy, as far as this host was written to; the longest one counts
//! DIRECTORY/SITE/HOST/lock              held (flock) by a shell of the bcctl at work; who that is, and since when; its name
//! DIRECTORY/SITE/HOST/work              held (flock, shared) by each of its shells that do something; their numbers
//! ```
//!
//! A bcctl may be killed while a shell does what it was told, and the shell goes on: a stop that comes late stops what the next bcctl
//! has started. So who has the lock waits for `work`, and a shell that finds the lock in other hands does nothing.
//!
//! A line reaches a host with the next thing that is done there, in the same round trip and before it, on disk. So whatever
//! was begun on a host is in that host's copy. What is done on the operator's machine (fencing) is in all of them first. A host
//! that answers only later, because the operation has turned it on, gets the whole journal with the first thing that is done there.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::quote;

/// The copies of one operation.
#[derive(Debug)]
pub(super) struct Copies {
    directory: String,
    site: String,
    operation: String,
    /// The whole journal so far.
    text: String,
    /// Lines that a host does not have yet. A host that is not in it has nothing.
    pending: BTreeMap<String, String>,
    /// Hosts that get no more.
    dropped: BTreeSet<String>,
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

/// How long a command that a dead bcctl has left behind may take until its host is taken over, in seconds: longer than the looks
/// that may follow it. What takes longer has to be waited for by a person.
pub(super) const LEFT_BEHIND: u64 = 15;

/// Lines for an open shell: takes the lock of the host and keeps it as long as the shell lives. Says `t`, or who has it. One that
/// was just killed needs a moment to let go. `name` tells this bcctl from every other one.
pub(super) fn lock(directory: &str, site: &str, host: &str, owner: &str, name: &str) -> String {
    let place = place(directory, site, host);
    format!(
        "umask 077; mkdir -p {place} && exec 8>>{place}/work 9>>{place}/lock && if flock -w 2 9; then \
         printf '%s, since %s, shell %s on {host}\\n%s\\n' {} \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\" $$ {} >{place}/lock; \
         if flock -w {LEFT_BEHIND} 8; then : >{place}/work; exec 8>&-; echo t; else \
         for shell in $(cat {place}/work); do [ ! -e /proc/$shell ] || echo \"an earlier one, which may be dead, with a command in shell $shell on {host},\"; done; fi; \
         else head -n 1 {place}/lock; fi",
        quote(owner),
        quote(name)
    )
}

/// A line for a shell that is going to do something: who takes the lock after us waits for it. If somebody has it already, the
/// shell ends.
pub(super) fn join(directory: &str, site: &str, host: &str, name: &str) -> String {
    let place = place(directory, site, host);
    format!(
        "exec 8>>{place}/work; flock -s 8; [ \"$(sed -n 2p {place}/lock)\" = {} ] || {{ echo another bcctl has taken over >&2; exit 1; }}; echo $$ >&8\n",
        quote(name)
    )
}

/// In front of the line of a command that goes on without its shell, and has a lock of its own: nobody has to wait for it.
pub(super) const LEAVE: &str = "exec 8>&-; ";

impl Copies {
    /// Copies of a journal that says `text` so far, on `hosts`, each of which is going to be given that.
    pub(super) fn new(
        directory: &str,
        site: &str,
        operation: &str,
        text: &str,
        hosts: impl Iterator<Item = String>,
    ) -> Self {
        let pending = hosts.map(|host| (host, String::new())).collect();
        let (directory, site, operation) = (directory.to_owned(), site.to_owned(), operation.to_owned());
        Self { directory, site, operation, text: text.to_owned(), pending, dropped: BTreeSet::new() }
    }

    /// Hosts that still get copies.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.pending.keys().cloned().collect()
    }

    /// This host gets no more.
    pub(super) fn drop_host(&mut self, host: &str) {
        self.pending.remove(host);
        self.dropped.insert(host.to_owned());
    }

    /// A line that every host shall have.
    pub(super) fn add(&mut self, line: &str) {
        self.text.push_str(line);
        for text in self.pending.values_mut() {
            text.push_str(line);
        }
    }

    /// A script that writes the whole journal to a host, whatever was there.
    pub(super) fn seed(&self, host: &str) -> String {
        let (place, name) = (place(&self.directory, &self.site, host), quote(&format!("{}.jsonl", self.operation)));
        format!(
            "umask 077; mkdir -p {place} && cd {place} && printf %s {} >{name}.new && sync {name}.new && mv {name}.new {name} && sync .",
            quote(&self.text)
        )
    }

    /// A script that writes what a host does not have yet, if there is such a thing.
    pub(super) fn take(&mut self, host: &str) -> Option<String> {
        if !self.pending.contains_key(host) && !self.dropped.contains(host) {
            self.pending.insert(host.to_owned(), String::new());
            return Some(self.seed(host));
        }
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
    fn who_takes_the_lock_waits_for_what_was_left_behind_and_shuts_out_what_comes_late() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().to_string_lossy();
        let lock = |name: &str| lock(&at, "gocd", "pg1", "ann@laptop", name);
        assert_eq!(sh(&lock("one")), "t\n");
        let join = join(&at, "gocd", "pg1", "one");
        assert_eq!(sh(&format!("{join}echo at work")), "at work\n");
        // Left behind: a shell that is at work for a second.
        let begun = directory.path().join("begun");
        let mut left = std::process::Command::new("sh")
            .args(["-c", &format!("{join}touch {0}; sleep 1; rm {0}", begun.display())])
            .spawn()
            .expect("sh starts");
        while !begun.exists() {
            std::thread::yield_now();
        }
        assert_eq!((sh(&lock("two")).as_str(), begun.exists()), ("t\n", false), "it was waited for");
        left.wait().expect("a child");
        // Too late: the host has been taken over.
        let late =
            std::process::Command::new("sh").args(["-c", &format!("{join}echo at work")]).output().expect("sh starts");
        assert_eq!((late.status.code(), late.stdout.as_slice()), (Some(1), &b""[..]));
    }

    #[test]
    fn what_is_written_is_read_back_and_the_newest_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().to_string_lossy();
        assert_eq!(sh(&newest(&at, "gocd", "pg1")), "", "nothing yet");
        for operation in ["1-failover", "2-failback"] {
            let hosts = ["pg1".to_owned(), "pg2".to_owned()].into_iter();
            let mut copies = Copies::new(&at, "gocd", operation, "{\"it's\": \"$HOME\"}\n", hosts);
            sh(&copies.seed("pg1"));
            assert_eq!(copies.take("pg1"), None);
            copies.add("second\n");
            copies.add("third\n");
            sh(&copies.take("pg1").expect("two lines"));
            copies.drop_host("pg2");
            assert_eq!((copies.take("pg1"), copies.take("pg2"), copies.hosts()), (None, None, vec!["pg1".to_owned()]));
            // This one did not answer at first.
            sh(&copies.take("go1").expect("the whole journal"));
            assert_eq!(sh(&newest(&at, "gocd", "go1")), sh(&newest(&at, "gocd", "pg1")));
            copies.add("fourth\n");
            sh(&copies.take("go1").expect("one line"));
            assert!(sh(&newest(&at, "gocd", "go1")).ends_with("third\nfourth\n"));
        }
        // Torn before its first line was whole: it never began.
        std::fs::write(directory.path().join("gocd/pg1/3-failover.jsonl"), "{\"at").expect("a file");
        assert_eq!(sh(&newest(&at, "gocd", "pg1")), "2-failback.jsonl\n{\"it's\": \"$HOME\"}\nsecond\nthird\n");
    }
}
