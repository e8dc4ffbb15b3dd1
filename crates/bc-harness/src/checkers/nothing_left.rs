//! Nothing of the run is left on the machine, and nothing of the machine is gone.

use super::Verdict;
use crate::history::{Event, History, MachineView};

pub(super) fn check(history: &History) -> Verdict {
    if history.sheet().is_some_and(|sheet| sheet.keep) {
        return Verdict::Skipped("the world was kept on request".to_owned());
    }
    let (Some(before), Some(after)) = (view(history, false), view(history, true)) else {
        return Verdict::Unknown("the machine was not looked at before and after".to_owned());
    };
    if let Some(left) = after.of_the_run.first() {
        return Verdict::Broken(format!("{} things are left, the first is {left}", after.of_the_run.len()));
    }
    let own: Vec<&String> = history
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::OwnInterfaces { names } => Some(names),
            _ => None,
        })
        .flatten()
        .collect();
    if let Some(left) = after.interfaces.iter().find(|name| own.contains(name)) {
        return Verdict::Broken(format!("the network interface {left} of the run is left"));
    }
    if let Some(gone) = before.physical.iter().find(|name| !after.interfaces.contains(name)) {
        return Verdict::Broken(format!("the machine's own network interface {gone} is gone"));
    }
    let run = history.sheet().map_or("", |sheet| sheet.run.as_str());
    if let Some(left) = after.namespaces.iter().find(|name| name.contains(run) && !before.namespaces.contains(name)) {
        return Verdict::Broken(format!("the network namespace {left} is left"));
    }
    if own.is_empty() {
        return Verdict::Unknown("the run made no network interface, or nobody looked".to_owned());
    }
    Verdict::Held(format!("containers, networks, volumes, directories, {} interfaces: gone", own.len()))
}

fn view(history: &History, wanted: bool) -> Option<&MachineView> {
    history.find_map(|entry| match &entry.event {
        Event::Machine { after, view } if *after == wanted => Some(view),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn machine(interfaces: &[&str], of_the_run: &[&str], namespaces: &[&str]) -> MachineView {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        MachineView {
            interfaces: own(interfaces),
            physical: vec!["eth0".into()],
            namespaces: own(namespaces),
            of_the_run: own(of_the_run),
        }
    }

    fn drill(after: MachineView) -> History {
        history([
            began(),
            at(1, Event::Machine { after: false, view: machine(&["eth0", "lo"], &[], &["other"]) }),
            at(2, Event::OwnInterfaces { names: vec!["bc-test".into(), "veth1".into()] }),
            at(3, Event::Machine { after: true, view: after }),
        ])
    }

    #[test]
    fn a_machine_as_before_is_right_and_what_others_do_meanwhile_is_theirs() {
        let verdict = check(&drill(machine(&["eth0", "lo", "veth99"], &[], &["another"])));
        assert!(matches!(verdict, Verdict::Held(_)), "{verdict:?}");
    }

    #[test]
    fn violations_are_named() {
        for (after, why) in [
            (
                machine(&["eth0"], &["container bc-test-pg1", "network bc-test"], &[]),
                "2 things are left, the first is container bc-test-pg1",
            ),
            (machine(&["eth0", "veth1"], &[], &[]), "the network interface veth1 of the run is left"),
            (machine(&["lo"], &[], &[]), "the machine's own network interface eth0 is gone"),
            (machine(&["eth0"], &[], &["bc-test-x"]), "the network namespace bc-test-x is left"),
        ] {
            assert_eq!(check(&drill(after)), Verdict::Broken(why.into()));
        }
    }

    #[test]
    fn a_world_that_was_kept_is_not_judged_and_one_that_nobody_looked_at_proves_nothing() {
        assert!(matches!(check(&history([began_with(|sheet| sheet.keep = true)])), Verdict::Skipped(_)));
        assert!(matches!(check(&history([began()])), Verdict::Unknown(_)));
    }
}
