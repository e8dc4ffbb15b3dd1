//! Two PostgreSQL hosts on this machine, as an inventory names them: plain data directories, without systemd.

#[path = "../site/ports.rs"]
mod ports;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ports::free_port;

pub(crate) const PASSWORD: &str = "s3cret:with 'odd\\ things";
/// As it stands in a password file.
pub(crate) const PASSFILE: &str = r"*:*:*:replicator:s3cret\:with 'odd\\ things";

/// Two hosts on this machine: a cluster on pg1, and nothing on pg2.
pub(crate) struct Pair {
    directory: tempfile::TempDir,
    bin: PathBuf,
    pub(crate) ports: [u16; 2],
}

fn programs() -> Option<PathBuf> {
    ["15", "16", "17", "18", "14"]
        .iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .find(|bin| bin.join("initdb").exists())
}

/// An empty cluster on pg1, nothing on pg2; or nothing (said aloud) where there can be none.
pub(crate) fn pair() -> Option<Pair> {
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

/// Runs it to its end, and answers what it printed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
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
            "port = {}\nunix_socket_directories = '{}'\nfsync = off\nshared_buffers = 16MB\nmax_connections = 25\npassword_encryption = md5\nwal_retrieve_retry_interval = 200ms",
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

    pub(crate) fn passfile(&self, line: &str) {
        let path = self.path("pgpass");
        fs::write(&path, format!("# a comment\n{line}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        succeed(Command::new("chown").arg("postgres:").arg(&path));
    }

    fn inventory(&self) -> String {
        let (root, bin) = (self.directory.path().display(), self.bin.display());
        let mut text = format!(
            "site = \"test\"\njournal-directory = \"{root}/copies\"\nvip = {{ address = \"198.18.5.200/24\", interface = \"lo\" }}\n\
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(self.bin.join(name)).current_dir("/");
        command
    }

    pub(crate) fn sql(&self, host: &str, statement: &str) -> String {
        let port = self.ports[usize::from(host == "pg2")].to_string();
        succeed(
            self.program("psql")
                .args(["-XAtq", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-h"])
                .arg(self.path("s"))
                .args(["-p", &port, "-c", statement]),
        )
    }

    #[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
    pub(crate) fn wait(&self, host: &str, statement: &str, answer: &str) {
        let mut last = String::new();
        for _ in 0..1200 {
            last = self.sql(host, statement);
            if last == answer {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{host}: {statement}: expected {answer}, last seen {last}");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bcctl"));
        command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1");
        command.env("BC_INVENTORY", self.path("bc.toml")).env("BC_STATE", self.path("state"));
        command
    }

    pub(crate) fn bcctl(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("bcctl starts");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "bcctl {arguments:?} said:\n{said}");
        assert!(!said.contains("s3cret"), "a password was shown: {said}");
        said
    }

    pub(crate) fn files(&self, ending: &str) -> Vec<String> {
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
