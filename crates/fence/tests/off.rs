//! `fence off` against agents that lie, hang, change their mind, fail, and babble; and against its own sudden death.

#![expect(clippy::disallowed_methods, reason = "tests measure and wait for real processes")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use bc_model::fencing::{Grade, NodeState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod bench;
use bench::{Bench, HONEST, calls, finish};

const OFF: [&str; 4] = ["off", "pg1", "--reason", "the test says so"];
const OFF_JSON: [&str; 5] = ["off", "pg1", "--reason", "the test says so", "--json"];

fn honest() -> Bench {
    Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "10s", HONEST)
}

#[test]
fn an_honest_agent_is_asked_again_and_the_history_has_intent_and_verdict() {
    let bench = honest();
    let report = bench.fence(&OFF_JSON).expect_code(0).report();
    assert_eq!((report.state, report.confirmed, report.reason.as_str()), (NodeState::Off, true, "the test says so"));
    assert_eq!(calls(&report.evidence), ["power off=off", "power status=off", "power status=off"]);
    assert_eq!(bench.history(), ["intent pg1", "verdict pg1 true"]);
    assert!(
        bench.requests("power").starts_with("action=off\nnodename=pg1\naction=status\n"),
        "{}",
        bench.requests("power")
    );
    assert_eq!(
        fs::read_to_string(bench.path("power.arguments")).unwrap(),
        "0\n0\n0\n",
        "arguments make an agent ignore its request"
    );
}

#[test]
fn off_twice_is_off_with_fresh_evidence_and_on_undoes_it() {
    let bench = honest();
    bench.fence(&OFF).expect_code(0);
    let again = bench.fence(&OFF_JSON).expect_code(0).report();
    assert_eq!(again.evidence.len(), 3, "it was asked again");
    bench.fence(&["status", "pg1"]).expect_code(0);
    let on = bench.fence(&["on", "pg1", "--reason", "repaired", "--json"]).expect_code(0).report();
    assert_eq!(calls(&on.evidence), ["power on=on", "power status=on"]);
    assert_eq!(fs::read_to_string(bench.path("plug")).unwrap(), "on\n");
}

/// Runs `off` against one device with this script, and expects exit 5 with these words on stderr.
fn not_fenced(script: &str, words: &[&str]) -> bc_model::fencing::FenceReport {
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "2s", script);
    let begun = Instant::now();
    let said = bench.fence(&OFF_JSON).expect_code(5);
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    for word in words.iter().chain(&["pg1 is not proven off", "hint: do not promote a standby of pg1 yet"]) {
        assert!(said.stderr.contains(word), "no {word:?} in: {}", said.stderr);
    }
    let report = said.report();
    assert!(!report.confirmed && report.state != NodeState::Off, "{report:?}");
    assert_eq!(bench.history(), ["intent pg1", "verdict pg1 false"]);
    report
}

#[test]
fn an_agent_that_claims_success_and_stays_on_is_found_out() {
    let report = not_fenced("[ $action = off ] && echo Success: Powered OFF; exit 0", &["level 1: power answered on"]);
    assert_eq!(report.state, NodeState::On);
}

#[test]
fn an_agent_that_says_off_and_then_on_again_is_found_out() {
    let report = not_fenced(
        "[ $action = off ] && exit 0; [ -e $here/asked ] && exit 0; touch $here/asked; exit 2",
        &["power answered on"],
    );
    assert_eq!(calls(&report.evidence), ["power off=off", "power status=off", "power status=on"]);
}

#[test]
fn an_agent_that_hangs_is_killed_with_its_children_and_is_not_off() {
    let script = "trap '' TERM INT HUP; (trap '' TERM INT HUP; sleep 1000) & echo $! >>$here/children; sleep 1000";
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "3s", script);
    let begun = Instant::now();
    let said = bench.fence(&OFF).expect_code(5);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    assert!(said.stderr.contains("no answer within"), "{}", said.stderr);
    for child in fs::read_to_string(bench.path("children")).unwrap().lines() {
        expect_gone(child);
    }
}

#[test]
fn an_agent_that_fails_is_not_off() {
    not_fenced(
        "echo 'Failed: Unable to connect/login to fencing device' >&2; exit 1",
        &["exit 1: Failed: Unable to connect/login"],
    );
}

#[test]
fn an_agent_that_babbles_or_exits_with_anything_else_is_not_off() {
    not_fenced("head -c 300000 /dev/urandom; printf 'Status: OFF\\n'; exit 3", &["exit 3"]);
    not_fenced("echo Status: OFF; kill -KILL $$", &["killed by signal 9"]);
}

#[test]
fn an_agent_that_is_not_there_is_not_off() {
    let bench = Bench::default()
        .node("pg1", r#"[["power"]]"#)
        .config("[devices.power]\nagent = \"exec\"\ncommand = \"/nonexistent/fence_x\"\ntimeout = \"1s\"");
    let said = bench.fence(&OFF).expect_code(5);
    assert!(said.stderr.contains("cannot run /nonexistent/fence_x"), "{}", said.stderr);
}

#[test]
fn the_second_level_is_used_when_the_first_fails() {
    let bench = Bench::default()
        .node("pg1", r#"[["bmc"], ["power"]]"#)
        .agent("bmc", "1s", "exit 1")
        .agent("power", "5s", HONEST);
    let report = bench.fence(&OFF_JSON).expect_code(0).report();
    assert!(report.confirmed);
    assert!(report.evidence.iter().filter(|e| e.device == "power").all(|e| e.level == 2));
}

#[test]
fn a_device_that_takes_its_time_is_waited_for_with_a_line_on_stderr() {
    let script = r#"
        case $action in
          off) sleep 1.3; date +%s >$here/since ;;
          *) [ -e $here/since ] && [ $(($(date +%s) - $(cat $here/since))) -ge 2 ] && exit 2; exit 0 ;;
        esac"#;
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "20s", script);
    let said = bench.fence(&OFF).expect_code(0);
    assert!(said.stderr.contains("pg1: power: off: 1 s of 13.3 s"), "{}", said.stderr);
}

#[test]
fn killed_in_the_middle_it_leaves_an_intent_and_a_second_run_works() {
    let slow = format!("[ -e $here/hurry ] || {{ touch $here/started; sleep 5; }}\n{HONEST}");
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "10s", &slow);
    let mut first = bench.start(&OFF);
    wait_for(|| bench.path("started").exists(), "the agent was started");
    assert_eq!(bench.history(), ["intent pg1"], "the intent is written before the device is touched");
    first.kill().unwrap();
    first.wait().unwrap();
    let shown = bench.fence(&["history"]).expect_code(0).stdout;
    assert!(shown.contains("off pg1: NO VERDICT"), "{shown}");
    fs::write(bench.path("hurry"), "").unwrap();
    bench.fence(&OFF).expect_code(0);
    assert_eq!(bench.history(), ["intent pg1", "intent pg1", "verdict pg1 true"]);
}

#[test]
fn a_signal_kills_the_agent_and_the_verdict_is_still_written() {
    let script = "echo $$ >$here/children; sleep 1000";
    let bench = Bench::default()
        .node("pg1", r#"[["power"], ["next"]]"#)
        .agent("power", "60s", script)
        .agent("next", "5s", HONEST);
    let first = bench.start(&OFF);
    let started = || fs::read_to_string(bench.path("children")).is_ok_and(|pid| pid.ends_with('\n'));
    wait_for(started, "the agent was started");
    kill(Pid::from_raw(i32::try_from(first.id()).unwrap()), Signal::SIGTERM).unwrap();
    let said = finish(first).expect_code(5);
    assert!(said.stderr.contains("interrupted"), "{}", said.stderr);
    assert_eq!(bench.history(), ["intent pg1", "verdict pg1 false"]);
    assert_eq!(bench.requests("next"), "", "no other device is touched after the wish to stop");
    expect_gone(fs::read_to_string(bench.path("children")).unwrap().trim());
}

#[test]
fn requests_that_arrive_while_one_is_running_take_its_result_and_fence_no_second_time() {
    let script = format!("touch $here/started; while [ ! -e $here/go ]; do sleep 0.05; done\n{HONEST}");
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "60s", &script);
    let first = bench.start(&OFF);
    wait_for(|| bench.path("started").exists(), "the agent was started");
    let mut others: Vec<_> = (0..2).map(|_| bench.start(&OFF_JSON)).collect();
    for other in &mut others {
        let line = first_line(other);
        assert!(line.contains("another request is running (pid"), "{line}");
    }
    fs::write(bench.path("go"), "").unwrap();
    finish(first).expect_code(0);
    for other in others {
        let report = finish(other).expect_code(0).report();
        assert!(report.merged && report.confirmed && report.grade == Grade::A, "{report:?}");
    }
    assert_eq!(bench.requests("power").matches("action=off").count(), 1, "{}", bench.requests("power"));
    let history = bench.history();
    assert_eq!(history.iter().filter(|line| *line == "verdict pg1 true merged").count(), 2, "{history:?}");
}

#[test]
fn without_a_history_nothing_is_done() {
    let bench = honest();
    fs::create_dir(bench.path("history.jsonl")).unwrap();
    let said = bench.fence(&OFF).expect_code(3);
    assert!(said.stderr.contains("nothing was done: history"), "{}", said.stderr);
    assert_eq!(bench.requests("power"), "");
}

#[test]
fn a_torn_last_line_in_the_history_is_tolerated() {
    let bench = honest();
    bench.fence(&OFF).expect_code(0);
    let file = bench.path("history.jsonl");
    let mut torn = fs::read(&file).unwrap();
    torn.extend_from_slice(br#"{"kind":"intent","sche"#);
    fs::write(&file, torn).unwrap();
    bench.fence(&OFF).expect_code(0);
    let said = bench.fence(&["history"]).expect_code(0);
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");
    assert!(said.stderr.contains("not readable, skipped"), "{}", said.stderr);
    let said = bench.fence(&["verify-history"]).expect_code(0);
    assert!(said.stdout.contains("1 torn and accounted for"), "{}", said.stdout);
}

#[test]
fn dry_run_prints_every_call_without_secrets_and_runs_nothing() {
    let bench = honest().config("options = { plug = 7, password = \"hunter2\" }");
    let said = bench.fence(&["off", "pg1", "--reason", "look", "--dry-run"]).expect_code(0);
    for line in ["level 1:", "action=off", "action=status", "plug=7", "password=***"] {
        assert!(said.stdout.contains(line), "{line} in {}", said.stdout);
    }
    let json = bench.fence(&["off", "pg1", "--reason", "look", "--dry-run", "--json"]).expect_code(0);
    let calls: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(calls[1]["stdin"][0], "action=status");
    assert!(!(said.stdout + &json.stdout).contains("hunter2"));
    assert_eq!((bench.requests("power").as_str(), bench.history().len()), ("", 0));
}

#[test]
fn a_secret_reaches_the_agent_and_nothing_else() {
    let secret = "correct horse";
    let script =
        format!("grep -q '^password={secret}' \"$0.requests\" || exit 1\necho 'login with {secret}' >&2\n{HONEST}");
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "10s", &script);
    let file = bench.path("password");
    fs::write(&file, format!("{secret}\n")).unwrap();
    let bench = bench.config(&format!("options-from-file = {{ password = \"{}\" }}", file.display()));
    let said = bench.fence(&OFF_JSON).expect_code(0);
    assert!(bench.requests("power").contains(secret));
    let history = fs::read_to_string(bench.path("history.jsonl")).unwrap();
    assert!(said.stderr.contains("login with ***"), "{}", said.stderr);
    for text in [&said.stdout, &said.stderr, &history] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_secret_file_that_is_missing_is_no_success() {
    let bench = honest().config("options-from-file = { password = \"/nonexistent/password\" }");
    let said = bench.fence(&OFF).expect_code(5);
    assert!(said.stderr.contains("option password: /nonexistent/password: No such file"), "{}", said.stderr);
}

#[test]
fn a_password_that_everybody_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let bench = honest().config("options = { password = \"x\" }");
    bench.fence(&["check"]);
    fs::set_permissions(bench.path("fence.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = bench.fence(&["check"]).expect_code(0);
    assert!(said.stderr.contains("every user of this machine can read it"), "{}", said.stderr);
}

#[test]
fn bad_input_is_exit_2_and_touches_nothing() {
    let bench = honest();
    let said = bench.fence(&["off", "pg11", "--reason", "x"]).expect_code(2);
    assert!(said.stderr.contains("did you mean \"pg1\"?"), "{}", said.stderr);
    bench.fence(&["status", "nobody"]).expect_code(2);
    bench.fence(&["off", "pg1"]).expect_code(2);
    let said = honest().config("retries = 3").fence(&OFF).expect_code(2);
    assert!(
        said.stderr.contains("fence.toml:9: devices.power.retries: unknown field `retries`, expected one of"),
        "{}",
        said.stderr
    );
    let said = finish(
        bench
            .command(&[])
            .args(["--config", "/nonexistent/fence.toml", "check"])
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!((bench.requests("power").as_str(), bench.history().len()), ("", 0));
}

#[test]
fn check_says_which_device_would_not_work() {
    let bench = honest().agent("broken", "2s", "echo no route >&2; exit 1");
    let said = bench.fence(&["check", "--json"]).expect_code(1);
    let report: bc_model::fencing::CheckReport = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report.warnings, ["device broken is used by no node"]);
    assert_eq!(
        report.devices.iter().map(|d| (d.device.as_str(), d.healthy)).collect::<Vec<_>>(),
        [("broken", false), ("power", true)]
    );
    assert_eq!(report.devices[0].detail, "monitor: exit 1: no route");
    assert!(bench.history().is_empty(), "asking changes nothing and leaves no line");
}

#[test]
fn status_of_all_nodes_is_a_list_and_one_dead_device_does_not_delay_the_others_much() {
    let bench = honest().node("pg2", r#"[["dead"]]"#).agent("dead", "1s", "sleep 100");
    let said = bench.fence(&["status", "--json"]).expect_code(1);
    let reports: Vec<bc_model::fencing::FenceReport> = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        reports.iter().map(|r| (r.node.as_str(), r.state)).collect::<Vec<_>>(),
        [("pg1", NodeState::On), ("pg2", NodeState::Unknown)]
    );
}

#[test]
fn a_reader_that_goes_away_does_not_change_the_verdict() {
    let bench = honest();
    let mut command = std::process::Command::new("/bin/sh");
    let fence = bench.command(&OFF_JSON);
    let words: Vec<_> = std::iter::once(fence.get_program()).chain(fence.get_args()).collect();
    let script = "{ \"$@\"; echo code $? >&3; } 3>&2 | true";
    let output = command.arg0("sh").args(["-c", script, "sh"]).args(words).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("code 0"), "{output:?}");
}

/// What a program says first; the rest of what it has said by then is lost.
fn first_line(child: &mut std::process::Child) -> String {
    use std::io::{BufRead, BufReader};
    let Some(stderr) = child.stderr.as_mut() else { return String::new() };
    BufReader::new(stderr).lines().next().and_then(Result::ok).unwrap_or_default()
}

fn wait_for(mut met: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !met() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An orphan stays a zombie until init reaps it; a zombie does nothing any more.
fn expect_gone(pid: &str) {
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
    };
    wait_for(|| matches!(state(), None | Some('Z' | 'X')), &format!("process {pid} is gone"));
}
