//! Hosts on a wire: network namespaces joined by veth pairs to a bridge, which the test watches.
//!
//! ```text
//!   host 0 eth0 ─┐
//!   host 1 eth0 ─┼─ br0 (a namespace of its own) ◀── Sniffer
//!   host 2 eth0 ─┘
//! ```
//!
//! A namespace here has no name: it is a file that this process holds open. So it goes when the test goes, however that
//! ends, and nothing of the machine's own network is ever touched.

use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use pnet::util::MacAddr;
use serde_json::Value;

/// Whether namespaces can be made. If not, says why and the test is skipped; with `CI=true` it fails instead.
#[expect(clippy::print_stderr, reason = "whoever runs the tests must see why one was skipped")]
pub fn can_make_namespaces() -> bool {
    let made = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join().expect("the thread ends");
    let Err(errno) = made else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must run the network tests, but: unshare: {errno}");
    eprintln!("skipped: network namespaces need root or CAP_SYS_ADMIN: unshare: {errno}");
    false
}

/// A network namespace.
pub struct Namespace {
    file: File,
}

impl Namespace {
    fn new() -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
            File::open("/proc/thread-self/ns/net").expect("the new namespace")
        };
        Self { file: thread::spawn(make).join().expect("the thread ends") }
    }

    /// A path that any process of this user can open while the test runs.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs `work` in a thread inside the namespace.
    pub fn enter<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        let file = self.file.try_clone().expect("dup");
        thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("setns");
            work()
        })
    }

    /// A command inside the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program);
        command
    }

    /// Runs lines of `ip` inside the namespace.
    pub fn ip(&self, lines: &str) {
        let mut ip = self.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip");
        ip.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("ip reads");
        assert!(ip.wait().expect("ip ends").success(), "ip refused:\n{lines}");
    }

    /// What `ip -j` prints.
    pub fn ip_json(&self, arguments: &str) -> Value {
        let output = self.command("ip").arg("-j").args(arguments.split(' ')).output().expect("ip");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// One host on the wire, with one interface `eth0`.
pub struct Host {
    pub namespace: Namespace,
    pub mac: MacAddr,
}

/// What a program said at its end.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<std::process::Output> for Outcome {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Host {
    /// Runs vipd to its end.
    pub fn vipd(&self, arguments: &str) -> Outcome {
        self.start_vipd(arguments).wait_with_output().expect("vipd ends").into()
    }

    /// Starts vipd.
    pub fn start_vipd(&self, arguments: &str) -> Child {
        let mut command = self.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.args(arguments.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("vipd starts")
    }

    /// Runs vipd without a capability (`net_admin`, `net_raw`).
    pub fn vipd_without(&self, capability: &str, arguments: &str) -> Outcome {
        let mut command = self.namespace.command("setpriv");
        let drop = format!("-{capability}");
        command.args(["--inh-caps", &drop, "--bounding-set", &drop, env!("CARGO_BIN_EXE_vipd")]);
        command.args(arguments.split(' ')).output().expect("setpriv").into()
    }

    /// The addresses of eth0, as `ip` shows them: `198.18.5.200/24`, with ` secondary` if it is.
    pub fn addresses(&self) -> Vec<String> {
        let links = self.namespace.ip_json("address show dev eth0");
        let infos = links[0]["addr_info"].as_array().expect("addr_info").clone();
        infos
            .iter()
            .map(|info| {
                let secondary = if info["secondary"] == true { " secondary" } else { "" };
                format!("{}/{}{secondary}", info["local"].as_str().expect("local"), info["prefixlen"])
            })
            .collect()
    }

    /// Whether it has the address, on whatever interface.
    pub fn has(&self, address: &str) -> bool {
        let links = self.namespace.ip_json("address show");
        let infos = links.as_array().into_iter().flatten().filter_map(|link| link["addr_info"].as_array());
        infos.flatten().any(|info| info["local"] == address)
    }

    /// What this host's neighbour table says of `address`.
    pub fn neighbour(&self, address: IpAddr) -> Option<String> {
        let table = self.namespace.ip_json("neighbour show dev eth0");
        let entry = table.as_array()?.iter().find(|entry| entry["dst"] == address.to_string())?.clone();
        entry["lladdr"].as_str().map(str::to_owned)
    }

    /// Sends a datagram to `address`, so that the kernel has to resolve it.
    pub fn talk_to(&self, address: IpAddr) {
        let work = move || {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = std::net::UdpSocket::bind(any).expect("bind");
            let _ = socket.send_to(b"hello", (address, 9));
        };
        self.namespace.enter(work).join().expect("sent");
    }
}

/// Hosts on one wire. Host `n` has 198.18.5.1n/24 and fd00:5::1n/64.
pub struct World {
    pub wire: Namespace,
    pub hosts: Vec<Host>,
}

impl World {
    /// `None` if this machine does not let us.
    pub fn new(hosts: u8) -> Option<Self> {
        if !can_make_namespaces() {
            return None;
        }
        let wire = Namespace::new();
        wire.ip("link add br0 type bridge\nlink set br0 up\n");
        let hosts = (0..hosts).map(|n| Self::plug(&wire, n)).collect();
        let world = Self { wire, hosts };
        for host in &world.hosts {
            until("the link is up", || host.namespace.ip_json("link show dev eth0")[0]["operstate"] == "UP");
            // It makes itself one then.
            until("it has a link-local address", || host.addresses().iter().any(|one| one.starts_with("fe80:")));
        }
        Some(world)
    }

    fn plug(wire: &Namespace, n: u8) -> Host {
        let namespace = Namespace::new();
        let mac = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x10 + n);
        wire.ip(&format!(
            "link add port{n} type veth peer name eth0 address {mac} netns {path}\nlink set port{n} master br0 up\n",
            path = namespace.path()
        ));
        namespace.ip(&format!(
            "link set lo up\nlink set eth0 up\n\
             address add 198.18.5.1{n}/24 dev eth0\naddress add fd00:5::1{n}/64 dev eth0 nodad\n"
        ));
        Host { namespace, mac }
    }
}

/// How long anything may take that is not measured: what takes milliseconds has taken eight seconds where others were
/// compiling.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` holds, for at most half a minute.
#[track_caller]
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
