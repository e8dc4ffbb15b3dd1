//! The stand-in's server and agent as processes, against a real PostgreSQL on loopback.
#![expect(clippy::disallowed_methods, reason = "tests wait for other processes, with deadlines")]
#![expect(clippy::unwrap_used, reason = "the tests' own tools, outside of test functions, end a test by panicking too")]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]
#![allow(dead_code, reason = "each test file uses its own part of the site")]

mod site;

use serde_json::{Value, json};
use site::{Agent, Site, Speaker, wait_for};

#[test]
fn an_agent_registers_and_runs_jobs_with_increasing_counters() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&["--boot-time", "8s"]);

    // While it boots: 503 on every path, and the kind of body that was asked for.
    let starting = wait_for("the first answer", || server.get("/go/api/v1/health", "application/json").ok());
    assert_eq!((starting.status, starting.body.as_str()), (503, "{ \"message\": \"GoCD server is starting\" }"));
    assert!(server.get("/whatever", "").unwrap().body.contains("<p>GoCD server is starting"), "a page by default");
    assert_eq!(server.get("/go/api/agents", "text/plain").unwrap().body, "GoCD server is starting");

    server.wait_until_up();
    let health = server.get("/go/api/v1/health", "").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&health.body).unwrap(), json!({ "health": "OK" }));
    let version = server.get("/go/api/version", site::API).unwrap().body;
    assert!(version.contains("stand-in"), "{version}");
    let wrong = server.get("/go/api/agents", "application/json").unwrap();
    assert_eq!((wrong.status, wrong.body.as_str()), (404, "The url you are trying to reach appears to be incorrect."));

    let _agent = site.start_agent(&server);
    wait_for("three runs that passed", || {
        let passed = server.runs().iter().filter(|run| run["state"] == "Passed").count();
        (passed >= 3).then_some(())
    });
    let counters: Vec<i64> = server.runs().iter().rev().map(|run| run["counter"].as_i64().unwrap()).collect();
    let expected: Vec<i64> = (1..).take(counters.len()).collect();
    assert_eq!(counters, expected, "unique and increasing");
    let agents = server.agents();
    assert_eq!(agents.len(), 1);
    assert!(["Idle", "Building"].contains(&agents[0]["agent_state"].as_str().unwrap()), "{agents:?}");
    assert_eq!(server.get("/go/api/dashboard", site::API).unwrap().status, 200, "loaded by now");
}

#[test]
fn a_read_only_database_keeps_the_server_from_starting() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    drop(server);

    // The SQLSTATE is that of a hot standby, 25006.
    site.database.sql("ALTER DATABASE gocd SET default_transaction_read_only = on");
    let (code, log) = site.start_server(&[]).wait_for_exit();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("SQLSTATE 25006") && log.contains("Failed to start GoCD server"), "{log}");

    site.database.sql("ALTER DATABASE gocd SET default_transaction_read_only = off");
    site.start_server(&[]).wait_until_up();
}

#[test]
fn a_cipher_of_another_site_keeps_the_server_from_starting() {
    let Some(site) = Site::new() else { return };
    let cipher = site.config().join("cipher.aes");
    let right = std::fs::read_to_string(&cipher).unwrap();
    std::fs::write(&cipher, "000102030405060708090a0b0c0d0e0f").unwrap();
    let (code, log) = site.start_server(&[]).wait_for_exit();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("variable STANDIN_CHECK: the cipher text is modified"), "{log}");

    // Missing: made anew in silence, as GoCD does, and then it is another one.
    std::fs::remove_file(&cipher).unwrap();
    let (code, log) = site.start_server(&[]).wait_for_exit();
    assert_eq!(code, Some(1), "{log}");
    assert_ne!(std::fs::read_to_string(&cipher).unwrap(), right);

    std::fs::write(&cipher, right).unwrap();
    site.start_server(&[]).wait_until_up();
}

#[test]
fn a_server_that_cannot_reach_its_database_does_not_start() {
    let Some(site) = Site::new() else { return };
    site.write_db_properties(1);
    let (code, log) = site.start_server(&[]).wait_for_exit();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("database: ") && log.contains("Failed to start GoCD server"), "{log}");
}

#[test]
fn a_token_is_good_at_servers_with_the_same_key_only() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    let agent = Speaker::register(&server, site::KEY);
    assert_eq!(agent.say(&server, "get_cookie", "GetCookieRequest", json!({})).status, 200);
    assert_eq!(
        server.get(&format!("/go/admin/agent/token?uuid={}", agent.uuid), "").unwrap().status,
        409,
        "given once"
    );

    let stranger = Speaker { token: "bm90IGEgdG9rZW4=".to_owned(), ..agent.clone() };
    assert_eq!(stranger.say(&server, "ping", "PingRequest", json!({})).status, 403, "wrong token");
    let stranger = Speaker { uuid: "another".to_owned(), ..agent.clone() };
    assert_eq!(stranger.say(&server, "ping", "PingRequest", json!({})).status, 403, "wrong identity");
    drop(server);

    // A standby to which the configuration was not carried over makes its own, and knows nobody.
    std::fs::remove_file(site.config().join("cruise-config.xml")).unwrap();
    let server = site.start_server(&[]);
    server.wait_until_up();
    assert_eq!(agent.say(&server, "ping", "PingRequest", json!({})).status, 403);
}

#[test]
fn an_agent_without_the_key_is_not_approved() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    assert_eq!(Speaker::try_register(&server, "guess").0, 202);
    assert!(server.agents().is_empty());
}

#[test]
fn a_job_that_its_agent_forgot_runs_again_under_the_same_counter() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    let mut agent = Speaker::register(&server, site::KEY);
    agent.get_cookie(&server);

    let first = agent.wait_for_work(&server);
    let again = agent.wait_for_work(&server);
    let id = |work: &Value| work["assignment"]["jobIdentifier"]["buildId"].as_i64().unwrap();
    let counter = |work: &Value| work["assignment"]["jobIdentifier"]["pipelineCounter"].as_i64().unwrap();
    assert_eq!(counter(&first), counter(&again));
    assert_ne!(id(&first), id(&again));

    let about = |work: &Value| json!({ "jobIdentifier": work["assignment"]["jobIdentifier"] });
    assert_eq!(agent.say(&server, "is_ignored", "IsIgnoredRequest", about(&first)).body, "true");
    assert_eq!(agent.say(&server, "is_ignored", "IsIgnoredRequest", about(&again)).body, "false");

    let mut done = about(&again);
    done["jobResult"] = json!("Passed");
    assert_eq!(agent.say(&server, "report_completed", "ReportCompleteStatusRequest", done).status, 200);
    let run = server.runs().into_iter().find(|run| run["counter"] == counter(&again)).unwrap();
    assert_eq!((&run["state"], &run["builds"]), (&json!("Passed"), &json!(2)));

    let mut lost = about(&again);
    lost["jobIdentifier"]["buildId"] = json!(4711);
    lost["jobState"] = json!("Building");
    let unknown = agent.say(&server, "report_current_status", "ReportCurrentStatusRequest", lost);
    assert_eq!(unknown.status, 500, "{}", unknown.body);
}

#[test]
fn a_second_process_of_an_agent_voids_the_cookie_of_the_first() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    let mut first = Speaker::register(&server, site::KEY);
    first.get_cookie(&server);
    let mut second = first.clone();
    assert_eq!(first.say(&server, "ping", "PingRequest", json!({})).body, "\"NONE\"");
    second.get_cookie(&server);
    assert_eq!(first.say(&server, "ping", "PingRequest", json!({})).status, 500, "duplicate uuid");
    assert_eq!(second.say(&server, "ping", "PingRequest", json!({})).status, 200);
}

#[test]
fn an_agent_survives_its_server_and_goes_on_with_the_next_one() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    let mut agent: Agent = site.start_agent(&server);
    wait_for("a run that passed", || server.runs().iter().any(|run| run["state"] == "Passed").then_some(()));
    let before = server.runs().len();
    let port = server.port;
    drop(server);
    wait_for("the agent to miss its server", || agent.log().contains("stand-in: ping: cannot connect").then_some(()));

    let server = site.start_server_on(port, &["--boot-time", "500ms"]);
    server.wait_until_up();
    let states: Vec<Value> = server.agents().iter().map(|agent| agent["agent_state"].clone()).collect();
    assert_eq!(states.len(), 1, "read from the database at boot");
    wait_for("two more runs that passed", || {
        let passed = server.runs().iter().filter(|run| run["state"] == "Passed").count();
        (passed >= before + 2).then_some(())
    });
    assert!(agent.is_running(), "the same process");
    assert!(agent.log().contains("relaunching (in this process)"), "{}", agent.log());
    let counters: Vec<i64> = server.runs().iter().rev().map(|run| run["counter"].as_i64().unwrap()).collect();
    assert_eq!(counters, (1..).take(counters.len()).collect::<Vec<i64>>(), "unique and increasing across servers");
}

#[test]
fn the_database_does_not_keep_counters_unique() {
    let Some(site) = Site::new() else { return };
    let server = site.start_server(&[]);
    server.wait_until_up();
    wait_for("a run", || server.runs().pop());
    drop(server);
    // As two active servers would leave it: so a drill can count duplicates.
    site.database
        .gocd("INSERT INTO pipelines (name, counter, label) SELECT name, counter, label FROM pipelines LIMIT 1");
    let server = site.start_server(&[]);
    server.wait_until_up();
    let duplicates =
        site.database.gocd("SELECT count(*) FROM (SELECT FROM pipelines GROUP BY name, counter HAVING count(*) > 1) d");
    assert_eq!(duplicates.trim(), "1", "nothing forbids them");
}
