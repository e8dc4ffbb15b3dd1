//! `fence_drill`, the fence agent of the drill's power switch, against a switch of the test's own.
#![expect(clippy::unwrap_used, reason = "the test's own tools, outside of test functions, end a test by panicking too")]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../images/box/files/usr/sbin/fence_drill");

/// What the switch does when it is told to turn a host off or on.
#[derive(Clone, Copy)]
enum Habit {
    Obeys,
    Lies,
    Babbles,
}

/// A power switch with one host, `pg1`; it lives until the test ends.
struct Switch {
    directory: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Switch {
    /// None, aloud, where there is no curl; a failure under CI.
    fn start(habit: Habit) -> Option<Self> {
        if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
            let reason = "skipped: no curl; apt-get install curl";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
            eprintln!("{reason}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("switch.sock")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut power = "on";
            for stream in listener.incoming() {
                let request = read(stream.as_ref().unwrap());
                power = match (habit, request.as_str()) {
                    (Habit::Obeys, "POST /pg1/off") => "off",
                    (Habit::Obeys, "POST /pg1/on") => "on",
                    _ => power,
                };
                let (status, body) = match (habit, request.as_str()) {
                    (Habit::Babbles, _) => ("200 OK", "perhaps"),
                    (Habit::Lies, "POST /pg1/off") => ("200 OK", "off"),
                    (_, request) if request.contains("/pg1") => ("200 OK", power),
                    _ => ("404 Not Found", ""),
                };
                seen.lock().unwrap().push(request);
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.unwrap().write_all((head + body).as_bytes()).unwrap();
            }
        });
        Some(Self { directory, requests })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("switch.sock")
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Exit code, stdout, stderr of the agent for this request.
    fn agent(&self, request: &str) -> (i32, String, String) {
        run(&format!("{request}\nsocket={}\npower_timeout=1\n", self.socket().display()))
    }
}

fn read(stream: &UnixStream) -> String {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    lines.find(String::is_empty);
    first.trim_end_matches(" HTTP/1.1").to_owned()
}

fn run(stdin: &str) -> (i32, String, String) {
    let mut agent = Command::new("sh")
        .arg(AGENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    agent.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = agent.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn off_is_said_only_after_the_switch_was_asked_again() {
    let Some(switch) = Switch::start(Habit::Obeys) else { return };
    assert_eq!(switch.agent("action=status\nplug=pg1").0, 0, "on");
    switch.requests();
    let (code, out, _) = switch.agent("action=off\nport=pg1\nignored=yes");
    assert_eq!((code, out.as_str()), (0, "Success: Powered OFF\n"));
    assert_eq!(switch.requests(), ["POST /pg1/off", "GET /pg1"]);
    assert_eq!(switch.agent("action=status\nplug=pg1").0, 2, "off");
    assert_eq!(switch.agent("action=on\nplug=pg1").0, 0);
    switch.requests();
    assert_eq!(switch.agent("plug=pg1").0, 0, "reboot is the default action");
    assert_eq!(switch.requests(), ["POST /pg1/off", "GET /pg1", "POST /pg1/on", "GET /pg1"]);
}

#[test]
fn a_switch_that_says_off_and_stays_on_is_found_out() {
    let Some(switch) = Switch::start(Habit::Lies) else { return };
    let (code, out, err) = switch.agent("action=off\nplug=pg1");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("was told to turn pg1 off and still says on"), "{err}");
}

#[test]
fn whatever_is_not_on_or_off_is_an_error() {
    let Some(switch) = Switch::start(Habit::Babbles) else { return };
    let (code, _, err) = switch.agent("action=status\nplug=pg1");
    assert_eq!(code, 1);
    assert!(err.contains("answered GET /pg1 with: perhaps"), "{err}");
}

#[test]
fn a_request_that_makes_no_sense_touches_nothing() {
    let Some(switch) = Switch::start(Habit::Obeys) else { return };
    for (request, reason) in [
        ("action=off", "no plug given"),
        ("action=off\nplug=../pg1", "expected the name of a host"),
        ("action=explode\nplug=pg1", "expected on, off, reboot"),
        ("plug pg1", "expected name=value"),
    ] {
        let (code, _, err) = switch.agent(request);
        assert_eq!(code, 1, "{request}");
        assert!(err.contains(reason), "{request}: {err}");
    }
    assert!(switch.requests().is_empty());
    let (code, _, err) = switch.agent("action=status\nplug=pg9");
    assert_eq!(code, 1, "{err}");
}

#[test]
fn without_a_switch_nothing_is_known() {
    let (code, _, err) = run("action=off\nplug=pg1\nsocket=/nonexistent/switch.sock\n");
    assert_eq!(code, 1);
    assert!(err.contains("the drill's power switch does not answer"), "{err}");
    assert_eq!(run("action=monitor\nsocket=/nonexistent/switch.sock\n").0, 1);
}

#[test]
fn metadata_and_monitor_need_no_plug() {
    let (code, out, _) = run("action=metadata\n");
    assert_eq!(code, 0);
    assert!(out.contains("<resource-agent name=\"fence_drill\"") && out.contains("<action name=\"off\"/>"));
    let Some(switch) = Switch::start(Habit::Obeys) else { return };
    assert_eq!(switch.agent("action=monitor").0, 0);
}
