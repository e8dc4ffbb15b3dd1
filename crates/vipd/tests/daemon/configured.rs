//! The configuration file as the running daemon meets it: what it refuses, what it leaves out, what it says has changed.

use std::fs;
use std::process::Output;

use super::bed::vipd::PROGRAM;
use super::bed::world::{Host, World};
use super::instance::{Daemon, managed, unhurried};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

fn has_changed(reloaded: &Output) -> String {
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
    text(&reloaded.stdout)
}

#[test]
fn a_file_without_an_instance_changes_nothing_and_a_reload_says_what_it_has_done() {
    let Some(world) = World::new(1) else { return };
    let daemon = Daemon::start(&world.hosts[0], &managed(""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    // What a failed `vipd import > vipd.toml` leaves behind.
    for empty in ["", "[control]\nusers = [\"root\"]\n"] {
        daemon.rewrite(empty);
        let refused = daemon.vipd("reload");
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "a wrong configuration: {said}");
        assert!(said.contains("found no [[instance]], expected at least one"), "{said}");
        assert!(said.contains("hint: nothing was changed"), "{said}");
        assert_eq!(daemon.instance().state, "Active");
        assert!(world.hosts[0].has("198.18.5.200"));
    }
    daemon.rewrite(&managed(""));
    assert_eq!(has_changed(&daemon.vipd("reload")), "nothing has changed\n");
    daemon.rewrite(&managed("restore-limit = 7"));
    assert_eq!(has_changed(&daemon.vipd("reload")), "reloaded, 1 change: instance web: restore-limit\n");
}

#[test]
fn a_socket_that_cannot_be_one_is_an_error_of_the_file_with_its_line() {
    let Some(world) = World::new(1) else { return };
    let directory = tempfile::tempdir().unwrap();
    let (file, plain) = (directory.path().join("vipd.toml"), directory.path().join("plain"));
    fs::write(&plain, "").unwrap();
    fs::write(&file, format!("{}[control]\nsocket = {plain:?}\n", managed(""))).unwrap();
    let run = world.hosts[0].namespace.command(PROGRAM).arg("run").arg("--config").arg(&file).output().unwrap();
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains("control: socket: found ") && said.contains("which is no socket"), "{said}");
}

#[test]
fn what_the_host_does_not_have_is_told_to_whoever_reads_the_log() {
    let Some(world) = World::new(1) else { return };
    let more = "[control]\nusers = [\"nosuch\"]\n[[check]]\nname = \"db\"\ncommand = [\"/nonexistent/x\"]\n";
    let mut daemon = Daemon::start(&world.hosts[0], &(managed("") + more));
    daemon.until("it says so", |daemon| {
        let log = daemon.process.log();
        log.contains("found \"nosuch\", which /etc/passwd does not have")
            && log.contains("found \"/nonexistent/x\", which cannot be started now: there is no such file")
    });
}

fn is_active(daemon: &Daemon<'_>) -> bool {
    daemon.instance().state == "Active"
}

#[test]
fn one_file_that_names_both_routers_serves_both() {
    let Some(world) = World::new(2) else { return };
    let unicast = |peers: &str| unhurried(200, "preempt = false") + &format!("[instance.unicast]\npeers = {peers}\n");
    let [one, other] = [0, 1].map(|index| own(&world.hosts[index]));
    let both = unicast(&format!("[{one:?}, {other:?}]"));
    let mut first = Daemon::start(&world.hosts[0], &both);
    first.until("it is Active", is_active);
    let mut second = Daemon::start(&world.hosts[1], &both);
    second.until("it hears the first", |second| {
        let instance = second.instance();
        instance.state == "Backup" && instance.received > 2
    });
    assert!(is_active(&first) && !world.hosts[1].has("198.18.5.200"));

    // The address of the first alone is right on the second only: the first has nobody to agree with.
    first.rewrite(&unicast(&format!("[{one:?}]")));
    assert_eq!(first.vipd("reload").status.code(), Some(0));
    first.until("it waits", |first| {
        first.instance().waiting.as_deref() == Some("every unicast peer is an address of this host")
    });
    second.until("the other one takes over", is_active);
    first.until("the address is gone", |_| !world.hosts[0].has("198.18.5.200"));
}

/// The host's own IPv4 address.
fn own(host: &Host) -> String {
    let shown = host.namespace.ip_json("-4 address show dev eth0");
    shown[0]["addr_info"][0]["local"].as_str().unwrap().to_owned()
}
