//! The numbers of a drill, as a client sees them: pure functions of the history.

use serde::{Deserialize, Serialize};

use crate::checkers::absent_agents;
use crate::history::{Endpoint, Entry, Event, History, Outcome, Writability};
use crate::scenario::operation;

/// Times in milliseconds; absent where it did not happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Figures {
    /// From the instant of the fault.
    pub(crate) failover: Stages,
    /// From the start of `bcctl failback`.
    pub(crate) failback: Stages,
}

/// When each part of a move was seen, in milliseconds since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Stages {
    /// A client got no answer for the first time.
    pub(crate) detect_ms: Option<u64>,
    /// The power switch had said of each failed host that it is off.
    pub(crate) fence_ms: Option<u64>,
    /// The new primary committed its first row.
    pub(crate) promote_ms: Option<u64>,
    /// The new GoCD server was ready, asked directly.
    pub(crate) gocd_ready_ms: Option<u64>,
    /// The new owner answered ARP for the VIP.
    pub(crate) vip_moved_ms: Option<u64>,
    /// The VIP answered a client again.
    pub(crate) service_back_ms: Option<u64>,
    /// Every agent was listed as alive by the server at the VIP.
    pub(crate) agents_back_ms: Option<u64>,
    /// The longest time in which no client had a row acknowledged.
    pub(crate) write_gap_ms: Option<u64>,
    /// The longest time in which the VIP answered no client.
    pub(crate) service_gap_ms: Option<u64>,
}

/// The numbers of `history`.
pub(crate) fn figures(history: &History) -> Figures {
    let end = history.iter().next_back().map_or(0, |entry| entry.at_us + 1);
    let fault = history.find_map(|entry| matches!(entry.event, Event::Fault { .. }).then_some(entry.began_us));
    let home = begin_of(history, operation::FAILBACK);
    let away = |from| stages(history, from, home.unwrap_or(end), "pg2", "go2", Endpoint::Go2);
    let mut failover = fault.map(away).unwrap_or_default();
    failover.fence_ms = fault.and_then(|from| Some(milliseconds(from, fenced(history, from)?)));
    let mut failback = home.map(|from| stages(history, from, end, "pg1", "go1", Endpoint::Go1)).unwrap_or_default();
    // Nobody is surprised by a planned move, and nobody is fenced.
    failback.detect_ms = None;
    Figures { failover, failback }
}

fn milliseconds(from: u64, to: u64) -> u64 {
    to.saturating_sub(from) / 1000
}

fn begin_of(history: &History, wanted: &str) -> Option<u64> {
    history.find_map(|entry| match &entry.event {
        Event::Operation { name, .. } if name == wanted => Some(entry.began_us),
        _ => None,
    })
}

/// When the switch had said "off" of every host that the fault hit.
fn fenced(history: &History, from: u64) -> Option<u64> {
    let hosts = &history.sheet()?.primaries;
    let off = |host: &String| {
        history.find_map(|entry| match &entry.event {
            Event::Power { node, said, .. } if node == host && said == "off" && entry.at_us >= from => {
                Some(entry.at_us)
            }
            _ => None,
        })
    };
    hosts.iter().map(off).collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn stages(history: &History, from: u64, to: u64, primary: &str, server: &str, endpoint: Endpoint) -> Stages {
    let sheet = history.sheet();
    let within = |entry: &&Entry| from <= entry.began_us && entry.at_us < to;
    let first = |after: u64, wanted: &dyn Fn(&Event) -> bool| {
        let found = history.iter().filter(within).find(|entry| entry.began_us >= after && wanted(&entry.event));
        found.map(|entry| entry.at_us)
    };
    let since = |at: Option<u64>| at.map(|at| milliseconds(from, at));
    let is_health = |event: &Event, of: Endpoint, good: bool| matches!(event, Event::Health { endpoint, status, .. } if *endpoint == of && (*status == Some(200)) == good);
    let owner = |event: &Event| match event {
        Event::ArpAnswer { mac } => sheet.is_some_and(|sheet| sheet.macs.get(mac).is_some_and(|host| host == server)),
        _ => false,
    };
    let moved = first(from, &owner);
    let agents = |event: &Event| match event {
        Event::Agents { agents } => sheet.is_some_and(|sheet| absent_agents(&sheet.agents, agents).is_empty()),
        _ => false,
    };
    let promoted =
        |event: &Event| matches!(event, Event::Writable { node, found: Writability::Writable, .. } if node == primary);
    let acknowledged = |event: &Event| matches!(event, Event::Write { outcome: Outcome::Ok, .. });
    Stages {
        detect_ms: since(first(from, &|event| is_health(event, Endpoint::Vip, false))),
        fence_ms: None,
        promote_ms: since(first(from, &promoted)),
        gocd_ready_ms: since(first(from, &|event| is_health(event, endpoint, true))),
        vip_moved_ms: since(moved),
        service_back_ms: since(moved.and_then(|at| first(at, &|event| is_health(event, Endpoint::Vip, true)))),
        agents_back_ms: since(moved.and_then(|at| first(at, &agents))),
        write_gap_ms: longest_gap(history, from, to, &acknowledged),
        service_gap_ms: longest_gap(history, from, to, &|event| is_health(event, Endpoint::Vip, true)),
    }
}

/// The longest time between two wanted events, the last one before `from` included. None without a second one.
fn longest_gap(history: &History, from: u64, to: u64, wanted: &dyn Fn(&Event) -> bool) -> Option<u64> {
    let times: Vec<u64> =
        history.iter().filter(|entry| entry.at_us < to && wanted(&entry.event)).map(|entry| entry.at_us).collect();
    let gaps = times.windows(2).filter(|pair| pair[1] >= from).map(|pair| milliseconds(pair[0], pair[1]));
    gaps.max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::*;
    use crate::history::*;

    fn health(at_ms: u64, endpoint: Endpoint, status: Option<u16>) -> Entry {
        span(at_ms - 1, at_ms, Event::Health { endpoint, status, detail: String::new() })
    }

    fn agents(at_ms: u64, second: &str) -> Entry {
        let view = |host: &str, state: &str| AgentView { host: host.into(), state: state.into() };
        span(at_ms - 1, at_ms, Event::Agents { agents: vec![view("agent1", "Idle"), view("agent2", second)] })
    }

    fn answer(at_ms: u64, mac: &str) -> Entry {
        at(at_ms, Event::ArpAnswer { mac: mac.into() })
    }

    #[test]
    fn each_stage_is_counted_from_the_fault() {
        let found = figures(&history([
            began(),
            write(900, 1, "pg1", Outcome::Ok),
            health(950, Endpoint::Vip, Some(200)),
            agents(990, "Idle"),
            at(1000, Event::Fault { kind: FaultKind::Hang, hosts: vec!["pg1".into(), "go1".into()] }),
            answer(1100, "02:42:c6:12:05:0d"),
            health(1500, Endpoint::Vip, None),
            power(2000, "pg1", Asked::Off, "off", false),
            power(2500, "go1", Asked::Off, "off", false),
            writable(3000, 3005, "pg2", Writability::Writable),
            write(3100, 2, "pg2", Outcome::Ok),
            health(4000, Endpoint::Go2, Some(503)),
            health(4500, Endpoint::Go2, Some(200)),
            answer(5000, "02:42:c6:12:05:0e"),
            health(5100, Endpoint::Vip, Some(200)),
            agents(5300, "Missing"),
            agents(5800, "Building"),
        ]));
        let expected = Stages {
            detect_ms: Some(500),
            fence_ms: Some(1500),
            promote_ms: Some(2005),
            gocd_ready_ms: Some(3500),
            vip_moved_ms: Some(4000),
            service_back_ms: Some(4100),
            agents_back_ms: Some(4800),
            write_gap_ms: Some(2200),
            service_gap_ms: Some(4150),
        };
        assert_eq!(found, Figures { failover: expected, failback: Stages::default() });
    }

    #[test]
    fn what_did_not_happen_has_no_number() {
        assert_eq!(figures(&history([began()])), Figures::default());
    }
}
