//! One HTTP GET over one new connection, with a deadline: what a browser or an agent that knows nothing would do.

use std::net::SocketAddrV4;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Body as text.
    pub(crate) body: String,
}

/// A body longer than this is not read.
const LONGEST_BODY: usize = 4 << 20;

/// Asks `address` for `path`.
///
/// # Errors
/// In words: refused, timed out, not HTTP.
pub(crate) async fn get(address: SocketAddrV4, path: &str, accept: &str, limit: Duration) -> Result<Answer, String> {
    let asked = tokio::time::timeout(limit, ask(address, path, accept)).await;
    asked.map_err(|_| format!("no answer within {} ms", limit.as_millis()))?
}

async fn ask(address: SocketAddrV4, path: &str, accept: &str) -> Result<Answer, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| words(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    let request = hyper::Request::get(path)
        .header("host", address.to_string())
        .header("accept", accept)
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| words(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| words(&error))?;
        let status = response.status().as_u16();
        let body =
            Limited::new(response.into_body(), LONGEST_BODY).collect().await.map_err(|error| error.to_string())?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    };
    // The connection does the work while the exchange waits; both end together.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}
