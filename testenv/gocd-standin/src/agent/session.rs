//! One process of an agent: what it says of itself, and the messages it exchanges once it is registered.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::header::{ACCEPT, AUTHORIZATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::identity::{Identity, IdentityError};
use super::link::{Answer, Link, LinkError};
use crate::wire::{
    AgentIdentifier, AgentRuntimeInfo, BuildingInfo, JobIdentifier, JobResult, JobState, MEDIA_TYPE, Request,
    RuntimeStatus, Work,
};
use crate::{AgentArgs, VERSION};

/// Why a message came to nothing.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    /// No answer.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Another answer than 200.
    #[error("{message}: {status}: {body}")]
    Refused { message: String, status: StatusCode, body: String },
    /// An answer that is not understood.
    #[error("{message}: answer not understood: {source}")]
    Answer { message: String, source: serde_json::Error },
    /// A message that cannot be written down.
    #[error("{message}: {reason}")]
    Message { message: String, reason: String },
    /// The token could not be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl SessionError {
    pub(super) fn refused(message: &str, answer: Answer) -> Self {
        let body = answer.body.chars().take(200).collect();
        Self::Refused { message: message.to_owned(), status: answer.status, body }
    }
}

/// What changes while the agent runs.
struct State {
    status: RuntimeStatus,
    building: BuildingInfo,
    cookie: Option<String>,
    plugins_md5: Option<String>,
}

/// An agent's process.
pub(super) struct Session {
    identity: Identity,
    hostname: String,
    location: String,
    state: Mutex<State>,
}

impl Session {
    /// A process that has no cookie yet.
    pub(super) fn new(identity: Identity, args: &AgentArgs) -> Self {
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
        Self {
            identity,
            hostname: hostname.trim().to_owned(),
            location: args.work_directory.display().to_string(),
            state: Mutex::new(State {
                status: RuntimeStatus::Idle,
                building: BuildingInfo::default(),
                cookie: None,
                plugins_md5: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who the agent is.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The name of its host.
    pub(super) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Its working directory.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// Whether a server has ever approved it.
    pub(super) fn is_registered(&self) -> bool {
        self.identity.token().is_some()
    }

    /// Says from now on that it is on this job, or on none.
    pub(super) fn set_job(&self, job: Option<&JobIdentifier>) {
        let mut state = self.state();
        state.status = if job.is_some() { RuntimeStatus::Building } else { RuntimeStatus::Idle };
        state.building = job
            .map(|job| BuildingInfo { building_info: job.locator(), build_locator: job.locator() })
            .unwrap_or_default();
    }

    fn info(&self, link: &Link) -> AgentRuntimeInfo {
        let state = self.state();
        AgentRuntimeInfo {
            kind: "AgentRuntimeInfo".to_owned(),
            identifier: AgentIdentifier {
                host_name: self.hostname.clone(),
                ip_address: link.local_address().to_owned(),
                uuid: self.identity.uuid().to_owned(),
            },
            runtime_status: state.status,
            building_info: state.building.clone(),
            location: self.location.clone(),
            usable_space: 0,
            operating_system_name: "Linux".to_owned(),
            agent_bootstrapper_version: VERSION.to_owned(),
            agent_version: VERSION.to_owned(),
            cookie: state.cookie.clone(),
        }
    }

    /// Says that the agent is alive; silent before it has a cookie.
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    pub(super) async fn ping(&self, link: &mut Link) -> Result<(), SessionError> {
        let agent_runtime_info = self.info(link);
        if !self.is_registered() || agent_runtime_info.cookie.is_none() {
            return Ok(());
        }
        self.post(link, "ping", &Request::PingRequest { agent_runtime_info }).await.map(drop)
    }

    /// "Relaunches" when the server's plugins archive has another checksum than at this process's start, which heals the
    /// cookie too. A real agent's process ends here and its launcher starts another.
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    pub(super) async fn relaunch_if_outdated(&self, link: &mut Link) -> Result<(), SessionError> {
        let path = "/admin/latest-agent.status";
        let answer = link.send(Method::GET, path, &HeaderMap::new(), "text/plain", String::new()).await?;
        if answer.status != StatusCode::OK {
            return Err(SessionError::refused("latest-agent.status", answer));
        }
        let latest = answer.headers.get("Agent-Plugins-Content-MD5").and_then(|value| value.to_str().ok());
        let mut state = self.state();
        if state.plugins_md5.as_deref() != latest {
            if state.plugins_md5.is_some() {
                tracing::info!("stand-in: the server's plugins have another checksum; relaunching (in this process)");
                state.cookie = None;
            }
            state.plugins_md5 = latest.map(str::to_owned);
        }
        Ok(())
    }

    /// Asks for this process's cookie, once.
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    pub(super) async fn get_cookie_if_necessary(&self, link: &mut Link) -> Result<(), SessionError> {
        let agent_runtime_info = self.info(link);
        if agent_runtime_info.cookie.is_none() {
            let answer = self.post(link, "get_cookie", &Request::GetCookieRequest { agent_runtime_info }).await?;
            self.state().cookie = Some(answer.body);
            tracing::info!("stand-in: [Agent Loop] got a cookie; ready for work");
        }
        Ok(())
    }

    /// Asks for a job.
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    pub(super) async fn get_work(&self, link: &mut Link) -> Result<Work, SessionError> {
        let agent_runtime_info = self.info(link);
        read("get_work", &self.post(link, "get_work", &Request::GetWorkRequest { agent_runtime_info }).await?)
    }

    /// Says how far the job is.
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    pub(super) async fn report(
        &self,
        link: &mut Link,
        job: &JobIdentifier,
        job_state: JobState,
    ) -> Result<(), SessionError> {
        let (agent_runtime_info, job_identifier) = (self.info(link), job.clone());
        let request = Request::ReportCurrentStatusRequest { agent_runtime_info, job_identifier, job_state };
        self.post(link, "report_current_status", &request).await.map(drop)
    }

    /// Says how the job ends (`report_completing`) or has ended (`report_completed`).
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    pub(super) async fn report_result(
        &self,
        link: &mut Link,
        action: &str,
        job: &JobIdentifier,
        job_result: JobResult,
    ) -> Result<(), SessionError> {
        let (agent_runtime_info, job_identifier) = (self.info(link), job.clone());
        let request = Request::ReportCompleteStatusRequest { agent_runtime_info, job_identifier, job_result };
        self.post(link, action, &request).await.map(drop)
    }

    /// Asks whether nobody waits for the job any more.
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    pub(super) async fn is_ignored(&self, link: &mut Link, job: &JobIdentifier) -> Result<bool, SessionError> {
        let (agent_runtime_info, job_identifier) = (self.info(link), job.clone());
        let request = Request::IsIgnoredRequest { agent_runtime_info, job_identifier };
        read("is_ignored", &self.post(link, "is_ignored", &request).await?)
    }

    async fn post(&self, link: &mut Link, action: &str, request: &Request) -> Result<Answer, SessionError> {
        let unwritable = |reason: String| SessionError::Message { message: action.to_owned(), reason };
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| unwritable(error.to_string()));
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static(MEDIA_TYPE)),
            (HeaderName::from_static("x-agent-guid"), value(self.identity.uuid())?),
            (AUTHORIZATION, value(self.identity.token().unwrap_or_default())?),
        ]);
        let body = serde_json::to_string(request).map_err(|error| unwritable(error.to_string()))?;
        let path = format!("/remoting/api/agent/{action}");
        let answer = link.send(Method::POST, &path, &headers, "application/json", body).await?;
        if answer.status == StatusCode::OK { Ok(answer) } else { Err(SessionError::refused(action, answer)) }
    }
}

fn read<T: DeserializeOwned>(message: &str, answer: &Answer) -> Result<T, SessionError> {
    serde_json::from_str(&answer.body).map_err(|source| SessionError::Answer { message: message.to_owned(), source })
}
