//! `bcctl check` and `bcctl status` on real servers that are really broken: the one finding that explains each comes first.
#![expect(clippy::expect_used, reason = "a test says where it stops")]
#![expect(clippy::disallowed_methods, reason = "a test waits with a deadline, and says how long a check took")]

mod site;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use site::{Site, site, until};

/// What `check` says: exit status, and the findings that are not ok.
fn check(site: &Site) -> (Option<i32>, Vec<Value>) {
    let output = site.bcctl(&["check", "--json"]).output().expect("bcctl starts");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().expect("findings").clone();
    (output.status.code(), findings.into_iter().filter(|finding| finding["level"] != "ok").collect())
}

/// Looks until the findings are as wanted. What was broken shows after a moment: a standby that was just started is not yet connected.
/// What was mended takes a moment as well, and may not come about at all once the next thing is broken: a standby whose replay is
/// paused starts no walreceiver under another name.
fn expect(site: &Site, what: &str, wanted: impl Fn(Option<i32>, &[Value]) -> bool) {
    until(what, || {
        let (exit, found) = check(site);
        if wanted(exit, &found) { Ok(()) } else { Err(format!("exit {exit:?}, {found:#?}")) }
    })
}

/// The exit status that belongs to a finding.
fn exit(finding: &Value) -> Option<i32> {
    Some(match finding["level"].as_str() {
        Some("error") => 3,
        Some("warning") => 1,
        _ => 0,
    })
}

fn is(finding: &Value, code: &str, subject: &str) -> bool {
    finding["code"] == code && finding["subject"] == subject
}

fn roots(found: &[Value]) -> Vec<&Value> {
    found.iter().filter(|finding| finding["because-of"].is_null()).collect()
}

/// Waits until the first finding is the expected one, and the only one that is nobody's consequence.
fn expect_first(site: &Site, what: &str, code: &str, subject: &str) {
    expect(site, &format!("{what}: {code} on {subject} first and alone"), |status, found| {
        let [only] = roots(found)[..] else { return false };
        is(only, code, subject) && found[0] == *only && status == exit(only)
    });
}

fn expect_healthy(site: &Site, mended: &str) {
    expect(site, &format!("{mended}: mended, and healthy"), |status, found| status == Some(0) && found.is_empty());
}

fn set(site: &Site, host: &str, setting: &str) {
    site.sql(host, &format!("ALTER SYSTEM SET {setting}"));
    site.sql(host, "SELECT pg_reload_conf()");
}

fn reset(site: &Site, host: &str, name: &str) {
    site.sql(host, &format!("ALTER SYSTEM RESET {name}"));
    site.sql(host, "SELECT pg_reload_conf()");
}

fn restart(site: &Site, host: &str) {
    site.service(host, "stop");
    site.service(host, "start");
}

/// Something that breaks a site, and what mends it.
type Change<'a> = Box<dyn Fn() + 'a>;

#[test]
fn each_broken_site_yields_the_one_finding_that_explains_it_first() {
    let Some(site) = site() else { return };
    let site = &site;
    let begun = std::time::Instant::now();
    assert_eq!(check(site), (Some(0), Vec::new()), "a healthy site");
    eprintln!("check of a healthy site: {} ms", begun.elapsed().as_millis());

    let write = |path: &str, text: &str| fs::write(site.path(path), text).expect("a file");
    let remove = |path: &str| fs::remove_file(site.path(path)).expect("a file");
    let inventory = fs::read_to_string(site.path("bc.toml")).expect("a file");
    let inventory = inventory.as_str();
    let with = |from: &str, to: &str| {
        assert!(inventory.contains(from), "{from}");
        write("bc.toml", &inventory.replacen(from, to, 1));
    };
    let program = |name: &str, text: &str| {
        let path = site.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    };
    let bin = |name: &str| fs::read_to_string(site.path("bin").join(name)).expect("a script");
    let [ssh, fence, vipd] = ["ssh", "fence", "vipd"].map(bin);
    let original = |name: &str, text: &str| program(name, text.trim_start_matches("#!/bin/sh\n"));
    let hba = fs::read_to_string(site.path("pg1/pg_hba.conf")).expect("a file");
    let conf = fs::read_to_string(site.path("pg1/postgresql.conf")).expect("a file");
    let conninfo = || site.sql("pg2", "SELECT setting FROM pg_settings WHERE name = 'primary_conninfo'");
    let conninfo = conninfo();

    let sites: Vec<(&str, &str, &str, Change<'_>, Change<'_>)> = vec![
        (
            "a host does not answer",
            "BC103",
            "pg2",
            Box::new(|| original("ssh", &ssh.replace("= on ]", "= on ] && [ \"$BC_HOST\" != pg2 ]"))),
            Box::new(|| original("ssh", &ssh)),
        ),
        (
            "sudo asks for a password",
            "BC105",
            "go2",
            Box::new(|| {
                let refuse = "[ \"$BC_HOST\" != go2 ] || { echo 'sudo: a password is required' >&2; exit 1; }\nexec /bin/sh -c \"$3\"";
                let whole = "exec /bin/sh -c \"$3\"";
                assert!(ssh.contains(whole), "the stand-in for ssh has changed");
                original("ssh", &ssh.replace(whole, refuse));
            }),
            Box::new(|| original("ssh", &ssh)),
        ),
        (
            "a clock is two hours behind",
            "BC107",
            "pg2",
            Box::new(|| {
                program("date", "[ \"$BC_HOST\" = pg2 ] && set -- -d '2 hours ago' \"$@\"; exec /bin/date \"$@\"")
            }),
            Box::new(|| remove("bin/date")),
        ),
        (
            "the inventory names another version",
            "BC102",
            "pg1",
            Box::new(|| {
                let other = if inventory.contains("postgresql/14/") { "15" } else { "14" };
                with("[postgresql]\n", &format!("[postgresql]\nversion = \"{other}\"\n"));
            }),
            Box::new(|| write("bc.toml", inventory)),
        ),
        (
            "the standby is stopped",
            "BC211",
            "pg2",
            Box::new(|| site.service("pg2", "stop")),
            Box::new(|| site.service("pg2", "start")),
        ),
        (
            "the primary is stopped",
            "BC209",
            "pg1",
            Box::new(|| site.service("pg1", "stop")),
            Box::new(|| site.service("pg1", "start")),
        ),
        (
            "both are stopped",
            "BC204",
            "site",
            Box::new(|| ["pg2", "pg1"].into_iter().for_each(|host| site.service(host, "stop"))),
            Box::new(|| ["pg1", "pg2"].into_iter().for_each(|host| site.service(host, "start"))),
        ),
        (
            "a recovery.conf of old keeps the standby from starting",
            "BC207",
            "pg2",
            Box::new(|| {
                site.service("pg2", "stop");
                write("pg2/recovery.conf", "standby_mode = 'on'\n");
            }),
            Box::new(|| {
                remove("pg2/recovery.conf");
                site.service("pg2", "start");
            }),
        ),
        (
            "the primary would come up as a standby",
            "BC208",
            "pg1",
            Box::new(|| write("pg1/standby.signal", "")),
            Box::new(|| remove("pg1/standby.signal")),
        ),
        (
            "the standby's login is refused",
            "BC301",
            "pg2",
            Box::new(|| {
                site.service("pg2", "stop");
                write(
                    "pg1/pg_hba.conf",
                    "local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 reject\n",
                );
                site.sql("pg1", "SELECT pg_reload_conf()");
                site.service("pg2", "start");
            }),
            Box::new(|| {
                write("pg1/pg_hba.conf", &hba);
                site.sql("pg1", "SELECT pg_reload_conf()");
            }),
        ),
        (
            "the slot was dropped",
            "BC303",
            "pg2",
            Box::new(|| {
                site.service("pg2", "stop");
                site.wait("SELECT active FROM pg_replication_slots", "pg1", "f");
                site.sql("pg1", "SELECT pg_drop_replication_slot('pg2')");
                site.service("pg2", "start");
            }),
            Box::new(|| {
                site.sql("pg1", "SELECT pg_create_physical_replication_slot('pg2', true)");
            }),
        ),
        (
            "the standby streams under another name",
            "BC304",
            "pg2",
            Box::new(|| {
                set(
                    site,
                    "pg2",
                    &format!(
                        "primary_conninfo = '{}'",
                        conninfo.replace("application_name=pg2", "application_name=walreceiver").replace('\'', "''")
                    ),
                )
            }),
            Box::new(|| set(site, "pg2", &format!("primary_conninfo = '{}'", conninfo.replace('\'', "''")))),
        ),
        (
            "replay is paused",
            "BC307",
            "pg2",
            Box::new(|| drop(site.sql("pg2", "SELECT pg_wal_replay_pause()"))),
            Box::new(|| drop(site.sql("pg2", "SELECT pg_wal_replay_resume()"))),
        ),
        (
            "replay is delayed",
            "BC308",
            "pg2",
            Box::new(|| set(site, "pg2", "recovery_min_apply_delay = '1h'")),
            Box::new(|| reset(site, "pg2", "recovery_min_apply_delay")),
        ),
        (
            "commits wait for a name that nobody has",
            "BC310",
            "pg1",
            Box::new(|| set(site, "pg1", "synchronous_standby_names = 'pg9'")),
            Box::new(|| reset(site, "pg1", "synchronous_standby_names")),
        ),
        (
            "a slot that nobody uses",
            "BC313",
            "pg1",
            Box::new(|| drop(site.sql("pg1", "SELECT pg_create_physical_replication_slot('old', true)"))),
            Box::new(|| drop(site.sql("pg1", "SELECT pg_drop_replication_slot('old')"))),
        ),
        (
            "the primary has fewer connections than the standby",
            "BC315",
            "pg1",
            Box::new(|| {
                set(site, "pg2", "max_connections = 40");
                restart(site, "pg2");
            }),
            Box::new(|| {
                reset(site, "pg2", "max_connections");
                restart(site, "pg2");
            }),
        ),
        (
            "the archive command fails",
            "BC406",
            "pg1",
            Box::new(|| {
                write("pg1/postgresql.conf", &format!("{conf}archive_mode = on\narchive_command = 'false'\n"));
                restart(site, "pg1");
                site.sql("pg1", "INSERT INTO rows (t) VALUES ('x')");
                site.sql("pg1", "SELECT pg_switch_wal()");
            }),
            Box::new(|| {
                write("pg1/postgresql.conf", &conf);
                restart(site, "pg1");
                site.sql("pg1", "SELECT pg_stat_reset_shared('archiver')");
            }),
        ),
        (
            "the archive is not mounted",
            "BC401",
            "pg1",
            Box::new(|| {
                for host in ["pg1", "pg2"] {
                    set(site, host, "restore_command = 'true'");
                }
                let directory = site.path("no-archive");
                with(
                    "[postgresql]\n",
                    &format!("[postgresql]\narchive = {{ directory = \"{}\" }}\n", directory.display()),
                );
                write("pg1/postgresql.conf", &format!("{conf}archive_mode = on\narchive_command = 'true'\n"));
                restart(site, "pg1");
                restart(site, "pg2");
            }),
            Box::new(|| {
                write("bc.toml", inventory);
                for host in ["pg1", "pg2"] {
                    reset(site, host, "restore_command");
                }
                write("pg1/postgresql.conf", &conf);
                restart(site, "pg1");
                restart(site, "pg2");
            }),
        ),
        (
            "little room is left",
            "BC410",
            "pg1",
            Box::new(|| with("minimum-free = \"1MB\"", "minimum-free = \"9000TB\"")),
            Box::new(|| write("bc.toml", inventory)),
        ),
        (
            "db.properties is gone",
            "BC501",
            "go2",
            Box::new(|| remove("etc/db.properties")),
            Box::new(|| write("etc/db.properties", "db.url=jdbc:postgresql://localhost/postgres\n")),
        ),
        (
            "GoCD runs at both places",
            "BC503",
            "go2",
            Box::new(|| write("gocd/go2", "")),
            Box::new(|| remove("gocd/go2")),
        ),
        ("GoCD does not run", "BC504", "go1", Box::new(|| remove("gocd/go1")), Box::new(|| write("gocd/go1", ""))),
        (
            "the configuration was changed",
            "BC508",
            "go2",
            Box::new(|| write("files/go1", "second\n")),
            Box::new(|| write("files/go1", "first\n")),
        ),
        (
            "vipd is not there",
            "BC601",
            "go2",
            Box::new(|| {
                original(
                    "vipd",
                    &vipd.replace(
                        "case $1 in",
                        "[ \"$BC_HOST\" != go2 ] || { echo 'vipd: not found' >&2; exit 127; }\ncase $1 in",
                    ),
                )
            }),
            Box::new(|| original("vipd", &vipd)),
        ),
        ("both hold the VIP", "BC603", "vip", Box::new(|| write("vip/go2", "")), Box::new(|| remove("vip/go2"))),
        (
            "the VIP is at the wrong place",
            "BC604",
            "vip",
            Box::new(|| {
                remove("vip/go1");
                write("vip/go2", "");
            }),
            Box::new(|| {
                remove("vip/go2");
                write("vip/go1", "");
            }),
        ),
        ("nobody holds the VIP", "BC605", "vip", Box::new(|| remove("vip/go1")), Box::new(|| write("vip/go1", ""))),
        (
            "fence cannot be used",
            "BC701",
            "fence",
            Box::new(|| program("fence", "echo 'fence.toml: no such file' >&2; exit 2")),
            Box::new(|| original("fence", &fence)),
        ),
        (
            "a fence device does not answer",
            "BC702",
            "fence",
            Box::new(|| {
                original(
                    "fence",
                    &fence.replace(
                        "[ \"$verb\" != check ] || exit 0",
                        "[ \"$verb\" != check ] || { echo 'pg1-power: timed out' >&2; exit 1; }",
                    ),
                )
            }),
            Box::new(|| original("fence", &fence)),
        ),
        (
            "the devices of a host prove less than the policy wants",
            "BC704",
            "pg1",
            Box::new(|| {
                let some = "\\\"enough\\\":$([ $name = pg1 ] && echo false || echo true)";
                original("fence", &fence.replace("\\\"enough\\\":true", some));
            }),
            Box::new(|| original("fence", &fence)),
        ),
    ];
    for (what, code, subject, break_it, mend_it) in &sites {
        break_it();
        match *code {
            // Both hosts lack it here, so the same finding comes twice.
            "BC401" => expect(site, &format!("{what}: {code} twice, first"), |_, found| {
                found.len() >= 2 && found[..2].iter().all(|finding| finding["code"] == *code)
            }),
            "BC102" | "BC410" => expect(site, &format!("{what}: {code} first, and nothing else"), |_, found| {
                found.first().is_some_and(|first| is(first, code, subject))
                    && roots(found).iter().all(|finding| finding["code"] == *code)
            }),
            _ => expect_first(site, what, code, subject),
        }
        mend_it();
        expect_healthy(site, what);
    }
    // The last: there is no way back from it.
    site.sql("pg2", "SELECT pg_promote()");
    expect_first(site, "both are primaries", "BC202", "site");
}

#[test]
fn status_looks_again_and_again_one_line_of_json_each() {
    let Some(site) = site() else { return };
    let mut child = site
        .bcctl(&["status", "--watch", "--json", "--interval", "1"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("bcctl starts");
    let stdout = child.stdout.take().expect("a pipe");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    let (mut count, mut screen) = (0, Value::Null);
    for line in lines.take(60) {
        screen = serde_json::from_str(&line.expect("a line")).expect("one line is one JSON value");
        assert_eq!((&screen["primary"], &screen["failover"]["possible"]), (&"pg1".into(), &true.into()));
        count += 1;
        // What a server writes of its own accord may be on its way.
        if count > 1 && screen["failover"]["loss"]["bytes"] == 0 {
            break;
        }
    }
    assert!(count > 1 && screen["failover"]["loss"]["bytes"] == 0, "after {count} looks: {screen:#}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::Signal::SIGTERM)
        .expect("a signal");
    assert_eq!(child.wait().expect("a child").code(), Some(0), "a signal ends it as it should be");
}

#[test]
fn a_switchover_waits_for_the_standby_if_the_policy_says_so() {
    let Some(site) = site() else { return };
    let inventory = fs::read_to_string(site.path("bc.toml")).expect("a file");
    let policy = "[policy]\nmaximum-lag = \"0B\"\nwhen-behind = \"wait\"\n";
    fs::write(site.path("bc.toml"), inventory.replacen("[policy]\n", policy, 1)).expect("a file");
    let said = site.expect(0, &["switchover", "--yes"]);
    assert!(said.contains("catch-up") && said.contains("behind 0"), "{said}");
}

/// The promise is 2 s; how long it takes here is said, and the limit leaves room for a machine that does other things.
#[test]
fn a_check_of_a_healthy_site_over_real_ssh_is_quick() {
    if !site::possible() {
        return;
    }
    let site = Site::over_ssh();
    let mut times: Vec<std::time::Duration> = (0..5)
        .map(|_| {
            let begun = std::time::Instant::now();
            assert_eq!(check(&site), (Some(0), Vec::new()), "a healthy site");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    eprintln!("check of a healthy site over ssh, all connections new: median {:?} of {times:?}", times[2]);
    // pg_waldump waits so long for a segment that is not there yet.
    assert!(times[2] < std::time::Duration::from_secs(5), "{times:?}");
}
