//! A client of the virtual IP: four echo requests a millisecond, through its own kernel and neighbour table.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::frame::{Frame, echo_request};
use super::world::Namespace;

/// An outage of 12 ms is to be compared to the hundredth.
const PACE: Duration = Duration::from_micros(250);

/// Asks until it is dropped.
pub struct Client {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    pub fn new(namespace: &Namespace, vip: Ipv4Addr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let ask = move || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("CAP_NET_RAW");
            let to = SocketAddr::from((vip, 0)).into();
            let mut next = Instant::now();
            for number in 0_u32.. {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                // While nobody has the address the kernel may refuse; that is an outage and shows as one.
                let _ = socket.send_to(&echo_request(number), &to);
                // Who was not scheduled does not make up for it with a burst.
                next = (next + PACE).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        };
        Self { stop, thread: Some(namespace.enter(ask)) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A time without an answer: from the first request that nobody answered to the next that somebody did.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    pub since: Duration,
    pub until: Duration,
}

/// The longest silence that ended. `None` if every request was answered, or none after the silence.
pub fn longest_silence(frames: &[Frame], vip: Ipv4Addr) -> Option<Silence> {
    let mut requests: BTreeMap<u32, (Duration, bool)> = BTreeMap::new();
    for frame in frames {
        match frame.echo() {
            Some(echo) if echo.request && echo.destination == vip => {
                requests.entry(echo.number).or_insert((frame.at, false));
            }
            Some(echo) if !echo.request && echo.source == vip => {
                requests.entry(echo.number).and_modify(|(_, answered)| *answered = true);
            }
            _ => {}
        }
    }
    let mut silences = Vec::new();
    let mut silent_since = None;
    for (at, answered) in requests.into_values() {
        match (answered, silent_since) {
            (false, None) => silent_since = Some(at),
            (true, Some(since)) => {
                silences.push(Silence { since, until: at });
                silent_since = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
    }
    silences.into_iter().max_by_key(|silence| silence.until - silence.since)
}
