//! The configuration is the same on both GoCD hosts, and what was changed while the site was away came home.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{Event, History, Phase};

type Files<'h> = BTreeMap<&'h str, &'h str>;

pub(super) fn check(history: &History) -> Verdict {
    let steady = (files(history, Phase::Steady, "go1"), files(history, Phase::Steady, "go2"));
    let away = files(history, Phase::FailedOver, "go2");
    let home = (files(history, Phase::Home, "go1"), files(history, Phase::Home, "go2"));
    if steady.0.is_empty() || steady.1.is_empty() {
        return Verdict::Unknown("the files were not hashed before the fault".to_owned());
    }
    if let Some(difference) = difference(&steady.0, &steady.1) {
        return Verdict::Broken(format!("before the fault go2 was not in step with go1: {difference}"));
    }
    if away.is_empty() || home.0.is_empty() || home.1.is_empty() {
        return Verdict::Unknown("the files were not hashed after failover and failback".to_owned());
    }
    if !history.iter().any(|entry| matches!(entry.event, Event::ConfigEdited { .. })) || away == steady.1 {
        return Verdict::Unknown("nothing was changed while the site was away".to_owned());
    }
    if let Some(difference) = difference(&away, &home.0) {
        return Verdict::Broken(format!("what go2 had did not come home to go1: {difference}"));
    }
    if let Some(difference) = difference(&home.0, &home.1) {
        return Verdict::Broken(format!("after failback go2 is not in step with go1: {difference}"));
    }
    Verdict::Held(format!("{} files, the same on both, with the change made on go2", away.len()))
}

fn files<'h>(history: &'h History, phase: Phase, host: &str) -> Files<'h> {
    let all = history.iter().filter_map(|entry| match &entry.event {
        Event::File { phase: of, host: on, path, sha256 } if *of == phase && on == host => {
            Some((path.as_str(), sha256.as_str()))
        }
        _ => None,
    });
    all.collect()
}

fn difference(one: &Files<'_>, other: &Files<'_>) -> Option<String> {
    let paths = one.keys().chain(other.keys());
    paths.copied().find_map(|path| match (one.get(path), other.get(path)) {
        (Some(a), Some(b)) if a == b => None,
        (Some(_), Some(_)) => Some(format!("{path} differs")),
        _ => Some(format!("{path} is on one of them only")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::history::Entry;

    const CONFIG: &str = "/etc/go/cruise-config.xml";

    fn file(phase: Phase, host: &str, path: &str, sha256: &str) -> Entry {
        at(1, Event::File { phase, host: host.into(), path: path.into(), sha256: sha256.into() })
    }

    /// Hashes of the configuration: steady go1, steady go2, away go2, home go1, home go2.
    fn drill(hashes: [&str; 5]) -> Vec<Entry> {
        let places = [
            (Phase::Steady, "go1"),
            (Phase::Steady, "go2"),
            (Phase::FailedOver, "go2"),
            (Phase::Home, "go1"),
            (Phase::Home, "go2"),
        ];
        let files = places.into_iter().zip(hashes).map(|((phase, host), hash)| file(phase, host, CONFIG, hash));
        files.chain([at(1, Event::ConfigEdited { host: "go2".into() })]).collect()
    }

    #[test]
    fn a_change_that_came_home_is_right() {
        let verdict = check(&history(drill(["a", "a", "b", "b", "b"])));
        assert_eq!(verdict, Verdict::Held("1 files, the same on both, with the change made on go2".into()));
    }

    #[test]
    fn violations_are_named() {
        for (hashes, why) in [
            (
                ["a", "x", "b", "b", "b"],
                "before the fault go2 was not in step with go1: /etc/go/cruise-config.xml differs",
            ),
            (["a", "a", "b", "a", "a"], "what go2 had did not come home to go1: /etc/go/cruise-config.xml differs"),
            (
                ["a", "a", "b", "b", "a"],
                "after failback go2 is not in step with go1: /etc/go/cruise-config.xml differs",
            ),
        ] {
            assert_eq!(check(&history(drill(hashes))), Verdict::Broken(why.into()));
        }
    }

    #[test]
    fn a_file_that_is_missing_is_a_difference() {
        let mut entries = drill(["a", "a", "b", "b", "b"]);
        entries.push(file(Phase::Home, "go2", "/etc/go/extra", "e"));
        assert!(
            matches!(check(&history(entries)), Verdict::Broken(why) if why.ends_with("/etc/go/extra is on one of them only"))
        );
    }

    #[test]
    fn a_change_that_was_never_made_proves_nothing() {
        assert!(matches!(check(&history(drill(["a", "a", "a", "a", "a"]))), Verdict::Unknown(_)));
    }
}
