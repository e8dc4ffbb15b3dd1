//! A Redfish service over TLS: sushy's emulator with two systems, the first of which is the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait_for;
use crate::bench::{have, skip};
use crate::sshd::free_port;

/// The machine.
pub(crate) const SYSTEM: &str = "11111111-1111-4111-8111-111111111111";
/// Another system of the same service, last in its list.
pub(crate) const OTHER: &str = "22222222-2222-4222-8222-222222222222";
/// Who may log in; the password is the caller's.
pub(crate) const USER: &str = "admin";

pub(crate) struct Redfish {
    server: Child,
    directory: TempDir,
    pub(crate) port: u16,
}

impl Redfish {
    /// Starts one whose power is switched by `chassis`.
    pub(crate) fn start(chassis: &Path, password: &str) -> Option<Self> {
        if !(have("python3", "python3 python3-venv") && have("openssl", "openssl")) {
            return None;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("redfish");
        let made = Command::new(root.join("testenv/redfish/install")).arg(&target).output().unwrap();
        if !made.status.success() {
            skip(&format!("the Redfish emulator cannot be installed: {}", String::from_utf8_lossy(&made.stderr)));
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        certificates(directory.path());
        let at = |name: &str| directory.path().join(name);
        fs::write(at("password"), format!("{password}\n")).unwrap();
        fs::write(at("wrong"), "not-the-password\n").unwrap();
        let python = target.join("venv/bin/python");
        // The password goes to it on standard input: this suite looks for it in every argument.
        let hash = "import bcrypt, sys; p = sys.stdin.readline().strip().encode(); print(bcrypt.hashpw(p, bcrypt.gensalt(4)).decode())";
        let hashed =
            Command::new(&python).args(["-c", hash]).stdin(fs::File::open(at("password")).unwrap()).output().unwrap();
        assert!(hashed.status.success(), "{hashed:?}");
        fs::write(at("htpasswd"), format!("{USER}:{}", String::from_utf8_lossy(&hashed.stdout))).unwrap();
        let port = free_port();
        fs::write(at("emulator.conf"), configuration(directory.path(), port)).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let server = Command::new(python)
            .arg(root.join("testenv/redfish/emulator.py"))
            .arg(at("emulator.conf"))
            .arg(chassis)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let redfish = Self { server, directory, port };
        let log = || fs::read_to_string(redfish.path("log")).unwrap_or_default();
        wait_for("the Redfish service listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), log);
        Some(redfish)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The SHA-256 of its certificate, as openssl prints it.
    pub(crate) fn fingerprint(&self) -> String {
        let text = openssl(&self.path(""), "x509 -in server.pem -noout -fingerprint -sha256");
        text.trim().rsplit('=').next().unwrap().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }
}

impl Drop for Redfish {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// An authority, a certificate that it signed for 127.0.0.1, and an authority that signed nothing.
fn certificates(directory: &Path) {
    for name in ["ca", "stranger"] {
        openssl(
            directory,
            &format!("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"),
        );
    }
    openssl(directory, "req -newkey rsa:2048 -nodes -subj /CN=bmc -keyout server.key -out server.csr");
    fs::write(directory.join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(
        directory,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem",
    );
}

fn openssl(directory: &Path, words: &str) -> String {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn configuration(directory: &Path, port: u16) -> String {
    let system =
        |uuid: &str, name: &str| format!("{{'uuid': '{uuid}', 'name': '{name}', 'power_state': 'On', 'nics': []}}");
    let (at, systems) = (directory.display(), [system(SYSTEM, "pg1"), system(OTHER, "pg2")].join(", "));
    format!(
        "SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {port}\nSUSHY_EMULATOR_SSL_CERT = '{at}/server.pem'\n\
         SUSHY_EMULATOR_SSL_KEY = '{at}/server.key'\nSUSHY_EMULATOR_AUTH_FILE = '{at}/htpasswd'\nSUSHY_EMULATOR_FAKE_DRIVER = True\n\
         SUSHY_EMULATOR_STATE_DIR = '{at}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{systems}]\n"
    )
}
