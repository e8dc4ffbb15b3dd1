//! A reload, seen from the kernel and from the wire: an address that stays is neither removed nor silent for an instant.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use super::bed::asker::Asker;
use super::bed::world::{Host, World, until};
use super::instance::{Daemon, elected, managed, unhurried};

const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 200);

/// Writes down every address that the kernel removes, while the address is asked for every 2 ms.
struct Watch<'h> {
    host: &'h Host,
    monitor: Child,
    removed: Arc<Mutex<Vec<String>>>,
    _asker: Asker,
}

impl<'h> Watch<'h> {
    fn begin(world: &'h World) -> Self {
        let host = &world.hosts[0];
        let mut command = host.namespace.command("ip");
        let mut monitor = command.args(["-o", "monitor", "address"]).stdout(Stdio::piped()).spawn().unwrap();
        let removed = Arc::new(Mutex::new(Vec::new()));
        let (to, out) = (Arc::clone(&removed), monitor.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                to.lock().unwrap().extend(line.starts_with("Deleted").then_some(line));
            }
        });
        // It listens when it has seen something.
        host.namespace.ip("address add 198.18.7.7/32 dev lo\n");
        until("the monitor listens", || {
            host.namespace.ip("address del 198.18.7.7/32 dev lo\naddress add 198.18.7.7/32 dev lo\n");
            !removed.lock().unwrap().is_empty()
        });
        Self { host, monitor, removed, _asker: Asker::new(world, VIP) }
    }

    /// Nothing of 198.18.5.0/24 has gone, and no packet to it has been dropped.
    #[track_caller]
    fn assert_nothing_was_lost(&self, after: &str) {
        let removed = self.removed.lock().unwrap();
        let gone: Vec<_> = removed.iter().filter(|line| line.contains("198.18.5.")).collect();
        assert!(gone.is_empty(), "{after}: {gone:?}");
        let ruleset = self.host.namespace.command("nft").args(["list", "ruleset"]).output().unwrap();
        let text = String::from_utf8(ruleset.stdout).unwrap();
        let dropped: Vec<_> =
            text.lines().filter(|line| line.contains("drop") && !line.contains("packets 0 ")).collect();
        assert!(dropped.is_empty(), "{after}: {dropped:?}\n{text}");
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

/// Takes each configuration in turn, and expects an Active instance all the time.
#[track_caller]
fn reload_through(daemon: &mut Daemon<'_>, watch: &Watch<'_>, configs: &[(&str, String)]) {
    for (what, config) in configs {
        daemon.rewrite(config);
        let reloaded = daemon.vipd("reload");
        assert_eq!(reloaded.status.code(), Some(0), "{what}: {reloaded:?}");
        assert_eq!(daemon.instance().state, "Active", "{what}: at once");
        // A removal would come with the next turns of the loop; an elected lease that nobody renews lapses within 1.5 s.
        std::thread::sleep(std::time::Duration::from_millis(1600));
        assert_eq!(daemon.instance().state, "Active", "{what}: and for good");
        watch.assert_nothing_was_lost(what);
    }
}

#[test]
fn an_elected_address_stays_through_every_change_of_its_instance() {
    let Some(world) = World::new(3) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let watch = Watch::begin(&world);
    let one = "addresses = [\"198.18.5.200/24\"]";
    let check =
        "checks = [\"slow\"]\n[[check]]\nname = \"slow\"\ncommand = [\"/bin/sleep\", \"0.4\"]\ninterval = \"5s\"";
    reload_through(
        &mut daemon,
        &watch,
        &[
            ("another virtual router", unhurried(200, "").replace("= 51", "= 52")),
            ("another name, another virtual router", unhurried(200, "").replace("web", "www").replace("= 51", "= 53")),
            ("another priority", unhurried(150, "").replace("web", "www").replace("= 51", "= 53")),
            (
                "another address",
                unhurried(150, "").replace(one, "addresses = [\"198.18.5.210/24\", \"198.18.5.200/24\"]"),
            ),
            (
                "no lease",
                unhurried(200, "lease = false").replace(one, "addresses = [\"198.18.5.210/24\", \"198.18.5.200/24\"]"),
            ),
            ("a lease", unhurried(200, "").replace(one, "addresses = [\"198.18.5.210/24\", \"198.18.5.200/24\"]")),
            ("unadvertised", unhurried(200, "unadvertised-addresses = [\"198.18.5.210/24\"]")),
            (
                "a check that has not spoken yet",
                unhurried(200, &format!("unadvertised-addresses = [\"198.18.5.210/24\"]\n{check}")),
            ),
            ("an operator decides", managed("").replace("198.18.5.201", "198.18.5.210")),
            ("an election decides again", unhurried(200, "unadvertised-addresses = [\"198.18.5.210/24\"]")),
        ],
    );
}

#[test]
fn an_address_that_moves_between_instances_stays() {
    let Some(world) = World::new(3) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &managed(""));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    let watch = Watch::begin(&world);
    let only = |name: &str, address: &str| {
        managed("")
            .replace("web", name)
            .replace("[\"198.18.5.200/24\", \"198.18.5.201/24\"]", &format!("[\"{address}/24\"]"))
    };
    let web = |address| only("web", address);
    reload_through(
        &mut daemon,
        &watch,
        &[
            ("a part becomes an instance of its own", only("db", "198.18.5.200") + &web("198.18.5.201")),
            ("they change places", only("db", "198.18.5.201") + &web("198.18.5.200")),
            ("they become one", managed("").replace("web", "db")),
            ("to another one as a whole", managed("")),
        ],
    );
    let host = &world.hosts[0];
    assert!(host.has("198.18.5.200") && host.has("198.18.5.201"));
    drop(watch);
    assert_eq!(daemon.vipd("release web").status.code(), Some(0));
    assert!(!host.has("198.18.5.200") && !host.has("198.18.5.201"), "the last owner lets go of all");
}

#[test]
fn the_control_socket_moves_without_a_restart_and_an_impossible_one_changes_nothing() {
    let Some(world) = World::new(1) else { return };
    let mut daemon =
        Daemon::start_without_socket(&world.hosts[0], &(managed("") + "[control]\nsocket = \"DIR/vipd.sock\"\n"));
    assert_eq!(daemon.vipd("acquire web").status.code(), Some(0));
    daemon.rewrite(&(managed("restore-limit = 7") + "[control]\nsocket = \"DIR/none/vipd.sock\"\n"));
    let refused = daemon.vipd("reload");
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/none/vipd.sock"), "{refused:?}");
    assert_eq!(daemon.instance().state, "Active", "it still listens where it did");

    daemon.rewrite(&(managed("") + "[control]\nsocket = \"DIR/other.sock\"\n"));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    until("the old socket is gone", || !daemon.file("vipd.sock").exists());
    daemon.listens_at("other.sock");
    assert_eq!(daemon.instance().state, "Active");
}

#[test]
fn an_address_that_moves_to_a_backup_stays_guarded() {
    let Some(world) = World::new(2) else { return };
    let host = &world.hosts[0];
    let config = |name: &str, vrid: u8, priority: u8, addresses: &str| {
        let config = elected(priority, "").replace("\"web\"", &format!("{name:?}"));
        config.replace("= 51", &format!("= {vrid}")).replace("\"198.18.5.200/24\"", addresses)
    };
    let mut peer = Daemon::start(&world.hosts[1], &config("c", 52, 200, "\"198.18.5.210/24\""));
    peer.until("it is Active", |peer| peer.instance().state == "Active");
    let before =
        config("a", 51, 200, "\"198.18.5.200/24\", \"198.18.5.201/24\"") + &config("c", 52, 100, "\"198.18.5.210/24\"");
    let mut daemon = Daemon::start(host, &before);
    daemon.until("one of two is held", |_| host.has("198.18.5.200") && host.has("198.18.5.201"));
    daemon.rewrite(
        &(config("a", 51, 200, "\"198.18.5.200/24\"")
            + &config("c", 52, 100, "\"198.18.5.210/24\", \"198.18.5.201/24\"")),
    );
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    daemon.until("it is let go of", |_| !host.has("198.18.5.201"));
    // Decision 0018: nobody can make a Backup answer by adding the address.
    let ruleset = host.namespace.command("nft").args(["list", "ruleset"]).output().unwrap();
    let text = String::from_utf8(ruleset.stdout).unwrap();
    assert!(text.contains("198.18.5.201"), "{text}");
}
