//! `GET /metrics` in the text format of Prometheus, and `GET /healthz`: whether the loop turns.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bc_model::vip::{InstanceStatus, VipStatus};
use tokio::sync::{mpsc, oneshot};

use super::control::{Call, Reply};
use super::edge::Counters;
use super::protocol::{Answer, Request};

/// How long the loop may take to answer before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(1);

/// The server; gone when dropped.
pub struct Server {
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves at `listen` what the loop says.
    ///
    /// # Errors
    /// What bind(2) and listen(2) say.
    pub fn open(listen: SocketAddr, calls: mpsc::Sender<Call>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let routes = Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(calls);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::warn!(%error, "metrics");
            }
        });
        Ok(Self { task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn metrics(State(calls): State<mpsc::Sender<Call>>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    match ask(&calls).await {
        Some(text) => (StatusCode::OK, kind, text),
        None => (StatusCode::SERVICE_UNAVAILABLE, kind, String::new()),
    }
}

async fn health(State(calls): State<mpsc::Sender<Call>>) -> impl IntoResponse {
    match ask(&calls).await {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the loop does not answer\n"),
    }
}

async fn ask(calls: &mpsc::Sender<Call>) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        calls.send(Call { request: Request::Metrics, reply }).await.ok()?;
        match answer.await.ok()? {
            Reply::One(Answer::Metrics { text }) => Some(text),
            Reply::One(_) | Reply::Stream(..) => None,
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// The metrics as text. Names need no quoting: see [`Name`](crate::config::Name). Pure.
#[must_use]
pub fn render(status: &VipStatus, counters: &Counters) -> String {
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
    each("packets_discarded_total", "Packets that were discarded.", "counter", &|one| Some(one.discarded));
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
            active: None,
            addresses: Vec::new(),
            lease: String::new(),
            received: 0,
            discarded: 0,
        };
        let status = VipStatus { schema: 1, addresses: Vec::new(), instances: Some(vec![instance]) };
        let text = render(&status, &Counters { renewals: 7, ..Counters::default() });
        assert!(text.contains("# TYPE vipd_lease_renewals_total counter\nvipd_lease_renewals_total 7\n"), "{text}");
        assert!(text.contains("# TYPE vipd_active gauge\nvipd_active{instance=\"web\"} 1\n"), "{text}");
        assert!(!text.contains("vipd_priority{"), "a managed instance has none:\n{text}");
    }
}
