//! A watchdog that ends a machine of the bench instead of this one, and a file that never answers: both through FUSE.
//!
//! All ioctls of the watchdog API say in their number how much they carry, which is what FUSE's restricted ioctl needs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    IoctlFlags, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};
use tempfile::TempDir;

use crate::bench::{have, skip};

const WATCHDOG: INodeNo = INodeNo(2);
const STUCK: INodeNo = INodeNo(3);

const GETSUPPORT: u64 = nix::request_code_read!(b'W', 0, 40);
const KEEPALIVE: u64 = nix::request_code_read!(b'W', 5, 4);
const SETTIMEOUT: u64 = nix::request_code_readwrite!(b'W', 6, 4);
const GETTIMEOUT: u64 = nix::request_code_read!(b'W', 7, 4);
/// WDIOF_SETTIMEOUT, WDIOF_MAGICCLOSE, WDIOF_KEEPALIVEPING.
const OPTIONS: u32 = 0x0080 | 0x0100 | 0x8000;

/// What the watchdog is doing.
#[derive(Default)]
struct State {
    timeout: u32,
    ends: Option<Instant>,
    said_v: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    #[expect(clippy::disallowed_methods, reason = "a watchdog runs in real time")]
    fn pat(&self) {
        let mut state = self.0.lock().unwrap();
        let timeout = Duration::from_secs(state.timeout.into());
        state.ends = Some(Instant::now() + timeout);
    }
}

struct Files {
    watchdog: Shared,
    /// Questions that are never answered.
    stuck: Mutex<Vec<ReplyData>>,
}

/// A mounted directory with `watchdog` and `stuck` in it.
pub(crate) struct Fuse {
    session: Option<BackgroundSession>,
    directory: TempDir,
    over: Arc<AtomicBool>,
    watchdog: Shared,
}

impl Fuse {
    /// Mounts it; when the watchdog fires, `chassis` switches off.
    pub(crate) fn start(chassis: &Path) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() || !have("fusermount3", "fuse3") {
            skip("no /dev/fuse, or no fuse3");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let watchdog = Shared(Arc::new(Mutex::new(State { timeout: 60, ..State::default() })));
        let files = Files { watchdog: watchdog.clone(), stuck: Mutex::new(Vec::new()) };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("fence-bench".into())];
        let session = match fuser::spawn_mount(files, directory.path(), &config) {
            Ok(session) => session,
            Err(error) => {
                skip(&format!("FUSE cannot be mounted here: {error}"));
                return None;
            }
        };
        let over = Arc::new(AtomicBool::new(false));
        let (shared, ended, chassis) = (watchdog.clone(), Arc::clone(&over), chassis.to_owned());
        std::thread::spawn(move || guard(&shared, &ended, &chassis));
        Some(Self { session: Some(session), directory, over, watchdog })
    }

    pub(crate) fn watchdog(&self) -> PathBuf {
        self.directory.path().join("watchdog")
    }

    pub(crate) fn stuck(&self) -> PathBuf {
        self.directory.path().join("stuck")
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.watchdog.0.lock().unwrap().ends.is_some()
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(self.session.take());
        let _ =
            Command::new("umount").arg("-l").arg(self.directory.path()).stderr(std::process::Stdio::null()).status();
        let _ = fs::remove_dir(self.directory.path());
    }
}

/// Ends the machine when nobody has patted for the timeout.
#[expect(clippy::disallowed_methods, reason = "a watchdog runs in real time")]
fn guard(shared: &Shared, over: &AtomicBool, chassis: &Path) {
    while !over.load(Ordering::SeqCst) {
        let fires = shared.0.lock().unwrap().ends.is_some_and(|ends| ends <= Instant::now());
        if fires {
            let _ = Command::new(chassis).args(["set", "power", "0"]).status();
            // Only now it is over: who waits for that must find the machine off.
            shared.0.lock().unwrap().ends = None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn attributes(ino: INodeNo) -> Option<FileAttr> {
    let (kind, perm) = match ino {
        INodeNo::ROOT => (FileType::Directory, 0o755),
        WATCHDOG | STUCK => (FileType::RegularFile, 0o600),
        _ => return None,
    };
    let time = UNIX_EPOCH;
    let size = if ino == STUCK { 4 << 20 } else { 0 };
    Some(FileAttr {
        ino,
        size,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: 4096,
    })
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = match name.to_str() {
            Some("watchdog") if parent == INodeNo::ROOT => WATCHDOG,
            Some("stuck") if parent == INodeNo::ROOT => STUCK,
            _ => INodeNo(0),
        };
        match attributes(ino) {
            Some(attributes) => reply.entry(&Duration::from_secs(1), &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(ino) {
            Some(attributes) => reply.attr(&Duration::from_secs(1), &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if ino == WATCHDOG {
            self.watchdog.0.lock().unwrap().said_v = false;
            self.watchdog.pat();
        }
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.stuck.lock().unwrap().push(reply);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.watchdog.0.lock().unwrap().said_v = data.contains(&b'V');
        self.watchdog.pat();
        reply.written(u32::try_from(data.len()).unwrap());
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut state = self.watchdog.0.lock().unwrap();
        if ino == WATCHDOG && state.said_v {
            state.ends = None;
        }
        reply.ok();
    }

    fn ioctl(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        cmd: u32,
        data: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        match u64::from(cmd) {
            _ if ino != WATCHDOG => reply.error(Errno::ENOTTY),
            GETSUPPORT => {
                let mut info = [0; 40];
                info[..4].copy_from_slice(&OPTIONS.to_ne_bytes());
                info[8..20].copy_from_slice(b"fence bench\0");
                reply.ioctl(0, &info);
            }
            SETTIMEOUT => {
                let seconds = u32::from_ne_bytes(data[..4].try_into().unwrap());
                self.watchdog.0.lock().unwrap().timeout = seconds;
                self.watchdog.pat();
                reply.ioctl(0, &seconds.to_ne_bytes());
            }
            GETTIMEOUT => reply.ioctl(0, &self.watchdog.0.lock().unwrap().timeout.to_ne_bytes()),
            KEEPALIVE => {
                self.watchdog.pat();
                reply.ioctl(0, &0_u32.to_ne_bytes());
            }
            _ => reply.error(Errno::ENOTTY),
        }
    }
}
