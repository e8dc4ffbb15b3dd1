//! `fence_bc`: the program as a fence agent, spoken to as Pacemaker speaks, and by the real Pacemaker.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

mod bench;
use bench::{Bench, HONEST, Said, finish, have, in_own_namespace};

fn honest() -> Bench {
    Bench::default()
        .node("pg1", r#"[["power"]]"#)
        .node("pg2", r#"[["second"]]"#)
        .agent("power", "5s", HONEST)
        .agent("second", "5s", "exit 1")
}

/// What the agent says to these lines on its standard input.
fn agent(bench: &Bench, lines: &str) -> Said {
    let mut command = bench.agent_command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    finish(child)
}

fn with_options(bench: &Bench, options: &[&str]) -> Said {
    let mut command = bench.agent_command();
    // If it read this, it would turn pg1 off.
    let mut child =
        command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(b"action=off\nplug=pg1\n");
    finish(child)
}

#[test]
fn every_action_has_the_exit_code_of_the_api() {
    let bench = honest();
    let steps = [
        ("action=status\nplug=pg1", 0, "Status: ON\n"),
        ("action=off\nplug=pg1", 0, "Success: Powered OFF\n"),
        ("action=status\nport=pg1", 2, "Status: OFF\n"),
        ("action=OFF\nnodename=pg1", 0, "Success: Powered OFF\n"),
        ("action=on\nplug=\"pg1\"", 0, "Success: Powered ON\n"),
        ("action=reboot\nplug=pg1\nnodename=somebody", 0, "Success: Powered OFF\nSuccess: Powered ON\n"),
        ("action=monitor\nplug=pg1", 0, ""),
        ("action=monitor", 1, ""),
        ("action=status\nplug=pg2", 1, "Status: UNKNOWN\n"),
        ("action=list", 0, "pg1,\npg2,\n"),
        ("action=list-status\nseparator=;", 0, "pg1;;ON\npg2;;UNKNOWN\n"),
        ("action=validate-all", 0, ""),
        ("action=validate-all\nplug=pg1", 0, ""),
        ("action=validate-all\nplug=pg9", 1, ""),
    ];
    for (lines, code, stdout) in steps {
        let said = agent(&bench, lines).expect_code(code);
        assert_eq!(said.stdout, stdout, "{lines}: {said:?}");
    }
}

/// Exit 2 of an agent says that a node is off: no mistake may ever end with it.
#[test]
fn no_mistake_ends_with_the_code_that_means_off() {
    let bench = honest();
    for lines in [
        "action=status\nplug=pg9",
        "action=status",
        "action=cycle\nplug=pg1",
        "plug=pg1",
        "option=off\nplug=pg1",
        "action=off",
        "action=off\nplug=pg1\ndelay=soon",
        "action=status\nplug=pg1\nconfig=/nonexistent",
        "",
    ] {
        agent(&bench, lines).expect_code(1);
    }
    for options in [&["--bogus"][..], &["--action=status", "--plug=pg9"], &["-o"], &["status"], &["--plug", "pg1"]] {
        with_options(&bench, options).expect_code(1);
    }
    assert_eq!(bench.requests("power"), "", "nothing was asked of any device");
}

#[test]
fn options_work_and_standard_input_is_then_ignored() {
    let bench = honest();
    let said = with_options(&bench, &["--action=status", "-n", "pg1", "--password=hunter2"]).expect_code(0);
    assert_eq!(said.stdout, "Status: ON\n");
    assert!(said.stderr.contains("\"password\" is ignored") && !said.stderr.contains("hunter2"), "{}", said.stderr);
    assert!(!bench.requests("power").contains("action=off"), "{}", bench.requests("power"));
    let by_verb = finish(bench.start(&["agent", "--action=status", "--plug=pg1"]));
    assert_eq!(by_verb.expect_code(0).stdout, "Status: ON\n");
}

#[test]
fn a_node_that_cannot_be_seen_off_is_a_failure_and_is_not_turned_on_by_reboot() {
    let bench = honest();
    for action in ["off", "reboot"] {
        let said = agent(&bench, &format!("action={action}\nplug=pg2")).expect_code(1);
        assert_eq!(said.stdout, "", "{said:?}");
    }
    assert!(!bench.requests("second").contains("action=on"), "{}", bench.requests("second"));
}

#[test]
fn reboot_is_done_when_the_node_was_off_even_if_it_does_not_come_back() {
    let bench = Bench::default().node("pg1", r#"[["power"]]"#).agent(
        "power",
        "2s",
        "case $action in off) echo off >$here/plug;; status) [ -e $here/plug ] && exit 2;; *) exit 1;; esac; exit 0",
    );
    let said = agent(&bench, "action=reboot\nplug=pg1").expect_code(0);
    assert!(said.stderr.contains("pg1 is off, and was not turned on again"), "{}", said.stderr);
}

#[test]
fn the_history_knows_who_asked() {
    let bench = honest();
    let mut command = bench.agent_command();
    command.env("PCMK_service", "pacemaker-fenced").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"action=off\nplug=pg1\nnodename=db-a\n").unwrap();
    assert!(child.wait().unwrap().success());
    let history = fs::read_to_string(bench.path("history.jsonl")).unwrap();
    assert!(history.contains("pacemaker-fenced asks, for its node db-a"), "{history}");
}

#[test]
fn the_metadata_is_valid_by_the_schema_of_the_clusterlabs_agents() {
    let schema = "/usr/share/cluster/relaxng/metadata.rng";
    if !have("xmllint", "libxml2-utils") || !have("fence_dummy", "fence-agents") {
        return;
    }
    let bench = Bench::default();
    for options in [&["-o", "metadata"][..], &["--action=meta-data"]] {
        // Neither a configuration nor a node is needed for it.
        let mut command = bench.agent_command();
        let output = command.args(options).env("FENCE_CONFIG", "/nonexistent").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::write(bench.path("metadata.xml"), &output.stdout).unwrap();
        let checked =
            Command::new("xmllint").args(["--noout", "--relaxng", schema]).arg(bench.path("metadata.xml")).output();
        let checked = checked.unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(r#"<parameter name="action" unique="0" required="1">"#), "{text}");
    }
}

/// Debian's pacemaker-fenced, without a cluster, calls the agent by its name from /usr/sbin; `stonith_admin` asks it to.
#[test]
fn pacemaker_registers_the_agent_and_fences_through_it() {
    if !have("stonith_admin", "pacemaker-cli-utils") || !have("../lib/pacemaker/pacemaker-fenced", "pacemaker") {
        return;
    }
    let bench = honest();
    fs::create_dir(bench.path("sbin")).unwrap();
    bench.write_config();
    bench.link_agent("sbin/fence_bc");
    let script = format!(
        r#"
set -eu
ip link set lo up
mount -t overlay overlay -o "lowerdir={here}/sbin:/usr/sbin" /usr/sbin
for directory in /var/lib/pacemaker /dev/shm /var/log/pacemaker; do mount -t tmpfs tmpfs $directory; done
mkdir /var/lib/pacemaker/cores
chown -R hacluster:haclient /var/lib/pacemaker
try() {{ if "$@"; then echo "exit 0: $*"; else echo "exit $?: $*"; fi; }}
try stonith_admin --metadata -a fence_bc >{here}/metadata.out
export FENCE_CONFIG={here}/fence.toml
try stonith_admin --validate -a fence_bc -o plug=pg1
try stonith_admin --validate -a fence_bc -o plug=pg9
/usr/lib/pacemaker/pacemaker-fenced --stand-alone -l {here}/fenced.log >/dev/null 2>&1 &
fenced=$!
trap 'kill $fenced' EXIT
waited=0
until stonith_admin -R device -a fence_bc -o pcmk_host_map=db-a:pg1 -o config={here}/fence.toml 2>/dev/null; do
    waited=$((waited + 1)); [ $waited -lt 100 ] || {{ echo "pacemaker-fenced does not answer"; exit 1; }}
    kill -0 $fenced
done
stonith_admin -R broken -a fence_bc -o pcmk_host_map=db-b:pg2 -o config={here}/fence.toml
try stonith_admin --list db-a
try stonith_admin --fence db-a
try stonith_admin --unfence db-a
try stonith_admin --fence db-b --timeout 15
"#,
        here = bench.path("").display().to_string().trim_end_matches('/')
    );
    let Some(said) = in_own_namespace(&script, Duration::from_secs(100)) else { return };
    let log = fs::read_to_string(bench.path("fenced.log")).unwrap_or_default();
    for line in [
        "exit 0: stonith_admin --validate -a fence_bc -o plug=pg1",
        "exit 1: stonith_admin --validate -a fence_bc -o plug=pg9",
        "exit 0: stonith_admin --list db-a",
        "exit 0: stonith_admin --fence db-a",
        "exit 0: stonith_admin --unfence db-a",
    ] {
        assert!(said.stdout.contains(line), "no {line:?} in {}\n{}\n{log}", said.stdout, said.stderr);
    }
    assert!(!said.stdout.contains("exit 0: stonith_admin --fence db-b"), "{}\n{log}", said.stdout);
    assert!(fs::read_to_string(bench.path("metadata.out")).unwrap().contains("fence_bc"));
    assert_eq!(bench.history()[..2], ["intent pg1", "verdict pg1 true"], "{:?}", bench.history());
    assert!(bench.history().iter().all(|line| line != "verdict pg2 true"), "{:?}", bench.history());
}
