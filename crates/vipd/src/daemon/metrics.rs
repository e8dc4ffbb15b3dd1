//! `GET /metrics` in the text format of Prometheus, and `GET /healthz`: whether the loop turns.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bc_model::vip::{InstanceStatus, VipStatus};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use vrrp::Discard;

use super::control::{Call, Reply};
use super::door;
use super::edge::Counters;
use super::protocol::{Answer, Request};
use crate::config::Name;

/// How long the loop may take to answer before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections at the same time; whoever else comes waits until one has ended.
const CONNECTIONS: usize = 16;
/// How long one may take, question and answer.
const LONGEST: Duration = Duration::from_secs(5);

/// The server; gone when dropped.
pub struct Server {
    listener: socket2::Socket,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves at `listen` what the loop says.
    ///
    /// # Errors
    /// What bind(2) and listen(2) say.
    pub fn open(listen: SocketAddr, calls: mpsc::Sender<Call>) -> io::Result<Self> {
        let own = std::net::TcpListener::bind(listen)?;
        own.set_nonblocking(true)?;
        let listener = TcpListener::from_std(own.try_clone()?)?;
        let task = tokio::spawn(async move {
            let slots = Arc::new(Semaphore::new(CONNECTIONS));
            while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
                let (stream, _) = door::next(|| listener.accept()).await;
                let calls = calls.clone();
                tokio::spawn(async move {
                    let served = timeout(LONGEST, serve(stream, &calls)).await;
                    if !matches!(served, Ok(Ok(()))) {
                        tracing::debug!(?served, "metrics");
                    }
                    drop(slot);
                });
            }
        });
        Ok(Self { listener: own.into(), task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // The task ends with its next turn; its port is to be free for the next server now.
        let _ = self.listener.shutdown(std::net::Shutdown::Both);
    }
}

/// One request and its answer.
async fn serve(stream: TcpStream, calls: &mpsc::Sender<Call>) -> hyper::Result<()> {
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, calls).await) });
    http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer).await
}

async fn answer(request: &hyper::Request<Incoming>, calls: &mpsc::Sender<Call>) -> Response<String> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, text) = match request.uri().path() {
        "/metrics" | "/healthz" if !get => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, String::new()),
        "/metrics" => match ask(calls).await {
            Some(text) => (StatusCode::OK, METRICS, text),
            None => (StatusCode::SERVICE_UNAVAILABLE, METRICS, String::new()),
        },
        "/healthz" => match ask(calls).await {
            Some(_) => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            None => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the loop does not answer\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, PLAIN, String::new()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

async fn ask(calls: &mpsc::Sender<Call>) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        calls.send(Call { request: Request::Metrics, reply, client: None }).await.ok()?;
        match answer.await.ok()? {
            Reply::One(Answer::Metrics { text }) => Some(text),
            Reply::One(_) | Reply::Stream(..) => None,
        }
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}

/// The metrics as text. Names need no quoting: see [`Name`](crate::config::Name). Pure.
#[must_use]
pub fn render(status: &VipStatus, checks: &[(&Name, bool)], counters: &Counters) -> String {
    let mut text = String::new();
    let totals = [
        ("advertisements_sent", "Advertisements that were sent.", counters.advertisements),
        ("advertisements_unsent", "Advertisements that could not be sent.", counters.unsent),
        ("announcements", "Frames that announced an address.", counters.announcements),
        ("stray_packets", "VRRP packets for no virtual router of ours.", counters.strays),
        ("lease_renewals", "Renewals of leases.", counters.renewals),
    ];
    for (name, help, value) in totals {
        family(&mut text, &format!("{name}_total"), help, "counter");
        let _ = writeln!(text, "vipd_{name}_total {value}");
    }
    let instances = status.instances.as_deref().unwrap_or_default();
    let mut each = |name: &str, help: &str, kind: &str, value: &dyn Fn(&InstanceStatus) -> Option<u64>| {
        family(&mut text, name, help, kind);
        for instance in instances {
            if let Some(value) = value(instance) {
                let _ = writeln!(text, "vipd_{name}{{instance=\"{}\"}} {value}", instance.name);
            }
        }
    };
    each("active", "1 if the instance is Active.", "gauge", &|one| Some(u64::from(one.state == "Active")));
    each("waiting", "1 if the instance cannot run.", "gauge", &|one| Some(u64::from(one.waiting.is_some())));
    each("priority", "Priority after all weights.", "gauge", &|one| one.priority.map(u64::from));
    each("state_age_seconds", "Since the state changed.", "gauge", &|one| Some(one.state_age_ms / 1000));
    each("advertisements_received_total", "Advertisements that were accepted.", "counter", &|one| Some(one.received));
    each("conflicts_total", "Claims of other hosts to its addresses.", "counter", &|one| Some(one.conflicts));
    let restores = "How often addresses that somebody removed were put back.";
    each("restores_total", restores, "counter", &|one| Some(one.restores));
    let mut each_kind =
        |name: &str, help: &str, kind: &str, counts: &dyn Fn(&InstanceStatus) -> &BTreeMap<String, u64>| {
            family(&mut text, name, help, "counter");
            for instance in instances {
                for (label, count) in counts(instance) {
                    let _ = writeln!(text, "vipd_{name}{{instance=\"{}\",{kind}=\"{label}\"}} {count}", instance.name);
                }
            }
        };
    let discards = "Packets that were discarded, by reason; one that has not happened is not there.";
    each_kind("packets_discarded_total", discards, "reason", &|one| &one.discards);
    let notices = "Advertisements that were accepted although something about them was odd, by what.";
    each_kind("notices_total", notices, "notice", &|one| &one.notices);
    family(&mut text, "check_up", "1 if the check is up; none before its first run has ended.", "gauge");
    for (name, up) in checks {
        let _ = writeln!(text, "vipd_check_up{{check=\"{name}\"}} {}", u8::from(*up));
    }
    let malformed = "Packets that no router could be found for, because their IP header is wrong.";
    family(&mut text, "malformed_packets_total", malformed, "counter");
    for why in Discard::ALL {
        let count = counters.malformed.discarded(why);
        if count > 0 {
            let _ = writeln!(text, "vipd_malformed_packets_total{{reason=\"{}\"}} {count}", why.label());
        }
    }
    text
}

fn family(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP vipd_{name} {help}\n# TYPE vipd_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_follows_its_type() {
        let instance = InstanceStatus {
            name: "web".into(),
            mode: "managed".into(),
            interface: "eth0".into(),
            state: "Active".into(),
            state_age_ms: 2500,
            waiting: None,
            virtual_router_id: None,
            priority: None,
            configured_priority: None,
            weights: BTreeMap::new(),
            checks: Vec::new(),
            active: None,
            addresses: Vec::new(),
            lease: String::new(),
            received: 0,
            discarded: 3,
            discards: [("ttl".to_owned(), 3)].into(),
            conflicts: 2,
            restores: 0,
            notices: BTreeMap::new(),
        };
        let status =
            VipStatus { schema: 1, addresses: Vec::new(), instances: Some(vec![instance]), daemon_error: None };
        let text =
            render(&status, &[(&Name::new("db").unwrap(), false)], &Counters { renewals: 7, ..Counters::default() });
        assert!(text.contains("# TYPE vipd_lease_renewals_total counter\nvipd_lease_renewals_total 7\n"), "{text}");
        assert!(text.contains("# TYPE vipd_active gauge\nvipd_active{instance=\"web\"} 1\n"), "{text}");
        let discards = "vipd_packets_discarded_total{instance=\"web\",reason=\"ttl\"} 3\n";
        assert!(text.contains(discards), "{text}");
        assert!(text.contains("vipd_check_up{check=\"db\"} 0\n"), "{text}");
        assert!(text.contains("vipd_conflicts_total{instance=\"web\"} 2\n"), "{text}");
        assert!(!text.contains("vipd_priority{"), "a managed instance has none:\n{text}");
    }
}
