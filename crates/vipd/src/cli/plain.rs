//! An assignment without the probe, read without clap.
//!
//! Whoever does not probe is in a hurry, and clap takes longer from its flags to their values than the kernel takes for the
//! address and the frame together (decision 0121). Anything else, and anything wrong, is clap's: this reader knows no errors.

use std::ffi::OsString;
use std::mem;

use super::{AssignArgs, DaemonArgs};
use crate::config::Control;
use crate::probe;

/// `assign ADDR/PREFIX --dev IF --no-probe`, and what else needs no thought, in any order; `None`: let clap read it.
pub(super) fn assign(words: &[OsString]) -> Option<AssignArgs> {
    let mut words = words.iter().map(|word| word.to_str());
    if words.next()? != Some("assign") || std::env::var_os("VIPD_SOCKET").is_some() {
        return None;
    }
    let (mut address, mut dev, mut after_fence) = (None, None, None);
    let (mut no_probe, mut force, mut dry_run, mut json) = (false, false, false, false);
    while let Some(word) = words.next() {
        let said_before = match word? {
            "--dev" => dev.replace(value(words.next()??)?).is_some(),
            "--after-fence" => after_fence.replace(value(words.next()??)?).is_some(),
            "--no-probe" => mem::replace(&mut no_probe, true),
            "--force" => mem::replace(&mut force, true),
            "--dry-run" => mem::replace(&mut dry_run, true),
            "--json" => mem::replace(&mut json, true),
            other => address.replace(value(other)?.parse().ok()?).is_some(),
        };
        if said_before {
            return None;
        }
    }
    let (probe_time, daemon) = (probe::DEFAULT_TIME, DaemonArgs { socket: Control::SOCKET.into() });
    let (address, dev) = (address?, dev?);
    no_probe.then_some(AssignArgs { address, dev, after_fence, probe_time, no_probe, force, daemon, dry_run, json })
}

/// A word that is no flag.
fn value(word: &str) -> Option<String> {
    (!word.starts_with('-')).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proptest::prelude::*;

    use super::super::{Cli, Verb};
    use super::*;

    fn plain(words: &[&str]) -> Option<String> {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        assign(&words).map(|args| format!("{args:?}"))
    }

    fn by_clap(words: &[&str]) -> Option<String> {
        match Cli::try_parse_from(std::iter::once(&"vipd").chain(words)).ok()?.verb {
            Verb::Assign(args) => Some(format!("{args:?}")),
            _ => None,
        }
    }

    const WORDS: [&str; 20] = [
        "assign",
        "unassign",
        "198.18.5.200/24",
        "fd00::200/64",
        "198.18.5.200",
        "198.18.5.0/24",
        "--dev",
        "eth0",
        "-",
        "--",
        "-x",
        "",
        "--after-fence",
        "go1",
        "--no-probe",
        "--force",
        "--dry-run",
        "--json",
        "--probe-time",
        "--dev=eth0",
    ];

    proptest! {
        #[test]
        fn what_it_reads_clap_reads_as_the_same(rest in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..9)) {
            for start in [&["assign", "198.18.5.200/24", "--dev", "eth0", "--no-probe"][..], &["assign"], &[]] {
                let words = [start, &rest].concat();
                if let Some(read) = plain(&words) {
                    prop_assert_eq!(Some(read), by_clap(&words), "{:?}", words);
                }
            }
        }
    }

    #[test]
    fn it_reads_what_a_script_writes() {
        for line in [
            "assign 198.18.5.200/24 --dev eth0 --no-probe",
            "assign --no-probe --json --dev eth0 fd00::200/64 --after-fence go1 --force --dry-run",
        ] {
            let words: Vec<_> = line.split(' ').collect();
            assert!(plain(&words).is_some(), "{line}");
            assert_eq!(plain(&words), by_clap(&words), "{line}");
        }
    }
}
