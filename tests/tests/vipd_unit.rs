//! `packaging/vipd.service` under a real systemd, in a container that is a host: its user, its privileges, its watchdog,
//! and what is left on the interface however the daemon ends.
//!
//! `BC_HARNESS` names the harness, beside which the tools lie (`make drills` sets it); it also makes the image. Without it,
//! or without a container engine, this is skipped aloud, and fails if `CI` is set.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and shows what it saw")]
#![expect(clippy::disallowed_methods, reason = "a test waits for systemd, with a deadline")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const IMAGE: &str = "bc-testenv/host:latest";
/// CAP_NET_ADMIN and CAP_NET_RAW (capabilities(7)).
const TWO_CAPABILITIES: u64 = 1 << 12 | 1 << 13;
/// Held by the kernel's lease, and without one.
const LEASED: &str = "198.18.5.200";
const UNLEASED: &str = "198.18.5.201";
const CONFIG: &str = r#"
[[instance]]
name = "leased"
mode = "vrrp"
interface = "eth0"
addresses = ["198.18.5.200/24"]
virtual-router-id = 51
priority = 150
advertisement-interval-ms = 100

[[instance]]
name = "unleased"
mode = "vrrp"
interface = "eth0"
addresses = ["198.18.5.201/24"]
virtual-router-id = 52
priority = 150
advertisement-interval-ms = 100
lease = false
"#;
/// How long systemd may take for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A container with systemd as its first process and one end of a cable as `eth0`. Removed when dropped.
struct Host {
    name: String,
}

impl Host {
    /// `None` if this machine has no containers.
    fn boot() -> Option<(Self, PathBuf)> {
        let harness = harness()?;
        let images = Command::new(&harness).arg("images").current_dir(REPOSITORY).status().unwrap();
        assert!(images.success(), "bc-harness images: {images}");
        let host = Self { name: format!("bc-vipd-unit-{}", std::process::id()) };
        let cgroup = run("docker", &["info", "--format", "{{.CgroupVersion}}"]);
        let cgroup: &[&str] = match cgroup.trim() {
            "2" => &["--cgroupns", "private"],
            _ => &["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro"],
        };
        let mut words = vec!["run", "--detach", "--name", &host.name, "--network", "none"];
        for capability in ["SYS_ADMIN", "NET_ADMIN", "NET_RAW"] {
            words.extend(["--cap-add", capability]);
        }
        words.extend(["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]);
        words.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock"]);
        words.extend(cgroup);
        words.push(IMAGE);
        run("docker", &words);
        host.sh("/usr/lib/bc-testenv/wait-booted");
        host.sh("ip link add eth0 type veth peer name cable && ip address add 198.18.5.10/24 dev eth0");
        host.sh("ip link set cable up && ip link set eth0 up");
        Some((host, harness))
    }

    /// Runs a command line as root; it must succeed.
    fn sh(&self, line: &str) -> String {
        run("docker", &["exec", &self.name, "sh", "-c", line])
    }

    fn copy(&self, from: &Path, to: &str) {
        run("docker", &["cp", from.to_str().unwrap(), &format!("{}:{to}", self.name)]);
    }

    /// Installs vipd as its package does.
    fn install(&self, program: &Path) {
        self.copy(program, "/usr/bin/vipd");
        for (file, to) in [
            ("vipd.service", "/usr/lib/systemd/system/vipd.service"),
            ("vipd.sysusers", "/usr/lib/sysusers.d/vipd.conf"),
            ("vipd.tmpfiles", "/usr/lib/tmpfiles.d/vipd.conf"),
        ] {
            self.copy(&Path::new(REPOSITORY).join("packaging").join(file), to);
        }
        self.sh("chown root:root /usr/bin/vipd && chmod 755 /usr/bin/vipd && mkdir -p /etc/vipd");
        self.sh(&format!("cat >/etc/vipd/vipd.toml <<'END'\n{CONFIG}\nEND"));
        self.sh("systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload");
    }

    fn property(&self, name: &str) -> String {
        self.sh(&format!("systemctl show vipd --property {name} --value")).trim().to_owned()
    }

    fn main_pid(&self) -> u32 {
        self.property("MainPID").parse().unwrap()
    }

    fn holds(&self, address: &str) -> bool {
        self.sh("ip -4 -brief address show dev eth0").contains(&format!("{address}/"))
    }

    #[track_caller]
    fn until(&self, what: &str, met: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !met(self) {
            assert!(Instant::now() < deadline, "gave up waiting: {what}\n{}", self.story());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Both addresses are there, held by a daemon that systemd believes to be well.
    #[track_caller]
    fn until_held(&self, what: &str) {
        self.until(what, |host| host.property("SubState") == "running" && host.holds(LEASED) && host.holds(UNLEASED));
    }

    /// What journald has of it so far: it may be behind what has happened.
    fn journal(&self) -> String {
        self.sh("journalctl --no-pager --output cat --unit vipd")
    }

    fn story(&self) -> String {
        self.sh(
            "systemctl status --no-pager --full vipd; journalctl --no-pager --lines 60 --unit vipd; ip address; true",
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "--force", "--volumes", &self.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {words:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

fn harness() -> Option<PathBuf> {
    let missing = match std::env::var_os("BC_HARNESS") {
        None => "BC_HARNESS does not name the harness; `make drills` does",
        Some(harness) => {
            let docker = Command::new("docker").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if docker.is_ok_and(|status| status.success()) {
                return Some(harness.into());
            }
            "docker does not answer"
        }
    };
    assert!(std::env::var_os("CI").is_none(), "CI must run this: {missing}");
    println!("SKIPPED: {missing}");
    None
}

/// A field of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} is not in:\n{status}")).trim()
}

#[test]
fn the_unit_runs_with_two_capabilities_and_leaves_nothing_however_it_ends() {
    let Some((host, harness)) = Host::boot() else { return };
    host.install(&harness.with_file_name("vipd"));

    // Type=notify: `start` returns when the daemon has said READY.
    host.sh("systemctl start vipd");
    assert_eq!(host.property("ActiveState"), "active", "{}", host.story());
    host.until_held("both addresses are held");

    let pid = host.main_pid();
    let status = host.sh(&format!("cat /proc/{pid}/status"));
    let user = host.sh("id --user vipd");
    assert!(field(&status, "Uid").split_whitespace().all(|uid| uid == user.trim()), "not user vipd:\n{status}");
    assert_ne!(user.trim(), "0");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(field(&status, set), 16).unwrap(), TWO_CAPABILITIES, "{set}:\n{status}");
    }
    assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"), "{status}");

    // SIGKILL: nothing of the daemon's own can tidy up. ExecStopPost does, before the restart.
    host.sh(&format!("kill -KILL {pid}"));
    host.until("systemd starts another", |host| host.main_pid() != pid && host.main_pid() != 0);
    // The other one has a lease, which may have been quicker.
    let removed = |line: &str| line.contains(UNLEASED) && line.contains("unassigned");
    host.until("ExecStopPost has removed what has no lease", |host| host.journal().lines().any(removed));
    host.until_held("the next daemon holds them");

    // SIGSTOP: the lease lets go by itself, then the watchdog ends the daemon, and another one starts.
    let stopped = host.main_pid();
    host.sh(&format!("kill -STOP {stopped}"));
    host.until("the lease has lapsed", |host| !host.holds(LEASED));
    println!("the daemon is {:?} when its lease has lapsed", host.property("SubState"));
    host.until("the watchdog has had it killed", |host| ![stopped, 0].contains(&host.main_pid()));
    host.until("systemd says why", |host| host.journal().to_lowercase().contains("watchdog timeout"));
    host.until_held("the next daemon holds them after the watchdog");
    assert_eq!(host.property("NRestarts"), "2", "{}", host.story());

    host.sh("systemctl reload vipd");
    host.sh("systemctl stop vipd");
    assert!(!host.holds(LEASED) && !host.holds(UNLEASED), "{}", host.story());
    assert_eq!((host.property("ActiveState"), host.property("Result")), ("inactive".into(), "success".into()));
}
