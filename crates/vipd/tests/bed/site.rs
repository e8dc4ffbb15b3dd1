//! Three hosts: two for routers, and one that watches.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::frame::{Advert, Frame};
use super::observer::{Observer, now};
use super::router::{Make, Router, Setting};
use super::world::{Host, PATIENCE, World};

/// The wire with its observer. Hosts 0 and 1 have the addresses 198.18.5.10 and .11, fe80::10 and fe80::11.
pub struct Site {
    pub observer: Observer,
    pub world: World,
}

impl Site {
    /// `None` if this machine does not let us.
    pub fn new() -> Option<Self> {
        let world = World::new(3)?;
        for (n, host) in world.hosts.iter().enumerate() {
            settle(host, n);
        }
        Some(Self { observer: Observer::new(&world.hosts[2].namespace), world })
    }

    /// The address from which a router on that host advertises.
    pub fn source(&self, host: usize, setting: &Setting) -> IpAddr {
        let text = if setting.is_ipv6() { format!("fe80::1{host}") } else { format!("198.18.5.1{host}") };
        text.parse().unwrap()
    }

    /// Whether an advertisement comes from that host's router and claims the addresses.
    pub fn is_active(&self, host: usize, setting: &Setting) -> impl Fn(&Advert) -> bool + use<> {
        let source = self.source(host, setting);
        move |advert| advert.source == source && advert.priority > 0
    }

    /// Whether a frame comes from that host: from its interface or from a macvlan on it (RFC 9568 §7.3).
    pub fn is_of(&self, host: usize, frame: &Frame) -> bool {
        let own = self.world.hosts[host].mac;
        frame.from().is_some_and(|mac| mac == own || mac.octets()[..4] == [0, 0, 0x5e, 0])
    }

    /// Starts a router and waits until it is Active.
    pub fn start_active(&self, make: Make, host: usize, setting: &Setting) -> Router {
        let from = now();
        let mut router = make.start(&self.world.hosts[host], setting);
        // A daemon may take seconds to start on a busy machine, and to preempt takes an Active_Down_Interval.
        let patience = setting.active_down_interval() + PATIENCE;
        self.observer.wait_for(&format!("{make:?} on host {host}"), from, patience, self.is_active(host, setting));
        router.daemon().assert_running();
        router
    }

    /// Lower and higher priority, in this order: the first was Active, and has given way to the second.
    pub fn start_pair(&self, backup: (Make, &Setting), active: (Make, &Setting)) -> [Router; 2] {
        let lower = self.start_active(backup.0, 1, backup.1);
        let higher = self.start_active(active.0, 0, active.1);
        self.settled(0, active.1);
        [lower, higher]
    }

    /// Waits until that host, and for three intervals nobody else, has advertised. It is the last that was heard, so no
    /// advertisement before it is still to be read.
    #[track_caller]
    pub fn settled(&self, host: usize, setting: &Setting) {
        let (is_active, from) = (self.is_active(host, setting), now());
        let patience = setting.active_down_interval() + PATIENCE;
        let mut alone_since = from;
        loop {
            let heard = self.observer.adverts(setting.instances[0].vrid, alone_since);
            if let Some(other) = heard.iter().rfind(|advert| !is_active(advert)) {
                alone_since = other.at + Duration::from_nanos(1);
            } else if heard.len() >= 2 && heard[heard.len() - 1].at >= alone_since + setting.interval * 3 {
                return;
            }
            assert!(now() < from + patience, "host {host} is not alone Active; {}", self.observer.story(from));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What will take the plug out of that host's switch port, without a moment's delay.
    pub fn scissors(&self, host: usize) -> Scissors {
        let mut ip = self.world.wire.command("ip");
        Scissors { host, ip: ip.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip") }
    }

    /// Lets the switch forget that host (or not); the host's own link stays up.
    pub fn isolate(&self, host: usize, isolated: bool) {
        self.world.wire.ip(&format!("link set port{host} {}\n", if isolated { "nomaster" } else { "master br0" }));
    }
}

/// Cuts a link; an `ip` that waits for its one command.
pub struct Scissors {
    host: usize,
    ip: Child,
}

impl Scissors {
    pub fn cut(mut self) {
        let command = format!("link set port{} down\n", self.host);
        self.ip.stdin.take().expect("a pipe").write_all(command.as_bytes()).expect("ip reads");
        assert!(self.ip.wait().expect("ip ends").success(), "ip refused: {command}");
    }
}

impl Drop for Scissors {
    fn drop(&mut self) {
        // Its input ends with us, and so does it.
        drop(self.ip.stdin.take());
        let _ = self.ip.wait();
    }
}

/// A link-local address that is known and there at once, and a kernel that neither routes nor answers for other links.
fn settle(host: &Host, n: usize) {
    host.namespace.ip(&format!(
        "link set eth0 addrgenmode none\naddress flush dev eth0 scope link\n\
         address add fe80::1{n}/64 dev eth0 nodad\n"
    ));
    let quiet = || {
        for (key, value) in [
            ("ipv4/ip_forward", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/eth0/send_redirects", "0"),
            ("ipv4/conf/all/arp_ignore", "1"),
        ] {
            fs::write(format!("/proc/sys/net/{key}"), value).unwrap();
        }
    };
    host.namespace.enter(quiet).join().unwrap();
}
