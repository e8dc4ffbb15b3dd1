//! The right to fence, the grades and the history, as a person meets them at the command line.

#![expect(clippy::disallowed_methods, reason = "tests measure real time")]

use std::fs;

use bc_model::fencing::{FenceReport, Grade, NodeState};

mod bench;
use bench::Bench;

const HONEST: &str = r#"
case $action in
  off|on) echo $action >$here/plug ;;
  *) grep -qs off $here/plug && exit 2 ;;
esac
exit 0"#;

fn token(rank: &str) -> String {
    format!("7446/{rank}/2999-01-01T00:00:00Z")
}

fn off<'a>(node: &'a str, token: &'a str) -> Vec<&'a str> {
    vec!["off", node, "--reason", "test", "--json", "--token", token]
}

#[test]
fn a_delayed_request_with_an_old_token_replayed_after_the_promotion_is_refused() {
    let bench = Bench::default()
        .node("pg1", r#"[["power"]]"#)
        .node("pg2", r#"[["power2"]]"#)
        .agent("power", "10s", HONEST)
        .agent("power2", "10s", HONEST);
    let (before, promoted) = (token("4/17/fence"), token("5/18/promoted"));
    let report = bench.fence(&off("pg1", &before)).expect_code(0).report();
    assert_eq!(report.token.map(|token| token.to_string()), Some(before.clone()));
    // pg2 was promoted, and says so; pg1's side had decided to fence pg2 before, and its request arrives now.
    bench.fence(&["token", "pg2", "--raise", &promoted]).expect_code(0);
    let said = bench.fence(&off("pg2", &token("4/16/late"))).expect_code(3);
    assert!(said.stderr.contains("nothing was done") && said.stderr.contains("a later one has been seen"), "{said:?}");
    // The same request that was right for pg1 is not right any more.
    bench.fence(&off("pg1", &before)).expect_code(3);
    let said = bench.fence(&off("pg2", "7446/9/1/x/2020-01-01T00:00:00Z")).expect_code(3);
    assert!(said.stderr.contains("it has expired"), "{said:?}");
    bench.fence(&off("pg2", &token("8447/9/1/x").replace("7446/", ""))).expect_code(3);
    assert_eq!(bench.requests("power2"), "", "no device was asked");
    let shown = bench.fence(&["token"]).expect_code(0).stdout;
    assert_eq!(shown, format!("pg1 {before}\npg2 {promoted}\n"));
}

#[test]
fn a_token_may_come_from_a_file_as_text_or_json_and_what_is_none_is_a_usage_error() {
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "10s", HONEST);
    let (text, json) = (bench.path("token.txt"), bench.path("token.json"));
    fs::write(&text, token("4/17/a") + "\n").unwrap();
    let parsed: bc_model::fencing::Token = token("4/18/b").parse().unwrap();
    fs::write(&json, serde_json::to_string(&parsed).unwrap()).unwrap();
    bench.fence(&off("pg1", text.to_str().unwrap())).expect_code(0);
    let report = bench.fence(&off("pg1", json.to_str().unwrap())).expect_code(0).report();
    assert_eq!(report.token, Some(parsed));
    let report = bench.fence(&off("pg1", "7446/4/18/b/+10m")).expect_code(0).report();
    assert!(report.token.is_some_and(|token| token.expires > report.at), "ten minutes from now");
    bench.fence(&off("pg1", "7446/4/18/b/+0s")).expect_code(3);
    for bad in ["7446/4/17/a", "/nonexistent"] {
        let said = bench.fence(&off("pg1", bad)).expect_code(2);
        assert!(said.stderr.contains(&format!("token {bad}: ")), "{said:?}");
    }
    fs::write(&text, "7446/x/17/a/2999-01-01T00:00:00Z").unwrap();
    let said = bench.fence(&off("pg1", text.to_str().unwrap())).expect_code(2);
    assert!(said.stderr.contains("timeline: expected a number"), "{said:?}");
}

#[test]
fn a_proof_that_is_too_weak_is_exit_5_and_says_which_grade_was_reached() {
    let policy = "[policy]\nrequired-grade = \"A\"";
    let bench =
        Bench::default().config(policy).node("pg1", r#"[["fabric"]]"#).agent("fabric", "10s", HONEST).proving("B");
    let said = bench.fence(&["off", "pg1", "--reason", "test", "--json"]).expect_code(5);
    assert!(said.stderr.contains("pg1 is not proven off well enough: grade B"), "{}", said.stderr);
    let report = said.report();
    assert_eq!((report.state, report.confirmed), (NodeState::Off, false));
    assert_eq!((report.grade, report.required), (Grade::B, Grade::A));
    let status = bench.fence(&["status", "pg1", "--json"]).expect_code(0).report();
    assert_eq!((status.state, status.grade, status.is_off()), (NodeState::Off, Grade::B, false));
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "10s", HONEST).proving("AA");
    let said = bench.fence(&["check"]).expect_code(2);
    assert!(said.stderr.contains("devices.power.grade: \"AA\": expected a grade"), "{}", said.stderr);
}

#[test]
fn what_the_levels_could_prove_is_told_without_asking_a_device() {
    let bench = Bench::default()
        .node("pg1", r#"[["power", "fabric"], ["power"]]"#)
        .node("pg2", r#"[["fabric"]]"#)
        .agent("power", "10s", HONEST)
        .agent("fabric", "10s", HONEST)
        .proving("C");
    let said = bench.fence(&["nodes"]).expect_code(1).stdout;
    let expected = "pg1 could be proven off\n  level 1: power (A), fabric (C): grade C, watchdog elapsed, with recorded proof that it was armed; B is required\n  \
                    level 2: power (A): grade A, power off, read back\npg2 could NOT be proven off well enough\n  \
                    level 1: fabric (C): grade C, watchdog elapsed, with recorded proof that it was armed; B is required\n";
    assert_eq!(said, expected);
    let said = bench.fence(&["nodes", "--require", "A", "--json"]).expect_code(1).stdout;
    let report: bc_model::fencing::ReachReport = serde_json::from_str(&said).unwrap();
    let enough: Vec<(&str, bool)> = report.nodes.iter().map(|node| (node.node.as_str(), node.enough)).collect();
    assert_eq!(enough, [("pg1", true), ("pg2", false)]);
    assert_eq!(report.nodes[0].levels[0].required, Grade::A);
    assert_eq!((bench.requests("power"), bench.requests("fabric")), (String::new(), String::new()));
}

#[test]
fn a_token_that_is_raised_again_is_no_news() {
    let bench = Bench::default().node("pg2", r#"[["power"]]"#).agent("power", "10s", HONEST);
    for _ in 0..2 {
        bench.fence(&["token", "pg2", "--raise", &token("5/18/promoted")]).expect_code(0);
    }
    let said = bench.fence(&["history", "--json"]).expect_code(0).stdout;
    assert_eq!(said.matches("\"kind\":\"token\"").count(), 1, "{said}");
    let report: bc_model::fencing::TokenReport =
        serde_json::from_str(&bench.fence(&["token", "--json"]).expect_code(0).stdout).unwrap();
    assert_eq!(report.highest(7446).map(bc_model::fencing::Token::rank), Some((5, 18)));
    bench.fence(&["token", "pg2", "--raise", &token("5/17/late")]).expect_code(3);
}

#[test]
fn a_persons_word_is_grade_e_and_never_a_verified_fence() {
    let bench = Bench::default().node("pg1", r#"[["dead"]]"#).agent("dead", "1s", "exit 1");
    let confirm = ["confirm", "pg1", "--reason", "I pulled both plugs", "--json"];
    let report: FenceReport = bench.fence(&confirm).expect_code(0).report();
    assert_eq!((report.grade, report.confirmed, report.state), (Grade::E, false, NodeState::Unknown));
    assert!(report.evidence.is_empty() && report.by.contains('@'), "{report:?}");
    let said = bench.fence(&["off", "pg1", "--reason", "test", "--json"]).expect_code(5);
    assert_eq!((said.report().grade, said.report().is_off()), (Grade::E, false));
    let shown = bench.fence(&["history"]).expect_code(0).stdout;
    assert!(shown.contains("off pg1: a person's word (grade E, not verified)"), "{shown}");
    let status = bench.fence(&["status", "pg1", "--json"]).expect_code(1).report();
    assert_eq!((status.grade, status.confirmed), (Grade::E, false));
}

#[test]
fn a_history_that_was_changed_is_found_with_the_line_and_the_head_is_told() {
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "10s", HONEST);
    bench.fence(&["off", "pg1", "--reason", "test"]).expect_code(0);
    let said = bench.fence(&["verify-history"]).expect_code(0).stdout;
    let head = said.lines().last().unwrap().strip_prefix("head ").unwrap().to_owned();
    bench.fence(&["on", "pg1", "--reason", "test"]).expect_code(0);
    let said = bench.fence(&["verify-history", "--head", &head]).expect_code(0).stdout;
    assert!(said.contains("the head given is line 5"), "{said}");
    let file = bench.path("history.jsonl");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replacen("\"reason\":\"test\"", "\"reason\":\"best\"", 1)).unwrap();
    let said = bench.fence(&["verify-history"]).expect_code(1).stdout;
    assert!(said.contains("history.jsonl:1: was changed"), "{said}");
    let without_the_third: String =
        whole.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, l)| format!("{l}\n")).collect();
    fs::write(&file, without_the_third).unwrap();
    let said = bench.fence(&["verify-history"]).expect_code(1).stdout;
    assert!(said.contains("history.jsonl:3: does not follow the line before it"), "{said}");
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(&file, lines[..4].join("\n") + "\n").unwrap();
    bench.fence(&["verify-history"]).expect_code(0);
    let said = bench.fence(&["verify-history", "--head", &head]).expect_code(1).stdout;
    assert!(said.contains("the head given is not in it"), "{said}");
}

#[test]
fn a_fence_keeps_within_its_device_s_time_whatever_the_device_does() {
    for script in ["sleep 100", "[ $action = off ] && exit 0; sleep 100", "exit 0", "exit 1"] {
        let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent("power", "3s", script);
        let begun = std::time::Instant::now();
        bench.fence(&["off", "pg1", "--reason", "test"]).expect_code(5);
        // The device's time and what a busy machine takes to start a program, far from the hundred seconds.
        assert!(begun.elapsed().as_secs() < 20, "{script}: {:?}", begun.elapsed());
    }
}
