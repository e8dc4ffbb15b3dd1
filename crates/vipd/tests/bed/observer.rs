//! An observer on a host of its own: every frame that host sends and hears, with the kernel's time stamps. So what it
//! measures does not depend on when the observer itself was scheduled.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike as _};

use super::frame::{Advert, Frame};
use super::world::Namespace;

/// Room for some 100,000 frames while the observer is not scheduled.
const BUFFER: usize = 64 << 20;

/// Now, on the clock of the time stamps.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Waits until that time.
pub fn sleep_until(at: Duration) {
    std::thread::sleep(at.saturating_sub(now()));
}

/// Watches until it is dropped.
pub struct Observer {
    seen: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Watches all interfaces of `namespace` from now on.
    pub fn new(namespace: &Namespace) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let socket = namespace.enter(open).join().unwrap();
        let (to, until) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                if let Some(frame) = receive(&socket) {
                    to.lock().unwrap().push(frame);
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// Looks at the frames since `from`, in the order in which they were seen.
    pub fn look<T>(&self, from: Duration, at: impl FnOnce(&[Frame]) -> T) -> T {
        let seen = self.seen.lock().unwrap();
        let start = seen.partition_point(|frame| frame.at < from);
        at(&seen[start..])
    }

    /// The advertisements of one virtual router since `from`.
    pub fn adverts(&self, vrid: u8, from: Duration) -> Vec<Advert> {
        let of_router = |advert: &Advert| advert.vrid == vrid;
        self.look(from, |frames| frames.iter().filter_map(Frame::advert).filter(of_router).collect())
    }

    /// Waits for the first advertisement since `from` that is `wanted`, and prints what was seen instead if none comes.
    #[track_caller]
    pub fn wait_for(&self, what: &str, from: Duration, patience: Duration, wanted: impl Fn(&Advert) -> bool) -> Advert {
        let deadline = Instant::now() + patience;
        loop {
            let found = self.look(from, |frames| frames.iter().filter_map(Frame::advert).find(&wanted));
            if let Some(advert) = found {
                return advert;
            }
            assert!(Instant::now() < deadline, "gave up waiting for {what} after {patience:?}; {}", self.story(from));
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// The advertisements since `from`, run by run, for whoever must find out why a test failed.
    pub fn story(&self, from: Duration) -> String {
        let adverts: Vec<_> = self.look(from, |frames| frames.iter().filter_map(Frame::advert).collect());
        let key = |advert: &Advert| (advert.source, advert.vrid, advert.priority, advert.version);
        let runs = adverts.chunk_by(|one, next| key(one) == key(next)).map(|run| {
            let (source, vrid, priority, version): (IpAddr, _, _, _) = key(&run[0]);
            let (first, last) = (run[0].at.saturating_sub(from), run[run.len() - 1].at.saturating_sub(from));
            format!("\n  {first:?} to {last:?}: {} × {source} v{version} vrid {vrid} priority {priority}", run.len())
        });
        format!("advertisements seen:{}", runs.collect::<String>())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the observer failed");
        }
    }
}

fn open() -> OwnedFd {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .expect("CAP_NET_RAW");
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).expect("a large buffer");
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("time stamps");
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(20)).expect("a timeout");
    socket
}

fn receive(socket: &OwnedFd) -> Option<Frame> {
    let mut bytes = [0; 2048];
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let message = match recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::empty()) {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => return None,
        Err(errno) => panic!("the observer went blind: {errno}"),
    };
    let stamp = message.cmsgs().unwrap().find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    let (at, length) = (stamp.expect("a time stamp"), message.bytes);
    Some(Frame { at, bytes: bytes[..length].to_vec() })
}
