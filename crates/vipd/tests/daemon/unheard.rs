//! A router whose advertisements do not leave its host, beside a peer that is heard.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::bed::frame::Frame;
use super::bed::observer::now;
use super::bed::router::{Instance, Make, Setting};
use super::bed::site::Site;
use super::bed::world::{Host, PATIENCE};
use super::instance::{Daemon, elected};

/// Has the kernel refuse what that host wants to say in VRRP; frames that are sent as such still leave.
const MUTE: &str = "table inet mute { chain output { type filter hook output priority 0; meta l4proto 112 drop; }; }";

fn nft(host: &Host, rules: &str) {
    let mut nft = host.namespace.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "nft refused: {rules}");
}

#[test]
fn whoever_cannot_advertise_steps_back_and_leaves_the_neighbours_to_its_peer() {
    if !Make::Keepalived.is_installed() {
        return;
    }
    let instance = Instance { vrid: 51, addresses: vec!["198.18.5.200/24".into()], unadvertised: Vec::new() };
    let interval = Duration::from_millis(100);
    let instances = vec![instance];
    let low = Setting { version: 3, interval, priority: 100, preempt: true, virtual_mac: false, instances };
    let vip: IpAddr = "198.18.5.200".parse().unwrap();
    for lease in ["lease = true", "lease = false"] {
        let Some(site) = Site::new() else { return };
        let host = &site.world.hosts[0];
        let _peer = site.start_active(Make::Keepalived, 1, &low);
        let mut daemon = Daemon::start(host, &elected(200, lease));
        daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
        site.settled(0, &low);

        let muted = now();
        nft(host, MUTE);
        let mute = now();
        let taken = site.observer.wait_for("the peer", muted, PATIENCE, site.is_active(1, &low)).at;
        // It tries again now and then, and each time it says why it cannot.
        daemon.until("it has said twice what is wrong", |daemon| {
            let why = |event: &&Value| {
                event["event"] == "waiting" && event["reason"].as_str().unwrap().starts_with("cannot advertise: ")
            };
            daemon.events().iter().filter(why).count() >= 2
        });
        let tells = |frame: &&Frame| frame.announces() == Some(vip) && frame.from() == Some(host.mac);
        let told = site.observer.look(taken, |frames| frames.iter().filter(tells).count());
        assert_eq!(told, 0, "{lease}: it told the neighbours about an address that a peer holds");
        assert!(!host.has("198.18.5.200"), "{lease}: two hosts have it");
        let at = |event: &Value| event["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_duration();
        let active = |event: &Value| event["to"] == "Active" && at(event) > mute.try_into().unwrap();
        let events = daemon.events();
        assert!(!events.iter().any(active), "{lease}: it is Active for nobody but itself: {events:?}");

        nft(host, "delete table inet mute");
        daemon.until("it is Active again", |daemon| daemon.instance().state == "Active" && host.has("198.18.5.200"));
        site.settled(0, &low);
    }
}
