//! Commands whose client has gone before they were begun: nobody waits for them any more, so they are not done late.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::bed::world::World;
use super::instance::{Daemon, managed};

const DROPPED: &str = "its command is dropped";

fn ask(daemon: &Daemon<'_>, request: &str) -> UnixStream {
    let mut client = UnixStream::connect(daemon.file("vipd.sock")).unwrap();
    client.write_all(format!("{request}\n").as_bytes()).unwrap();
    client
}

fn times_dropped(daemon: &Daemon<'_>) -> usize {
    daemon.process.log().matches(DROPPED).count()
}

#[test]
fn a_command_that_was_reported_as_failed_is_not_carried_out_later() {
    let Some(world) = World::new(1) else { return };
    let mut daemon = Daemon::start(&world.hosts[0], &managed(""));
    daemon.process.freeze();
    let late = daemon.vipd("acquire web --force");
    daemon.process.thaw();
    let said = String::from_utf8(late.stderr).unwrap();
    assert!(said.contains("timed out after 15s; what was asked of it is dropped, unless it had begun"), "{said}");
    assert_eq!(late.status.code(), Some(4), "what has become of it is not known: {said}");
    daemon.until("it is dropped", |daemon| times_dropped(daemon) == 1);
    assert_eq!((daemon.instance().state.as_str(), world.hosts[0].has("198.18.5.200")), ("Backup", false));
    assert_eq!(daemon.vipd("acquire web --force").status.code(), Some(0), "the next one counts");
}

#[test]
fn a_client_that_only_says_no_more_has_its_answer_and_one_that_has_gone_has_nothing() {
    let Some(world) = World::new(1) else { return };
    let (host, mut daemon) = (&world.hosts[0], Daemon::start(&world.hosts[0], &managed("")));
    daemon.process.freeze();
    let gone = [r#"{"do":"acquire","instance":"web","force":true}"#, r#"{"do":"reload"}"#];
    gone.iter().for_each(|request| drop(ask(&daemon, request)));
    daemon.process.thaw();
    daemon.until("both are dropped", |daemon| times_dropped(daemon) == 2);
    assert!(!host.has("198.18.5.200"));
    assert!(!daemon.events().iter().any(|event| event["event"] == "reloaded"));

    // It has begun to ask on the wire when it listens there, and has not taken anything yet.
    drop(ask(&daemon, r#"{"do":"acquire","instance":"web"}"#));
    daemon.until("the one that asked for a probe has gone", |daemon| times_dropped(daemon) == 3);
    assert_eq!((daemon.instance().state.as_str(), host.has("198.18.5.200")), ("Backup", false));

    let mut client = ask(&daemon, r#"{"do":"acquire","instance":"web"}"#);
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "{\"answer\":\"done\",\"message\":\"web acquired\"}\n");
    assert!(host.has("198.18.5.200"));
}
