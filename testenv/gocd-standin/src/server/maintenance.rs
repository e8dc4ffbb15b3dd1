//! Maintenance mode: in memory, so it ends with the process; on from the start if the JVM is told so (GoCD: MaintenanceModeService,
//! MaintenanceModeControllerV1, ModeAwareFilter).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::access::{self, Caller};
use super::{Site, api};
use crate::{clock, jvm};

/// With `=true` the server starts in maintenance mode: at this start, and at every other that it is told at.
pub(super) const PROPERTY: &str = "gocd.server.start.in.maintenance.mode";
const BASE: &str = "/go/api/admin/maintenance_mode/";

/// Whether the server is in maintenance mode, and since when.
pub(super) struct Maintenance(Mutex<Mode>);

#[derive(Clone)]
struct Mode {
    on: bool,
    updated_by: String,
    updated_on: Timestamp,
}

impl Maintenance {
    /// The mode at boot.
    pub(super) fn at_boot(options: &jvm::Options) -> Self {
        let on = options.get(PROPERTY) == Some("true");
        if on {
            tracing::info!("stand-in: starts in maintenance mode");
        }
        Self(Mutex::new(Mode { on, updated_by: "GoCD".to_owned(), updated_on: clock::timestamp() }))
    }

    /// Whether it is on: no timer triggers, no job is assigned, nothing is written but by agents.
    pub(super) fn is_on(&self) -> bool {
        self.mode().on
    }

    /// Switches it; false if it was so already.
    fn switch(&self, on: bool, by: &str) -> bool {
        let mut mode = self.mode();
        if mode.on == on {
            return false;
        }
        *mode = Mode { on, updated_by: by.to_owned(), updated_on: clock::timestamp() };
        tracing::info!(on, by, "stand-in: maintenance mode");
        true
    }

    fn mode(&self) -> MutexGuard<'_, Mode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Routes for administrators.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/go/api/admin/maintenance_mode/info", get(info))
        .route("/go/api/admin/maintenance_mode/enable", post(enable))
        .route("/go/api/admin/maintenance_mode/disable", post(disable))
        .layer(from_fn(access::require_administrator))
        .layer(from_fn_with_state(1, api::require_version))
}

/// Refuses what would write while the mode is on. Agents go on, and the mode itself can be ended.
pub(super) async fn block(Extension(site): Extension<Arc<Site>>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    let exempt = path.starts_with("/go/remoting/") || path.starts_with(BASE);
    if reads || exempt || !site.maintenance.is_on() {
        return next.run(request).await;
    }
    let body = Json(json!({ "message": "server is in maintenance mode, please try later." }));
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "60")], body).into_response()
}

async fn enable(Extension(site): Extension<Arc<Site>>, caller: Caller, headers: HeaderMap) -> Response {
    switch(&site, true, &caller, &headers)
}

async fn disable(Extension(site): Extension<Arc<Site>>, caller: Caller, headers: HeaderMap) -> Response {
    switch(&site, false, &caller, &headers)
}

fn switch(site: &Site, on: bool, caller: &Caller, headers: &HeaderMap) -> Response {
    let (verb, state) = if on { ("enable", "already") } else { ("disable", "not") };
    let message = |text: String| Json(json!({ "message": text }));
    if headers.get("X-GoCD-Confirm").is_none_or(|value| value != "true") {
        return (StatusCode::BAD_REQUEST, message("Missing required header 'X-GoCD-Confirm'".to_owned()))
            .into_response();
    }
    if site.maintenance.switch(on, &caller.0) {
        return StatusCode::NO_CONTENT.into_response();
    }
    let text = format!("Failed to {verb} maintenance mode. Server is {state} in maintenance mode.");
    (StatusCode::CONFLICT, message(text)).into_response()
}

/// The mode and, while it is on, what still runs.
async fn info(Extension(site): Extension<Arc<Site>>) -> Response {
    let mode = site.maintenance.mode().clone();
    let mut body = json!({
        "is_maintenance_mode": mode.on,
        "metadata": { "updated_by": mode.updated_by, "updated_on": mode.updated_on.to_string() },
    });
    if mode.on {
        let jobs = match site.database.unfinished_jobs().await {
            Ok(jobs) => jobs,
            Err(error) => return api::failure(&error.to_string()),
        };
        let (scheduled, building): (Vec<Value>, Vec<Value>) =
            jobs.into_iter().partition(|job| job["state"] == "Scheduled");
        body["attributes"] = json!({
            "has_running_systems": !building.is_empty(),
            "running_systems": {
                "material_update_in_progress": [], "building_jobs": building, "scheduled_jobs": scheduled,
            },
        });
    }
    api::answer(1, &body)
}
