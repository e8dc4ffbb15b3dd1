//! A real sshd on a port of its own on 127.0.0.1, with keys made for the test and one forced command.
//!
//! Shared with the tests of `standbyd`, which include this file by its path.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(dead_code, reason = "each test file uses its own part of the fixture")]
#![expect(clippy::disallowed_methods, reason = "the fixture waits for a real server, with a deadline")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) struct Sshd {
    directory: TempDir,
    server: Child,
    port: u16,
}

impl Sshd {
    /// Starts a server that runs `forced` (a program without arguments) whatever the client asks for.
    ///
    /// The client's words are in `SSH_ORIGINAL_COMMAND`, as sshd(8) says.
    pub(crate) fn start(forced: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for key in ["host", "client", "stranger"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)));
        }
        let client = fs::read_to_string(at("client.pub")).unwrap();
        fs::write(at("authorized_keys"), format!("restrict,command=\"{}\" {client}", forced.display())).unwrap();
        if nix::unistd::geteuid().is_root() {
            // Debian's unit makes it at boot; sshd does not start without it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let port = free_port();
            fs::write(
                at("sshd_config"),
                format!(
                    "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nPidFile none\n\
                     StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin forced-commands-only\n",
                    directory.path().display()
                ),
            )
            .unwrap();
            let log = fs::File::create(at("sshd.log")).unwrap();
            let mut server = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f"])
                .arg(at("sshd_config"))
                .stderr(log)
                .spawn()
                .unwrap();
            while server.try_wait().unwrap().is_none() {
                if greets(port) {
                    let host = fs::read_to_string(at("host.pub")).unwrap();
                    fs::write(at("known_hosts"), format!("[127.0.0.1]:{port} {host}")).unwrap();
                    return Self { directory, server, port };
                }
                assert!(Instant::now() < deadline, "sshd does not greet: {}", log_of(&at("sshd.log")));
                std::thread::sleep(Duration::from_millis(20));
            }
            // Somebody else took the port in between: once more with another.
            assert!(Instant::now() < deadline, "sshd does not start: {}", log_of(&at("sshd.log")));
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The key that the server lets in.
    pub(crate) fn identity(&self) -> PathBuf {
        self.path("client")
    }

    /// A key that the server does not know.
    pub(crate) fn strangers_identity(&self) -> PathBuf {
        self.path("stranger")
    }

    /// A file with the server's host key.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.path("known_hosts")
    }

    /// A file with somebody else's host key under the server's name.
    pub(crate) fn wrong_known_hosts(&self) -> PathBuf {
        let path = self.path("wrong_known_hosts");
        let stranger = fs::read_to_string(self.path("stranger.pub")).unwrap();
        fs::write(&path, format!("[127.0.0.1]:{} {stranger}", self.port)).unwrap();
        path
    }

    /// `ssh://USER@127.0.0.1:PORT`
    pub(crate) fn destination(&self) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        format!("ssh://{}@127.0.0.1:{}", String::from_utf8(user).unwrap().trim(), self.port)
    }

    pub(crate) fn log(&self) -> String {
        log_of(&self.path("sshd.log"))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("SSH-2.0-")
}

fn log_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a file executable for its owner.
pub(crate) fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
