//! How an agent becomes known (GoCD: AgentRegistrationController).

use std::sync::Arc;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Form, Router};
use serde::Deserialize;

use super::agents::AgentRow;
use super::{Site, api};
use crate::token;

/// Routes under `/go/admin`; none of them asks for a login.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/go/admin/agent/token", get(give_token))
        .route("/go/admin/agent", axum::routing::post(register))
        .route("/go/admin/latest-agent.status", get(latest_agent))
}

#[derive(Deserialize)]
struct TokenWanted {
    #[serde(default)]
    uuid: String,
}

/// 409 for an agent that has been given one: it must keep it.
async fn give_token(Extension(site): Extension<Arc<Site>>, Query(wanted): Query<TokenWanted>) -> Response {
    if wanted.uuid.is_empty() {
        return (StatusCode::UNPROCESSABLE_ENTITY, "UUID cannot be blank.").into_response();
    }
    if site.agents().get(&wanted.uuid).is_some() {
        return (StatusCode::CONFLICT, "A token has already been issued for this agent.").into_response();
    }
    token::generate(&site.config.server.token_generation_key, &wanted.uuid).into_response()
}

/// The fields the stand-in reads, of the twelve that an agent sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    hostname: String,
    uuid: String,
    token: String,
    #[serde(default)]
    agent_auto_register_key: String,
}

async fn register(Extension(site): Extension<Arc<Site>>, Form(form): Form<Registration>) -> Response {
    let server = &site.config.server;
    if form.uuid.is_empty() || form.hostname.is_empty() {
        return (StatusCode::UNPROCESSABLE_ENTITY, "hostname and uuid cannot be blank.").into_response();
    }
    if !token::verify(&server.token_generation_key, &form.uuid, &form.token) {
        return (StatusCode::FORBIDDEN, "Not a valid token.").into_response();
    }
    if site.agents().get(&form.uuid).is_some() {
        return StatusCode::OK.into_response();
    }
    let known_key = !server.agent_auto_register_key.is_empty();
    if !known_key || form.agent_auto_register_key != server.agent_auto_register_key {
        tracing::warn!(
            agent = form.uuid,
            hostname = form.hostname,
            "stand-in: agent waits for approval, which nobody gives here"
        );
        return StatusCode::ACCEPTED.into_response();
    }
    let row =
        AgentRow { uuid: form.uuid, cookie: None, hostname: form.hostname, ip_address: String::new(), disabled: false };
    if let Err(error) = site.database.register(&row).await {
        return api::failure(&error.to_string());
    }
    tracing::info!(agent = row.uuid, hostname = row.hostname, "stand-in: agent registered");
    site.agents().register(row);
    StatusCode::OK.into_response()
}

/// Checksums of what agents download. That of the plugins is another after every start, and agents relaunch.
async fn latest_agent(Extension(site): Extension<Arc<Site>>) -> Response {
    let headers = [
        ("Agent-Content-MD5", "stand-in"),
        ("Agent-Launcher-Content-MD5", "stand-in"),
        ("Agent-Plugins-Content-MD5", site.plugins_md5.as_str()),
        ("TFS-SDK-Content-MD5", "stand-in"),
    ];
    (headers, "").into_response()
}
