//! Stories of timers, told again when the machine has held everybody up.
//!
//! Whoever is not given the CPU is late, and so is whoever waits for the kernel's grace period (RCU): a socket that is closed, a
//! macvlan that goes down, a transaction of nftables that is undone. Where a process of the lowest priority computes beside the
//! test, one was seen to take eight seconds. Timers of a tenth of a second cannot be judged then.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::frr;
use super::process::last_words;

/// How long it takes a machine that is only busy to come round to something.
const BUSY: Duration = Duration::from_millis(100);
/// How often a story is told that fails while the machine holds everybody up. The last time it counts.
const TIMES: u32 = 4;

/// Tells a story; again if it failed while the machine held everybody up, or by a known fault of FRR's.
pub fn tell(story: impl Fn()) {
    for _ in 1..TIMES {
        let pulse = Pulse::feel();
        let Err(panic) = catch_unwind(AssertUnwindSafe(&story)) else { return };
        let (slowest, frr) = (pulse.slowest(), last_words().iter().any(|log| frr::has_lost_its_address(log)));
        if slowest < BUSY && !frr {
            println!("the machine was {slowest:?} late at worst");
            resume_unwind(panic);
        }
        println!("told again: the machine was {slowest:?} late, FRR had lost the address of its macvlan: {frr}");
    }
    story();
}

/// Feels how late the machine is, until it is dropped: as a process, and with a grace period.
struct Pulse {
    stop: Arc<AtomicBool>,
    /// The longest beat, and when the one that goes on began.
    beats: Arc<Mutex<(Duration, Instant)>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    fn feel() -> Self {
        let (stop, beats) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new((Duration::ZERO, Instant::now()))));
        let (until, to) = (Arc::clone(&stop), Arc::clone(&beats));
        let beat = move || {
            while !until.load(Ordering::Relaxed) {
                // Closing it takes a grace period; where it may not be opened nothing is told.
                drop(socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None));
                std::thread::sleep(Duration::from_millis(5));
                let mut beats = to.lock().unwrap();
                *beats = (beats.0.max(beats.1.elapsed()), Instant::now());
            }
        };
        Self { stop, beats, thread: Some(std::thread::spawn(beat)) }
    }

    fn slowest(&self) -> Duration {
        let (longest, begun) = *self.beats.lock().unwrap();
        longest.max(begun.elapsed())
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the pulse stopped");
        }
    }
}
