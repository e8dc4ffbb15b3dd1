//! bcctl and the real `fence`: the right to fence from one end to the other.
#![expect(clippy::expect_used, reason = "a test says where it stops")]

mod site;

use site::Site;

/// A site whose `fence` is the real program, or nothing (said aloud) where there can be none.
fn site(grade: &str, wanted: &str) -> Option<Site> {
    site::site().inspect(|site| site.fence(grade, wanted))
}

fn read(site: &Site, name: &str) -> String {
    std::fs::read_to_string(site.path(name)).unwrap_or_default()
}

/// The request of this kind that bcctl has sent last, word for word.
fn request(site: &Site, beginning: &str) -> Vec<String> {
    let log = read(site, "fence.log");
    let line = log.lines().rfind(|line| line.starts_with(beginning)).unwrap_or_else(|| panic!("no {beginning}: {log}"));
    // The reason is the one argument with a space in it.
    let (before, rest) = line.split_once(" --reason bcctl ").expect("a reason");
    let (operation, after) = rest.split_once(' ').expect("a token");
    let words = before.split(' ').map(str::to_owned);
    let reason = ["--reason".to_owned(), format!("bcctl {operation}")];
    words.chain(reason).chain(after.split(' ').map(str::to_owned)).collect()
}

/// Sends a request again: it is refused, and no device hears of it.
fn assert_stale(site: &Site, request: &[String]) {
    let asked = read(site, "power.asked");
    let request: Vec<&str> = request.iter().map(String::as_str).collect();
    let (code, said) = site.call_fence(&request);
    assert_eq!(code, Some(3), "{request:?}: {said}");
    assert!(said.contains("a later one has been seen"), "{said}");
    assert_eq!(read(site, "power.asked"), asked, "no device was asked");
}

fn timeline(site: &Site, node: &str) -> String {
    let (code, said) = site.call_fence(&["token", node]);
    assert_eq!(code, Some(0), "{said}");
    said.split('/').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_request_is_accepted_once_and_refused_after_every_later_promotion() {
    let Some(site) = site("A", "A") else { return };
    site.expect(0, &["check"]);
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('before')");
    site.wait("SELECT count(*) FROM rows", "pg2", "1");
    site.unplug("pg1");
    site.unplug("go1");
    let plan = site.expect(0, &["failover", "--dry-run"]);
    assert!(plan.contains("publish-token") && plan.contains("fence token pg2 --raise"), "{plan}");

    // Killed where it tells fence, and resumed.
    site.kill_at("publish-token", &["failover", "--yes"]);
    site.expect(0, &["resume", "--yes"]);
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    let failover = request(&site, "off pg1 ");
    assert!(
        failover.iter().any(|word| word == "--token") && failover.ends_with(&["--json".to_owned()]),
        "{failover:?}"
    );
    let (_, history) = site.call_fence(&["history", "pg1", "--json"]);
    let verdict = history.lines().rfind(|line| line.contains("\"kind\":\"verdict\"")).expect("a verdict");
    for part in ["\"confirmed\":true", "\"grade\":\"A\"", "\"required\":\"A\"", "\"timeline\":1"] {
        assert!(verdict.contains(part), "{part}: {verdict}");
    }
    // The promotion is known, so that the failover's own request is too late already.
    assert_eq!(timeline(&site, "pg2"), "2");
    assert_stale(&site, &failover);

    // A later operation, which turns the host on again with a right of its own.
    site.expect(0, &["failback", "--yes"]);
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]));
    assert_eq!(timeline(&site, "pg1"), "3");
    assert_stale(&site, &failover);
    assert_stale(&site, &request(&site, "on pg1 "));
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows"), "1", "the primary that it named serves on");
    let report = site.expect(0, &["report"]);
    assert!(report.contains("fence knows of timeline 3: what was decided on timeline 2 is refused"), "{report}");

    // What is decided now is later still.
    site.expect(0, &["switchover", "--yes"]);
    assert_eq!(timeline(&site, "pg2"), "4");
    let (code, said) = site.call_fence(&["verify-history"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_grade_that_no_device_can_reach_refuses_before_anything_is_touched() {
    let Some(site) = site("B", "A") else { return };
    site.unplug("pg1");
    site.unplug("go1");
    let said = site.expect(3, &["failover", "--yes"]);
    assert!(
        said.contains("BC704 pg1") && said.contains("level 1 (pg1-power: B) proves B, and A is required"),
        "{said}"
    );
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]));
    assert_eq!(site.sql("pg1", "SELECT pg_is_in_recovery()"), "f", "the old primary still runs");
    assert_eq!((read(&site, "power.asked"), read(&site, "fence/history.jsonl")), (String::new(), String::new()));
    assert!(site.journals().is_empty(), "nothing was begun");

    // The same devices are enough for a site that wants less.
    site.fence("B", "B");
    site.expect(0, &["failover", "--yes"]);
}

#[test]
fn where_there_is_no_fence_a_switchover_says_so_and_works() {
    let Some(site) = site("A", "A") else { return };
    std::fs::remove_file(site.path("etc/fence.toml")).expect("a file");
    let said = site.expect(0, &["switchover", "--yes"]);
    assert!(said.contains("fence cannot be told of the new timeline"), "{said}");
    assert_eq!(site.serving().0, ["go2"]);
}
