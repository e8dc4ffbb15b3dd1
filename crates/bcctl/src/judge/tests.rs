use bc_model::fencing::{Evidence as Call, FenceAction, FenceReport, Grade, NodeState};

use super::{Expect, Verdict, judge};
use crate::hosts::{Ended, Output, Unreached};

fn output(status: i32, stdout: &str, stderr: &str) -> Output {
    Output { end: Ended::Exit(status), stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

fn report(state: NodeState, confirmed: bool) -> Output {
    let report = FenceReport {
        schema: FenceReport::SCHEMA,
        at: jiff::Timestamp::UNIX_EPOCH,
        ended: None,
        node: "pg1".to_owned(),
        action: FenceAction::Status,
        reason: String::new(),
        by: String::new(),
        state,
        confirmed,
        grade: Grade::A,
        required: Grade::B,
        contradictions: vec![],
        token: None,
        merged: false,
        evidence: vec![Call {
            level: 1,
            device: "pg1-power".to_owned(),
            action: FenceAction::Status,
            state,
            grade: Grade::X,
            detail: "outlet 4".to_owned(),
            took_ms: 3,
        }],
    };
    output(0, &serde_json::to_string(&report).expect("JSON"), "")
}

fn holds(expect: &Expect, output: Output) -> bool {
    matches!(judge(expect, &[output]), Verdict::True(_))
}

#[test]
fn off_is_believed_only_when_it_is_confirmed() {
    assert!(holds(&Expect::FencedOff, report(NodeState::Off, true)));
    assert!(!holds(&Expect::FencedOff, report(NodeState::Off, false)));
    assert!(!holds(&Expect::FencedOff, report(NodeState::Unknown, true)));
    let mut weak = report(NodeState::Off, true);
    weak.stdout = weak.stdout.replace("\"grade\":\"A\"", "\"grade\":\"C\"");
    assert!(!holds(&Expect::FencedOff, weak), "a weaker proof than is required");
    let Verdict::False(words) = judge(&Expect::FencedOff, &[report(NodeState::On, true)]) else { panic!("it is on") };
    assert_eq!(words, "state of pg1 is on: pg1-power: outlet 4");
    // Words that only look like success are none.
    assert!(!holds(&Expect::FencedOff, output(0, "", "")));
    assert!(!holds(&Expect::FencedOff, output(0, "off", "")));
}

#[test]
fn psql_has_to_say_t_first() {
    assert!(holds(&Expect::True, output(0, "t\n", "")));
    assert!(!holds(&Expect::True, output(0, "f\n", "")));
    assert!(!holds(&Expect::True, output(0, "", "")));
    assert!(!holds(&Expect::True, output(1, "t\n", "connection lost")));
}

#[test]
fn lines_with_a_name_are_facts_and_the_others_are_words() {
    let Verdict::True(evidence) = judge(&Expect::True, &[output(0, "t\nnew_timeline=2\nit went well\n", "")]) else {
        panic!("it holds")
    };
    assert_eq!(evidence.words, "it went well");
    assert_eq!(evidence.facts["new_timeline"], "2");
    let Verdict::True(evidence) = judge(&Expect::Success, &[output(0, "checkpoint=0/5\ntimeline=1\n", "")]) else {
        panic!("it holds")
    };
    assert_eq!(evidence.words, "checkpoint 0/5, timeline 1");
}

#[test]
fn silence_is_not_an_answer() {
    for end in [Ended::TimedOut, Ended::Unreached(Unreached::NoAnswer)] {
        let silent = Output { end, stdout: String::new(), stderr: String::new() };
        for expect in [Expect::Success, Expect::True, Expect::FencedOff, Expect::VipAbsent([198, 18, 5, 200].into())] {
            assert!(matches!(judge(&expect, std::slice::from_ref(&silent)), Verdict::Unknown(_)), "{expect:?}");
        }
        assert!(matches!(judge(&Expect::Reached, &[silent]), Verdict::False(_)));
    }
}

#[test]
fn a_vip_that_vipd_does_not_speak_about_is_not_absent() {
    let address = [198, 18, 5, 200].into();
    let held = r#"{"schema":1,"addresses":[{"address":"198.18.5.200/24","interface":"eth0","placed-by-vipd":false}]}"#;
    let none = r#"{"schema":1,"addresses":[]}"#;
    assert!(
        holds(&Expect::VipHeld(address), output(0, held, "")) && !holds(&Expect::VipHeld(address), output(0, none, ""))
    );
    assert!(
        holds(&Expect::VipAbsent(address), output(0, none, ""))
            && !holds(&Expect::VipAbsent(address), output(0, held, ""))
    );
    assert!(!holds(&Expect::VipAbsent(address), output(127, "", "sh: vipd: not found")));
}

#[test]
fn the_same_files_are_the_same_hashes_and_the_needed_ones_among_them() {
    let manifest = |hash: &str, id: &str| {
        let text = format!(
            r#"{{"schema":1,"files":[{{"id":"{id}","size":1,"sha256":"{hash}"}},{{"id":"cruise-config.xml","size":1,"sha256":"x"}}]}}"#
        );
        output(0, &text, "")
    };
    let same = |one, other| judge(&Expect::SameFiles, &[one, other]);
    assert!(matches!(same(manifest("a", "cipher.aes"), manifest("a", "cipher.aes")), Verdict::True(_)));
    assert_eq!(
        same(manifest("a", "cipher.aes"), manifest("b", "cipher.aes")),
        Verdict::False("not the same: cipher.aes".to_owned())
    );
    assert_eq!(
        same(manifest("a", "cipher.aes"), manifest("a", "plugins/x.jar")),
        Verdict::False("not the same: cipher.aes, plugins/x.jar".to_owned())
    );
    assert_eq!(
        same(manifest("a", "plugins/x.jar"), manifest("a", "plugins/x.jar")),
        Verdict::False("cipher.aes is missing".to_owned())
    );
}
