//! Real ClusterLabs agents from Debian's packages: `fence_dummy`, and `fence_ipmilan` against OpenIPMI's simulated BMC.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "tests wait for real servers")]

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bc_model::fencing::{Grade, NodeState};

mod bench;
use bench::{Bench, calls, have, install};

const OFF: [&str; 5] = ["off", "pg1", "--reason", "test", "--json"];
const ON: [&str; 5] = ["on", "pg1", "--reason", "test", "--json"];

#[test]
fn fence_dummy_goes_off_and_on_and_proves_nothing() {
    if !have("fence_dummy", "fence-agents") {
        return;
    }
    let bench = Bench::default();
    let plug = bench.path("plug");
    fs::write(&plug, "on").unwrap();
    let bench = bench.node("pg1", r#"[["dummy"]]"#).config(&format!(
        "[devices.dummy]\nagent = \"exec\"\ncommand = \"/usr/sbin/fence_dummy\"\ntimeout = \"20s\"\noptions = {{ status_file = \"{}\" }}",
        plug.display()
    ));
    bench.fence(&["check"]).expect_code(0);
    assert_eq!(bench.fence(&["status", "pg1", "--json"]).expect_code(0).report().state, NodeState::On);
    // It switches a file, not a machine: grade X, which is not a fence.
    let off = bench.fence(&OFF).expect_code(5).report();
    assert_eq!((off.confirmed, off.grade), (false, Grade::X));
    assert_eq!(calls(&off.evidence), ["dummy off=off", "dummy status=off", "dummy status=off"]);
    assert_eq!(fs::read_to_string(&plug).unwrap(), "off");
    assert!(bench.fence(&OFF).expect_code(5).report().evidence[0].detail.contains("Already OFF"));
    bench.fence(&ON).expect_code(0);
    assert_eq!(fs::read_to_string(&plug).unwrap(), "on");
}

#[test]
fn fence_dummy_that_never_reaches_off_is_not_off() {
    if !have("fence_dummy", "fence-agents") {
        return;
    }
    let bench = Bench::default().node("pg1", r#"[["dummy"]]"#).config(
        "[devices.dummy]\nagent = \"exec\"\ncommand = \"/usr/sbin/fence_dummy\"\ntimeout = \"3s\"\noptions = { type = \"fail\", plug = 1, power_timeout = 1 }",
    );
    assert_ne!(bench.fence(&OFF).expect_code(5).report().state, NodeState::Off);
}

/// OpenIPMI's simulator with one BMC whose chassis is a file.
struct Bmc {
    server: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Bmc {
    fn start() -> Option<Self> {
        if !(have("ipmi_sim", "openipmi") && have("ipmitool", "ipmitool") && have("fence_ipmilan", "fence-agents")) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        fs::create_dir(here.join("state")).unwrap();
        fs::write(here.join("power"), "1").unwrap();
        install(&here.join("chassis"), &chassis(here));
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(here.join("lan.conf"), lan_conf(here, port)).unwrap();
        let emulation = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
                         sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
        fs::write(here.join("sim.emu"), emulation).unwrap();
        let at = |name: &str| here.join(name);
        let log = fs::File::create(at("log")).unwrap();
        let server = Command::new("ipmi_sim")
            .args(["-n", "-c"])
            .arg(at("lan.conf"))
            .arg("-f")
            .arg(at("sim.emu"))
            .arg("-s")
            .arg(at("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let bmc = Self { server, directory, port };
        bmc.wait_until_it_answers();
        Some(bmc)
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let port = self.port.to_string();
        loop {
            let asked = Command::new("ipmitool")
                .args([
                    "-C",
                    "3",
                    "-I",
                    "lanplus",
                    "-H",
                    "127.0.0.1",
                    "-p",
                    &port,
                    "-U",
                    "admin",
                    "-P",
                    "secret",
                    "-N",
                    "1",
                    "-R",
                    "1",
                ])
                .args(["chassis", "power", "status"])
                .output()
                .unwrap();
            if asked.status.success() {
                return;
            }
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the BMC does not answer: {asked:?}\n{log}");
        }
    }

    fn power(&self) -> String {
        fs::read_to_string(self.directory.path().join("power")).unwrap().trim().to_owned()
    }

    fn bench(&self, password: &str) -> Bench {
        Bench::default().node("pg1", r#"[["bmc"]]"#).config(&format!(
            "[devices.bmc]\nagent = \"exec\"\ncommand = \"/usr/sbin/fence_ipmilan\"\ntimeout = \"20s\"\n[devices.bmc.options]\n\
             ip = \"127.0.0.1\"\nipport = {}\nusername = \"admin\"\npassword = \"{password}\"\nlanplus = true\ncipher = 3\npower_wait = 0\npower_timeout = 2",
            self.port
        ))
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn chassis(here: &Path) -> String {
    format!(
        r#"#!/bin/sh
# The machine behind the simulated BMC: its power is the file `power`; `stuck` keeps it as it is.
here={}
shift
case "$1 $2" in
  "get power") echo power:$(cat $here/power) ;;
  "set power") [ -e $here/stuck ] || printf %s "$3" >$here/power ;;
esac
"#,
        here.display()
    )
}

fn lan_conf(here: &Path, port: u16) -> String {
    let allowed: String = ["callback", "user", "operator", "admin"]
        .iter()
        .map(|level| format!("  allowed_auths_{level} none md2 md5 straight\n"))
        .collect();
    let chassis: PathBuf = here.join("chassis");
    format!(
        "name \"bench\"\nset_working_mc 0x20\n startlan 1\n  addr 127.0.0.1 {port}\n  priv_limit admin\n{allowed}  \
         guid a123456789abcdefa123456789abcdef\n endlan\n chassis_control \"{} 0x20\"\n \
         user 1 true \"\" \"test\" user 10 none md2 md5 straight\n user 2 true \"admin\" \"secret\" admin 10 none md2 md5 straight\n",
        chassis.display()
    )
}

#[test]
fn fence_ipmilan_turns_a_machine_off_and_on_through_its_bmc() {
    let Some(bmc) = Bmc::start() else { return };
    let bench = bmc.bench("secret");
    bench.fence(&["check"]).expect_code(0);
    let said = bench.fence(&OFF).expect_code(0);
    assert_eq!(bmc.power(), "0");
    let history = fs::read_to_string(bench.path("history.jsonl")).unwrap();
    assert!(!(said.stdout.clone() + &said.stderr + &history).contains("secret"), "{said:?}");
    assert_eq!(bench.fence(&["status", "pg1", "--json"]).expect_code(0).report().state, NodeState::Off);
    bench.fence(&ON).expect_code(0);
    assert_eq!(bmc.power(), "1");
}

#[test]
fn a_bmc_that_accepts_the_command_and_does_nothing_is_found_out() {
    let Some(bmc) = Bmc::start() else { return };
    fs::write(bmc.directory.path().join("stuck"), "").unwrap();
    assert_eq!(bmc.bench("secret").fence(&OFF).expect_code(5).report().state, NodeState::On);
    assert_eq!(bmc.power(), "1");
}

#[test]
fn a_bmc_with_another_password_or_a_dead_one_is_unknown() {
    let Some(mut bmc) = Bmc::start() else { return };
    let wrong = bmc.bench("wrong").fence(&["status", "pg1", "--json"]).expect_code(1).report();
    assert_eq!(wrong.state, NodeState::Unknown);
    bmc.server.kill().unwrap();
    bmc.server.wait().unwrap();
    let said = bmc.bench("secret").fence(&["status", "pg1", "--json"]).expect_code(1);
    assert_eq!(said.report().state, NodeState::Unknown, "a BMC that lost its power with the host is no proof");
}
