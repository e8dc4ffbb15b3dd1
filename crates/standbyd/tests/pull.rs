//! `standbyd pull` and `standbyd export` through a real sshd with a forced command, between two directories that are two hosts.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "tests measure and wait for real processes")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bc_model::manifest::{Manifest, PullReport};
use tempfile::TempDir;

// The fixture is a server, not a part of either program; it lives with the first of the two that needed one.
#[path = "../../fence/tests/sshd/mod.rs"]
mod sshd;
use sshd::Sshd;

/// Longer than a busy machine needs for a login, and than the serving side waits for a writer to finish.
const SILENCE: &str = "20s";
const CIPHER: &str = "0123456789abcdef0123456789abcdef";
const CONFIG: &str = "<?xml version=\"1.0\"?>\n<cruise schemaVersion=\"139\"><server serverId=\"one\"/></cruise>\n";

/// A primary that serves, a standby that pulls.
struct Site {
    directory: TempDir,
    sshd: Sshd,
}

impl Site {
    /// An honest primary with a configuration, a cipher and one plugin; nothing, said aloud, where there is no sshd.
    fn start() -> Option<Self> {
        Self::behind("exec $standbyd export")
    }

    /// A primary whose forced command is this script; `$standbyd export` is the honest answer, `$here` the directory.
    fn behind(script: &str) -> Option<Self> {
        if !Path::new("/usr/sbin/sshd").exists() {
            let reason = "sshd is missing: apt-get install openssh-server";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
            skip(reason);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        for host in ["primary", "standby"] {
            fs::create_dir_all(here.join(host).join("go")).unwrap();
            let config = format!(
                "config-directory = \"{0}/{host}/go\"\nplugin-directory = \"{0}/{host}/plugins\"\n",
                here.display()
            );
            fs::write(here.join(format!("{host}.toml")), config).unwrap();
        }
        fs::create_dir_all(here.join("primary/plugins")).unwrap();
        fs::write(here.join("primary/go/cruise-config.xml"), CONFIG).unwrap();
        fs::write(here.join("primary/go/cipher.aes"), CIPHER).unwrap();
        fs::write(here.join("primary/plugins/auth-1.0.jar"), "a jar").unwrap();
        let forced = here.join("forced");
        let standbyd = format!("{} --config {}/primary.toml", env!("CARGO_BIN_EXE_standbyd"), here.display());
        install(&forced, &format!("#!/bin/sh\nstandbyd='{standbyd}'\nhere={}\n{script}\n", here.display()));
        let sshd = Sshd::start(&forced);
        let site = Self { directory, sshd };
        site.configure(&site.sshd.identity(), &site.sshd.known_hosts(), "");
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the standby's configuration.
    fn configure(&self, identity: &Path, known_hosts: &Path, more: &str) {
        let here = self.directory.path().display();
        let text = format!(
            "config-directory = \"{here}/standby/go\"\nplugin-directory = \"{here}/standby/plugins\"\n{more}\n[peer]\nssh = \"{}\"\n\
             identity-file = \"{}\"\nknown-hosts = \"{}\"\ntimeout = \"{SILENCE}\"\n",
            self.sshd.destination(),
            identity.display(),
            known_hosts.display()
        );
        fs::write(self.path("standby.toml"), text).unwrap();
    }

    fn standbyd(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standbyd"));
        command.arg("--config").arg(self.path(&format!("{host}.toml"))).args(arguments);
        command
    }

    fn pull(&self) -> Pulled {
        Pulled::from(self.standbyd("standby", &["pull", "--once", "--json"]).output().unwrap())
    }

    fn manifest(&self, host: &str) -> Manifest {
        let output = self.standbyd(host, &["manifest", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What lies in both of the standby's directories, hidden files too.
    fn standby_has(&self) -> Vec<String> {
        let names = |directory: &str| {
            let entries = fs::read_dir(self.path("standby").join(directory)).into_iter().flatten();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut names = [names("go"), names("plugins")].concat();
        names.sort();
        names
    }

    /// What the peer answers to these words, as a client with the right key would ask.
    fn ask(&self, words: &[&str]) -> Output {
        Command::new("ssh")
            .args(["-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", &format!("IdentityFile={}", self.sshd.identity().display())])
            .args(["-o", &format!("UserKnownHostsFile={}", self.sshd.known_hosts().display())])
            .arg("--")
            .arg(self.sshd.destination())
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

struct Pulled {
    code: Option<i32>,
    report: PullReport,
    stderr: String,
}

impl From<Output> for Pulled {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        Self { code: output.status.code(), report, stderr }
    }
}

impl Pulled {
    #[track_caller]
    fn expect_in_sync(self) -> PullReport {
        assert_eq!((self.code, self.report.in_sync), (Some(0), true), "{}", self.stderr);
        self.report
    }

    /// Expects an exit code, and words both on stderr and in the report's reason.
    #[track_caller]
    fn expect_failure(&self, code: i32, words: &str) {
        assert_eq!((self.code, self.report.in_sync), (Some(code), false), "{}", self.stderr);
        assert!(self.stderr.contains(words), "no {words:?} in: {}", self.stderr);
        assert!(self.report.reason.as_deref().unwrap().contains(words), "{:?}", self.report);
    }
}

/// Written by a process of its own: a file that this process has open for writing, in whatever child another test is just
/// starting, cannot be executed ("text file busy").
fn install(path: &Path, content: &str) {
    let mut child =
        Command::new("install").args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "install {}", path.display());
}

#[expect(clippy::print_stderr, reason = "the test harness shows it with the test's name")]
fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_first_pull_brings_everything_and_the_second_finds_nothing_to_do() {
    let Some(site) = Site::start() else { return };
    let report = site.pull().expect_in_sync();
    assert_eq!(report.fetched, ["cipher.aes", "cruise-config.xml", "plugins/auth-1.0.jar"]);
    assert_eq!(site.manifest("standby"), site.manifest("primary"));
    assert_eq!(report.manifest, Some(site.manifest("primary")));
    assert_eq!(read(&site.path("standby/go/cruise-config.xml")), CONFIG);
    for secret in ["cipher.aes", "cruise-config.xml"] {
        let mode = fs::metadata(site.path("standby/go").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let again = site.pull().expect_in_sync();
    assert_eq!((again.fetched.len(), again.unchanged.len(), again.rounds), (0, 3, 1));
    assert_eq!(site.standby_has(), [".standbyd-placed.json", "auth-1.0.jar", "cipher.aes", "cruise-config.xml"]);
}

#[test]
fn only_what_changed_is_fetched_and_what_it_replaced_is_kept() {
    let Some(site) = Site::start() else { return };
    site.pull().expect_in_sync();
    let newer = CONFIG.replace("one", "two");
    fs::write(site.path("primary/go/cruise-config.xml"), &newer).unwrap();
    assert_eq!(site.pull().expect_in_sync().fetched, ["cruise-config.xml"]);
    assert_eq!(read(&site.path("standby/go/cruise-config.xml")), newer);
    assert_eq!(read(&site.path("standby/go/cruise-config.xml.standbyd-previous")), CONFIG);
}

#[test]
fn a_file_that_was_damaged_here_is_fetched_again() {
    let Some(site) = Site::start() else { return };
    site.pull().expect_in_sync();
    fs::write(site.path("standby/go/cruise-config.xml"), "<cruise>").unwrap();
    assert_eq!(site.pull().expect_in_sync().fetched, ["cruise-config.xml"]);
}

#[test]
fn plugins_come_and_go_with_the_peer_but_only_those_that_a_pull_has_placed() {
    let Some(site) = Site::start() else { return };
    fs::create_dir_all(site.path("standby/plugins")).unwrap();
    fs::write(site.path("standby/plugins/local.jar"), "somebody put it here").unwrap();
    fs::write(site.path("primary/plugins/second.jar"), vec![7; 20 << 20]).unwrap();
    assert_eq!(site.pull().expect_in_sync().left, ["plugins/local.jar"]);
    fs::remove_file(site.path("primary/plugins/second.jar")).unwrap();
    fs::remove_file(site.path("primary/plugins/auth-1.0.jar")).unwrap();
    fs::write(site.path("standby/plugins/auth-1.0.jar"), "replaced by hand").unwrap();
    let report = site.pull().expect_in_sync();
    assert_eq!(report.removed, ["plugins/second.jar"]);
    assert_eq!(report.left, ["plugins/auth-1.0.jar", "plugins/local.jar"]);
    assert_eq!(read(&site.path("standby/plugins/auth-1.0.jar")), "replaced by hand");
}

#[test]
fn the_forced_command_serves_two_requests_and_nothing_else() {
    let Some(site) = Site::start() else { return };
    fs::write(site.path("secret.jar"), "not for you").unwrap();
    symlink(site.path("secret.jar"), site.path("primary/plugins/link.jar")).unwrap();
    let cipher = site.ask(&["get cipher.aes"]);
    assert_eq!((cipher.status.code(), cipher.stdout.as_slice()), (Some(0), CIPHER.as_bytes()));
    let manifest: Manifest = serde_json::from_slice(&site.ask(&["manifest"]).stdout).unwrap();
    assert_eq!(manifest, site.manifest("primary"));
    assert!(manifest.files.iter().all(|file| file.id != "plugins/link.jar"));
    let table = [
        (&[][..], 2, "no request; this key serves `standbyd pull` and nothing else"),
        (&["cat /etc/passwd"], 2, "expected `manifest` or `get ID`"),
        (&["manifest; id"], 2, "expected `manifest` or `get ID`"),
        (&["get /etc/passwd"], 3, "not in the manifest"),
        (&["get plugins/../go/cipher.aes"], 3, "not in the manifest"),
        (&["get plugins/absent.jar"], 3, "not in the manifest: plugins/absent.jar"),
        (&["get plugins/link.jar"], 1, "not a regular file"),
        (&["get db.properties"], 3, "not in the manifest"),
    ];
    for (words, code, said) in table {
        let output = site.ask(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{words:?}: {stderr}");
        assert!(stderr.contains(said), "{words:?}: {stderr}");
    }
}

#[test]
fn a_torn_configuration_does_not_travel() {
    let Some(site) = Site::start() else { return };
    site.pull().expect_in_sync();
    fs::write(site.path("primary/go/cruise-config.xml"), &CONFIG[..60]).unwrap();
    site.pull().expect_failure(1, "cruise-config.xml: not whole: at byte 60");
    assert_eq!(read(&site.path("standby/go/cruise-config.xml")), CONFIG);
}

/// A primary that answers this to `get cipher.aes`, and honestly to the rest; nothing may come of it.
#[track_caller]
fn nothing_is_placed(script: &str, words: &str) -> Option<Site> {
    let site = Site::behind(&format!("case $SSH_ORIGINAL_COMMAND in\n{script}\nesac\nexec $standbyd export"))?;
    site.pull().expect_failure(1, words);
    assert_eq!(site.standby_has(), [""; 0], "nothing was placed and nothing left behind");
    Some(site)
}

#[test]
fn a_file_that_is_not_what_the_manifest_says_is_not_placed() {
    nothing_is_placed("'get cipher.aes') printf %s fedcba9876543210fedcba9876543210; exit ;;", "cipher.aes of ssh://");
    nothing_is_placed("'get cipher.aes') printf %s 0123; exit ;;", "is not what its manifest says: got 4 bytes");
    nothing_is_placed("'get cruise-config.xml') head -c 100000 /dev/zero; exit ;;", "with more than");
}

#[test]
fn a_torn_configuration_with_the_right_hash_is_not_placed_and_neither_is_its_cipher() {
    let manifest = r#"manifest) sum=$(printf '<cruise>' | sha256sum | cut -d' ' -f1)
        $standbyd export | sed "/cruise-config.xml/{n;s/[0-9]*,/8,/;n;s/\"sha256.*/\"sha256\": \"$sum\"/}"; exit ;;
      'get cruise-config.xml') printf '<cruise>'; exit ;;"#;
    nothing_is_placed(manifest, "is not whole: it ends inside <cruise>");
}

#[test]
fn a_peer_that_dies_half_way_leaves_nothing_and_the_next_pull_works() {
    let Some(site) = nothing_is_placed(
        "'get cruise-config.xml') [ -e $here/well ] || { printf '<?xml'; sleep 2; kill -KILL $PPID; sleep 5; } ;;",
        "broke off in the middle of \"get cruise-config.xml\"",
    ) else {
        return;
    };
    fs::write(site.path("well"), "").unwrap();
    site.pull().expect_in_sync();
}

#[test]
fn a_peer_that_falls_silent_is_given_up() {
    let script = "case $SSH_ORIGINAL_COMMAND in manifest) printf '{'; sleep 10 ;; esac";
    let Some(site) = Site::behind(script) else { return };
    let text = read(&site.path("standby.toml")).replace(SILENCE, "2s");
    fs::write(site.path("standby.toml"), text).unwrap();
    let begun = Instant::now();
    site.pull().expect_failure(1, "said nothing for 2s in the middle of \"manifest\"");
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
}

#[test]
fn a_hostile_manifest_is_refused_as_a_whole() {
    for id in ["plugins/../../../../tmp/x.jar", "plugins/a\\\\nb.jar", "../go/cipher.aes", "db.properties"] {
        let script = format!("manifest) $standbyd export | sed 's#plugins/auth-1.0.jar#{id}#'; exit ;;");
        nothing_is_placed(&script, "is not the id of a file");
    }
    nothing_is_placed(
        "manifest) $standbyd export | sed 's/\"size\": 32/\"size\": 99999999999/'; exit ;;",
        "more than the 4096 that may travel",
    );
    nothing_is_placed("manifest) yes '{'; exit ;;", "with more than 1048576 bytes");
    nothing_is_placed("manifest) echo '{\"schema\":1,\"files\":[]}'; exit ;;", "no cipher.aes; is that a GoCD server?");
    nothing_is_placed("manifest) echo hello; exit ;;", "not readable");
}

#[test]
fn a_peer_that_changes_while_it_is_read_is_read_again() {
    let change = "'get cruise-config.xml') [ -e $here/changed ] || { touch $here/changed; sed -i s/one/two/ $here/primary/go/cruise-config.xml; } ;;";
    let Some(site) = Site::behind(&format!("case $SSH_ORIGINAL_COMMAND in {change} esac\nexec $standbyd export"))
    else {
        return;
    };
    let report = site.pull().expect_in_sync();
    assert_eq!(report.rounds, 2);
    assert_eq!(read(&site.path("standby/go/cruise-config.xml")), CONFIG.replace("one", "two"));
}

/// The file that was fetched is whole and right, but the peer has gone on: cipher and configuration must be of one moment.
#[test]
fn a_peer_that_changes_after_a_file_was_fetched_is_read_again() {
    let change = "'get cruise-config.xml') [ -e $here/changed ] || { touch $here/changed; echo ffffffffffffffffffffffffffffffff >$here/primary/go/cipher.aes; } ;;";
    let Some(site) = Site::behind(&format!("case $SSH_ORIGINAL_COMMAND in {change} esac\nexec $standbyd export"))
    else {
        return;
    };
    assert_eq!(site.pull().expect_in_sync().rounds, 2);
    assert_eq!(site.manifest("standby"), site.manifest("primary"));
}

#[test]
fn a_peer_that_never_stands_still_is_given_up_with_nothing_placed() {
    let change = "'get cruise-config.xml') echo '<!-- more -->' >>$here/primary/go/cruise-config.xml ;;";
    let Some(site) = Site::behind(&format!("case $SSH_ORIGINAL_COMMAND in {change} esac\nexec $standbyd export"))
    else {
        return;
    };
    site.pull().expect_failure(1, "changed each of the 5 times it was read");
    assert_eq!(site.standby_has(), [""; 0]);
}

#[test]
fn a_wrong_key_a_wrong_host_and_nobody_are_told_apart() {
    let Some(site) = Site::start() else { return };
    let (identity, known_hosts) = (site.sshd.identity(), site.sshd.known_hosts());
    site.configure(&site.sshd.strangers_identity(), &known_hosts, "");
    let pulled = site.pull();
    pulled.expect_failure(1, "Permission denied");
    assert!(
        pulled.stderr.contains("hint: the peer's authorized_keys needs this host's public key"),
        "{}",
        pulled.stderr
    );
    site.configure(&identity, &site.sshd.wrong_known_hosts(), "");
    site.pull().expect_failure(1, "Host key verification failed");
    fs::write(site.path("nobody"), "").unwrap();
    site.configure(&identity, &site.path("nobody"), "");
    let pulled = site.pull();
    pulled.expect_failure(1, "Host key verification failed");
    assert!(pulled.stderr.contains("hint: put the peer's host key into the known-hosts file"), "{}", pulled.stderr);
    let text = read(&site.path("standby.toml"))
        .replace(&site.sshd.destination(), &format!("ssh://go@127.0.0.1:{}", sshd::free_port()));
    fs::write(site.path("standby.toml"), text).unwrap();
    site.pull().expect_failure(1, "Connection refused");
    assert_eq!(site.standby_has(), [""; 0]);
}

#[test]
fn files_are_never_placed_under_a_server_that_runs() {
    let Some(site) = Site::start() else { return };
    site.configure(&site.sshd.identity(), &site.sshd.known_hosts(), "gocd-service = \"go-server.service\"");
    let bin = site.path("bin");
    fs::create_dir(&bin).unwrap();
    let systemctl = format!(
        "#!/bin/sh\n# A stand-in for systemctl: it says what the file `state` says.\ncat {}/state\n",
        site.directory.path().display()
    );
    install(&bin.join("systemctl"), &systemctl);
    let pull = |state: &str| {
        fs::write(site.path("state"), state).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Pulled::from(site.standbyd("standby", &["pull", "--once", "--json"]).env("PATH", path).output().unwrap())
    };
    for state in ["active", "activating", "reloading", "deactivating"] {
        pull(&format!("LoadState=loaded\nActiveState={state}\n"))
            .expect_failure(3, &format!("go-server.service is {state} on this host"));
    }
    pull("LoadState=not-found\nActiveState=inactive\n").expect_failure(3, "systemd knows no such unit");
    pull("").expect_failure(3, "cannot tell whether go-server.service runs");
    assert_eq!(site.standby_has(), [""; 0]);
    pull("LoadState=loaded\nActiveState=inactive\n").expect_in_sync();
}

#[test]
fn a_second_pull_is_refused_while_one_runs_and_a_killed_one_does_not_matter() {
    let slow = "'get cruise-config.xml') touch $here/started; while [ -e $here/slow ]; do sleep 0.05; done ;;";
    let Some(site) = Site::behind(&format!("case $SSH_ORIGINAL_COMMAND in {slow} esac\nexec $standbyd export")) else {
        return;
    };
    fs::write(site.path("slow"), "").unwrap();
    let mut first = site.standbyd("standby", &["pull", "--once"]).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !site.path("started").exists() {
        assert!(Instant::now() < deadline, "the first pull does not come to the configuration");
        std::thread::sleep(Duration::from_millis(10));
    }
    site.pull().expect_failure(3, "another pull is running on this host");
    assert!(site.standby_has().iter().any(|name| name.ends_with(".tmp")), "{:?}", site.standby_has());
    first.kill().unwrap();
    first.wait().unwrap();
    fs::remove_file(site.path("slow")).unwrap();
    site.pull().expect_in_sync();
    assert_eq!(site.standby_has(), [".standbyd-placed.json", "auth-1.0.jar", "cipher.aes", "cruise-config.xml"]);
}

#[test]
fn bad_configuration_is_exit_2() {
    let Some(site) = Site::start() else { return };
    let output = site.standbyd("primary", &["pull", "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the configuration has no [peer]"), "{output:?}");
    fs::write(site.path("standby.toml"), "config-directory = \"/etc/go\"\nplugins = 3\n").unwrap();
    let output = site.standbyd("standby", &["manifest"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("standby.toml:2: plugins: unknown field `plugins`"),
        "{output:?}"
    );
}
