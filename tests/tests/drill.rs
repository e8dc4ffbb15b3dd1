//! Drills, judged from outside: exit code, report, and what is left on the machine.
//!
//! `BC_HARNESS` names the binary, beside which the statically linked tools lie (`make drills` sets it). Without it, or
//! without a container engine, a drill is skipped aloud, and fails if `CI` is set. Drills are slow and want the
//! machine for themselves: run them with `--test-threads=1`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows what it saw"
)]

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A drill that came to an end.
struct Drill {
    code: Option<i32>,
    table: String,
    report: Value,
    directory: TempDir,
}

impl Drill {
    /// Runs a drill with `options`; its progress goes to our stderr. None if this machine cannot drill.
    fn run(options: &[&str]) -> Option<Self> {
        let harness = harness()?;
        let directory = TempDir::new().unwrap();
        let before = Machine::look();
        let output = Command::new(&harness)
            .arg("drill")
            .args(options)
            .arg("--report-dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{table}");
        assert_eq!(Machine::look(), before, "something of the run is left on the machine, or was taken from it");
        let report = std::fs::read(directory.path().join("report.json")).expect("report.json was written");
        let report = serde_json::from_slice(&report).expect("report.json is JSON");
        Some(Self { code: output.status.code(), table, report, directory })
    }

    /// The verdict on each invariant, with its reasons.
    fn verdicts(&self) -> BTreeMap<&str, (&str, &str)> {
        let invariants = self.report["invariants"].as_array().expect("invariants");
        invariants
            .iter()
            .map(|finding| {
                let field = |name: &str| finding[name].as_str().expect("a string");
                (field("id"), (field("verdict"), field("detail")))
            })
            .collect()
    }

    fn assert_held(&self, not_asked: &[&str]) {
        for (id, (verdict, detail)) in self.verdicts() {
            let expected = if not_asked.contains(&id) { "skipped" } else { "held" };
            assert_eq!(verdict, expected, "{id}: {detail}");
        }
        assert_eq!(self.report["verdict"], "held");
        assert_eq!(self.code, Some(0));
    }
}

/// What a drill may not change: the machine's containers, networks, volumes, namespaces and interfaces.
#[derive(Debug, PartialEq, Eq)]
struct Machine(Vec<(&'static str, Vec<String>)>);

impl Machine {
    fn look() -> Self {
        let questions: [&[&'static str]; 5] = [
            &["docker", "ps", "--all", "--format", "{{.ID}} {{.Names}}"],
            &["docker", "network", "ls", "--format", "{{.ID}} {{.Name}}"],
            &["docker", "volume", "ls", "--format", "{{.Name}}"],
            &["ip", "netns"],
            &["ip", "-brief", "address"],
        ];
        Self(
            questions
                .into_iter()
                .map(|argv| {
                    let Output { stdout, .. } = Command::new(argv[0]).args(&argv[1..]).output().expect(argv[0]);
                    let mut lines: Vec<_> = String::from_utf8_lossy(&stdout).lines().map(str::to_owned).collect();
                    lines.sort();
                    (argv[0], lines)
                })
                .collect(),
        )
    }
}

fn harness() -> Option<String> {
    let missing = match std::env::var("BC_HARNESS") {
        Err(_) => "BC_HARNESS does not name the harness; `make drills` does",
        Ok(harness) => {
            let docker = Command::new("docker").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if docker.is_ok_and(|status| status.success()) {
                return Some(harness);
            }
            "docker does not answer"
        }
    };
    assert!(std::env::var_os("CI").is_none(), "no drill in CI: {missing}");
    println!("skipped: {missing}");
    None
}

#[test]
fn a_site_whose_primary_hangs_fails_over_and_comes_home() {
    let Some(drill) = Drill::run(&[]) else { return };
    drill.assert_held(&["resumed"]);
    for row in ["detect", "fence", "promote", "GoCD ready", "VIP moved", "agents back", "rows acknowledged", "stand-in"]
    {
        assert!(drill.table.contains(row), "the table does not speak of {row:?}");
    }
    let junit = std::fs::read_to_string(drill.directory.path().join("junit.xml")).unwrap();
    assert!(junit.contains("<testsuites") && !junit.contains("<failure"), "{junit}");
    assert!(drill.report["rows"]["acknowledged"].as_u64().unwrap() > 100, "{}", drill.report["rows"]);
}

#[test]
fn a_fence_that_lies_is_noticed() {
    let Some(drill) = Drill::run(&["--sabotage", "no-fence"]) else { return };
    assert_eq!(drill.code, Some(1));
    assert_eq!(drill.report["verdict"], "broken");
    let (verdict, detail) = drill.verdicts()["one-writer"];
    assert_eq!(verdict, "broken", "{detail}");
    assert!(detail.contains("pg1") && detail.contains("pg2"), "{detail}");
    assert!(
        drill.table.contains("never two writable PostgreSQL servers after the fence"),
        "the table does not name it"
    );
    let junit = std::fs::read_to_string(drill.directory.path().join("junit.xml")).unwrap();
    assert!(junit.contains("<failure"), "{junit}");
}

#[test]
fn a_bcctl_killed_at_the_promotion_is_resumed_to_the_same_end() {
    let Some(drill) = Drill::run(&["--fault", "power-cut", "--kill-bcctl-at", "promote"]) else { return };
    drill.assert_held(&[]);
}
