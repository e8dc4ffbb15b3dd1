//! Steady state allocates nothing per advertisement: not the Active router that sends it and renews its lease, and not the
//! Backup that hears it and sets its timer again.
//!
//! Both daemons run in this process, each in a thread and a network namespace of its own; the allocator counts for each.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![expect(unreachable_pub, reason = "modules of one program; pub says what the others use")]
#![expect(clippy::disallowed_methods, reason = "a test waits for time to pass, and for daemons with a deadline")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "netns/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use vipd::config::Config;
use vipd::daemon::Service;
use world::{Host, World, until};

/// The system's allocator, which counts what threads that want it ask for.
struct Counting;

thread_local! {
    static COUNTER: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

fn count() {
    // A thread that ends allocates without being counted.
    let _ = COUNTER.try_with(|counter| counter.get().map(|counter| counter.fetch_add(1, Ordering::Relaxed)));
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one hands everything on")]
// SAFETY: every call is the system allocator's, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Advertisements of 10 ms: two in each window.
const WINDOW: Duration = Duration::from_millis(20);
const WINDOWS: usize = 100;
/// Windows in which something else may have its turn: addresses get their lifetime again every half second, and the kernel
/// tells about it. Seen: 10 to 15.
const OTHERWISE: usize = 50;

/// A daemon that runs until it is dropped.
struct Daemon {
    allocations: &'static AtomicU64,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    fn start(host: &Host, directory: &Path, priority: u8, address: &str) -> Self {
        let allocations: &'static AtomicU64 = Box::leak(Box::default());
        let (file, socket) = (directory.join(format!("{priority}.toml")), directory.join(format!("{priority}.sock")));
        let text = format!(
            "[[instance]]\nname = \"web\"\nmode = \"vrrp\"\ninterface = \"eth0\"\naddresses = [\"{address}\"]\n\
             virtual-router-id = 51\npriority = {priority}\nadvertisement-interval-ms = 10\n"
        );
        std::fs::write(&file, text).unwrap();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let config = Config::load(&file).expect("a configuration");
                let service = Service::start(file, config, Some(socket)).await.expect("a daemon that is ready");
                COUNTER.set(Some(allocations));
                tokio::select! {
                    result = service.run() => result.expect("the daemon runs"),
                    _ = stopped => {}
                }
                COUNTER.set(None);
            });
        };
        Self { allocations, stop: Some(stop), thread: Some(host.namespace.enter(run)) }
    }

    fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the daemon failed");
        }
    }
}

fn steady_state_allocates_nothing(address: &str) {
    let Some(world) = World::new(2) else { return };
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = &world.hosts[..] else { panic!("two hosts") };
    for (n, host) in world.hosts.iter().enumerate() {
        host.namespace.ip(&format!("address add fe80::1{n}/64 dev eth0 nodad\n"));
    }
    let bare = address.split('/').next().unwrap();
    let active = Daemon::start(first, directory.path(), 200, address);
    until("the first router holds the address", || first.has(bare));
    let backup = Daemon::start(second, directory.path(), 100, address);
    // Announcements, and lists that grow to their size, are over after a second.
    std::thread::sleep(Duration::from_millis(1500));

    let mut allocated = [Vec::new(), Vec::new()];
    for _ in 0..WINDOWS {
        let before = [active.allocations(), backup.allocations()];
        std::thread::sleep(WINDOW);
        allocated[0].push(active.allocations() - before[0]);
        allocated[1].push(backup.allocations() - before[1]);
    }
    assert!(active.allocations() > 0, "the counter does not count");
    assert!(first.has(bare) && !second.has(bare), "the roles have changed: {allocated:?}");
    for (whose, windows) in ["Active", "Backup"].iter().zip(&allocated) {
        let loud = windows.iter().filter(|&&count| count > 0).count();
        assert!(loud <= OTHERWISE, "{whose}: allocations in windows of two advertisements: {windows:?}");
    }
}

#[test]
fn an_advertisement_allocates_nothing() {
    steady_state_allocates_nothing("198.18.5.200/24");
}

#[test]
fn an_advertisement_over_ipv6_allocates_nothing() {
    steady_state_allocates_nothing("fe80::200/64");
}
