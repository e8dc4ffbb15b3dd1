//! What agent and server say to each other: JSON over `POST /go/remoting/api/agent/ACTION` (GoCD: Serialization,
//! api-internal-agent-v1; the same from 21.2 to 26.1).

use serde::{Deserialize, Serialize};

/// The media type of every API; versions are `application/vnd.go.cd.vN+json`.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.go.cd+json";

/// One request of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
#[expect(clippy::enum_variant_names, reason = "the names on the wire are GoCD's")]
pub(crate) enum Request {
    /// I am alive. Answered by an instruction, `"NONE"`.
    PingRequest { agent_runtime_info: AgentRuntimeInfo },
    /// Give this process its cookie. Answered by the bare cookie.
    GetCookieRequest { agent_runtime_info: AgentRuntimeInfo },
    /// Give me work. Answered by [`Work`].
    GetWorkRequest { agent_runtime_info: AgentRuntimeInfo },
    /// The job is in this state.
    ReportCurrentStatusRequest {
        agent_runtime_info: AgentRuntimeInfo,
        job_identifier: JobIdentifier,
        job_state: JobState,
    },
    /// The job is completing, or completed, with this result.
    ReportCompleteStatusRequest {
        agent_runtime_info: AgentRuntimeInfo,
        job_identifier: JobIdentifier,
        job_result: JobResult,
    },
    /// Does anybody still want the job? Answered by `true` (no) or `false`.
    IsIgnoredRequest { agent_runtime_info: AgentRuntimeInfo, job_identifier: JobIdentifier },
}

impl Request {
    /// Who asks.
    pub(crate) fn agent(&self) -> &AgentRuntimeInfo {
        match self {
            Self::PingRequest { agent_runtime_info }
            | Self::GetCookieRequest { agent_runtime_info }
            | Self::GetWorkRequest { agent_runtime_info }
            | Self::ReportCurrentStatusRequest { agent_runtime_info, .. }
            | Self::ReportCompleteStatusRequest { agent_runtime_info, .. }
            | Self::IsIgnoredRequest { agent_runtime_info, .. } => agent_runtime_info,
        }
    }
}

/// An agent's account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentRuntimeInfo {
    /// Always `AgentRuntimeInfo`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Who and where.
    pub(crate) identifier: AgentIdentifier,
    /// What it is doing.
    pub(crate) runtime_status: RuntimeStatus,
    /// The job it is on, if any.
    pub(crate) building_info: BuildingInfo,
    /// Its working directory.
    pub(crate) location: String,
    /// Bytes free there.
    pub(crate) usable_space: u64,
    /// Operating system.
    pub(crate) operating_system_name: String,
    /// Version of the launcher.
    pub(crate) agent_bootstrapper_version: String,
    /// Version of the agent.
    pub(crate) agent_version: String,
    /// Given once per process of the agent; a second process of the same identity has another.
    pub(crate) cookie: Option<String>,
}

/// Who and where an agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentIdentifier {
    /// Its host name.
    pub(crate) host_name: String,
    /// Its address.
    pub(crate) ip_address: String,
    /// Its identity, `config/guid.txt`.
    pub(crate) uuid: String,
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RuntimeStatus {
    /// Waiting for work.
    Idle,
    /// On a job.
    Building,
}

/// The job an agent is on; both empty when it is idle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildingInfo {
    /// For people.
    pub(crate) building_info: String,
    /// pipeline/counter/stage/counter/job.
    pub(crate) build_locator: String,
}

/// One run of one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobIdentifier {
    /// Pipeline.
    pub(crate) pipeline_name: String,
    /// Its counter.
    pub(crate) pipeline_counter: i64,
    /// Its label; the counter, in the stand-in.
    pub(crate) pipeline_label: String,
    /// Stage.
    pub(crate) stage_name: String,
    /// Job.
    pub(crate) build_name: String,
    /// Primary key of this run of the job.
    pub(crate) build_id: i64,
    /// The stage's counter, a string in GoCD too.
    pub(crate) stage_counter: String,
}

impl JobIdentifier {
    /// pipeline/counter/stage/counter/job.
    pub(crate) fn locator(&self) -> String {
        let Self { pipeline_name, pipeline_counter, stage_name, stage_counter, build_name, .. } = self;
        format!("{pipeline_name}/{pipeline_counter}/{stage_name}/{stage_counter}/{build_name}")
    }
}

/// How far a job is, as its agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JobState {
    /// Fetching what it needs.
    Preparing,
    /// Running its tasks.
    Building,
    /// Tasks done.
    Completing,
    /// All done.
    Completed,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JobResult {
    /// Well.
    Passed,
    /// Not well, or its agent could not report.
    Failed,
    /// A person stopped it.
    Cancelled,
}

/// The answer to a request for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
#[expect(clippy::enum_variant_names, reason = "the names on the wire are GoCD's")]
pub(crate) enum Work {
    /// Nothing to do.
    NoWork,
    /// Run this.
    BuildWork { assignment: Assignment, console_log_charset: String },
    /// The agent is disabled.
    DeniedAgentWork,
    /// The server does not know the agent.
    UnregisteredAgentWork,
}

/// A job, and how to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Assignment {
    /// Whether materials are to be checked out; never, in the stand-in.
    pub(crate) fetch_materials: bool,
    /// The tasks, in order.
    pub(crate) builders: Vec<Builder>,
    /// Which run.
    pub(crate) job_identifier: JobIdentifier,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Builder {
    /// A program with arguments, run without a shell.
    CommandBuilderWithArgList { command: String, args: Vec<String> },
}

#[cfg(test)]
mod tests {
    use super::{Request, Work};
    use serde_json::json;

    #[test]
    fn a_ping_has_gocds_form() {
        let text = json!({"type":"PingRequest","agentRuntimeInfo":{"type":"AgentRuntimeInfo",
            "identifier":{"hostName":"a1","ipAddress":"10.0.0.9","uuid":"U"},
            "runtimeStatus":"Idle","buildingInfo":{"buildingInfo":"","buildLocator":""},
            "location":"/var/lib/go-agent","usableSpace":1_000_000,"operatingSystemName":"Linux",
            "agentBootstrapperVersion":"26.1.0","agentVersion":"26.1.0","cookie":"C"}});
        let request: Request = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(request.agent().cookie.as_deref(), Some("C"));
        assert_eq!(serde_json::to_value(&request).unwrap(), text);
    }

    #[test]
    fn a_job_has_gocds_form() {
        let text = json!({"type":"BuildWork","assignment":{"fetchMaterials":false,
            "builders":[{"type":"CommandBuilderWithArgList","command":"sleep","args":["1"]}],
            "jobIdentifier":{"pipelineName":"p","pipelineCounter":1,"pipelineLabel":"1","stageName":"s",
                "buildName":"j","buildId":7,"stageCounter":"1"}},
            "consoleLogCharset":"UTF-8"});
        let work: Work = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&work).unwrap(), text);
        assert_eq!(serde_json::to_value(Work::NoWork).unwrap(), json!({"type":"NoWork"}));
    }
}
