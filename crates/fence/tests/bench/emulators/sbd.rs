//! An SBD disk on a loop device, made by Debian's sbd; and a node that reads its mailbox, as sbd's daemon does.
//!
//! The daemon itself is never started: its answer to a pill is to reboot the machine that it runs on, which is this one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::bench::{have, skip};

/// Timeouts of the disk in seconds: the node's watchdog, and how long a sender waits.
pub(crate) const WATCHDOG: u32 = 1;
pub(crate) const MSGWAIT: u32 = 2;

pub(crate) struct SbdDisk {
    directory: TempDir,
    device: String,
}

impl SbdDisk {
    pub(crate) fn start() -> Option<Self> {
        if !(have("sbd", "sbd") && have("losetup", "mount")) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("disk");
        File::create(&file).unwrap().set_len(4 << 20).unwrap();
        let made = Command::new("losetup").args(["-f", "--show"]).arg(&file).output().unwrap();
        if !made.status.success() {
            skip(&format!("no loop device can be made here: {}", String::from_utf8_lossy(&made.stderr)));
            return None;
        }
        let disk = Self { directory, device: String::from_utf8(made.stdout).unwrap().trim().to_owned() };
        disk.protect(false);
        disk.sbd(&["-1", &WATCHDOG.to_string(), "-4", &MSGWAIT.to_string(), "create"]);
        disk.sbd(&["allocate", "pg1"]);
        disk.sbd(&["allocate", "pg2"]);
        std::os::unix::fs::symlink(&disk.device, disk.link()).unwrap();
        Some(disk)
    }

    fn sbd(&self, words: &[&str]) -> String {
        let done = Command::new("sbd").args(["-d", &self.device]).args(words).output().unwrap();
        assert!(done.status.success(), "sbd {words:?}: {done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// A path to the disk that can be taken away.
    pub(crate) fn link(&self) -> PathBuf {
        self.directory.path().join("link")
    }

    /// `pg1 off fence`: what sbd's own tool finds in the mailbox of a slot.
    pub(crate) fn mailbox(&self, slot: &str) -> String {
        let list = self.sbd(&["list"]);
        let line = list.lines().find(|line| line.split_whitespace().nth(1) == Some(slot)).unwrap_or_default();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    }

    /// The disk as one that cannot be written.
    pub(crate) fn protect(&self, protect: bool) {
        let option = if protect { "--setro" } else { "--setrw" };
        assert!(Command::new("blockdev").args([option, &self.device]).status().unwrap().success());
    }

    /// A node that switches itself off when it reads the pill.
    pub(crate) fn watch(&self, chassis: &Path) -> Watcher {
        let script = format!(
            "until sbd -d {0} list | grep -qE 'pg1[[:space:]]+off'; do sleep 0.2; done; {1} set power 0",
            self.device,
            chassis.display()
        );
        // As sbd does on a node: whoever else uses the machine, the reader has its turn.
        let mut reader = Command::new("chrt");
        reader.args(["--rr", "1", "/bin/sh", "-c", &script]);
        let child = reader.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        Watcher(child.unwrap())
    }

    /// Clears the slot of the machine.
    pub(crate) fn clear(&self) {
        self.sbd(&["message", "pg1", "clear"]);
    }
}

impl Drop for SbdDisk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

/// A node's own reader; gone when it is dropped.
pub(crate) struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
