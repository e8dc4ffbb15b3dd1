//! What is known of a check: how it failed, and what that does to the priority.

use super::bed::world::World;
use super::instance::{Daemon, elected};

#[test]
fn a_check_that_is_down_says_how_it_failed_and_what_it_weighs() {
    let Some(world) = World::new(1) else { return };
    let check = |name: &str, command: &str| {
        format!("[[check]]\nname = {name:?}\ncommand = {command}\ninterval = \"200ms\"\nfall = 1\n")
    };
    let checks = "checks = [{ name = \"code\", weight = -40 }, { name = \"slow\", weight = -1 }, { name = \"gone\", weight = -2 }, \
                  { name = \"fine\", weight = 5 }]\n";
    let more = [
        checks.to_owned(),
        check("code", "[\"/bin/sh\", \"-c\", \"exit 2\"]"),
        check("slow", "[\"/bin/sleep\", \"9\"]"),
        check("gone", "[\"/nowhere/check\"]"),
        check("fine", "[\"/bin/true\"]"),
    ];
    let mut daemon = Daemon::start(&world.hosts[0], &elected(100, &more.concat()));
    daemon.until("all have run", |daemon| {
        daemon.instance().checks.iter().all(|check| check.up == Some(check.name == "fine"))
    });
    daemon.until("they weigh in", |daemon| daemon.instance().priority == Some(62));
    let status = String::from_utf8(daemon.vipd("status").stdout).unwrap();
    for says in [
        ", priority 62 (100, check code -40, check fine +5, check gone -2, check slow -1)",
        "\n  check code: down, exit status 2\n",
        "\n  check slow: down, took longer than 200ms\n",
        "\n  check gone: down, cannot be run: /nowhere/check: No such file or directory (os error 2)\n",
        "\n  check fine: up\n",
    ] {
        assert!(status.contains(says), "{says}: {status}");
    }
    let told = daemon.events();
    let down = |event: &serde_json::Value| {
        event["event"] == "check" && event["name"] == "code" && event["up"] == false && event["why"] == "exit status 2"
    };
    assert!(told.iter().any(down), "{told:?}");
    let runs = daemon.process.log().matches("cannot be run: /nowhere/check").count();
    assert_eq!(runs, 2, "the event, and the log once a minute:\n{}", daemon.process.log());
}
