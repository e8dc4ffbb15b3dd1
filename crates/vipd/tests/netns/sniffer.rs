//! An observer that owns the wire: every frame on the bridge, in order.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pnet::datalink::{self, Channel, Config, DataLinkSender};

use crate::world::{PATIENCE, World};

/// IEEE 802 "local experimental Ethertype 1": nobody here speaks it.
const MARKER: [u8; 2] = [0x88, 0xb5];

/// Watches until it is dropped.
pub struct Sniffer {
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    mark: Box<dyn DataLinkSender>,
}

impl Sniffer {
    /// Watches the bridge from now on.
    pub fn new(world: &World) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (open, opened) = std::sync::mpsc::channel();
        let (to, until) = (Arc::clone(&seen), Arc::clone(&stop));
        let listen = move || {
            let bridge = datalink::interfaces().into_iter().find(|link| link.name == "br0").expect("br0");
            let config = Config { read_timeout: Some(Duration::from_millis(20)), ..Config::default() };
            let Ok(Channel::Ethernet(_, mut receiver)) = datalink::channel(&bridge, config) else {
                panic!("cannot open the bridge")
            };
            open.send(()).expect("the test waits");
            while !until.load(Ordering::Relaxed) {
                match receiver.next() {
                    Ok(frame) => to.lock().expect("lock").push(frame.to_vec()),
                    Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                    Err(error) => panic!("the observer went blind: {error}"),
                }
            }
        };
        let thread = Some(world.wire.enter(listen));
        opened.recv().expect("the observer listens");
        let mark = || {
            let eth0 = datalink::interfaces().into_iter().find(|link| link.name == "eth0").expect("eth0");
            let Ok(Channel::Ethernet(sender, _)) = datalink::channel(&eth0, Config::default()) else {
                panic!("cannot open eth0")
            };
            sender
        };
        let mark = world.hosts[0].namespace.enter(mark).join().expect("opened");
        Self { seen, stop, thread, mark }
    }

    /// Everything that was sent before this is called: a frame from the first host that comes after it is waited for.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        let marker = [&[0xff; 6], &[2, 0, 0, 0, 0, 1], &MARKER[..], &[0; 46]].concat();
        self.mark.send_to(&marker, None).expect("sent").expect("sent");
        let deadline = Instant::now() + PATIENCE;
        let is_marker = |frame: &Vec<u8>| frame[12..14] == MARKER;
        loop {
            let mut seen = self.seen.lock().expect("lock");
            if seen.iter().any(is_marker) {
                seen.retain(|frame| !is_marker(frame));
                return seen.clone();
            }
            assert!(Instant::now() < deadline, "the observer has not seen a frame of its own; seen: {}", seen.len());
            drop(seen);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the observer failed");
        }
    }
}
