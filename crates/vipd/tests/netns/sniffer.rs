//! An observer that owns the wire: every frame on the bridge, in order.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use pnet::datalink::{self, Channel, Config};

use crate::world::World;

/// Watches until it is dropped.
pub struct Sniffer {
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
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
        Self { seen, stop, thread }
    }

    /// Everything seen so far, after a moment for what is still on its way.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        std::thread::sleep(Duration::from_millis(50));
        self.seen.lock().expect("lock").clone()
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
