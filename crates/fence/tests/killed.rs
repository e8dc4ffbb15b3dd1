//! `fence` killed with SIGKILL, for real: at each call of a device, and at each line of the history. Run again, it ends the
//! same, and the power goes off once.

#![expect(clippy::disallowed_methods, reason = "tests wait for real processes")]

use std::fs;
use std::time::{Duration, Instant};

use bc_model::fencing::{Grade, NodeState};

mod bench;
use bench::{Bench, finish};

/// A power switch that counts how often the power went off, and that kills `fence` before or after its Nth call.
///
/// An agent outlives a `fence` that was killed, so each says when it has ended.
const COUNTING: &str = r#"
n=$(($(cat $here/calls 2>/dev/null || echo 0) + 1)); echo $n >$here/calls
grep -qsx "$n before" $here/kill && kill -KILL $PPID
sleep ${pace:-0}
case $action in
  off) [ -e $here/off ] || echo x >>$here/went_off; touch $here/off; code=0 ;;
  on) rm -f $here/off; code=0 ;;
  *) code=0; [ -e $here/off ] && code=2 ;;
esac
grep -qsx "$n after" $here/kill && kill -KILL $PPID
echo $n >>$here/ended
exit $code"#;

const OFF: [&str; 7] = ["off", "pg1", "--reason", "test", "--json", "--token", "7/4/17/a/2999-01-01T00:00:00Z"];

fn counting(pace: &str) -> Bench {
    Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "60s", &format!("pace={pace}\n{COUNTING}"))
}

/// Waits until every agent that was started has ended.
fn let_agents_end(bench: &Bench) {
    let number = |name: &str| fs::read_to_string(bench.path(name)).unwrap_or_default();
    wait_for(|| number("calls").trim() == number("ended").lines().count().to_string() || number("calls").is_empty());
}

fn ends_the_same(bench: &Bench, place: &str) {
    let report = bench.fence(&OFF).expect_code(0).report();
    assert_eq!((report.state, report.grade), (NodeState::Off, Grade::A), "{place}");
    let went_off = fs::read_to_string(bench.path("went_off")).unwrap_or_default();
    assert_eq!(went_off.lines().count(), 1, "{place}: the power went off more than once");
    let verified = bench.fence(&["verify-history"]).expect_code(0).stdout;
    assert!(verified.contains("lines in the chain"), "{place}: {verified}");
    assert_eq!(bench.history().last().map(String::as_str), Some("verdict pg1 true"), "{place}");
}

#[test]
fn killed_before_and_after_each_call_of_a_device() {
    let bench = counting("0");
    bench.fence(&OFF).expect_code(0);
    let calls: usize = fs::read_to_string(bench.path("calls")).unwrap().trim().parse().unwrap();
    assert_eq!(calls, 3, "off, and status twice");
    for call in 1..=calls {
        for when in ["before", "after"] {
            let place = format!("killed {when} call {call}");
            let bench = counting("0");
            fs::write(bench.path("kill"), format!("{call} {when}\n")).unwrap();
            let said = bench.fence(&OFF);
            assert_eq!(said.code, None, "{place}: it was not killed: {said:?}");
            let_agents_end(&bench);
            ends_the_same(&bench, &place);
        }
    }
}

#[test]
fn killed_at_each_line_of_the_history() {
    let whole = counting("0");
    whole.fence(&OFF).expect_code(0);
    let lines = fs::read_to_string(whole.path("history.jsonl")).unwrap().lines().count();
    assert_eq!(lines, 5, "intent, attempt, observed twice, verdict");
    for line in 1..=lines {
        let bench = counting("0.2");
        let mut child = bench.start(&OFF);
        let written = || fs::read(bench.path("history.jsonl")).unwrap_or_default();
        wait_for(|| written().iter().filter(|byte| **byte == b'\n').count() >= line);
        // It may have ended by itself after the last line.
        let _ = child.kill();
        finish(child);
        let_agents_end(&bench);
        ends_the_same(&bench, &format!("killed at line {line}"));
    }
}

fn wait_for(mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !met() {
        assert!(Instant::now() < deadline, "gave up waiting");
        std::thread::sleep(Duration::from_millis(5));
    }
}
