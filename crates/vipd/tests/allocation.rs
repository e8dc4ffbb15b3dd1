//! Steady state allocates nothing per advertisement: not the Active router that sends it and renews its lease, and not the
//! Backup that hears it and sets its timer again.
//!
//! Each daemon runs in this very program, started again in a network namespace of its own, whose allocator counts. (A daemon
//! closes its whole process in, so it cannot run beside the test.)

#![expect(clippy::print_stdout, reason = "the daemon tells the test what it has counted")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![expect(unreachable_pub, reason = "modules of one program; pub says what the others use")]
#![expect(clippy::disallowed_methods, reason = "a test waits for time to pass, and for daemons with a deadline")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "netns/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use vipd::config::Config;
use vipd::daemon::Service;
use world::{Host, World, until};

/// The system's allocator, which counts what a thread asks for.
struct Counting;

thread_local! {
    static COUNTER: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends allocates without being counted.
    let _ = COUNTER.try_with(|counter| counter.set(counter.get() + 1));
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
/// What the daemon's line begins with.
const COUNTED: &str = "allocations: ";
const DIRECTORY: &str = "VIPD_TEST_DIRECTORY";

/// Not a test: the daemon of the others, in a process of its own.
#[test]
#[ignore = "started by the other tests, in a namespace of theirs"]
fn daemon() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("a directory"));
    let (file, socket) = (directory.join("vipd.toml"), directory.join("vipd.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Config::load(&file).expect("a configuration");
        let service = Service::start(file, config, Some(socket)).await.expect("a daemon that is ready");
        tokio::select! {
            result = service.run() => result.expect("the daemon runs"),
            () = watch() => {}
        }
    });
}

/// Prints how much was allocated in each window, and goes on.
async fn watch() {
    // Announcements, and lists that grow to their size, are over after a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut windows = [0; WINDOWS];
    for window in &mut windows {
        let before = COUNTER.get();
        tokio::time::sleep(WINDOW).await;
        *window = COUNTER.get() - before;
    }
    println!("\n{COUNTED}{windows:?}");
    std::future::pending().await
}

/// A daemon. Killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(host: &Host, directory: &Path, priority: u8, (address, more): (&str, &str)) -> Self {
        let text = format!(
            "[[instance]]\nname = \"web\"\nmode = \"vrrp\"\ninterface = \"eth0\"\naddresses = [\"{address}\"]\n\
             virtual-router-id = 51\npriority = {priority}\nadvertisement-interval-ms = 10\n{more}"
        );
        std::fs::write(directory.join("vipd.toml"), text).unwrap();
        let mut command = host.namespace.command(std::env::current_exe().unwrap().to_str().unwrap());
        command.args(["daemon", "--exact", "--ignored", "--nocapture"]).env(DIRECTORY, directory);
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// What it has counted; it goes on.
    fn windows(&mut self) -> Vec<u64> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let counted = lines.into_iter().find_map(|line| line.strip_prefix(COUNTED).map(str::to_owned));
        serde_json::from_str(&counted.expect("the daemon has counted")).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn steady_state_allocates_nothing(address: &str, more: &str) {
    let Some(world) = World::new(2) else { return };
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = &world.hosts[..] else { panic!("two hosts") };
    for (n, host) in world.hosts.iter().enumerate() {
        host.namespace.ip(&format!("address add fe80::1{n}/64 dev eth0 nodad\n"));
    }
    let bare = address.split('/').next().unwrap();
    let mut active = Daemon::start(first, directories[0].path(), 200, (address, more));
    until("the first router holds the address", || first.has(bare));
    let mut backup = Daemon::start(second, directories[1].path(), 100, (address, more));
    let allocated = [active.windows(), backup.windows()];
    // Who is held up for longer than its peer waits loses its role, and takes it back.
    until("the roles are as they were", || first.has(bare) && !second.has(bare));
    for (whose, windows) in ["Active", "Backup"].iter().zip(&allocated) {
        let loud = windows.iter().filter(|&&count| count > 0).count();
        assert!(loud <= OTHERWISE, "{whose}: allocations in windows of two advertisements: {windows:?}");
    }
    assert!(allocated[0].iter().any(|&count| count > 0), "the counter does not count, or no lifetime was renewed");
}

#[test]
fn an_advertisement_allocates_nothing() {
    steady_state_allocates_nothing("198.18.5.200/24", "");
}

#[test]
fn an_advertisement_from_the_virtual_mac_address_allocates_nothing() {
    steady_state_allocates_nothing("198.18.5.200/24", "virtual-mac = true\n");
}

#[test]
fn an_advertisement_over_ipv6_allocates_nothing() {
    steady_state_allocates_nothing("fe80::200/64", "");
}
