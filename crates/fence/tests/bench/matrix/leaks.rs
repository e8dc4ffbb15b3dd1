//! Looks for the secrets of the bench where nobody may see them: in the arguments of every process, and in all that is said.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The password of every device of the matrix.
pub(crate) const SECRET: &str = "correct-horse-4711";
/// The same as it stands in an HTTP header: `admin:…` in base64.
const BASIC: &str = "YWRtaW46Y29ycmVjdC1ob3JzZS00NzEx";
/// The password that is given to an agent of somebody else.
pub(crate) const AGENTS: &str = "agents-own-0815";

/// A thread that reads /proc/*/cmdline and /proc/*/environ all the time.
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    found: Arc<Mutex<BTreeSet<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "a little rest between two looks, for the sake of the two cores")]
    pub(crate) fn start() -> Self {
        let (over, looks, found) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let (ended, count, seen): (_, Arc<AtomicUsize>, Arc<Mutex<BTreeSet<String>>>) =
            (Arc::clone(&over), Arc::clone(&looks), Arc::clone(&found));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                look_at_processes(&seen);
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { over, looks, found, thread: Some(thread) }
    }

    /// Looks for a secret in what was said or written.
    pub(crate) fn look_at(&self, what: &str, text: &str) {
        for secret in [SECRET, BASIC, AGENTS] {
            assert!(!text.contains(secret), "{what}: {secret} in {text}");
        }
    }

    /// Ends the thread; none of the secrets may have been seen.
    pub(crate) fn end(mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        let looks = self.looks.load(Ordering::SeqCst);
        assert!(looks > 100, "only {looks} looks");
        let found = self.found.lock().unwrap();
        assert!(found.is_empty(), "secrets in /proc: {found:#?}");
    }
}

fn look_at_processes(seen: &Mutex<BTreeSet<String>>) {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let path = process.path();
        if !process.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let read = |name: &str| fs::read(path.join(name)).unwrap_or_default();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
        let arguments = text(read("cmdline"));
        for secret in [SECRET, BASIC] {
            if arguments.contains(secret) || text(read("environ")).contains(secret) {
                seen.lock().unwrap().insert(format!("{}: {arguments}", path.display()));
            }
        }
    }
}
