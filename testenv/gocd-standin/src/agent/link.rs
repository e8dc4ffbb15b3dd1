//! HTTP to the one address the agent knows, with the habits of the agent's client: connections are kept and used again,
//! `SO_KEEPALIVE` is on with the system's times, and there is no timeout of any kind (GoCD: GoAgentServerHttpClientBuilder).
//!
//! So a request that is in flight when the server's host vanishes waits for the kernel to give up.

use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use thiserror::Error;
use tokio::net::TcpStream;

/// A way to the server, with one connection that is opened when it is needed.
pub(super) struct Link {
    host: String,
    port: u16,
    context: String,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    local_address: String,
}

/// What the server answered.
pub(super) struct Answer {
    /// Status.
    pub(super) status: StatusCode,
    /// Headers.
    pub(super) headers: HeaderMap,
    /// Body, as text.
    pub(super) body: String,
}

/// The server's URL cannot be used.
#[derive(Debug, Error)]
#[error("server URL {url}: expected http://HOST[:PORT]/go")]
pub(crate) struct UrlError {
    url: String,
}

/// The request got no answer.
#[derive(Debug, Error)]
pub(crate) enum LinkError {
    /// No connection.
    #[error("cannot connect to {host}:{port}: {source}")]
    Connect { host: String, port: u16, source: std::io::Error },
    /// The connection broke, or the answer is not HTTP.
    #[error("no answer: {0}")]
    Broken(#[from] hyper::Error),
    /// A request that cannot be written down.
    #[error("bad request: {0}")]
    Request(#[from] axum::http::Error),
}

impl Clone for Link {
    /// The same address, with a connection of its own.
    fn clone(&self) -> Self {
        Self { host: self.host.clone(), port: self.port, context: self.context.clone(), connection: None }
    }
}

impl Link {
    /// Reads `http://HOST[:PORT]/CONTEXT`.
    ///
    /// # Errors
    ///
    /// When it is not of that form.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let error = || UrlError { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| error())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(error)?;
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            context: uri.path().trim_end_matches('/').to_owned(),
            connection: None,
        })
    }

    /// The address by which this host reaches the server; empty before the first connection.
    pub(super) fn local_address(&self) -> &str {
        self.connection.as_ref().map_or("", |connection| &connection.local_address)
    }

    /// Sends a request and waits for its answer, for as long as the kernel does.
    ///
    /// # Errors
    ///
    /// [`LinkError`]; the connection is given up, and the server may or may not have acted.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        content_type: &'static str,
        body: String,
    ) -> Result<Answer, LinkError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.context))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(body)))?;
        request.headers_mut().extend(headers.clone());

        let mut connection = match self.connection.take() {
            Some(connection) if !connection.sender.is_closed() => connection,
            _ => self.connect().await?,
        };
        let response = connection.sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        // Only a connection that has answered whole is used again.
        if connection.sender.ready().await.is_ok() {
            self.connection = Some(connection);
        }
        Ok(Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    async fn connect(&self) -> Result<Connection, LinkError> {
        let failed = |source| LinkError::Connect { host: self.host.clone(), port: self.port, source };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        SockRef::from(&stream).set_keepalive(true).map_err(failed)?;
        let local_address = stream.local_addr().map_err(failed)?.ip().to_string();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its error is also the request's, which says it.
            connection.await.ok();
        });
        Ok(Connection { sender, local_address })
    }
}

#[cfg(test)]
mod tests {
    use super::Link;

    #[test]
    fn a_url_names_host_port_and_context() {
        let parts = |url| Link::parse(url).map(|link| (link.host, link.port, link.context)).ok();
        let expected = |host: &str, port, context: &str| Some((host.to_owned(), port, context.to_owned()));
        assert_eq!(parts("http://198.18.5.200:8153/go"), expected("198.18.5.200", 8153, "/go"));
        assert_eq!(parts("http://gocd/go/"), expected("gocd", 80, "/go"));
        for url in ["https://gocd:8154/go", "gocd:8153", "/go", ""] {
            assert_eq!(parts(url), None, "{url}");
        }
    }
}
