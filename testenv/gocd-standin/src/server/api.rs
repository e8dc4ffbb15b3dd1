//! The API that people and probes use (GoCD: spark/SparkPreFilter, ServerHealthController, VersionController, AgentsController,
//! DashboardController). Bodies are cut down to what a probe reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Extension;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::agents::{Agent, AgentState};
use super::{Site, access};
use crate::wire::MEDIA_TYPE;
use crate::{VERSION, clock};

/// Routes under `/go/api`, each with the version of its API.
pub(super) fn routes() -> Router {
    let versioned = |version: u8| from_fn_with_state(version, require_version);
    Router::new()
        .route("/go/api/v1/health", get(health))
        .route("/go/api/version", get(version).layer(versioned(1)))
        .route("/go/api/agents", get(agents).layer(versioned(7)))
        .route("/go/api/dashboard", get(dashboard).layer(from_fn(access::require_administrator)).layer(versioned(4)))
}

/// What GoCD says to a path, or an Accept header, that it does not know.
pub(super) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "The url you are trying to reach appears to be incorrect.").into_response()
}

/// Lets a request through if its Accept header names the latest version of the API, or this one.
pub(super) async fn require_version(State(version): State<u8>, request: Request, next: Next) -> Response {
    if accepts(request.headers(), version) { next.run(request).await } else { not_found().await }
}

/// Whether the Accept header is exactly the latest version, or exactly this one.
pub(super) fn accepts(headers: &HeaderMap, version: u8) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept == MEDIA_TYPE || accept == format!("application/vnd.go.cd.v{version}+json")
}

/// A body of a versioned API.
pub(super) fn answer(version: u8, body: &Value) -> Response {
    ([(CONTENT_TYPE, format!("application/vnd.go.cd.v{version}+json; charset=utf-8"))], format!("{body:#}"))
        .into_response()
}

/// Constant: it looks at neither the database nor the disk.
async fn health() -> Response {
    answer(1, &json!({ "health": "OK" }))
}

async fn version() -> Response {
    let full = format!("{VERSION} (0-stand-in)");
    answer(1, &json!({ "version": VERSION, "build_number": "0", "git_sha": "stand-in", "full_version": full }))
}

async fn agents(Extension(site): Extension<Arc<Site>>) -> Response {
    let agents: Vec<Value> = site.agents().states(clock::now()).map(describe).collect();
    answer(7, &json!({ "_embedded": { "agents": agents } }))
}

fn describe((agent, state): (&Agent, AgentState)) -> Value {
    let info = agent.info.as_ref();
    json!({
        "uuid": agent.row.uuid,
        "hostname": agent.row.hostname,
        "ip_address": agent.row.ip_address,
        "sandbox": info.map_or("", |info| &info.location),
        "operating_system": info.map_or("", |info| &info.operating_system_name),
        "agent_config_state": if agent.row.disabled { "Disabled" } else { "Enabled" },
        "agent_state": format!("{state:?}"),
        "agent_version": info.map_or("", |info| &info.agent_version),
        "build_state": if state == AgentState::Building { "Building" } else { "Idle" },
        "free_space": info.map_or_else(|| json!("unknown"), |info| json!(info.usable_space)),
        "environments": [],
        "resources": [],
    })
}

/// 202 until it was loaded, then 200, and only if the database can be read: the best sign that a server is of use.
async fn dashboard(Extension(site): Extension<Arc<Site>>) -> Response {
    if !site.dashboard_loaded.load(Ordering::Relaxed) {
        let message =
            json!({ "message": "Dashboard is being processed, this may take a few seconds. Please check back later." });
        return (StatusCode::ACCEPTED, answer(4, &message)).into_response();
    }
    let runs = match site.database.runs(1000).await {
        Ok(runs) => runs,
        Err(error) => return failure(&error.to_string()),
    };
    let pipelines: Vec<Value> = site
        .config
        .pipelines()
        .map(|pipeline| {
            let latest = runs.iter().find(|run| run.pipeline == pipeline.name);
            let instances: Vec<Value> =
                latest.iter().map(|run| json!({ "label": run.counter.to_string(), "counter": run.counter })).collect();
            json!({ "name": pipeline.name, "locked": false, "_embedded": { "instances": instances } })
        })
        .collect();
    answer(4, &json!({ "_embedded": { "pipelines": pipelines } }))
}

/// 500 with a message, and a line in the log.
pub(super) fn failure(message: &str) -> Response {
    tracing::error!("stand-in: {message}");
    (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(json!({ "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::accepts;
    use axum::http::header::ACCEPT;
    use axum::http::{HeaderMap, HeaderValue};

    #[test]
    fn only_the_exact_accept_header_finds_the_api() {
        let table = [
            ("application/vnd.go.cd+json", true),
            ("application/vnd.go.cd.v7+json", true),
            ("application/vnd.go.cd.v6+json", false),
            ("application/vnd.go.cd+json, */*", false),
            ("application/json", false),
            ("*/*", false),
        ];
        for (accept, expected) in table {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts(&headers, 7), expected, "{accept}");
        }
        assert!(!accepts(&HeaderMap::new(), 7));
    }
}
