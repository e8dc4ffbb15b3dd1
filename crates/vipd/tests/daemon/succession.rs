//! A reload that begins an instance anew, as whoever follows the events sees it: the last word of a name is what is.

use super::bed::world::World;
use super::instance::{Daemon, managed, unhurried};

/// From what to what each state changed since `seq`, and why.
fn transitions(daemon: &Daemon<'_>, seq: u64) -> Vec<String> {
    let events = daemon.events().into_iter().filter(|event| event["event"] == "transition");
    let later = events.filter(|event| event["seq"].as_u64().unwrap() > seq && event["instance"] == "web");
    let word = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap().to_owned();
    later.map(|one| format!("{} to {}: {}", word(&one, "from"), word(&one, "to"), word(&one, "reason"))).collect()
}

fn last_seq(daemon: &Daemon<'_>) -> u64 {
    daemon.events().last().unwrap()["seq"].as_u64().unwrap()
}

#[test]
fn the_end_of_a_predecessor_is_told_before_its_successor_begins() {
    let Some(world) = World::new(1) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &unhurried(200, ""));
    daemon.until("it is Active", |daemon| daemon.instance().state == "Active");
    let begun = ["Initialize to Backup: started", "Backup to Active: told to take over"];

    let seq = last_seq(&daemon);
    daemon.rewrite(&unhurried(200, "").replace("= 51", "= 77"));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    let replaced = "Active to Initialize: replaced by a reload";
    assert_eq!(transitions(&daemon, seq), [replaced, begun[0], begun[1]]);
    assert_eq!(daemon.instance().state, "Active");

    let seq = last_seq(&daemon);
    let one = managed("").replace(", \"198.18.5.201/24\"", "");
    daemon.rewrite(&one);
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    let held = "Backup to Active: held before the configuration changed";
    assert_eq!(transitions(&daemon, seq), [replaced, held]);
    assert_eq!(daemon.instance().state, "Active");

    let seq = last_seq(&daemon);
    daemon.rewrite(&unhurried(200, ""));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    assert_eq!(transitions(&daemon, seq), ["Active to Backup: replaced by a reload", begun[0], begun[1]]);

    let seq = last_seq(&daemon);
    daemon.rewrite(&managed("").replace("web", "other").replace(".5.20", ".5.21"));
    assert_eq!(daemon.vipd("reload").status.code(), Some(0));
    assert_eq!(transitions(&daemon, seq), ["Active to Initialize: gone from the configuration"]);
    assert!(!world.hosts[0].has("198.18.5.200"));
}
