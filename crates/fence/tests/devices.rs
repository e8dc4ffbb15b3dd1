//! The devices against real machines of the bench: what each proves when it works, and what it never claims when it does not.
//!
//! docs/fence-matrix.md is written by this test (`UPDATE=1`), and compared with what happens (all but the times).

#![expect(clippy::disallowed_methods, reason = "tests measure real processes")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bc_model::fencing::{DrillReport, Grade, NodeState};

mod bench;
#[path = "bench/emulators/mod.rs"]
mod emulators;
#[path = "bench/matrix/mod.rs"]
mod matrix;
mod sshd;

use bench::Bench;
use emulators::bmc::{self, Bmc};
use emulators::machine::Machine;
use emulators::redfish::{self, Redfish};

const OFF: [&str; 5] = ["off", "pg1", "--reason", "test", "--json"];
const ON: [&str; 5] = ["on", "pg1", "--reason", "test", "--json"];
const SECRET: &str = "swordfish-7391";

fn ipmi(bmc: &Bmc, more: &str) -> String {
    format!(
        "[devices.bmc]\nagent = \"ipmi\"\ntimeout = \"10s\"\naddress = \"127.0.0.1\"\nport = {}\nusername = \"{}\"\n\
         password-file = \"{}\"\ncipher = 3\n{more}",
        bmc.port,
        bmc::USER,
        bmc.password_file().display()
    )
}

fn redfish(service: &Redfish, trust: &str, timeout: &str) -> String {
    format!(
        "[devices.bmc]\nagent = \"redfish\"\ntimeout = \"{timeout}\"\naddress = \"127.0.0.1\"\nport = {}\nsystem = \"{}\"\nusername = \"{}\"\n\
         password-file = \"{}\"\n{trust}",
        service.port,
        redfish::SYSTEM,
        redfish::USER,
        service.path("password").display()
    )
}

#[test]
fn off_through_ipmi_kills_a_live_postgresql_with_grade_a_and_on_brings_it_back() {
    let Some(machine) = Machine::with_postgresql() else { return };
    let Some(bmc) = Bmc::start(&machine.chassis(), SECRET) else { return };
    let bench = Bench::default().node("pg1", r#"[["bmc"]]"#).config(&ipmi(&bmc, ""));
    machine.sql("create table t (i int); insert into t values (1)").unwrap();

    let begun = Instant::now();
    let off = bench.fence(&OFF).expect_code(0).report();
    let took = begun.elapsed();
    assert_eq!((off.state, off.grade, off.confirmed), (NodeState::Off, Grade::A, true));
    assert!(!machine.runs(), "a process is left in the namespace");
    assert!(machine.sql("select 1").unwrap_err().contains("refused"));

    let begun = Instant::now();
    bench.fence(&ON).expect_code(0);
    emulators::wait_for(
        "PostgreSQL is back",
        || machine.sql("select i from t").as_deref() == Ok("1"),
        || machine.log(),
    );
    println!(
        "off with grade A in {:.3} s; PostgreSQL back {:.3} s after on",
        took.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    // Half a second of it is the second look. The issue says one second; a busy machine is given more, and who waits for something
    // that never comes takes longer than that.
    assert!(took < Duration::from_secs(20), "off took {took:?}");
}

#[test]
fn redfish_trusts_an_authority_or_one_certificate_and_nobody_else() {
    let Some(machine) = Machine::start() else { return };
    let Some(service) = Redfish::start(&machine.chassis(), SECRET) else { return };
    let status = |trust: &str| {
        let bench = Bench::default().node("pg1", r#"[["bmc"]]"#).config(&redfish(&service, trust, "5s"));
        bench.fence(&["status", "pg1", "--json"])
    };
    let fine = [
        format!("ca-file = \"{}\"", service.ca_file().display()),
        format!("certificate-sha256 = \"{}\"", service.fingerprint()),
    ];
    for trust in &fine {
        assert_eq!(status(trust).expect_code(0).report().state, NodeState::On, "{trust}");
    }
    let wrong = [
        format!("ca-file = \"{}\"", service.path("stranger.pem").display()),
        format!("certificate-sha256 = \"{}\"", "00".repeat(32)),
        format!("tls-name = \"pg1.example\"\nca-file = \"{}\"", service.ca_file().display()),
    ];
    for trust in &wrong {
        let said = status(trust).expect_code(1);
        assert!(said.report().evidence[0].detail.contains("certificate"), "{trust}: {said:?}");
    }
    assert!(machine.runs());
}

#[test]
fn redfish_and_fence_redfish_agree_about_the_same_machine() {
    let Some(machine) = Machine::start() else { return };
    let Some(service) = Redfish::start(&machine.chassis(), SECRET) else { return };
    if !bench::have("fence_redfish", "fence-agents") {
        return;
    }
    let native = redfish(&service, &format!("ca-file = \"{}\"", service.ca_file().display()), "10s");
    let agent = format!(
        "[devices.agent]\nagent = \"exec\"\ncommand = \"/usr/sbin/fence_redfish\"\ntimeout = \"20s\"\n[devices.agent.options]\n\
         ip = \"127.0.0.1\"\nipport = {}\nusername = \"{}\"\nssl_insecure = true\nredfish_uri = \"/redfish/v1\"\n\
         systems_uri = \"/redfish/v1/Systems/{}\"\n[devices.agent.options-from-file]\npassword = \"{}\"",
        service.port,
        redfish::USER,
        redfish::SYSTEM,
        service.path("password").display()
    );
    let bench =
        Bench::default().node("pg1", r#"[["bmc"]]"#).node("peer", r#"[["agent"]]"#).config(&native).config(&agent);
    let both = || ["pg1", "peer"].map(|node| bench.fence(&["status", node, "--json"]).expect_code(0).report().state);
    assert_eq!(both(), [NodeState::On; 2]);
    bench.fence(&OFF).expect_code(0);
    assert_eq!((both(), machine.runs()), ([NodeState::Off; 2], false));
    bench.fence(&ON).expect_code(0);
    assert_eq!(both(), [NodeState::On; 2]);
}

#[test]
fn a_drill_switches_nothing_and_says_what_a_fence_would_prove() {
    let Some(machine) = Machine::start() else { return };
    let Some(bmc) = Bmc::start(&machine.chassis(), SECRET) else { return };
    let bench = Bench::default().node("pg1", r#"[["bmc"]]"#).config(&ipmi(&bmc, ""));
    let said = bench.fence(&["drill", "pg1", "--json"]).expect_code(0);
    let report: DrillReport = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((report.ready, report.grade, report.level), (true, Grade::A, Some(1)));
    assert_eq!((report.devices[0].works, report.devices[0].state), (true, NodeState::On));
    assert!(machine.runs(), "the drill switched the machine off");
    assert!(bench.history().is_empty(), "a rehearsal changes nothing and leaves no line");

    let said = bench.fence(&["drill", "pg1", "--for-real"]).expect_code(3);
    assert!(said.stderr.contains("is not marked `emulated = true`") && machine.runs(), "{said:?}");

    let bench = Bench::default().config("[nodes.pg1]\nlevels = [[\"bmc\"]]\nemulated = true").config(&ipmi(&bmc, ""));
    let said = bench.fence(&["drill", "pg1", "--for-real", "--json"]).expect_code(0);
    let report: DrillReport = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        report.real.iter().map(|real| (real.state, real.confirmed)).collect::<Vec<_>>(),
        [(NodeState::Off, true), (NodeState::On, true)]
    );
    assert!(machine.runs());

    let wrong = ipmi(&bmc, "").replace("/password\"", "/wrong\"");
    let bench = Bench::default().node("pg1", r#"[["bmc"]]"#).config(&wrong);
    let said = bench.fence(&["drill", "pg1"]).expect_code(1);
    assert!(said.stdout.contains("pg1 would NOT be fenced"), "{said:?}");
}

#[test]
fn a_watchdog_is_patted_while_its_check_holds_and_disarmed_only_on_request() {
    let Some(machine) = Machine::start() else { return };
    let Some(fuse) = emulators::fuse::Fuse::start(&machine.chassis()) else { return };
    let bench = Bench::default();
    let (record, check) = (bench.path("pg1.json"), bench.path("check"));
    bench::install(&check, &format!("#!/bin/sh\n[ ! -e {} ]\n", bench.path("fails").display()));
    let guard = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fence"));
        command.args(["watchdog", "run", "--timeout", "4s", "--node", "pg1", "--device"]).arg(fuse.watchdog());
        command.arg("--record").arg(&record).arg("--").arg(&check).stderr(Stdio::null()).spawn().unwrap()
    };
    let words = || fs::read_to_string(&record).unwrap_or_default();
    let mut first = guard();
    emulators::wait_for(
        "it is armed",
        || words().contains("\"armed\":true") && words().contains("\"sequence\":3"),
        words,
    );
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(first.id()).unwrap()), nix::sys::signal::SIGTERM)
        .unwrap();
    assert!(first.wait().unwrap().success());
    assert!(words().contains("\"armed\":false"), "{}", words());
    // The kernel tells the device that it was closed when the process may have ended already.
    emulators::wait_for("it is disarmed", || !fuse.is_armed(), words);
    assert!(machine.runs(), "{}", words());

    let mut second = guard();
    emulators::wait_for("it is armed again", || words().contains("\"armed\":true"), words);
    fs::write(bench.path("fails"), "").unwrap();
    emulators::wait_for("the machine ended itself", || !machine.runs(), words);
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn the_matrix_is_as_documented_and_no_secret_is_seen_anywhere() {
    matrix::run();
}
