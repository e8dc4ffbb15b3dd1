//! GoCD's side of the verbs on a site with two real PostgreSQL servers: maintenance mode, and artifacts in a real directory tree.
#![expect(clippy::expect_used, reason = "a test says where it stops")]

mod site;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use site::{Site, TOKEN, site};

const JOB: &str = r#"{"pipeline_name": "up42", "pipeline_counter": 8, "stage_name": "build", "stage_counter": "1", "name": "unit", "state": "Building"}"#;

/// Hosts whose GoCD is in maintenance mode.
fn in_maintenance(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path("maintenance")).expect("a directory");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The newest journal's evidence of a step.
fn evidence(site: &Site, step: &str) -> String {
    let journals = site.journals();
    let text = journals.last().expect("a journal");
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut done =
        lines.filter(|line| line["step"] == step).filter_map(|line| line["evidence"].as_str().map(str::to_owned));
    done.next_back().unwrap_or_else(|| panic!("{step} has no evidence in {text}"))
}

#[test]
fn gocd_is_brought_to_rest_starts_at_rest_and_is_let_go() {
    let Some(site) = site() else { return };
    let plan = site.expect(0, &["switchover", "--dry-run"]);
    let inventory = fs::read_to_string(site.path("bc.toml")).expect("a file");

    // Jobs that do not end, and a policy that will not go on over them: everything is put back.
    fs::write(site.path("jobs"), JOB).expect("a file");
    let policy = "wait-for-jobs = \"1s\"\nwhen-jobs-run = \"undo\"";
    fs::write(site.path("bc.toml"), site.inventory_with("policy", policy)).expect("a file");
    let refused = site.expect(1, &["switchover", "--yes"]);
    assert!(refused.contains("1 job goes on: up42/8/build/1/unit"), "{refused}");
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]));
    assert!(in_maintenance(&site).is_empty(), "put back");

    // The same, and a policy that goes on.
    fs::write(site.path("bc.toml"), site.inventory_with("policy", "wait-for-jobs = \"1s\"")).expect("a file");
    let said = site.expect(0, &["switchover", "--yes"]);
    assert!(evidence(&site, "quiesce").contains("up42/8/build/1/unit"), "{said}");
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    assert!(in_maintenance(&site).is_empty(), "let go");
    assert_eq!(evidence(&site, "gocd-quiet"), "maintenance mode is on, 1 job goes on: up42/8/build/1/unit");
    assert_eq!(site.sql("pg2", "SELECT n FROM boots ORDER BY n DESC LIMIT 1"), "2", "it was started at rest");
    assert!(evidence(&site, "gocd-loaded").contains("dashboard 200"));

    // Killed with GoCD at rest: the next one lets it go, and a check says so in between.
    fs::write(site.path("jobs"), "").expect("a file");
    fs::write(site.path("bc.toml"), inventory).expect("a file");
    for step in ["quiesce", "gocd-loaded", "assign-vip", "release"] {
        site.kill_at(step, &["switchover", "--yes"]);
        site.expect(0, &["resume", "--yes"]);
        assert!(in_maintenance(&site).is_empty(), "killed at {step}");
        let (vip, gocd) = site.serving();
        assert_eq!((vip.len(), &vip), (1, &gocd), "killed at {step}");
    }

    let seen: String = site.journals().concat() + &plan + &refused + &said;
    assert!(!seen.contains(TOKEN), "the token is in no journal and no output");
}

#[test]
fn a_token_that_others_may_read_or_that_gocd_does_not_know_is_refused_before_anything_is_touched() {
    let Some(site) = site() else { return };
    let mode = |mode| fs::set_permissions(site.path("token"), fs::Permissions::from_mode(mode)).expect("mode");
    mode(0o644);
    let said = site.expect(3, &["switchover", "--yes"]);
    assert!(said.contains("BC510") && said.contains("mode 0600"), "{said}");
    mode(0o600);
    fs::write(site.path("token"), "not \"a token\n").expect("a file");
    assert!(site.expect(3, &["failover", "--even-if-healthy", "--yes"]).contains("BC510"));
    fs::write(site.path("token"), format!("{TOKEN}\n")).expect("a file");
    fs::write(site.path("maintenance/go1"), "").expect("a file");
    let said = site.expect(1, &["check"]);
    assert!(said.contains("BC511"), "{said}");
    fs::remove_file(site.path("maintenance/go1")).expect("it is there");

    let without = site.inventory_with("policy", "").replace("api-token-file", "# api-token-file");
    fs::write(site.path("bc.toml"), without).expect("a file");
    let said = site.expect(0, &["check"]);
    assert!(said.contains("BC512"), "a note, and no more: {said}");
    let said = site.expect(0, &["switchover", "--yes"]);
    assert!(!said.contains("quiesce") && said.contains("the inventory has no `gocd.api-token-file`"), "{said}");
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
fn whoever_listens_on_the_port_of_a_gocd_that_has_died_learns_no_token() {
    let Some(site) = site() else { return };
    fs::write(site.path("jobs"), JOB).expect("a file");
    fs::write(site.path("bc.toml"), site.inventory_with("policy", "wait-for-jobs = \"15s\"")).expect("a file");
    let mut child = site.start_until("quiesce", &["switchover", "--yes"]);
    let begun = std::time::Instant::now();
    while in_maintenance(&site).is_empty() {
        assert!(begun.elapsed().as_secs() < 20, "GoCD is not in maintenance mode: {:?}", site.journals().last());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    fs::remove_file(site.path("gocd/go1")).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(4), "{:?}", site.journals().last());
    let overheard = fs::read_to_string(site.path("overheard")).unwrap_or_default();
    // One request may have been on its way when GoCD died.
    assert!(overheard.lines().count() < 2, "the token was sent to a port that is not GoCD's: {overheard}");
    let journal = site.journals().concat();
    assert!(journal.contains("GoCD does not run"), "{journal}");
}

/// A file in the artifact store, with the folders it needs, all GoCD's.
fn put(site: &Site, path: &str) {
    let path = site.path("artifacts").join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(&path, "kept\n").expect("a file");
    let mut chown = std::process::Command::new("chown");
    assert!(chown.args(["-R", "postgres:"]).arg(site.path("artifacts")).status().expect("chown starts").success());
}

fn runs(directory: &Path) -> Vec<String> {
    let Ok(names) = fs::read_dir(directory) else { return Vec::new() };
    let mut runs: Vec<String> = names
        .flatten()
        .flat_map(|name| fs::read_dir(name.path()).into_iter().flatten().flatten())
        .map(|run| run.path().strip_prefix(directory).expect("below it").to_string_lossy().into_owned())
        .collect();
    runs.sort();
    runs
}

#[test]
fn artifacts_of_runs_that_were_lost_are_moved_aside_and_nothing_else_is() {
    let Some(site) = site() else { return };
    site.sql("pg1", "INSERT INTO pipelinelabelcounts VALUES ('Up42', 6), ('other', 3); INSERT INTO pipelines VALUES ('up42', 6), ('later', 2)");
    site.wait("SELECT count(*) FROM pipelines", "pg2", "2");
    for run in ["Up42/5", "Up42/6", "Up42/7", "Up42/8", "other/3", "later/2", "later/3", "new/1"] {
        put(&site, &format!("pipelines/{run}/build/1/unit/cruise-output/console.log"));
    }
    put(&site, "pipelines/Up42/latest/x");
    put(&site, "pipelines/README");
    put(&site, "serverBackups/Up42/9/x");
    // A link where GoCD makes none: somebody has to look at it.
    symlink("/tmp", site.path("artifacts/pipelines/Up42/9")).expect("a link");
    for host in ["pg1", "go1"] {
        site.unplug(host);
    }
    let said = site.expect(4, &["failover", "--yes"]);
    assert!(said.contains("pipelines/Up42/9 is a link") && said.contains("quarantine-artifacts = false"), "{said}");
    assert_eq!(site.serving().1, ["go1"; 0], "GoCD was not started");
    fs::remove_file(site.path("artifacts/pipelines/Up42/9")).expect("it is there");

    // Killed in the middle of it, and continued.
    site.kill_at("quarantine", &["resume", "--yes"]);
    site.expect(0, &["resume", "--yes"]);
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    assert_eq!(
        runs(&site.path("artifacts/pipelines")),
        ["Up42/5", "Up42/6", "Up42/latest", "later/2", "other/3"],
        "what the database knows, and what is no run"
    );
    let quarantine = fs::read_dir(site.path("artifacts/bcctl-quarantine")).expect("it is there");
    let operations: Vec<_> = quarantine.flatten().map(|entry| entry.path()).collect();
    let [operation] = operations.as_slice() else { panic!("one operation: {operations:?}") };
    assert_eq!(runs(operation), ["Up42/7", "Up42/8", "later/3", "new/1"]);
    let kept = fs::read_to_string(operation.join("Up42/8/build/1/unit/cruise-output/console.log")).expect("whole");
    assert_eq!(kept, "kept\n");
    assert!(site.path("artifacts/serverBackups/Up42/9/x").exists());
    let report = site.expect(0, &["report"]);
    for run in runs(operation) {
        assert!(report.contains(&run), "{run} is not in the report: {report}");
    }
}

#[test]
fn a_failover_that_stops_at_the_artifacts_goes_on_without_them_when_the_inventory_says_so() {
    let Some(site) = site() else { return };
    let inventory = site.inventory_with("timeouts", "sync = \"5s\"");
    fs::write(site.path("bc.toml"), &inventory).expect("a file");
    // The database knows no run, so it may be the wrong one.
    put(&site, "pipelines/up42/7/build/1/unit/cruise-output/console.log");
    for host in ["pg1", "go1"] {
        site.unplug(host);
    }
    let said = site.expect(4, &["failover", "--yes"]);
    assert!(said.contains("knows no run") && said.contains("`policy.quarantine-artifacts = false`"), "{said}");
    assert_eq!(site.serving().1, ["go1"; 0], "GoCD was not started");
    assert!(site.expect(3, &["abort", "--yes"]).contains("only forward"));

    let without = inventory.replace("[policy]\n", "[policy]\nquarantine-artifacts = false\n");
    fs::write(site.path("bc.toml"), without).expect("a file");
    site.expect(0, &["resume", "--yes"]);
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    for step in ["counters", "quarantine"] {
        assert_eq!(evidence(&site, step), "left out: policy.quarantine-artifacts is false");
    }
    assert_eq!(runs(&site.path("artifacts/pipelines")), ["up42/7"], "nothing was touched");
}
