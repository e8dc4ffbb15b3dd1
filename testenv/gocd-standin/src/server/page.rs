//! Not GoCD's: a landing page that says what this is, and the list of runs for people and checkers.

use std::sync::Arc;

use axum::extract::Query;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Deserialize;

use super::{Site, api};
use crate::VERSION;

/// `/`, `/go` and `/go/stand-in/runs`.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to("/go/pipelines") }))
        .route("/go", get(landing))
        .route("/go/pipelines", get(landing))
        .route("/go/stand-in/runs", get(runs))
}

async fn landing() -> Html<String> {
    Html(format!(
        "<!DOCTYPE html><title>GoCD (stand-in)</title><h1>A stand-in for a GoCD server</h1>\
         <p>Version {VERSION}. This is not GoCD; it is a double for failover drills.\
         <p><a href=\"/go/stand-in/runs\">Runs</a>"
    ))
}

#[derive(Deserialize)]
struct Wanted {
    limit: Option<u16>,
}

/// The latest runs, newest first; `?limit=N`, 100 by default.
async fn runs(Extension(site): Extension<Arc<Site>>, Query(wanted): Query<Wanted>) -> Response {
    match site.database.runs(i64::from(wanted.limit.unwrap_or(100))).await {
        Ok(runs) => Json(runs).into_response(),
        Err(error) => api::failure(&error.to_string()),
    }
}
