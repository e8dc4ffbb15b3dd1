//! The agents a server knows: read from the database at boot and never again, then kept in memory (GoCD: AgentInstances,
//! AgentService). Takes the time as an argument.
//!
//! ```text
//! boot ─► Missing ──ping──► Idle ◄──► Building
//!            └──timeout──► LostContact ◄──timeout──┘      (any ping leads back)
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::wire::{AgentRuntimeInfo, RuntimeStatus};

/// An agent as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentRow {
    /// Identity.
    pub(super) uuid: String,
    /// Of its latest process; none before the first.
    pub(super) cookie: Option<String>,
    /// Host name.
    pub(super) hostname: String,
    /// Address.
    pub(super) ip_address: String,
    /// A person has disabled it: it gets no work.
    pub(super) disabled: bool,
}

/// What the server thinks an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentState {
    /// Not heard of since the server started.
    Missing,
    /// Waiting for work.
    Idle,
    /// On a job.
    Building,
    /// Not heard of for too long.
    LostContact,
}

/// Why an agent's message is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwelcome {
    /// No agent of that identity is registered here.
    Unknown,
    /// Another process of that identity has a newer cookie, or the row of this one was lost.
    DuplicateUuid,
}

/// One agent.
pub(super) struct Agent {
    /// What the database has.
    pub(super) row: AgentRow,
    /// Its last account of itself.
    pub(super) info: Option<AgentRuntimeInfo>,
    heard: Option<Instant>,
}

/// All agents of the site.
pub(super) struct Agents {
    timeout: Duration,
    booted: Instant,
    by_uuid: BTreeMap<String, Agent>,
}

impl Agents {
    /// The agents of the database, all of them missing.
    pub(super) fn new(rows: Vec<AgentRow>, timeout: Duration, now: Instant) -> Self {
        let mut agents = Self { timeout, booted: now, by_uuid: BTreeMap::new() };
        for row in rows {
            agents.register(row);
        }
        agents
    }

    /// Adds an agent that has just been approved.
    pub(super) fn register(&mut self, row: AgentRow) {
        self.by_uuid.insert(row.uuid.clone(), Agent { row, info: None, heard: None });
    }

    /// The agent of that identity, if it is registered.
    pub(super) fn get(&self, uuid: &str) -> Option<&Agent> {
        self.by_uuid.get(uuid)
    }

    /// Every agent with its state, by identity.
    pub(super) fn states(&self, now: Instant) -> impl Iterator<Item = (&Agent, AgentState)> {
        self.by_uuid.values().map(move |agent| (agent, self.state(agent, now)))
    }

    /// Gives the agent a cookie; the one it had is void.
    pub(super) fn set_cookie(&mut self, uuid: &str, cookie: &str) {
        if let Some(agent) = self.by_uuid.get_mut(uuid) {
            agent.row.cookie = Some(cookie.to_owned());
        }
    }

    /// Takes note of an agent's account of itself.
    ///
    /// # Errors
    ///
    /// [`Unwelcome`]; then nothing is noted, and an agent that keeps saying it will lose contact.
    pub(super) fn heard(&mut self, info: &AgentRuntimeInfo, now: Instant) -> Result<(), Unwelcome> {
        let agent = self.by_uuid.get_mut(&info.identifier.uuid).ok_or(Unwelcome::Unknown)?;
        if info.cookie != agent.row.cookie {
            return Err(Unwelcome::DuplicateUuid);
        }
        agent.row.ip_address.clone_from(&info.identifier.ip_address);
        agent.row.hostname.clone_from(&info.identifier.host_name);
        agent.info = Some(info.clone());
        agent.heard = Some(now);
        Ok(())
    }

    /// Agents whose jobs should go to others: those that lost contact, provided that somebody is alive to take them.
    pub(super) fn lost(&self, now: Instant) -> Vec<String> {
        let alive = self.states(now).any(|(_, state)| matches!(state, AgentState::Idle | AgentState::Building));
        self.states(now)
            .filter(|(_, state)| alive && *state == AgentState::LostContact)
            .map(|(agent, _)| agent.row.uuid.clone())
            .collect()
    }

    fn state(&self, agent: &Agent, now: Instant) -> AgentState {
        if now.duration_since(agent.heard.unwrap_or(self.booted)) > self.timeout {
            return AgentState::LostContact;
        }
        match (agent.heard, &agent.info) {
            (Some(_), Some(info)) if info.runtime_status == RuntimeStatus::Building => AgentState::Building,
            (Some(_), _) => AgentState::Idle,
            (None, _) => AgentState::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AgentRow, AgentState, Agents, Unwelcome};
    use crate::wire::{AgentIdentifier, AgentRuntimeInfo, BuildingInfo, RuntimeStatus};
    use std::time::{Duration, Instant};

    fn row(uuid: &str) -> AgentRow {
        AgentRow {
            uuid: uuid.to_owned(),
            cookie: Some("C".to_owned()),
            hostname: "agent1".to_owned(),
            ip_address: "198.18.5.21".to_owned(),
            disabled: false,
        }
    }

    fn info(uuid: &str, cookie: &str, runtime_status: RuntimeStatus) -> AgentRuntimeInfo {
        AgentRuntimeInfo {
            kind: "AgentRuntimeInfo".to_owned(),
            identifier: AgentIdentifier {
                host_name: "agent1".to_owned(),
                ip_address: "198.18.5.99".to_owned(),
                uuid: uuid.to_owned(),
            },
            runtime_status,
            building_info: BuildingInfo::default(),
            location: "/".to_owned(),
            usable_space: 1,
            operating_system_name: "Linux".to_owned(),
            agent_bootstrapper_version: String::new(),
            agent_version: String::new(),
            cookie: Some(cookie.to_owned()),
        }
    }

    fn states(agents: &Agents, now: Instant) -> Vec<AgentState> {
        agents.states(now).map(|(_, state)| state).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    const TIMEOUT: Duration = Duration::from_secs(300);

    #[test]
    fn an_agent_is_missing_until_it_is_heard_of_and_lost_when_it_falls_silent() {
        let boot = start();
        let mut agents = Agents::new(vec![row("a")], TIMEOUT, boot);
        assert_eq!(states(&agents, boot), [AgentState::Missing]);

        agents.heard(&info("a", "C", RuntimeStatus::Idle), boot).unwrap();
        assert_eq!(states(&agents, boot), [AgentState::Idle]);
        assert_eq!(agents.get("a").unwrap().row.ip_address, "198.18.5.99", "a new address is taken note of");

        agents.heard(&info("a", "C", RuntimeStatus::Building), boot + TIMEOUT).unwrap();
        assert_eq!(states(&agents, boot + 2 * TIMEOUT), [AgentState::Building], "the timeout itself is not too long");
        let silent = boot + 2 * TIMEOUT + Duration::from_millis(1);
        assert_eq!(states(&agents, silent), [AgentState::LostContact]);

        agents.heard(&info("a", "C", RuntimeStatus::Idle), silent).unwrap();
        assert_eq!(states(&agents, silent), [AgentState::Idle]);
    }

    #[test]
    fn an_agent_that_never_comes_back_after_a_boot_loses_contact_too() {
        let boot = start();
        let agents = Agents::new(vec![row("a")], TIMEOUT, boot);
        assert_eq!(states(&agents, boot + TIMEOUT + Duration::from_millis(1)), [AgentState::LostContact]);
    }

    #[test]
    fn a_strange_agent_and_a_strange_cookie_are_not_accepted() {
        let boot = start();
        let mut agents = Agents::new(vec![row("a")], TIMEOUT, boot);
        assert_eq!(agents.heard(&info("b", "C", RuntimeStatus::Idle), boot), Err(Unwelcome::Unknown));
        assert_eq!(agents.heard(&info("a", "D", RuntimeStatus::Idle), boot), Err(Unwelcome::DuplicateUuid));
        assert_eq!(states(&agents, boot), [AgentState::Missing], "nothing was noted");
        agents.set_cookie("a", "D");
        assert_eq!(agents.heard(&info("a", "D", RuntimeStatus::Idle), boot), Ok(()));
    }

    #[test]
    fn jobs_of_lost_agents_move_only_when_somebody_is_alive() {
        let boot = start();
        let mut agents = Agents::new(vec![row("a"), row("b")], TIMEOUT, boot);
        let late = boot + TIMEOUT + Duration::from_secs(1);
        assert!(agents.lost(late).is_empty(), "nobody is alive");
        agents.heard(&info("b", "C", RuntimeStatus::Idle), late).unwrap();
        assert_eq!(agents.lost(late), ["a"]);
    }
}
