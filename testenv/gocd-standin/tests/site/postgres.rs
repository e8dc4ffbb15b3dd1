//! A PostgreSQL server on loopback for one test, from the machine's own binaries.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "s3cret";

pub(crate) struct Postgres {
    pub(crate) port: u16,
    programs: PathBuf,
    directory: TempDir,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn programs() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, path)| path.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path)
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0
}

/// PostgreSQL refuses to run as root, so root runs it as the user that Debian's package made.
fn as_owner(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn done(mut command: Command) -> Output {
    let output = command.current_dir("/").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

impl Postgres {
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let reason = "skipped: no PostgreSQL under /usr/lib/postgresql; apt-get install postgresql";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
            eprintln!("{reason}");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        if is_root() {
            done({
                let mut chown = Command::new("chown");
                chown.arg("postgres").arg(directory.path());
                chown
            });
        }
        let server = Self { port: free_port(), programs, directory };
        server.run(
            "initdb",
            &["--no-sync", "--auth=trust", "--username=postgres", "--locale=C.UTF-8", "-D", &server.data()],
        );
        let options = format!("-p {} -h 127.0.0.1 -k '' -c shared_buffers=16MB -c fsync=off", server.port);
        let log = server.directory.path().join("log");
        server.run("pg_ctl", &["-w", "-D", &server.data(), "-l", log.to_str().unwrap(), "-o", &options, "start"]);
        server.sql(&format!("CREATE ROLE gocd LOGIN PASSWORD '{PASSWORD}'"));
        server.sql("CREATE DATABASE gocd OWNER gocd");
        Some(server)
    }

    fn data(&self) -> String {
        self.directory.path().join("data").to_str().unwrap().to_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = as_owner(&self.programs.join(program));
        command.args(arguments);
        // pg_ctl hands its outputs to the server; a pipe would stay open with it.
        let status = command.current_dir("/").stdout(std::process::Stdio::null()).status().unwrap();
        assert!(status.success(), "{command:?}");
    }

    /// Runs a statement as the superuser.
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.psql("postgres", statement)
    }

    /// Runs a statement in GoCD's database.
    pub(crate) fn gocd(&self, statement: &str) -> String {
        self.psql("gocd", statement)
    }

    fn psql(&self, database: &str, statement: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres", "-p"]);
        psql.arg(self.port.to_string()).args(["-d", database, "-c", statement]);
        String::from_utf8(done(psql).stdout).unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut command = as_owner(&self.programs.join("pg_ctl"));
        command.args(["-w", "-m", "immediate", "-D", &self.data(), "stop"]).current_dir("/");
        command.stdout(std::process::Stdio::null()).status().ok();
    }
}
