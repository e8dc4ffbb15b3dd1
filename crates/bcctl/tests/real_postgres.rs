//! Switchover, failover, failback and resume on two real PostgreSQL servers.
#![expect(clippy::expect_used, reason = "a test says where it stops")]

mod site;

use site::{Site, site};

fn insert(site: &Site, host: &str, text: &str) {
    site.sql(host, &format!("INSERT INTO rows (t) SELECT '{text}' FROM generate_series(1, 100)"));
}

fn count(site: &Site, host: &str) -> String {
    site.sql(host, "SELECT count(*) FROM rows")
}

fn timeline(site: &Site, host: &str) -> String {
    site.sql(host, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
}

fn assert_serving(site: &Site, gocd: &str, primary: &str, standby: &str) {
    assert_eq!(site.serving(), (vec![gocd.to_owned()], vec![gocd.to_owned()]), "one VIP, one GoCD");
    assert_eq!(site.sql(primary, "SELECT pg_is_in_recovery()"), "f");
    site.wait(
        &format!(
            "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{standby}' AND state = 'streaming'"
        ),
        primary,
        "1",
    );
    site.wait("SELECT pg_is_in_recovery()", standby, "t");
}

#[test]
fn a_switchover_and_the_way_back_lose_nothing_and_need_no_copy() {
    let Some(site) = site() else { return };
    let said = site.expect(0, &["check"]);
    assert!(said.ends_with("test is ready\n"), "{said}");
    insert(&site, "pg1", "before");
    std::fs::write(site.path("files/go1"), "second\n").expect("a file");

    site.expect(0, &["switchover", "--yes"]);
    assert_serving(&site, "go2", "pg2", "pg1");
    assert_eq!((count(&site, "pg2").as_str(), timeline(&site, "pg2").as_str()), ("100", "00000002"));
    assert_eq!(
        std::fs::read_to_string(site.path("files/go2")).expect("a file"),
        "second\n",
        "the configuration went along"
    );
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM pg_replication_slots"), "0", "no slot that keeps WAL for nobody");

    insert(&site, "pg2", "away");
    site.expect(0, &["switchover", "--yes"]);
    assert_serving(&site, "go1", "pg1", "pg2");
    assert_eq!((count(&site, "pg1").as_str(), timeline(&site, "pg1").as_str()), ("200", "00000003"));
    insert(&site, "pg1", "home");
    site.wait("SELECT count(*) FROM rows", "pg2", "300");
    let kept = std::fs::read_dir(site.path("."))
        .expect("a directory")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".old-"));
    assert_eq!(kept.count(), 0, "nothing was copied");
    site.expect(0, &["check"]);
}

#[test]
fn a_failover_and_the_failback_end_at_home_with_every_row() {
    let Some(site) = site() else { return };
    insert(&site, "pg1", "before");
    site.wait("SELECT count(*) FROM rows", "pg2", "100");

    let said = site.expect(3, &["failover", "--yes"]);
    assert!(said.contains("everything is well") && said.contains("bcctl switchover"), "{said}");
    let said = site.expect(3, &["failback", "--yes"]);
    assert!(said.contains("nothing has failed over"), "{said}");

    // The worst case: both hosts hang, and their servers go on.
    site.unplug("pg1");
    site.unplug("go1");
    let plan = site.expect(0, &["failover", "--dry-run"]);
    assert!(plan.contains("fence off go1") && plan.contains("pg_promote"), "{plan}");
    assert_eq!(site.serving().0, ["go1"], "a dry run touches nothing");
    let said = site.expect(2, &["failover"]);
    assert!(said.contains("no terminal"), "{said}");

    site.expect(0, &["failover", "--yes"]);
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    assert_eq!((count(&site, "pg2").as_str(), timeline(&site, "pg2").as_str()), ("100", "00000002"));
    site.try_sql("pg1", "SELECT 1").expect_err("the old primary is off");
    let said = site.expect(0, &["failover", "--yes"]);
    assert!(said.contains("nothing to do"), "{said}");
    assert!(site.expect(0, &["resume", "--yes"]).contains("nothing to resume"));

    insert(&site, "pg2", "away");
    site.expect(0, &["failback", "--yes"]);
    assert_serving(&site, "go1", "pg1", "pg2");
    assert_eq!((count(&site, "pg1").as_str(), timeline(&site, "pg1").as_str()), ("200", "00000003"));
    insert(&site, "pg1", "home");
    site.wait("SELECT count(*) FROM rows", "pg2", "300");
    let sum = "SELECT md5(string_agg(n || t, ',' ORDER BY n)) FROM rows";
    assert_eq!(site.sql("pg1", sum), site.sql("pg2", sum), "both servers hold the same rows");
    site.expect(0, &["check"]);
}

#[test]
fn killed_in_the_middle_of_a_failover_or_failback_and_resumed_it_ends_the_same() {
    let Some(site) = site() else { return };
    insert(&site, "pg1", "before");
    site.wait("SELECT count(*) FROM rows", "pg2", "100");
    site.unplug("pg1");
    site.unplug("go1");

    site.kill_at("promote", &["failover", "--yes"]);
    let said = site.expect(3, &["failover", "--yes"]);
    assert!(said.contains("is not over") && said.contains("bcctl resume"), "{said}");
    let said = site.expect(3, &["abort", "--yes"]);
    assert!(said.contains("only forward"), "{said}");
    site.expect(0, &["resume", "--yes"]);
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    assert_eq!((count(&site, "pg2").as_str(), timeline(&site, "pg2").as_str()), ("100", "00000002"));
    insert(&site, "pg2", "away");

    // One failback, killed again and again, and each time continued by somebody else, from the copies on the hosts alone.
    site.kill_at("rejoin-copy", &["failback", "--yes"]);
    for step in
        ["rejoin-swap", "rejoin-start", "stop-gocd", "arm", "stop-postgresql", "promote", "start-gocd", "follow"]
    {
        site.another_operator();
        site.kill_at(step, &["resume", "--yes"]);
    }
    site.another_operator();
    let said = site.expect(3, &["switchover", "--yes"]);
    assert!(said.contains("failback is not over"), "the hosts know of it: {said}");
    site.another_operator();
    site.expect(0, &["resume", "--yes"]);
    assert_serving(&site, "go1", "pg1", "pg2");
    assert_eq!((count(&site, "pg1").as_str(), timeline(&site, "pg1").as_str()), ("200", "00000003"), "one promotion");
    insert(&site, "pg1", "home");
    site.wait("SELECT count(*) FROM rows", "pg2", "300");
    assert_eq!(site.journals().len(), 1, "one journal per operation, and only the newest was fetched");
    let report = site.expect(0, &["report"]);
    assert!(report.starts_with("# failback of test: done\n") && report.contains("| continued by |"), "{report}");
    assert!(site.expect(0, &["history"]).contains("-failback  done"));
    // Nobody else can begin while one is at work: here it stops GoCD.
    let mut one = site.hold_at("stop-gocd", &["switchover", "--yes"]);
    site.another_operator();
    let said = site.expect(3, &["switchover", "--yes"]);
    assert!(said.contains("another bcctl works on this site") && said.contains("since 20"), "{said}");
    site.let_go();
    assert_eq!(one.wait().expect("a child").code(), Some(0), "{said}");
    // And one that comes right after it sees what it has done.
    site.expect(0, &["switchover", "--yes"]);
    site.expect(0, &["check"]);
}

#[test]
fn a_fence_that_lies_down_stops_the_failover() {
    let Some(site) = site() else { return };
    site.unplug("pg1");
    site.unplug("go1");
    std::fs::write(site.path("broken-fence"), "").expect("a file");
    let said = site.expect(5, &["failover", "--yes"]);
    assert!(said.contains("nothing was promoted"), "{said}");
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]), "nothing was touched");
    assert_eq!(site.sql("pg2", "SELECT pg_is_in_recovery()"), "t");
    std::fs::remove_file(site.path("broken-fence")).expect("a file");
    site.expect(0, &["failover", "--yes"]);
}

#[test]
fn an_override_asks_for_the_name_of_the_host_and_is_in_the_report() {
    let Some(site) = site() else { return };
    let said = site.expect(3, &["failover", "--yes"]);
    assert!(said.contains("everything is well"), "{said}");
    let said = site.expect(2, &["failover", "--even-if-healthy", "--yes"]);
    assert!(said.contains("--even-if-healthy needs the name") && said.contains("--i-am-sure pg1"), "{said}");
    site.expect(2, &["failover", "--even-if-healthy", "--yes", "--i-am-sure", "pg2"]);
    assert!(site.journals().is_empty(), "nothing was begun");
    site.expect(0, &["failover", "--even-if-healthy", "--yes", "--i-am-sure", "pg1"]);
    let report = site.expect(0, &["report"]);
    assert!(report.contains("**overridden by the operator**: --even-if-healthy, confirmed with pg1"), "{report}");
}

#[test]
fn bad_input_is_named_and_nothing_is_touched() {
    let Some(site) = site() else { return };
    let text = std::fs::read_to_string(site.path("bc.toml")).expect("a file");

    let said = site.expect(2, &["--inventory", "/no/such/file", "failover", "--yes"]);
    assert!(said.contains("/no/such/file: No such file"), "{said}");
    std::fs::write(site.path("wrong.toml"), text.replace("standby = \"pg2\"", "standby = \"pg9\"")).expect("a file");
    let wrong = site.path("wrong.toml");
    let said = site.expect(2, &["--inventory", &wrong.to_string_lossy(), "failover", "--yes"]);
    assert!(said.contains("wrong.toml:") && said.contains("postgresql.standby: no host `pg9`"), "{said}");

    // A server that is not a standby where one is expected.
    site.sql("pg2", "SELECT pg_promote()");
    let said = site.expect(3, &["switchover", "--yes"]);
    assert!(said.contains("pg1 and pg2 are both primaries"), "{said}");
    site.service("pg2", "stop");
    let said = site.expect(3, &["switchover", "--yes"]);
    assert!(said.contains("pg2: is not a standby of pg1 (it is stopped, shut down)"), "{said}");
    let said = site.expect(3, &["check"]);
    assert!(said.contains("this would be refused: switchover, failover"), "{said}");
    site.expect(0, &["status"]);
    let json: serde_json::Value = serde_json::from_str(&site.expect(0, &["status", "--json"])).expect("JSON");
    assert_eq!((&json["serving"], &json["vip-holders"]), (&"home".into(), &serde_json::json!(["go1"])));
    assert!(site.journals().is_empty(), "nothing was begun");
}
