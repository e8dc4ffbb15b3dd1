//! Addresses that are moved by hand beside a daemon that runs, that has died, or that cannot be asked.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::bed::process::Process;
use super::bed::world::{Host, PATIENCE, World, until};
use super::instance::{Daemon, elected, managed, unhurried};

const VIP: &str = "198.18.5.200";

/// Runs a verb that finds no daemon where it looks for one.
fn alone(host: &Host, arguments: &str) -> Output {
    let mut command = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
    command.args(arguments.split(' ')).args(["--socket", "/nonexistent/vipd.sock"]).output().unwrap()
}

/// Runs a verb that asks `daemon`, as a user with the capabilities that it has under systemd.
fn as_nobody(host: &Host, daemon: &Daemon<'_>, verb: &str) -> Output {
    let mut command = host.namespace.command("setpriv");
    command.args(["--reuid=65534", "--inh-caps=+net_admin,+net_raw", "--ambient-caps=+net_admin,+net_raw"]);
    command.arg(daemon.program_for_everybody()).args(verb.split(' ')).arg("--socket").arg(daemon.file("vipd.sock"));
    command.output().unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, because: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(because), "{output:?}");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

/// Whether the tables of a running daemon are nobody else's (Linux 6.9).
fn has_owned_tables(host: &Host) -> bool {
    let listed = host.namespace.command("nft").args(["list", "table", "inet", "vipd"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).contains("flags owner")
}

/// How long the kernel keeps the VIP, in seconds; `u32::MAX` is for ever.
fn lifetime(host: &Host) -> Option<u64> {
    let links = host.namespace.ip_json("address show dev eth0");
    let vip = links[0]["addr_info"].as_array()?.iter().find(|info| info["local"] == VIP)?;
    vip["valid_life_time"].as_u64()
}

/// Whether a neighbour that has forgotten everything finds the VIP, and finds it at `host`.
fn answers(asker: &Host, host: &Host) -> bool {
    let vip = VIP.parse().unwrap();
    asker.namespace.ip("neighbour flush dev eth0\n");
    asker.talk_to(vip);
    let deadline = std::time::Instant::now() + PATIENCE;
    while asker.neighbour(vip).is_none() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    asker.neighbour(vip) == Some(host.mac.to_string())
}

/// A daemon that held the VIP and was killed.
fn killed(host: &Host) {
    let mut daemon = Daemon::start(host, &managed(""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    daemon.process.kill();
    assert!(host.has(VIP), "the kernel removes it only when its lifetime is over");
}

#[test]
fn unassign_all_beside_a_daemon_lasts() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &managed(""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    assert_eq!(daemon.vipd("assign 198.18.5.210/24 --dev eth0 --no-probe").status.code(), Some(0));
    let planned = daemon.vipd("unassign --all --dry-run");
    let plan = "would run: vipd release web\nwould run: vipd release web\nwould run: ip address del 198.18.5.210/24 dev eth0\n";
    assert_eq!(String::from_utf8_lossy(&planned.stdout), plan, "{planned:?}");

    let all = daemon.vipd("unassign --all");
    assert_eq!(all.status.code(), Some(0), "{all:?}");
    // What the daemon is to hold it would put back within milliseconds.
    std::thread::sleep(Duration::from_millis(300));
    daemon.process.assert_running();
    assert_eq!(daemon.instance().state, "Backup");
    assert!(!host.has(VIP) && !host.has("198.18.5.201") && !host.has("198.18.5.210"));
    assert!(!daemon.events().iter().any(|event| event["event"] == "restored"), "{}", daemon.process.log());
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0), "and it is to be had again");
}

#[test]
fn unassign_all_beside_an_election_is_refused_and_says_what_would_last() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &unhurried(200, "virtual-mac = true"));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    assert_refused(&daemon.vipd("unassign --all"), "hint: systemctl stop vipd");
    assert_eq!(daemon.vipd("unassign --all --dev lo").status.code(), Some(0), "nothing of it is there");
    assert_eq!(daemon.instance().state, "Active");
    assert!(host.has(VIP));
    assert!(!daemon.events().iter().any(|event| event["event"] == "restored"), "{}", daemon.process.log());
}

#[test]
fn a_daemon_that_listens_elsewhere_is_noticed() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    if !has_owned_tables(host) {
        return println!("skipped: this kernel has no tables with an owner");
    }
    for verb in
        ["unassign --all", "unassign 198.18.5.200/24 --dev eth0", "assign 198.18.5.200/24 --dev eth0 --no-probe"]
    {
        assert_refused(&alone(host, verb), "--socket");
    }
    assert!(host.has(VIP));
    assert!(!daemon.events().iter().any(|event| event["event"] == "restored"), "{}", daemon.process.log());
}

#[test]
fn a_daemon_that_does_not_answer_is_not_gone_round() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let daemon = Daemon::start(host, &managed(""));
    let verbs = ["assign 198.18.5.200/24 --dev eth0", "unassign 198.18.5.200/24 --dev eth0", "unassign --all"];
    for verb in verbs {
        assert_refused(&as_nobody(host, &daemon, verb), "user 65534 may not control this vipd");
    }
    daemon.process.freeze();
    std::thread::scope(|scope| {
        let runs = verbs.map(|verb| scope.spawn(|| daemon.vipd(verb)));
        for run in runs {
            assert_refused(&run.join().unwrap(), "a vipd runs here and cannot be asked");
        }
    });
    assert!(!host.has(VIP));
}

/// What `ExecStopPost` does, whatever the daemon died of.
#[test]
fn unassign_all_after_a_daemon_leaves_nothing_of_it() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let before = host.addresses();
    let mut daemon = Daemon::start(host, &elected(200, "lease = false"));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    daemon.rewrite(&elected(200, ""));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    assert_eq!(daemon.vipd("assign 198.18.5.210/24 --dev eth0 --no-probe").status.code(), Some(0));
    daemon.program_for_everybody();
    daemon.process.kill();
    assert!(daemon.file("vipd.sock").exists(), "nobody listens there any more");
    // At once: its lease still runs.
    let all = as_nobody(host, &daemon, "unassign --all");
    assert_eq!((all.status.code(), host.addresses()), (Some(0), before), "{all:?}");
    let ruleset = host.namespace.command("nft").args(["list", "ruleset"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ruleset.stdout), "");
}

#[test]
fn what_a_dead_daemon_left_silent_is_heard_again_when_it_is_assigned() {
    let Some(world) = World::new(2) else { return };
    let [host, asker] = &world.hosts[..] else { panic!("two") };
    killed(host);
    host.namespace.ip("address del 198.18.5.200/24 dev eth0\n");
    let assigned = alone(host, "assign 198.18.5.200/24 --dev eth0 --no-probe");
    assert_eq!(assigned.status.code(), Some(0), "{assigned:?}");
    assert!(answers(asker, host), "{assigned:?}");
    let said = String::from_utf8_lossy(&assigned.stderr);
    assert!(said.contains("warning: a vipd that has died left 198.18.5.200 silent"), "{said}");
    let ruleset = host.namespace.command("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(String::from_utf8_lossy(&ruleset.stdout).contains("198.18.5.201"), "what was not assigned stays silent");
}

/// Nobody answers, and nothing but the guard says why.
#[test]
fn what_a_dead_daemon_left_silent_is_shown_with_what_to_do() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    killed(host);
    let shown = |arguments: &str| {
        let output = alone(host, arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    until("its lease has lapsed", || shown("status")[0].contains("ms, silent: no vipd renews it\n"));
    let [_, hint] = shown("status");
    assert_eq!(hint, "  hint: vipd does not run: systemctl start vipd, or vipd unassign --all\n");
    // As after its lifetime.
    host.namespace.ip("address del 198.18.5.200/24 dev eth0\naddress del 198.18.5.201/24 dev eth0\n");
    host.namespace.ip("address add 198.18.5.200/24 dev eth0\n");
    let how = "vipd assign 198.18.5.200/24 --dev eth0 lets it be heard";
    let [status, hint] = shown("status");
    assert_eq!(status, "198.18.5.200/24 dev eth0 by other, silent: no vipd renews it\n");
    assert_eq!(hint, format!("  hint: {how}\n"));
    let [_, said] = shown("unassign --all");
    let warning = "warning: 198.18.5.200/24 was not placed by vipd, and stays silent under a dead daemon's guard";
    assert!(said.contains(&format!("{warning}; {how}\n")), "{said}");
    shown("assign 198.18.5.200/24 --dev eth0 --no-probe");
    assert_eq!(shown("status 198.18.5.200"), ["198.18.5.200/24 dev eth0 by other\n", ""]);
}

#[test]
fn a_status_tells_a_daemon_that_hangs_from_none() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let daemon = Daemon::start(host, &managed(""));
    let json = |output: Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    assert_eq!(json(alone(host, "status --json")).get("daemon-error"), None);
    let refused = json(as_nobody(host, &daemon, "status --json"));
    let says = |status: &Value| status["daemon-error"].as_str().unwrap().to_owned();
    assert!(says(&refused).contains("user 65534 may not control this vipd"), "{refused}");
    daemon.process.freeze();
    let frozen = json(daemon.vipd("status --json"));
    assert!(says(&frozen).contains("timed out"), "{frozen}");
}

#[test]
fn whoever_follows_is_told_when_that_ends() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &managed(""));
    std::thread::scope(|scope| {
        let socket = daemon.file("vipd.sock");
        let follow = scope.spawn(move || {
            let mut command = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
            command.args(["events", "--recent", "--socket"]).arg(socket).output().unwrap()
        });
        until("it follows", || {
            let sockets = host.namespace.command("ss").args(["-xH", "state", "connected"]).output().unwrap();
            String::from_utf8_lossy(&sockets.stdout).contains(daemon.file("vipd.sock").to_str().unwrap())
        });
        daemon.process.kill();
        let output = follow.join().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: asking vipd at "), "{output:?}");
    });
}

#[test]
fn what_was_done_and_cannot_be_told_is_a_job_half_done() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let full = |verb: &str| {
        let mut command = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        let out = std::fs::File::options().write(true).open("/dev/full").unwrap();
        command.args(verb.split(' ')).args(["--socket", "/nonexistent/vipd.sock"]).stdout(out).output().unwrap()
    };
    for (verb, code) in [("assign 198.18.5.200/24 --dev eth0 --no-probe", 4), ("status --json", 1)] {
        let output = full(verb);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("error: cannot print: No space left on device"), "{said}");
    }
    assert!(host.has(VIP));
}

#[test]
fn what_a_dead_daemon_left_to_lapse_stays_when_it_is_assigned() {
    let Some(world) = World::new(2) else { return };
    let [host, asker] = &world.hosts[..] else { panic!("two") };
    killed(host);
    assert!(lifetime(host).is_some_and(|seconds| seconds < 60), "otherwise this test shows nothing");
    let planned = alone(host, "assign 198.18.5.200/24 --dev eth0 --dry-run");
    assert!(String::from_utf8_lossy(&planned.stdout).contains("would probe 198.18.5.200"), "{planned:?}");
    let assigned = alone(host, "assign 198.18.5.200/24 --dev eth0");
    assert_eq!(assigned.status.code(), Some(0), "{assigned:?}");
    assert_eq!(lifetime(host), Some(u32::MAX.into()), "for ever");
    assert!(answers(asker, host), "{assigned:?}");
}

#[test]
fn what_a_dead_daemon_left_is_refused_where_another_host_has_it_by_now() {
    let Some(world) = World::new(3) else { return };
    let [host, other, asker] = &world.hosts[..] else { panic!("three") };
    killed(host);
    other.namespace.ip("address add 198.18.5.200/24 dev eth0\n");
    assert_refused(&alone(host, "assign 198.18.5.200/24 --dev eth0"), "198.18.5.200 is in use by 02:42:c6:12:05:11");
    assert!(answers(asker, other), "and it is still silent here");
}

#[test]
fn a_second_daemon_is_refused_before_it_touches_what_the_first_one_has() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let daemon = Daemon::start(host, &managed(""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    let directory = tempfile::tempdir().unwrap();
    let second = |socket: &std::path::Path| {
        let mut command: Command = host.namespace.command(env!("CARGO_BIN_EXE_vipd"));
        command.arg("run").arg("--config").arg(daemon.file("vipd.toml")).arg("--socket").arg(socket);
        let mut process = Process::start(&mut command, &directory, "second.log");
        let code = process.wait(PATIENCE).code();
        assert_eq!(code, Some(3), "{}", process.log());
    };
    second(&daemon.file("vipd.sock"));
    daemon.process.freeze();
    second(&daemon.file("vipd.sock"));
    daemon.process.thaw();
    if has_owned_tables(host) {
        second(&directory.path().join("other.sock"));
        assert!(!directory.path().join("other.sock").exists(), "its own socket goes with it");
    }
    until("it answers", || daemon.instance().state == "Active");
    assert!(!daemon.events().iter().any(|event| event["event"] == "restored"), "{}", daemon.process.log());
    assert!(host.has(VIP));
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let Some(world) = World::new(1) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("vipd.toml");
    std::fs::write(&file, managed("")).unwrap();
    let mut command = world.hosts[0].namespace.command(env!("CARGO_BIN_EXE_vipd"));
    command.arg("run").arg("--config").arg(&file).arg("--socket").arg(&file);
    let mut process = Process::start(&mut command, &directory, "vipd.log");
    until("it ends", || process.wait(PATIENCE).code() == Some(3));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), managed(""), "{}", process.log());
}
