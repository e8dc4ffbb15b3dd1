//! Who may ask: a bearer token, kept hashed in the database, so it is as good at the other server (GoCD: AccessTokenService).
//! Without any token everybody is an administrator, as in a GoCD without security.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Site, api};

/// The name of whoever asks.
#[derive(Clone)]
pub(super) struct Caller(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self("anonymous".to_owned())))
    }
}

/// Lets administrators through; every token is an administrator's here.
pub(super) async fn require_administrator(mut request: Request, next: Next) -> Response {
    let Some(site) = request.extensions().get::<Arc<Site>>().cloned() else { return api::not_found().await };
    let granted = match site.database.tokens().await {
        Ok(granted) => granted,
        Err(error) => return api::failure(&error.to_string()),
    };
    let caller = match bearer(request.headers()) {
        _ if granted.is_empty() => "anonymous".to_owned(),
        Some(token) => match granted.iter().find(|known| known.matches(token)) {
            Some(known) => known.user.clone(),
            None => return unauthorized("Invalid Personal Access Token."),
        },
        None => return unauthorized("You are not authenticated!"),
    };
    request.extensions_mut().insert(Caller(caller));
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(message: &str) -> Response {
    let headers = [(WWW_AUTHENTICATE, "Basic realm=\"GoCD (stand-in)\"")];
    (StatusCode::UNAUTHORIZED, headers, Json(json!({ "message": message }))).into_response()
}

/// A token as the database has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HashedToken {
    /// Hex of SHA-256 over salt and token (GoCD: PBKDF2).
    pub(super) value: String,
    /// Its salt.
    pub(super) salt: String,
    /// Whose it is.
    pub(super) user: String,
}

impl HashedToken {
    /// Hashes a token that is granted to `user`.
    pub(super) fn new(token: &str, salt: &str, user: &str) -> Self {
        let hash = Sha256::new().chain_update(salt).chain_update(token).finalize();
        let value = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { value, salt: salt.to_owned(), user: user.to_owned() }
    }

    fn matches(&self, token: &str) -> bool {
        Self::new(token, &self.salt, &self.user) == *self
    }
}

#[cfg(test)]
mod tests {
    use super::{HashedToken, bearer};
    use axum::http::header::AUTHORIZATION;
    use axum::http::{HeaderMap, HeaderValue};

    #[test]
    fn only_the_token_itself_matches_its_hash() {
        let known = HashedToken::new("0123abcd", "salt", "bcctl");
        assert!(known.matches("0123abcd"));
        assert!(!known.matches("0123abce"));
        assert!(!known.matches(""));
        assert!(!known.matches(&known.value));
    }

    #[test]
    fn the_scheme_of_a_token_is_bearer() {
        let of = |text: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(text))]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("bearer x").as_deref(), Some("x"));
        assert_eq!(of("Bearer x").as_deref(), Some("x"));
        assert_eq!(of("Basic x"), None);
        assert_eq!(of("x"), None);
    }
}
