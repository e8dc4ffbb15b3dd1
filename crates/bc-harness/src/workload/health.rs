//! The health watcher: a new connection every 100 ms to the virtual IP, and four a second to each GoCD server.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::Tasks;
use crate::clock::{self, Moment};
use crate::history::{Endpoint, Event, Recorder};
use crate::http;

const PATH: &str = "/go/api/v1/health";
/// A client that gets no answer for so long gives up and tries again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches `endpoints`.
pub(crate) fn watch(tasks: &mut Tasks, endpoints: [(Endpoint, SocketAddrV4); 3], recorder: &Recorder) {
    for (endpoint, address) in endpoints {
        let interval = Duration::from_millis(if endpoint == Endpoint::Vip { 100 } else { 250 });
        tasks.spawn(watch_one(endpoint, address, interval, recorder.clone()));
    }
}

async fn watch_one(endpoint: Endpoint, address: SocketAddrV4, interval: Duration, recorder: Recorder) {
    loop {
        let began = Moment::now();
        let (status, detail) = match http::get(address, PATH, "*/*", PATIENCE).await {
            Ok(answer) => (Some(answer.status), String::new()),
            Err(error) => (None, error),
        };
        recorder.since(began, Event::Health { endpoint, status, detail });
        clock::pause(interval).await;
    }
}
