//! The agent `ssh` against a real sshd, with real `ip` in a network namespace of the test's own.
//!
//! `systemctl` on that host is a stand-in: a script that keeps the state of each unit in a file. What the real systemd says
//! is proven by the drill.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "tests measure real processes")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bc_model::fencing::NodeState;

mod bench;
mod sshd;
use bench::{Bench, calls, have, install, skip};
use sshd::{Sshd, run};

const UNIT: &str = "postgresql@15-main.service";
const VIP: &str = "198.18.77.200";

/// A "host": a network namespace with the address, behind sshd, with a stand-in for systemctl.
struct Host {
    sshd: Sshd,
    directory: tempfile::TempDir,
    namespace: String,
}

impl Host {
    /// Nothing, said aloud, where the machine cannot have one.
    fn start(name: &str) -> Option<Self> {
        if !(have("sshd", "openssh-server") && have("ssh", "openssh-client") && have("ip", "iproute2")) {
            return None;
        }
        let namespace = format!("fence-{name}-{}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &namespace]).output().unwrap();
        if !made.status.success() {
            skip(&format!("no network namespace can be made here: {}", String::from_utf8_lossy(&made.stderr)));
            return None;
        }
        run(Command::new("ip").args(["-n", &namespace, "link", "set", "lo", "up"]));
        run(Command::new("ip").args(["-n", &namespace, "address", "add", &format!("{VIP}/32"), "dev", "lo"]));
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        fs::create_dir_all(here.join("bin")).unwrap();
        fs::create_dir_all(here.join("units")).unwrap();
        fs::write(here.join("units").join(UNIT), "active\n").unwrap();
        install(&here.join("bin/systemctl"), &systemctl(here));
        let forced = here.join("forced");
        let script = "exec ip netns exec \"$ns\" sh -c \"$SSH_ORIGINAL_COMMAND\"";
        install(&forced, &format!("#!/bin/sh\nns={namespace}\nPATH=\"{}/bin:$PATH\"\n{script}\n", here.display()));
        Some(Self { sshd: Sshd::start(&forced), directory, namespace })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn has_vip(&self) -> bool {
        run(Command::new("ip").args(["-n", &self.namespace, "-o", "address", "show"])).contains(VIP)
    }

    fn bench(&self) -> Bench {
        self.bench_with(&self.sshd.identity(), &self.sshd.known_hosts(), UNIT, "20s")
    }

    fn bench_with(&self, identity: &Path, known_hosts: &Path, unit: &str, timeout: &str) -> Bench {
        Bench::default().node("pg1", r#"[["pg1-ssh"]]"#).config(&format!(
            "[devices.pg1-ssh]\nagent = \"ssh\"\ndestination = \"{}\"\nidentity-file = \"{}\"\nknown-hosts = \"{}\"\n\
             stop-services = [\"{unit}\"]\ndrop-vips = [\"{VIP}/32 dev lo\"]\ntimeout = \"{timeout}\"\ngate-directory = \"{}\"",
            self.sshd.destination(),
            identity.display(),
            known_hosts.display(),
            self.path("gate").display()
        ))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).output();
    }
}

fn systemctl(here: &Path) -> String {
    format!(
        r#"#!/bin/sh
# A stand-in for systemctl: it keeps the state of each unit in a file, and runs nothing.
here={}
echo "$*" >>$here/systemctl.calls
case $1 in
  stop) shift 2; for unit; do [ -e $here/refuse ] && exit 1; echo inactive >"$here/units/$unit"; done ;;
  show)
    for unit; do :; done
    [ -e "$here/units/$unit" ] && load=loaded || load=not-found
    echo MainPID=0; echo LoadState=$load; echo ActiveState=$(cat "$here/units/$unit" 2>/dev/null || echo inactive) ;;
esac
"#,
        here.display()
    )
}

const OFF: [&str; 5] = ["off", "pg1", "--reason", "test", "--json"];

#[test]
fn a_host_that_answers_stops_its_services_and_drops_the_address() {
    let Some(host) = Host::start("drops") else { return };
    let bench = host.bench();
    let before = bench.fence(&["status", "pg1", "--json"]).expect_code(0).report();
    assert_eq!(
        (before.state, before.evidence[0].detail.as_str()),
        (NodeState::On, "postgresql@15-main.service active, 198.18.77.200 is on lo")
    );
    bench.fence(&["check"]).expect_code(0);
    let report = bench.fence(&OFF).expect_code(0).report();
    assert_eq!(calls(&report.evidence), ["pg1-ssh off=off", "pg1-ssh status=off", "pg1-ssh status=off"]);
    assert_eq!(report.evidence[2].detail, "postgresql@15-main.service inactive, 198.18.77.200 absent, boot gate set");
    assert!(!host.has_vip(), "the address is really gone");
    bench.fence(&OFF).expect_code(0);
    let on = bench.fence(&["on", "pg1", "--reason", "test"]).expect_code(1);
    assert!(on.stderr.contains("none of its devices can turn it on"), "{}", on.stderr);
}

#[test]
fn vipd_is_asked_first_and_ip_when_vipd_fails() {
    let Some(host) = Host::start("vipd") else { return };
    let calls = host.path("vipd.calls");
    let vipd = format!("#!/bin/sh\n# A stand-in for vipd that refuses.\necho \"$*\" >>{}\nexit 3\n", calls.display());
    install(&host.path("bin/vipd"), &vipd);
    host.bench().fence(&OFF).expect_code(0);
    assert_eq!(fs::read_to_string(calls).unwrap(), format!("unassign {VIP}/32 --dev lo\n"));
    assert!(!host.has_vip());
}

#[test]
fn a_service_that_does_not_stop_is_on_but_the_address_is_dropped_all_the_same() {
    let Some(host) = Host::start("stuck") else { return };
    fs::write(host.path("refuse"), "").unwrap();
    let bench = host.bench_with(&host.sshd.identity(), &host.sshd.known_hosts(), UNIT, "8s");
    let said = bench.fence(&OFF).expect_code(5);
    assert_eq!(said.report().state, NodeState::On);
    assert!(said.stderr.contains("postgresql@15-main.service active"), "{}", said.stderr);
    assert!(!host.has_vip());
}

#[test]
fn a_unit_that_systemd_does_not_know_proves_nothing() {
    let Some(host) = Host::start("unit") else { return };
    let bench = host.bench_with(&host.sshd.identity(), &host.sshd.known_hosts(), "postgres.service", "20s");
    let said = bench.fence(&["status", "pg1", "--json"]);
    // The address is still there, so the host is on; without it nobody could say.
    assert_eq!(said.report().state, NodeState::On);
    run(Command::new("ip").args(["-n", &host.namespace, "address", "flush", "dev", "lo"]));
    let said = bench.fence(&["status", "pg1", "--json"]).expect_code(1);
    assert_eq!(said.report().state, NodeState::Unknown);
    assert!(said.report().evidence[0].detail.contains("is not a unit of this host; is it spelt right?"), "{said:?}");
}

#[test]
fn a_host_that_cannot_be_reached_or_trusted_is_never_off() {
    let Some(host) = Host::start("unreachable") else { return };
    // Everything is stopped there already; only the way to see it is missing.
    fs::write(host.path("units").join(UNIT), "inactive\n").unwrap();
    run(Command::new("ip").args(["-n", &host.namespace, "address", "flush", "dev", "lo"]));
    // Without the boot gate that is no proof; setting it is a part of `off`.
    let said = host.bench().fence(&["status", "pg1"]).expect_code(1);
    assert!(said.stdout.contains("the boot gate is not set"), "{said:?}");
    host.bench().fence(&OFF).expect_code(0);
    host.bench().fence(&["status", "pg1"]).expect_code(0);
    let sshd = &host.sshd;
    let table = [
        (host.bench_with(&sshd.strangers_identity(), &sshd.known_hosts(), UNIT, "3s"), "Permission denied"),
        (host.bench_with(&sshd.identity(), &sshd.wrong_known_hosts(), UNIT, "3s"), "Host key verification failed"),
    ];
    for (bench, words) in table {
        let said = bench.fence(&OFF).expect_code(5);
        assert_eq!(said.report().state, NodeState::Unknown);
        assert!(said.stderr.contains("does not answer over ssh") && said.stderr.contains(words), "{}", said.stderr);
    }
}

#[test]
fn a_host_that_refuses_the_connection_or_accepts_and_says_nothing_is_never_off() {
    if !have("ssh", "openssh-client") {
        return;
    }
    // The queue accepts for it; nobody will ever speak.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [sshd::free_port(), silent.local_addr().unwrap().port()] {
        let bench = Bench::default().node("pg1", r#"[["pg1-ssh"]]"#).config(&format!(
            "[devices.pg1-ssh]\nagent = \"ssh\"\ndestination = \"ssh://root@127.0.0.1:{port}\"\nstop-services = [\"{UNIT}\"]\ntimeout = \"2s\""
        ));
        let begun = Instant::now();
        let said = bench.fence(&OFF).expect_code(5);
        assert_eq!(said.report().state, NodeState::Unknown, "{said:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    }
}
