//! `bcctl setup` from an empty cluster to a streaming standby with an archive, on real servers.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says where it stops, and that it was skipped")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PASSWORD: &str = "s3cret:with 'odd\\ things";
const PASSFILE: &str = r"*:*:*:replicator:s3cret\:with 'odd\\ things";

struct Pair {
    directory: tempfile::TempDir,
    bin: PathBuf,
    ports: [u16; 2],
}

fn programs() -> Option<PathBuf> {
    ["15", "16", "17", "18", "14"]
        .iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .find(|bin| bin.join("initdb").exists())
}

/// An empty cluster on pg1, nothing on pg2; or nothing (said aloud) where there can be none.
fn pair() -> Option<Pair> {
    let root = nix::unistd::geteuid().is_root();
    match programs().filter(|_| root) {
        Some(bin) => Some(Pair::new(bin)),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("needs root and PostgreSQL"),
        None => {
            eprintln!("SKIPPED: needs root and PostgreSQL (apt-get install postgresql-15)");
            None
        }
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

impl Pair {
    fn new(bin: PathBuf) -> Self {
        let directory = tempfile::Builder::new().prefix("bcctl-setup-").tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let pair = Self { directory, bin, ports: [0, 1].map(|_| free_port()) };
        for name in ["s", "archive"] {
            fs::create_dir(pair.path(name)).expect("a directory");
        }
        pair.passfile(PASSFILE);
        succeed(Command::new("chown").args(["-R", "postgres:"]).arg(pair.directory.path()));
        let data = pair.path("pg1");
        succeed(
            pair.program("initdb").args(["-A", "trust", "--auth-host=scram-sha-256", "--no-sync", "-D"]).arg(&data),
        );
        let conf = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf).expect("a file");
        text.push_str(&format!(
            "port = {}\nunix_socket_directories = '{}'\nfsync = off\nshared_buffers = 16MB\nmax_connections = 20\nwal_retrieve_retry_interval = 200ms",
            pair.ports[0],
            pair.path("s").display()
        ));
        fs::write(&conf, text).expect("a file");
        succeed(
            pair.program("pg_ctl")
                .arg("-D")
                .arg(&data)
                .args(["-w", "-s", "-l"])
                .arg(pair.path("pg1.log"))
                .arg("start")
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        fs::write(pair.path("bc.toml"), pair.inventory()).expect("a file");
        pair
    }

    fn passfile(&self, line: &str) {
        let path = self.path("pgpass");
        fs::write(&path, format!("# a comment\n{line}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        succeed(Command::new("chown").arg("postgres:").arg(&path));
    }

    fn inventory(&self) -> String {
        let (root, bin) = (self.directory.path().display(), self.bin.display());
        let mut text = format!(
            "site = \"test\"\nvip = {{ address = \"198.18.5.200/24\", interface = \"lo\" }}\n\
             [timeouts]\npostgresql-start = \"30s\"\n[policy]\nminimum-free = \"1MB\"\n\
             [postgresql]\nprimary = \"pg1\"\nstandby = \"pg2\"\nbin-directory = \"{bin}\"\ndata-directory = \"{root}/pg1\"\n\
             socket-directory = \"{root}/s\"\nreplication-options = \"passfile={root}/pgpass\"\n\
             archive = {{ directory = \"{root}/archive\", program = \"{root}/archive-wal\" }}\n\
             [gocd]\nprimary = \"go1\"\nstandby = \"go2\"\nos-user = \"postgres\"\nconfig-directory = \"{root}\"\n"
        );
        for (index, host) in ["pg1", "pg2"].into_iter().enumerate() {
            let control = format!("runuser -u postgres -- {bin}/pg_ctl -D {root}/{host}");
            text.push_str(&format!(
                "[hosts.{host}]\ntransport = \"local\"\n\
                 [postgresql.on.{host}]\nport = {}\ndata-directory = \"{root}/{host}\"\n\
                 commands = {{ start = \"{control} -w -s -l {root}/{host}.log start >/dev/null\", stop = \"{control} -w -s -m fast stop\", status = \"{control} status\" }}\n",
                self.ports[index]
            ));
        }
        for host in ["go1", "go2"] {
            text.push_str(&format!(
                "[hosts.{host}]\ntransport = \"local\"\n[gocd.on.{host}]\ncommands = {{ start = \"false\", stop = \"true\", status = \"false\" }}\n"
            ));
        }
        text
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(self.bin.join(name)).current_dir("/");
        command
    }

    fn sql(&self, host: &str, statement: &str) -> String {
        let port = self.ports[usize::from(host == "pg2")].to_string();
        succeed(
            self.program("psql")
                .args(["-XAtq", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-h"])
                .arg(self.path("s"))
                .args(["-p", &port, "-c", statement]),
        )
    }

    #[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
    fn wait(&self, host: &str, statement: &str, answer: &str) {
        let mut last = String::new();
        for _ in 0..150 {
            last = self.sql(host, statement);
            if last == answer {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{host}: {statement}: expected {answer}, last seen {last}");
    }

    fn bcctl(&self, status: i32, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bcctl"));
        command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1");
        command.env("BC_INVENTORY", self.path("bc.toml")).env("BC_STATE", self.path("state"));
        let output = command.output().expect("bcctl starts");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "bcctl {arguments:?} said:\n{said}");
        assert!(!said.contains("s3cret"), "a password was shown: {said}");
        said
    }

    fn files(&self, ending: &str) -> Vec<String> {
        let list = |directory: &Path| -> Vec<String> {
            let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let mut names = list(&self.path("pg1"));
        names.extend(list(&self.path("pg2")));
        names.retain(|name| name.contains(ending));
        names
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for host in ["pg1", "pg2"] {
            let _ = self.program("pg_ctl").arg("-D").arg(self.path(host)).args(["-m", "immediate", "stop"]).output();
        }
    }
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
    assert!(said.contains("was so"), "what was done before is skipped: {said}");
    assert_eq!(pair.sql("pg1", "SHOW archive_mode"), "on", "it was restarted for that");
    assert_eq!(pair.sql("pg1", "SELECT count(*) FROM pg_replication_slots"), "1");
    let kept = pair.files("postgresql.conf.before-");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read_to_string(pair.path("pg1").join(&kept[0])).expect("kept"), before);
    pair.sql("pg1", "CREATE TABLE rows (n int); INSERT INTO rows SELECT generate_series(1, 100)");
    pair.sql("pg1", "SELECT pg_switch_wal()");
    pair.wait("pg1", "SELECT archived_count > 0 AND failed_count = 0 FROM pg_stat_archiver", "t");

    let after = conf();
    let restarted = pair.sql("pg1", "SELECT pg_postmaster_start_time()");
    pair.bcctl(0, &["setup", "primary", "--yes"]);
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
    assert!(said.contains("streams already"), "{said}");
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
