//! The GoCD watcher: lists the agents at the virtual IP, twice a second.

use std::net::SocketAddrV4;
use std::time::Duration;

use serde::Deserialize;

use super::Tasks;
use crate::clock::{self, Moment};
use crate::history::{AgentView, Event, Recorder};
use crate::http;

const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(500);
/// GoCD's API versions are chosen by this header.
pub(crate) const ACCEPT: &str = "application/vnd.go.cd+json";

/// Watches the agents as the server at `vip` lists them; an answer that is not a list is left out.
pub(crate) fn watch(tasks: &mut Tasks, vip: SocketAddrV4, recorder: &Recorder) {
    let recorder = recorder.clone();
    tasks.spawn(async move {
        loop {
            let began = Moment::now();
            if let Ok(agents) = agents(vip).await {
                recorder.since(began, Event::Agents { agents });
            }
            clock::pause(INTERVAL).await;
        }
    });
}

/// `GET /go/api/agents`.
///
/// # Errors
/// In words.
pub(crate) async fn agents(server: SocketAddrV4) -> Result<Vec<AgentView>, String> {
    let answer = http::get(server, "/go/api/agents", ACCEPT, PATIENCE).await?;
    if answer.status != 200 {
        return Err(format!("GET /go/api/agents was answered {}", answer.status));
    }
    parse(&answer.body)
}

/// The version of the server, in its own words.
///
/// # Errors
/// In words.
pub(crate) async fn version(server: SocketAddrV4) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Version {
        full_version: Option<String>,
        version: String,
    }
    let answer = http::get(server, "/go/api/version", ACCEPT, PATIENCE).await?;
    let version: Version =
        serde_json::from_str(&answer.body).map_err(|error| format!("/go/api/version is not as GoCD's: {error}"))?;
    Ok(version.full_version.unwrap_or(version.version))
}

/// An agents document of GoCD (API v7): `_embedded.agents[]`.
fn parse(body: &str) -> Result<Vec<AgentView>, String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "_embedded")]
        embedded: Embedded,
    }
    #[derive(Deserialize)]
    struct Embedded {
        agents: Vec<Agent>,
    }
    #[derive(Deserialize)]
    struct Agent {
        hostname: String,
        agent_state: String,
    }
    let document: Document =
        serde_json::from_str(body).map_err(|error| format!("/go/api/agents is not as GoCD's: {error}"))?;
    let agents = document.embedded.agents.into_iter();
    Ok(agents.map(|agent| AgentView { host: agent.hostname, state: agent.agent_state }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_read_as_gocd_lists_them() {
        let body = r#"{"_links":{},"_embedded":{"agents":[
            {"uuid":"a","hostname":"agent1","agent_config_state":"Enabled","agent_state":"Idle","build_state":"Idle"},
            {"uuid":"b","hostname":"agent2","agent_state":"LostContact"}]}}"#;
        let view = |host: &str, state: &str| AgentView { host: host.into(), state: state.into() };
        assert_eq!(parse(body), Ok(vec![view("agent1", "Idle"), view("agent2", "LostContact")]));
        assert!(parse("{}").expect_err("no list").contains("not as GoCD's"));
    }
}
