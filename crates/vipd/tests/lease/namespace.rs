//! A network namespace of the test's own, and nothing done outside of it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A network namespace with an unheard-of name; gone when dropped.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// Makes one. The capability to do so has been seen to by [`super::possible`].
    pub(crate) fn new(role: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("vipd-lease-{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// Runs `work` on a thread of this namespace. Sockets that it opens stay in it.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(File::open(self.path()).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                assert_not_the_machines_own();
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program in this namespace, and returns what it printed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        assert!(self.path().exists(), "{} is gone", self.name);
        run("ip", &[&["netns", "exec", &self.name, program], arguments].concat())
    }

    /// Loads nftables rules in this namespace.
    pub(crate) fn nft(&self, rules: &str) -> String {
        self.run("nft", &[rules])
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Panics unless the calling thread is in another network namespace than this process was started in, and than PID 1
/// (whose namespace may be hidden from us).
pub(crate) fn assert_not_the_machines_own() {
    let here = fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_ne!(here, fs::read_link("/proc/self/ns/net").unwrap(), "this is the test process's own namespace");
    assert_ne!(Some(&here), fs::read_link("/proc/1/ns/net").ok().as_ref(), "this is the machine's own namespace");
}

fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{program} {arguments:?}: {status}\n{out}{err}");
    out.into_owned()
}
