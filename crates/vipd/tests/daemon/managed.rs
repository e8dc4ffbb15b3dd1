//! Addresses that an operator moves.

use bc_model::vip::{VipOutcome, VipReport};

use super::bed::observer::{Observer, now};
use super::bed::world::{PATIENCE, World, until};
use super::instance::{Daemon, managed, unhurried};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_managed_instance_holds_nothing_until_it_is_told_and_lets_go_when_it_is_told() {
    let Some(world) = World::new(2) else { return };
    let daemon = Daemon::start(&world.hosts[0], &managed(""));
    let host = &world.hosts[0];
    assert!(!host.has("198.18.5.200"), "not at start");

    let acquired = daemon.vipd("acquire web");
    assert_eq!((acquired.status.code(), text(&acquired.stdout).as_str()), (Some(0), "web acquired\n"), "{acquired:?}");
    assert!(host.has("198.18.5.200") && host.has("198.18.5.201"), "done is done");
    assert_eq!(daemon.instance().state, "Active");
    let again = daemon.vipd("acquire web");
    assert_eq!(text(&again.stdout), "web is already held; announced again\n");

    let released = daemon.vipd("release web");
    assert_eq!((released.status.code(), text(&released.stdout).as_str()), (Some(0), "web released\n"));
    assert!(!host.has("198.18.5.200") && !host.has("198.18.5.201"));
    assert_eq!(text(&daemon.vipd("release web").stdout), "web is not held here; nothing to do\n");
}

#[test]
fn an_address_that_another_host_has_is_refused_and_nothing_is_changed() {
    let Some(world) = World::new(2) else { return };
    world.hosts[1].namespace.ip("address add 198.18.5.201/24 dev eth0\n");
    let daemon = Daemon::start(&world.hosts[0], &managed(""));
    let refused = daemon.vipd("acquire web");
    let expected = format!(
        "error: 198.18.5.201 is in use by {} on eth0; unassign it there, or fence that host\n",
        world.hosts[1].mac
    );
    assert_eq!((refused.status.code(), text(&refused.stderr)), (Some(3), expected));
    assert!(!world.hosts[0].has("198.18.5.200") && !world.hosts[0].has("198.18.5.201"));
    assert_eq!(daemon.vipd("acquire web --force").status.code(), Some(0));
    assert!(world.hosts[0].has("198.18.5.201"));
}

#[test]
fn what_does_not_apply_is_refused_with_a_hint() {
    let Some(world) = World::new(1) else { return };
    let daemon = Daemon::start(&world.hosts[0], &managed(""));
    for (arguments, says) in [
        ("handover web", "error: web is managed; nobody takes it over by himself\n"),
        ("acquire wbe", "error: there is no instance wbe\n  hint: there is web\n"),
    ] {
        let refused = daemon.vipd(arguments);
        assert_eq!(refused.status.code(), Some(3), "{arguments}");
        assert!(text(&refused.stderr).starts_with(says), "{arguments}: {}", text(&refused.stderr));
    }
}

#[test]
fn a_dead_daemon_leaves_a_silent_address_which_the_next_one_clears_away() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &managed(""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    daemon.process.kill();
    assert!(host.has("198.18.5.200"), "the kernel removes it only when its lifetime is over");
    let daemon = Daemon::start(host, &managed(""));
    assert!(!host.has("198.18.5.200") && !host.has("198.18.5.201"), "swept");
    assert_eq!(daemon.instance().state, "Backup");
}

#[test]
fn a_daemon_that_ends_leaves_nothing() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let before = host.addresses();
    let mut daemon = Daemon::start(host, &managed(""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    daemon.process.terminate();
    assert!(daemon.process.wait(PATIENCE).success());
    assert_eq!(host.addresses(), before);
    let ruleset = host.namespace.command("nft").args(["list", "ruleset"]).output().unwrap();
    assert_eq!(text(&ruleset.stdout), "", "no table of ours is left");
}

#[test]
fn an_address_that_somebody_removes_is_put_back_a_limited_number_of_times() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let mut daemon = Daemon::start(host, &managed("restore-limit = 2"));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    for time in 0..2 {
        host.namespace.ip("address del 198.18.5.200/24 dev eth0\n");
        until(&format!("it is put back, time {time}"), || host.has("198.18.5.200"));
    }
    host.namespace.ip("address del 198.18.5.200/24 dev eth0\n");
    daemon.until("it gives up", |_| !host.has("198.18.5.201"));
    let lost = daemon.events().iter().filter(|event| event["event"] == "address-lost").count();
    assert_eq!(lost, 1);
}

#[test]
fn a_watched_status_tells_each_change_once() {
    let Some(world) = World::new(1) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &managed(""));
    let watched = |arguments: &[&str], file: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vipd"));
        let out = std::fs::File::create(daemon.file(file)).unwrap();
        command.args(["status", "--watch", "--socket"]).arg(daemon.file("vipd.sock")).args(arguments);
        command.stdout(out).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut watches = [watched(&[], "lines"), watched(&["--json"], "json")];
    let read = |file: &str| std::fs::read_to_string(daemon.file(file)).unwrap();
    until("it has begun", || !read("lines").is_empty() && !read("json").is_empty());
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    until("it has told", || read("lines").matches("is on eth0").count() == 2);
    assert_eq!(daemon.vipd("release web").status.code(), Some(0));
    until("it has told again", || read("lines").contains("198.18.5.201/24 is no longer on eth0"));
    let states: Vec<_> = read("lines").lines().filter(|line| line.starts_with("web: ")).map(str::to_owned).collect();
    assert_eq!(states, ["web: Backup on eth0", "web: Active on eth0", "web: Backup on eth0"], "{}", read("lines"));
    let mut json = String::new();
    until("the same as JSON", || {
        json = read("json");
        json.matches('\n').count() >= 3
    });
    // It may be writing the next one.
    for line in json.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let status: bc_model::vip::VipStatus = serde_json::from_str(line).unwrap();
        assert_eq!(status.instances.unwrap().len(), 1);
    }
    daemon.process.kill();
    for watch in &mut watches {
        assert_eq!(watch.wait().unwrap().code(), Some(1), "without a daemon there is nothing to watch");
    }
}

#[test]
fn what_the_daemon_has_as_managed_is_handed_to_it() {
    let Some(world) = World::new(1) else { return };
    let (daemon, host) = (Daemon::start(&world.hosts[0], &managed("")), &world.hosts[0]);
    let planned = daemon.vipd("assign 198.18.5.200/24 --dev eth0 --dry-run");
    assert!(text(&planned.stdout).starts_with("would run: vipd acquire web\n"), "{planned:?}");
    assert!(!host.has("198.18.5.200"), "that was a plan");

    let assigned = daemon.vipd("assign 198.18.5.200/24 --dev eth0 --json");
    let report: VipReport = serde_json::from_slice(&assigned.stdout).unwrap();
    let change = &report.changes[0];
    assert_eq!((change.outcome, change.instance.as_deref()), (VipOutcome::Assigned, Some("web")));
    assert!(change.lease.as_ref().is_some_and(|lease| lease.contains("stops answering")), "{change:?}");
    assert!(host.has("198.18.5.200") && host.has("198.18.5.201"), "all of the instance");
    assert_eq!(daemon.instance().state, "Active");
    let again = daemon.vipd("assign 198.18.5.200/24 --dev eth0");
    assert!(text(&again.stdout).contains("is already on eth0 by the running vipd, instance web"), "{again:?}");

    let unassigned = daemon.vipd("unassign 198.18.5.200/24 --dev eth0");
    assert!(
        text(&unassigned.stdout).starts_with("198.18.5.200/24 unassigned from eth0 by the running"),
        "{unassigned:?}"
    );
    assert_eq!((daemon.instance().state.as_str(), host.has("198.18.5.201")), ("Backup", false));
    assert_eq!(daemon.vipd("unassign 198.18.5.200/24 --dev eth0").status.code(), Some(0), "it is not there");

    let other = daemon.vipd("assign 198.18.5.202/24 --dev eth0 --no-probe --json");
    let report: VipReport = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(report.changes[0].lease.as_deref(), Some("none"), "another address is nobody's to renew");
}

#[test]
fn what_the_daemon_holds_otherwise_or_elsewhere_is_refused_beside_it() {
    let Some(world) = World::new(2) else { return };
    world.hosts[1].namespace.ip("address add 198.18.5.201/24 dev eth0\n");
    let daemon = Daemon::start(&world.hosts[0], &managed(""));
    let refused = daemon.vipd("assign 198.18.5.200/32 --dev eth0");
    let says = "error: 198.18.5.200 belongs to the instance web of the running vipd\n  hint: vipd acquire web, which is \
                198.18.5.200/24, 198.18.5.201/24 on eth0\n";
    assert_eq!((refused.status.code(), text(&refused.stderr).as_str()), (Some(3), says));
    let in_use = daemon.vipd("assign 198.18.5.200/24 --dev eth0");
    assert_eq!(in_use.status.code(), Some(3));
    assert!(text(&in_use.stderr).starts_with("error: 198.18.5.201 is in use by"), "{in_use:?}");
    assert!(!world.hosts[0].has("198.18.5.200"));
    drop(daemon);

    let mut daemon = Daemon::start(&world.hosts[0], &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    for verb in ["assign", "unassign"] {
        let refused = daemon.vipd(&format!("{verb} 198.18.5.200/24 --dev eth0"));
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        assert!(text(&refused.stderr).contains("vipd handover web gives it to a peer"), "{refused:?}");
    }
    assert!(world.hosts[0].has("198.18.5.200"));
}

#[test]
fn what_the_kernel_refuses_is_neither_acquired_nor_announced() {
    let Some(world) = World::new(2) else { return };
    let (host, observer) = (&world.hosts[0], Observer::new(&world.hosts[1].namespace));
    let addresses = "[\"198.18.5.200/24\", \"198.18.5.201/24\"]";
    let daemon = Daemon::start(host, &managed("").replace(addresses, "[\"fd00:5::200/64\"]"));
    let disable = || std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    host.namespace.enter(disable).join().unwrap();
    let from = now();
    let refused = daemon.vipd("acquire web --force");
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(daemon.events().iter().any(|event| event["event"] == "address-lost"));
    assert_eq!(daemon.instance().state, "Backup");
    let announced = observer.look(from, |frames| frames.iter().filter(|frame| frame.announces().is_some()).count());
    assert_eq!(announced, 0, "it is nowhere");
}

#[test]
fn an_address_that_a_reload_brings_is_asked_for_first() {
    let Some(world) = World::new(2) else { return };
    let (host, other) = (&world.hosts[0], &world.hosts[1]);
    other.namespace.ip("address add 198.18.5.201/24 dev eth0\n");
    let mut daemon = Daemon::start(host, &managed("").replace(", \"198.18.5.201/24\"", ""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    daemon.rewrite(&managed(""));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    daemon.until("it has met the other host", |daemon| {
        assert!(!host.has("198.18.5.201"), "two hosts have it");
        daemon.events().iter().any(|event| event["event"] == "conflict" && event["address"] == "198.18.5.201")
    });
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(3), "it asks again, and it is the other's still");
    assert!(host.has("198.18.5.200") && !host.has("198.18.5.201"), "what it had it keeps");
    assert_eq!(daemon.instance().state, "Active");

    other.namespace.ip("address del 198.18.5.201/24 dev eth0\n");
    let acquired = daemon.vipd("acquire web");
    assert_eq!((acquired.status.code(), text(&acquired.stdout).as_str()), (Some(0), "web acquired\n"), "{acquired:?}");
    assert!(host.has("198.18.5.201"), "now it is free");
    daemon.rewrite(&managed("").replace("198.18.5.201", "198.18.5.202"));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    daemon.until("what is free is held", |_| host.has("198.18.5.202") && !host.has("198.18.5.201"));
}
