//! Machines and the devices that switch them, started by the tests from Debian's packages: nothing here is a stand-in for `fence`.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

pub(crate) mod bmc;
pub(crate) mod fuse;
pub(crate) mod machine;
pub(crate) mod redfish;
pub(crate) mod sbd;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// A port that accepts, over TCP and UDP, and never answers.
pub(crate) struct Silence {
    tcp: TcpListener,
    _udp: UdpSocket,
}

impl Silence {
    pub(crate) fn start() -> Self {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            // The kernel accepts connections for it; nobody will ever speak.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                return Self { tcp, _udp: udp };
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }
}

/// A UDP port that nobody uses now.
pub(crate) fn free_udp_port() -> u16 {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap().port()
}

/// Waits until `met`, or panics with `what` and what `last` says.
#[expect(clippy::disallowed_methods, reason = "tests wait for real processes, with a deadline")]
pub(crate) fn wait_for(what: &str, met: impl Fn() -> bool, last: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !met() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}: {}", last());
        std::thread::sleep(Duration::from_millis(20));
    }
}
