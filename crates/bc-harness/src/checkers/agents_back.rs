//! Every agent is back without a restart: the server lists it as alive, and its service is the same process as before.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{AgentView, Event, History, Phase};

/// Facts of a service that change when it is restarted.
pub(crate) const FACTS: [&str; 3] = ["MainPID", "NRestarts", "ActiveEnterTimestampMonotonic"];

/// Whether GoCD calls an agent in this state reachable.
pub(crate) fn is_alive(agent: &AgentView) -> bool {
    matches!(agent.state.as_str(), "Idle" | "Building")
}

/// The agents of `wanted` that `agents` does not list as alive.
pub(crate) fn absent<'w>(wanted: &'w [String], agents: &[AgentView]) -> Vec<&'w str> {
    let alive = |name: &&String| agents.iter().any(|agent| agent.host == **name && is_alive(agent));
    wanted.iter().filter(|name| !alive(name)).map(String::as_str).collect()
}

pub(super) fn check(history: &History) -> Verdict {
    let Some(sheet) = history.sheet() else { return Verdict::Unknown("the run did not begin".to_owned()) };
    for phase in [Phase::FailedOver, Phase::Home] {
        for agent in &sheet.agents {
            let (Some((before, _)), Some((now, read))) =
                (service(history, Phase::Steady, agent), service(history, phase, agent))
            else {
                return Verdict::Unknown(format!("the service of {agent} was not looked at after {}", phase.as_str()));
            };
            for fact in FACTS {
                if before.get(fact) != now.get(fact) {
                    let show = |facts: &BTreeMap<String, String>| facts.get(fact).cloned().unwrap_or_default();
                    return Verdict::Broken(format!(
                        "{agent} was restarted before the end of {}: {fact} was {} and is {}",
                        phase.as_str(),
                        show(before),
                        show(now)
                    ));
                }
            }
            let listed = history.iter().rev().find_map(|entry| match &entry.event {
                Event::Agents { agents } if entry.at_us <= read => Some(agents.as_slice()),
                _ => None,
            });
            if !absent(std::slice::from_ref(agent), listed.unwrap_or_default()).is_empty() {
                return Verdict::Broken(format!(
                    "{agent} is not back after {}: the server at the VIP lists {:?}",
                    phase.as_str(),
                    listed.unwrap_or_default()
                ));
            }
        }
    }
    Verdict::Held(format!("{}: the same processes from beginning to end", sheet.agents.join(", ")))
}

fn service<'h>(history: &'h History, phase: Phase, host: &str) -> Option<(&'h BTreeMap<String, String>, u64)> {
    history.find_map(|entry| match &entry.event {
        Event::Unit { phase: of, host: on, facts, .. } if *of == phase && on == host => Some((facts, entry.at_us)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::history::Entry;

    fn unit(ms: u64, phase: Phase, host: &str, pid: &str) -> Entry {
        let facts = [("MainPID", pid), ("NRestarts", "0"), ("ActiveEnterTimestampMonotonic", "9")];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        at(ms, Event::Unit { phase, host: host.into(), unit: "go-agent.service".into(), facts })
    }

    fn listed(ms: u64, second: &str) -> Entry {
        let view = |host: &str, state: &str| AgentView { host: host.into(), state: state.into() };
        at(ms, Event::Agents { agents: vec![view("agent1", "Idle"), view("agent2", second)] })
    }

    fn drill(last_state: &str, last_pid: &str) -> Vec<Entry> {
        let mut entries = vec![began()];
        for (ms, phase) in [(10, Phase::Steady), (20, Phase::FailedOver), (30, Phase::Home)] {
            let last = phase == Phase::Home;
            entries.push(listed(ms - 1, if last { last_state } else { "Building" }));
            entries.push(unit(ms, phase, "agent1", "100"));
            entries.push(unit(ms, phase, "agent2", if last { last_pid } else { "200" }));
        }
        entries
    }

    #[test]
    fn the_same_process_that_is_listed_as_alive_is_back() {
        let verdict = check(&history(drill("Idle", "200")));
        assert_eq!(verdict, Verdict::Held("agent1, agent2: the same processes from beginning to end".into()));
    }

    #[test]
    fn a_restart_is_named() {
        let verdict = check(&history(drill("Idle", "201")));
        assert_eq!(
            verdict,
            Verdict::Broken("agent2 was restarted before the end of failback: MainPID was 200 and is 201".into())
        );
    }

    #[test]
    fn lost_contact_is_not_back() {
        let verdict = check(&history(drill("LostContact", "200")));
        assert!(matches!(verdict, Verdict::Broken(why) if why.starts_with("agent2 is not back after failback")));
    }

    #[test]
    fn a_service_that_was_not_looked_at_proves_nothing() {
        let verdict = check(&history(drill("Idle", "200").into_iter().take(5)));
        assert!(matches!(verdict, Verdict::Unknown(why) if why.contains("after failover")));
    }
}
