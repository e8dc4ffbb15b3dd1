//! What agents that are registered say (GoCD: AgentAuthenticationFilter, InternalAgentControllerV1, BuildRepositoryRemoteImpl).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use uuid::Uuid;

use super::agents::Unwelcome;
use super::database::ReportError;
use super::{Site, api};
use crate::cruise_config::Exec;
use crate::wire::{AgentRuntimeInfo, Assignment, Builder, JobIdentifier, Request, Work};
use crate::{clock, token};

/// `/go/remoting/api/agent/ACTION`.
pub(super) fn routes() -> Router {
    Router::new().route("/go/remoting/api/agent/{action}", post(answer))
}

async fn answer(
    Extension(site): Extension<Arc<Site>>,
    Path(action): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !api::accepts(&headers, 1) {
        return api::not_found().await;
    }
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let uuid = header("X-Agent-GUID");
    let known = site.agents().get(uuid).is_some();
    let key = &site.config.server.token_generation_key;
    if !known || !token::verify(key, uuid, header(AUTHORIZATION.as_str())) {
        tracing::warn!(agent = uuid, action, "stand-in: denied: unknown agent or wrong token");
        return (StatusCode::FORBIDDEN, "unknown agent, or not its token").into_response();
    }
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    if request.agent().identifier.uuid != uuid {
        return (StatusCode::FORBIDDEN, "the agent speaks for another").into_response();
    }
    serve(&site, &action, request).await
}

async fn serve(site: &Site, action: &str, request: Request) -> Response {
    // A process that asks for its cookie has none, or an old one.
    if !matches!(request, Request::GetCookieRequest { .. })
        && let Err(response) = hear(site, request.agent())
    {
        return response;
    }
    match (action, request) {
        ("ping", Request::PingRequest { .. }) => Json("NONE").into_response(),
        ("get_cookie", Request::GetCookieRequest { agent_runtime_info }) => {
            give_cookie(site, &agent_runtime_info.identifier.uuid).await
        }
        ("get_work", Request::GetWorkRequest { agent_runtime_info }) => {
            give_work(site, &agent_runtime_info.identifier.uuid).await
        }
        (
            "report_current_status",
            Request::ReportCurrentStatusRequest { agent_runtime_info: agent, job_identifier, job_state },
        ) => accepted(site.database.report(job_identifier.build_id, &agent.identifier.uuid, job_state).await),
        (
            "report_completing",
            Request::ReportCompleteStatusRequest { agent_runtime_info: agent, job_identifier, .. },
        ) => {
            let completing = crate::wire::JobState::Completing;
            accepted(site.database.report(job_identifier.build_id, &agent.identifier.uuid, completing).await)
        }
        (
            "report_completed",
            Request::ReportCompleteStatusRequest { agent_runtime_info: agent, job_identifier, job_result },
        ) => {
            tracing::info!(job = job_identifier.locator(), result = ?job_result, "stand-in: job completed");
            match site.artifacts.keep_console(&job_identifier, job_result) {
                Ok(false) => {}
                Ok(true) => tracing::warn!(job = job_identifier.locator(), "stand-in: its artifacts are there already"),
                Err(error) => tracing::error!(job = job_identifier.locator(), "stand-in: no console log: {error}"),
            }
            accepted(site.database.complete(job_identifier.build_id, &agent.identifier.uuid, job_result).await)
        }
        ("is_ignored", Request::IsIgnoredRequest { job_identifier, .. }) => {
            match site.database.is_ignored(job_identifier.build_id).await {
                Ok(ignored) => Json(ignored).into_response(),
                Err(error) => api::failure(&error.to_string()),
            }
        }
        (action, _) => (StatusCode::BAD_REQUEST, format!("the message is not one for {action}")).into_response(),
    }
}

#[expect(clippy::result_large_err, reason = "the error is the answer, made once and sent")]
fn hear(site: &Site, agent: &AgentRuntimeInfo) -> Result<(), Response> {
    site.agents().heard(agent, clock::now()).map_err(|unwelcome| match unwelcome {
        Unwelcome::Unknown => (StatusCode::FORBIDDEN, "unknown agent").into_response(),
        Unwelcome::DuplicateUuid => {
            let uuid = &agent.identifier.uuid;
            api::failure(&format!("agent {uuid} has a cookie that is not the latest: duplicate uuid"))
        }
    })
}

async fn give_cookie(site: &Site, uuid: &str) -> Response {
    let cookie = Uuid::new_v4().to_string();
    if let Err(error) = site.database.set_cookie(uuid, &cookie).await {
        return api::failure(&error.to_string());
    }
    site.agents().set_cookie(uuid, &cookie);
    cookie.into_response()
}

/// A job, if one waits. An agent that asks while it has one has abandoned it: that one runs again.
async fn give_work(site: &Site, uuid: &str) -> Response {
    if site.agents().get(uuid).is_some_and(|agent| agent.row.disabled) {
        return Json(Work::DeniedAgentWork).into_response();
    }
    match site.database.reschedule_jobs_of(uuid).await {
        Ok(0) => {}
        Ok(jobs) => tracing::warn!(agent = uuid, jobs, "stand-in: agent asks for work and had some; it runs again"),
        Err(error) => return api::failure(&error.to_string()),
    }
    if site.maintenance.is_on() {
        return Json(Work::NoWork).into_response();
    }
    match site.database.assign(uuid).await {
        Ok(None) => Json(Work::NoWork).into_response(),
        Ok(Some(job_identifier)) => {
            tracing::info!(job = job_identifier.locator(), agent = uuid, "stand-in: job assigned");
            let builders = builders(site, &job_identifier);
            let assignment = Assignment { fetch_materials: false, builders, job_identifier };
            Json(Work::BuildWork { assignment, console_log_charset: "UTF-8".to_owned() }).into_response()
        }
        Err(error) => api::failure(&error.to_string()),
    }
}

/// The tasks of the job as the configuration has them now; none for a job that is no longer in it.
fn builders(site: &Site, job: &JobIdentifier) -> Vec<Builder> {
    let commands = site
        .config
        .pipelines()
        .filter(|pipeline| pipeline.name == job.pipeline_name)
        .filter_map(|pipeline| pipeline.first_job())
        .flat_map(|(_, job)| job.commands());
    commands
        .map(|Exec { command, arg }| Builder::CommandBuilderWithArgList { command: command.clone(), args: arg.clone() })
        .collect()
}

fn accepted(reported: Result<(), ReportError>) -> Response {
    match reported {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => api::failure(&error.to_string()),
    }
}
