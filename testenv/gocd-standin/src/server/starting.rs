//! What every path answers until the server is up (GoCD: GoServerLoadingIndicationHandler).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Phase;

/// Lets a request through, with the site attached, once the server is up; 503 before.
pub(super) async fn gate(State(phase): State<Phase>, mut request: Request, next: Next) -> Response {
    let Some(site) = phase.get() else { return starting(request.headers()) };
    request.extensions_mut().insert(Arc::clone(site));
    next.run(request).await
}

fn starting(headers: &HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = preferred(accept);
    let (content_type, body) = if wanted.contains("json") {
        ("application/json", "{ \"message\": \"GoCD server is starting\" }")
    } else if wanted.contains("html") {
        ("text/html", "<!DOCTYPE html><title>GoCD (stand-in)</title><p>GoCD server is starting (stand-in)")
    } else {
        ("text/plain", "GoCD server is starting")
    };
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache, must-revalidate, no-store")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body).into_response()
}

/// The media type that the client likes best: of those with the highest quality, the first. HTML when it names none.
fn preferred(accept: &str) -> &str {
    let mut best = ("", 0.0);
    for item in accept.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        if !name.is_empty() && quality > best.1 {
            best = (name, quality);
        }
    }
    if best.0.is_empty() { "text/html" } else { best.0 }
}

#[cfg(test)]
mod tests {
    use super::preferred;

    #[test]
    fn the_media_type_with_the_highest_quality_wins() {
        let table = [
            ("", "text/html"),
            ("application/json", "application/json"),
            ("text/html, application/json", "text/html"),
            ("text/html;q=0.5, application/vnd.go.cd+json", "application/vnd.go.cd+json"),
            ("*/*", "*/*"),
        ];
        for (accept, expected) in table {
            assert_eq!(preferred(accept), expected, "{accept}");
        }
    }
}
