//! How an agent becomes known to a server: once in its life (GoCD: SslInfrastructureService).

use axum::http::{HeaderMap, Method, StatusCode};

use super::link::Link;
use super::session::{Session, SessionError};

/// Asks for a token and for approval; keeps the token when it is approved.
///
/// # Errors
///
/// [`SessionError`], also when the server has not approved the agent yet; the loop tries again.
pub(super) async fn register(session: &Session, link: &mut Link, key: &str) -> Result<(), SessionError> {
    tracing::info!("stand-in: [Agent Registration] starting to register");
    let uuid = session.identity().uuid();
    let path = format!("/admin/agent/token?{}", form(&[("uuid", uuid)]));
    let token = link.send(Method::GET, &path, &HeaderMap::new(), "text/plain", String::new()).await?;
    if token.status != StatusCode::OK {
        return Err(SessionError::refused("token", token));
    }
    let hostname = session.hostname();
    let fields = [
        ("hostname", hostname),
        ("uuid", uuid),
        ("location", session.location()),
        ("usablespace", "0"),
        ("operatingSystem", "Linux"),
        ("agentAutoRegisterKey", key),
        ("agentAutoRegisterResources", ""),
        ("agentAutoRegisterEnvironments", ""),
        ("agentAutoRegisterHostname", hostname),
        ("elasticAgentId", ""),
        ("elasticPluginId", ""),
        ("token", &token.body),
    ];
    let content_type = "application/x-www-form-urlencoded";
    let answer = link.send(Method::POST, "/admin/agent", &HeaderMap::new(), content_type, form(&fields)).await?;
    if answer.status != StatusCode::OK {
        return Err(SessionError::refused("registration", answer));
    }
    session.identity().keep_token(&token.body)?;
    tracing::info!("stand-in: [Agent Registration] this agent is now approved by the server");
    Ok(())
}

/// `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&")
}

fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'*' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn fields_are_encoded() {
        assert_eq!(
            form(&[("token", "a+/="), ("empty", ""), ("name", "ä b")]),
            "token=a%2B%2F%3D&empty=&name=%C3%A4%20b"
        );
    }
}
