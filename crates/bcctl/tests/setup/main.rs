//! `bcctl setup` from an empty cluster to a streaming standby with an archive, on real servers.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says where it stops, and that it was skipped")]

mod killed;
mod pair;

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use pair::{PASSFILE, PASSWORD, pair};

#[test]
fn nothing_is_set_up_beside_another_bcctl() {
    let Some(pair) = pair() else { return };
    let place = pair.path("copies/test/pg1");
    fs::create_dir_all(&place).expect("a directory");
    fs::write(place.join("lock"), "somebody@elsewhere, since midnight\nanother process\n").expect("a file");
    let mut other = Command::new("flock");
    other
        .arg("--no-fork")
        .arg(place.join("lock"))
        .args(["sh", "-c", "echo held; exec sleep 600"])
        .stdout(Stdio::piped());
    let mut other = other.spawn().expect("flock starts");
    let mut held = [0; 4];
    other.stdout.as_mut().expect("a pipe").read_exact(&mut held).expect("it says so");
    let conf = fs::read_to_string(pair.path("pg1/postgresql.conf")).expect("a file");
    let said = pair.bcctl(3, &["setup", "primary", "--yes"]);
    assert!(said.contains("another bcctl works on this site: somebody@elsewhere, since midnight"), "{said}");
    assert_eq!(fs::read_to_string(pair.path("pg1/postgresql.conf")).expect("a file"), conf);
    other.kill().expect("killed");
    other.wait().expect("reaped");
}

#[test]
fn from_an_empty_cluster_to_a_standby_that_streams_and_an_archive_that_works() {
    let Some(pair) = pair() else { return };
    let conf = || fs::read_to_string(pair.path("pg1/postgresql.conf")).expect("a file");
    let before = conf();

    let said = pair.bcctl(0, &["setup", "primary", "--dry-run"]);
    assert!(
        said.contains("+ archive_mode = on") && said.contains("+ host replication replicator 127.0.0.1/32"),
        "{said}"
    );
    assert!(said.contains("nothing is run") && said.contains("pg_create_physical_replication_slot"), "{said}");
    assert_eq!(conf(), before, "a dry run touches nothing");
    assert!(!pair.path("archive-wal").exists());
    assert!(pair.bcctl(2, &["setup", "primary"]).contains("no terminal"));

    pair.passfile("*:*:*:somebody:else");
    let said = pair.bcctl(1, &["setup", "primary", "--yes"]);
    assert!(said.contains("pgpass on pg1 has no line for replicator"), "{said}");
    pair.passfile(PASSFILE);
    let said = pair.bcctl(0, &["setup", "primary", "--yes"]);
    assert!(said.contains("skipped"), "what was done before is skipped: {said}");
    assert_eq!(pair.sql("pg1", "SHOW archive_mode"), "on", "it was restarted for that");
    assert_eq!(pair.sql("pg1", "SELECT count(*) FROM pg_replication_slots"), "1");
    let hash = "SELECT split_part(rolpassword, '$', 1) FROM pg_authid WHERE rolname = 'replicator'";
    assert_eq!(pair.sql("pg1", hash), "SCRAM-SHA-256", "as pg_hba.conf asks, whatever the server's default");
    let kept = pair.files("postgresql.conf.before-");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read_to_string(pair.path("pg1").join(&kept[0])).expect("kept"), before);
    pair.sql("pg1", "CREATE TABLE rows (n int); INSERT INTO rows SELECT generate_series(1, 100)");
    pair.sql("pg1", "SELECT pg_switch_wal()");
    // An attempt may fail, and be made again.
    let archived = "archived_count > 0 AND coalesce(last_archived_time > last_failed_time, true)";
    pair.wait("pg1", &format!("SELECT {archived} FROM pg_stat_archiver"), "t");

    let after = conf();
    let restarted = pair.sql("pg1", "SELECT pg_postmaster_start_time()");
    let said = pair.bcctl(0, &["setup", "primary", "--yes"]);
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(
        (conf(), pair.sql("pg1", "SELECT pg_postmaster_start_time()")),
        (after, restarted),
        "again changes nothing"
    );

    let said = pair.bcctl(0, &["setup", "standby", "--yes"]);
    assert!(said.contains("rejoin-copy"), "{said}");
    pair.wait("pg2", "SELECT count(*) FROM rows", "100");
    assert_eq!(pair.sql("pg2", "SELECT pg_is_in_recovery()"), "t");
    assert!(pair.sql("pg2", "SHOW restore_command").contains("archive/%f"));
    let replication = pair.sql("pg1", "SELECT application_name, state, usename FROM pg_stat_replication");
    assert_eq!(replication, "pg2|streaming|replicator", "with the password, from the password file");
    let said = pair.bcctl(0, &["setup", "standby", "--yes"]);
    assert!(said.contains("streams already") && said.contains("nothing was changed"), "{said}");
    let password = PASSWORD.replace('\'', "''");
    assert_eq!(
        pair.sql("pg1", &format!("SELECT count(*) FROM pg_authid WHERE rolpassword = '{password}'")),
        "0",
        "the server keeps it hashed"
    );
    let log = fs::read_to_string(pair.path("pg1.log")).expect("a log");
    assert!(!log.contains("s3cret"), "{log}");

    // What check says about the two servers after it: nothing.
    let mut command = Command::new(env!("CARGO_BIN_EXE_bcctl"));
    command.args(["check", "--json"]).env("BC_INVENTORY", pair.path("bc.toml")).env("BC_STATE", pair.path("state"));
    let report: serde_json::Value = serde_json::from_slice(&command.output().expect("bcctl").stdout).expect("JSON");
    let wrong: Vec<&serde_json::Value> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| {
            finding["code"]
                .as_str()
                .is_some_and(|code| ["BC2", "BC3", "BC4"].iter().any(|family| code.starts_with(family)))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_server_whose_files_cannot_be_read_is_not_stopped() {
    let Some(pair) = pair() else { return };
    let (conf, hba) = (pair.path("pg1/postgresql.conf"), pair.path("pg1/pg_hba.conf"));
    for (path, line, words) in
        [(&conf, "no_such_setting = 1", "no_such_setting"), (&hba, "host all all all nomethod", "pg_hba.conf, line")]
    {
        let before = fs::read_to_string(path).expect("a file");
        fs::write(path, format!("{before}\n{line}\n")).expect("a file");
        let said = pair.bcctl(1, &["setup", "primary", "--yes"]);
        assert!(said.contains(words) && said.contains("what has to hold before it does not"), "{said}");
        assert_eq!(pair.sql("pg1", "SHOW archive_mode"), "off", "it runs as it did");
        let now = fs::read_to_string(path).expect("a file");
        fs::write(path, now.replace(line, "")).expect("a file");
    }
    pair.bcctl(0, &["setup", "primary", "--yes"]);
    assert_eq!(pair.sql("pg1", "SHOW archive_mode"), "on");
}

#[test]
fn a_file_that_somebody_saves_while_it_is_being_read_is_left_alone() {
    let Some(pair) = pair() else { return };
    let conf = pair.path("pg1/postgresql.conf");
    // A terminal, so that it asks; the answer comes when the file has been saved by somebody else.
    let line = format!("{} setup primary", env!("CARGO_BIN_EXE_bcctl"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).env("NO_COLOR", "1");
    command.env("BC_INVENTORY", pair.path("bc.toml")).env("BC_STATE", pair.path("state"));
    let mut child = command.spawn().expect("script (package bsdutils) starts");
    let (mut stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut said = String::new();
    let mut read = |until: &str| {
        let mut buffer = [0; 4096];
        while !said.contains(until) {
            match stdout.read(&mut buffer) {
                Ok(count @ 1..) => said.push_str(&String::from_utf8_lossy(&buffer[..count])),
                _ => break,
            }
        }
        said.clone()
    };
    let asked = read("to go on: ");
    assert!(asked.contains("+ archive_mode = on"), "{asked}");
    let saved = fs::read_to_string(&conf).expect("a file") + "# somebody was here\n";
    fs::write(&conf, &saved).expect("a file");
    stdin.write_all(b"test\n").expect("a terminal");
    let said = read("nothing that it says");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{said}");
    assert!(said.contains("has changed since it was shown"), "{said}");
    assert_eq!(fs::read_to_string(&conf).expect("a file"), saved);
    assert!(pair.files(".before-").is_empty() && pair.files(".bcctl").is_empty(), "nothing was written");
}

#[test]
fn a_file_is_archived_once_whole_and_never_over_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/archive-wal");
    let path = |name: &str| directory.path().join(name);
    let archive = |from: &str, to: &str| {
        Command::new("sh").arg(script).arg(path(from)).arg(path(to)).output().expect("sh starts").status.success()
    };
    fs::write(path("one"), "x".repeat(1 << 20)).expect("a file");
    fs::write(path("other"), "y".repeat(1 << 20)).expect("a file");
    assert!(archive("one", "a b"), "a name with a space");
    assert!(archive("one", "a b"), "the same again is no failure");
    assert!(!archive("other", "a b"), "another one under the same name is");
    assert_eq!(fs::read(path("a b")).expect("a file")[0], b'x', "and changes nothing");
    fs::write(path("half"), "x").expect("a file");
    assert!(!archive("one", "half"), "half a file that somebody left is not taken for a whole one");
    assert!(!archive("no such file", "new"));
    assert!(!archive("one", "no such directory/new"));
    let mut names: Vec<String> = fs::read_dir(directory.path())
        .expect("a directory")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["a b", "half", "one", "other"], "nothing half-made is left");
}
