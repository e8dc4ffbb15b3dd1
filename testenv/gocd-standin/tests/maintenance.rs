//! Maintenance mode, access tokens, the dashboard and the artifact store, against a real PostgreSQL on loopback.
#![expect(clippy::disallowed_methods, reason = "tests wait for other processes, with deadlines")]
#![expect(clippy::unwrap_used, reason = "the tests' own tools, outside of test functions, end a test by panicking too")]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]
#![allow(dead_code, reason = "each test file uses its own part of the site")]

mod site;

use serde_json::{Value, json};
use site::{Answer, Server, Site, Speaker, wait_for};

const MODE: &str = "/go/api/admin/maintenance_mode";
const TOKEN: &str = "5f3a9c00d1e2b4a6978812345678abcdef012345";
const START_IN: &str = "-Dgocd.server.start.in.maintenance.mode=true";

fn switch(server: &Server, verb: &str, token: &str) -> Answer {
    let bearer = format!("bearer {token}");
    let mut headers = vec![("Accept", "application/vnd.go.cd.v1+json"), ("X-GoCD-Confirm", "true")];
    if !token.is_empty() {
        headers.push(("Authorization", &bearer));
    }
    server.post(&format!("{MODE}/{verb}"), &headers, "")
}

fn info(server: &Server) -> Value {
    let answer = server.get(&format!("{MODE}/info"), site::API).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn nothing_is_triggered_or_assigned_in_maintenance_and_agents_go_on() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    let mut agent = Speaker::register(&server, site::KEY);
    agent.get_cookie(&server);
    let work = agent.wait_for_work(&server);
    let job = &work["assignment"]["jobIdentifier"];

    assert_eq!(info(&server)["is_maintenance_mode"], json!(false));
    assert!(info(&server).get("attributes").is_none(), "only while it is on");
    assert_eq!(switch(&server, "disable", "").status, 409, "it is not on");
    assert_eq!(switch(&server, "enable", "").status, 204);
    assert_eq!(switch(&server, "enable", "").status, 409, "it is on already");
    let unconfirmed = server.post(&format!("{MODE}/disable"), &[("Accept", site::API)], "");
    assert_eq!(unconfirmed.status, 400, "{}", unconfirmed.body);

    let now = info(&server);
    assert_eq!(now["attributes"]["has_running_systems"], json!(true), "{now}");
    let building = &now["attributes"]["running_systems"]["building_jobs"][0];
    assert_eq!((&building["pipeline_name"], &building["agent_uuid"]), (&json!("heartbeat"), &json!(agent.uuid)));
    assert_eq!(building["pipeline_counter"], job["pipelineCounter"]);

    let blocked = server.post("/go/admin/agent", &[("Content-Type", "application/x-www-form-urlencoded")], "uuid=x");
    assert_eq!(blocked.status, 503, "{}", blocked.body);
    assert_eq!(server.get("/go/api/v1/health", "").unwrap().status, 200);
    let done = json!({ "jobIdentifier": job, "jobResult": "Passed" });
    assert_eq!(agent.say(&server, "report_completed", "ReportCompleteStatusRequest", done).status, 200);
    wait_for("the job to be over", || (info(&server)["attributes"]["has_running_systems"] == false).then_some(()));

    // The pipeline's timer fires every second; three of them are let pass by looking at the clock of the database.
    let runs = server.runs().len();
    let start = site.database.sql("SELECT extract(epoch FROM now())::int").trim().parse::<i64>().unwrap();
    wait_for("three seconds", || {
        let now = site.database.sql("SELECT extract(epoch FROM now())::int").trim().parse::<i64>().unwrap();
        let work: Value =
            serde_json::from_str(&agent.say(&server, "get_work", "GetWorkRequest", json!({})).body).unwrap();
        assert_eq!(work["type"], "NoWork");
        (now > start + 3).then_some(())
    });
    assert_eq!(server.runs().len(), runs, "no timer triggers");

    assert_eq!(switch(&server, "disable", "").status, 204);
    agent.wait_for_work(&server);
}

#[test]
fn a_server_that_is_told_so_starts_in_maintenance_and_forgets_it_with_its_process() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&["--jvm-tool-options", START_IN, "--dashboard-time", "8s"]);
    server.wait_until_up();
    assert_eq!(info(&server)["metadata"]["updated_by"], json!("GoCD"));
    assert_eq!(info(&server)["is_maintenance_mode"], json!(true));
    assert_eq!(server.get("/go/api/dashboard", site::API).unwrap().status, 202, "not loaded yet");
    wait_for("the dashboard", || {
        let status = server.get("/go/api/dashboard", site::API).unwrap().status;
        assert!([200, 202].contains(&status), "{status}");
        (status == 200).then_some(())
    });
    assert!(server.runs().is_empty(), "nothing was triggered");
    assert_eq!(switch(&server, "disable", "").status, 204);
    wait_for("a run", || server.runs().pop());
    drop(server);

    let server = site.start_server(&["--jvm-options", &format!("-Xmx1g {START_IN}")]);
    server.wait_until_up();
    assert_eq!(info(&server)["is_maintenance_mode"], json!(true), "the property holds at every start it is given");
    drop(server);
    let server = site.start_server(&[]);
    server.wait_until_up();
    assert_eq!(info(&server)["is_maintenance_mode"], json!(false));
}

#[test]
fn a_granted_token_is_asked_for_from_then_on_and_good_at_the_next_server() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    assert_eq!(switch(&server, "enable", "").status, 204, "without any token everybody is an administrator");
    assert_eq!(switch(&server, "disable", "").status, 204);
    site.grant(TOKEN);
    assert_eq!(switch(&server, "enable", "").status, 401);
    assert_eq!(switch(&server, "enable", "guess").status, 401);
    assert_eq!(server.get("/go/api/dashboard", site::API).unwrap().status, 401);
    assert_eq!(server.get("/go/api/v1/health", "").unwrap().status, 200);
    assert!(!site.database.gocd("SELECT * FROM accesstoken").contains(TOKEN), "hashed");
    drop(server);

    let server = site.start_server(&[]);
    server.wait_until_up();
    assert_eq!(switch(&server, "enable", TOKEN).status, 204);
    let headers = [("Accept", site::API), ("Authorization", &*format!("Bearer {TOKEN}"))];
    let now: Value = serde_json::from_str(&server.get_with(&format!("{MODE}/info"), &headers).body).unwrap();
    assert_eq!(now["metadata"]["updated_by"], json!("bcctl"));
}

#[test]
fn a_counter_that_is_used_again_adds_to_the_artifacts_that_are_there() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    let _agent = site.start_agent(&server);
    let console = site.config().join("artifacts/pipelines/heartbeat/1/beat/1/tick/cruise-output/console.log");
    wait_for("the console log of the first run", || std::fs::read_to_string(&console).ok());
    wait_for("a second run", || (server.runs().len() > 1).then_some(()));
    let port = server.port;
    drop(server);

    // As after a failover that has lost every run.
    site.database.gocd("TRUNCATE pipelines, pipelinelabelcounts, stages, builds");
    let server = site.start_server_on(port, &[]);
    server.wait_until_up();
    wait_for("the first run, again", || {
        let log = std::fs::read_to_string(&console).unwrap();
        (log.lines().count() == 2).then_some(())
    });
}
