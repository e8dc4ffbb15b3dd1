//! `fence serve`, started for each connection by systemd's own socket activation, and asked by an ordinary user.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "tests measure and wait for real processes")]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod bench;
use bench::{Bench, HONEST, Said, finish, have, skip};

/// The password of a device, which must be in nothing that the caller sees.
const PASSWORD: &str = "correct-horse";

struct Helper {
    bench: Bench,
    activation: Child,
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.activation.kill();
        let _ = self.activation.wait();
    }
}

impl Helper {
    fn start() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("only root can be another user");
            return None;
        }
        if !have("systemd-socket-activate", "systemd") || !have("setpriv", "util-linux") {
            return None;
        }
        let bench = Bench::default()
            .config("[[allow]]\nuser = \"nobody\"\nnodes = [\"pg1\", \"slow\"]\nactions = [\"off\", \"status\"]")
            .node("pg1", r#"[["power"]]"#)
            .node("slow", r#"[["hangs"]]"#)
            .node("pg2", r#"[["other"]]"#)
            .agent("hangs", "60s", "echo $$ >$here/hanging; sleep 1000")
            .agent("other", "5s", "exit 0")
            .agent("power", "5s", HONEST);
        let secret = bench.path("secret");
        fs::write(&secret, PASSWORD).unwrap();
        let bench = bench.config(&format!("options-from-file = {{ password = \"{}\" }}", secret.display()));
        let config = bench.write_config();
        for private in [&secret, &config] {
            fs::set_permissions(private, Permissions::from_mode(0o600)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_fence"), bench.path("fence")).unwrap();
        fs::set_permissions(bench.path(""), Permissions::from_mode(0o755)).unwrap();
        let socket = bench.path("fence.sock");
        let mut activation = Command::new("systemd-socket-activate");
        activation.args(["--accept", "--inetd", "--listen"]).arg(&socket).arg(bench.path("fence"));
        activation.arg("--config").arg(config).arg("serve").stdin(Stdio::null());
        let log = fs::File::create(bench.path("serve.log")).unwrap();
        let activation = activation.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let helper = Self { bench, activation };
        helper.until("the socket is there", || fs::metadata(&socket).is_ok_and(|meta| meta.file_type().is_socket()));
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
        Some(helper)
    }

    fn socket(&self) -> PathBuf {
        self.bench.path("fence.sock")
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            let log = fs::read_to_string(self.bench.path("serve.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited in vain until {what}: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `fence WORDS --via SOCKET`, as nobody.
    fn start_as_nobody(&self, words: &[&str]) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).arg(self.bench.path("fence"));
        command.args(words).arg("--via").arg(self.socket());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn as_nobody(&self, words: &[&str]) -> Said {
        finish(self.start_as_nobody(words))
    }

    /// What the helper answers to these bytes, sent by root.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

#[test]
fn a_user_may_fence_what_the_policy_names_and_sees_no_secret() {
    let Some(helper) = Helper::start() else { return };
    let said = helper.as_nobody(&["off", "pg1", "--reason", "pg2 is promoted", "--json"]).expect_code(0);
    let report = said.report();
    assert!(
        report.confirmed && report.by.starts_with("nobody@") && report.by.ends_with("(through fence serve)"),
        "{report:?}"
    );
    helper.as_nobody(&["status", "pg1"]).expect_code(0);
    assert!(helper.bench.requests("power").contains(PASSWORD), "the device was given its password");
    for text in [said.stdout, said.stderr, fs::read_to_string(helper.bench.path("serve.log")).unwrap()] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn what_the_policy_does_not_name_is_refused_and_written_down() {
    let Some(helper) = Helper::start() else { return };
    for words in [&["off", "pg2", "--reason", "x"][..], &["on", "pg1", "--reason", "x"], &["status", "pg2"]] {
        let said = helper.as_nobody(words).expect_code(3);
        assert!(said.stderr.contains("nobody may not ask for"), "{}", said.stderr);
    }
    let denied = fs::read_to_string(helper.bench.path("history.denied.jsonl")).unwrap();
    assert_eq!(denied.lines().count(), 3, "{denied}");
    assert!(denied.contains(r#""user":"nobody","action":"off","node":"pg2""#), "{denied}");
    assert_eq!((helper.bench.requests("other"), helper.bench.requests("power")), (String::new(), String::new()));
    assert!(helper.bench.history().is_empty());
}

#[test]
fn what_is_no_request_is_answered_and_nothing_is_done() {
    let Some(helper) = Helper::start() else { return };
    for bytes in [&b"\n"[..], b"action=off\nplug=pg1\n", b"{}\n", &[b'x'; 10_000]] {
        let answer = helper.raw(bytes);
        // What is too long is cut off while it is still being sent, and then not even the answer arrives.
        assert!(answer.is_empty() && bytes.len() > 4096 || answer.contains(r#""refused""#), "{answer}");
    }
    // Somebody who says nothing is not waited for.
    let begun = Instant::now();
    assert!(helper.raw(b"").contains("no request within 5 s"));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(helper.bench.requests("power"), "");
}

#[test]
fn a_caller_that_is_killed_takes_its_fence_with_it() {
    let Some(helper) = Helper::start() else { return };
    let mut caller = helper.start_as_nobody(&["off", "slow", "--reason", "x"]);
    let hanging = helper.bench.path("hanging");
    helper.until("the device is asked", || hanging.exists());
    caller.kill().unwrap();
    caller.wait().unwrap();
    helper.until("the fence has ended", || helper.bench.history().iter().any(|line| line == "verdict slow false"));
}
