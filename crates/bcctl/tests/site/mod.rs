//! A site on one machine: two real PostgreSQL servers on loopback; everything else is a stand-in of a few lines of shell.
//!
//! `ssh` runs the command here unless the host's power is off. `fence` is the power: off kills the servers of a host at
//! once; with [`Site::fence`] it is the real program, and the power is a device of it. `vipd`, `standbyd` and GoCD are files in a directory. What is proven here is bcctl and PostgreSQL, nothing else;
//! the drill proves the whole path.

#![allow(dead_code, reason = "each test file uses its own part of the site")]

mod ports;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ports::free_port;

/// GoCD's access token, which nobody but the two hosts may see.
pub(crate) const TOKEN: &str = "5f3a9c00d1e2b4a6978812345678abcdef012345";

/// Where the servers keep their data if no test is about their disk.
const MEMORY: &str = "/dev/shm";

/// Where Debian keeps the programs of a version.
const VERSIONS: [&str; 5] = ["15", "16", "17", "18", "14"];

/// How long anything may take that does come about: far longer than it does, on a machine that does other things.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Stands in for `sh`, through which goes everything that bcctl does on a host: waits as long as a step is held that has begun.
const SHELL: &str = r#"#!/bin/sh
while [ -n "$BC_STATE" ] && read -r before step 2>/dev/null <"$SITE/held-step"; do
    begun=$(cat "$BC_STATE"/test/*.jsonl 2>/dev/null | grep -c "\"event\":\"begin\",\"step\":\"$step\"")
    [ "$begun" -gt "$before" ] || break
    sleep 0.02
done
exec /bin/sh "$@"
"#;

/// The stand-ins; each gets `$SITE` and, through `ssh`, `$BC_HOST`.
const PROGRAMS: [(&str, &str); 8] = [
    (
        "ssh",
        r#"
for option; do [ "$option" = -O ] && exit 0; done
while [ "$1" != -- ]; do shift; done
export BC_HOST=$2
[ "$(cat "$SITE/power/$BC_HOST")" = on ] || { echo "ssh: connect to host $BC_HOST port 22: Connection timed out" >&2; exit 255; }
echo $$ >>"$SITE/power/$BC_HOST.shells"
export BC_OUT=$(readlink /proc/$$/fd/1) BC_ERR=$(readlink /proc/$$/fd/2)
exec /bin/sh -c "$3"
"#,
    ),
    // What is open to a host ends at once. A number may be somebody else's by now, so the process has to be of this site.
    (
        "hang-up",
        r#"
shells=$SITE/power/$1.shells
[ -e "$shells" ] || exit 0
for pid in $(cat "$shells"); do
    ! grep -qszxF "SITE=$SITE" "/proc/$pid/environ" || kill -9 "$pid" 2>/dev/null
done
: >"$shells"
"#,
    ),
    (
        "fence",
        r#"
verb=$1 node=$2
[ "$verb" != check ] || exit 0
case $verb in
nodes)
    for name in go1 go2 pg1 pg2; do nodes="$nodes${nodes:+,}{\"node\":\"$name\",\"enough\":true,\"levels\":[]}"; done
    echo "{\"schema\":2,\"nodes\":[$nodes]}"
    exit 0 ;;
token)
    [ "$node" = --json ] || echo "$4" >"$SITE/fence.token"
    [ ! -e "$SITE/fence.token" ] || IFS=/ read -r system timeline epoch id _ <"$SITE/fence.token"
    [ -z "$system" ] || token="\"pg\":{\"system-identifier\":\"$system\",\"timeline\":$timeline,\"epoch\":$epoch,\"id\":\"$id\",\"expires\":\"2999-01-01T00:00:00Z\"}"
    echo "{\"schema\":2,\"tokens\":{$token}}"
    exit 0 ;;
esac
state=$(power "$node" "$verb")
confirmed=true
[ "$verb" = status ] || [ "$verb" = "$state" ] || confirmed=false
echo "{\"schema\":2,\"at\":\"2026-11-21T20:30:00Z\",\"node\":\"$node\",\"action\":\"$verb\",\"reason\":\"\",\"by\":\"test\",\"state\":\"$state\",\"confirmed\":$confirmed,\"grade\":\"A\",\"required\":\"B\",\"evidence\":[]}"
[ $confirmed = true ] || exit 5
"#,
    ),
    (
        "power",
        r#"
node=$1
case $2 in
off) [ -e "$SITE/broken-fence" ] || {
        [ "$(cat "$SITE/power/$node")" = off ] || echo "power of $node off" >>"$SITE/effects"
        echo off >"$SITE/power/$node"
        hang-up "$node"
        rm -f "$SITE/gocd/$node" "$SITE/maintenance/$node" "$SITE/vip/$node"
        [ ! -e "$SITE/$node/postmaster.pid" ] || runuser -u postgres -- "$BIN/pg_ctl" -D "$SITE/$node" -m immediate stop >/dev/null; } ;;
on) [ "$(cat "$SITE/power/$node")" = on ] || echo "power of $node on" >>"$SITE/effects"
    echo on >"$SITE/power/$node" ;;
esac
cat "$SITE/power/$node"
"#,
    ),
    // The same switch for the real `fence`, which speaks FenceAgentAPI to it. A host that hangs has power.
    (
        "fence_power",
        r#"
while IFS= read -r line; do case $line in action=*) action=${line#action=} ;; plug=*) plug=${line#plug=} ;; esac; done
echo "$action $plug" >>"$SITE/power.asked"
state=$(power "$plug" "$action")
[ "$action" != status ] || [ "$state" != off ] || exit 2
"#,
    ),
    (
        "vipd",
        r#"
case $1 in
assign) for file in "$SITE"/vip/*; do [ ! -e "$file" ] || [ "${file##*/}" = "$BC_HOST" ] || { echo "in use by ${file##*/}" >&2; exit 3; }; done
    [ -e "$SITE/vip/$BC_HOST" ] || echo "vip to $BC_HOST" >>"$SITE/effects"
    touch "$SITE/vip/$BC_HOST" ;;
unassign) [ ! -e "$SITE/vip/$BC_HOST" ] || echo "vip from $BC_HOST" >>"$SITE/effects"
    rm -f "$SITE/vip/$BC_HOST" ;;
status) held=
    [ ! -e "$SITE/vip/$BC_HOST" ] || held='{"address":"198.18.5.200/24","interface":"lo","placed-by-vipd":true}'
    echo "{\"schema\":1,\"addresses\":[$held]}" ;;
esac
"#,
    ),
    (
        "standbyd",
        r#"
case $1 in
pull) for peer in go1 go2; do [ $peer = "$BC_HOST" ] || cp "$SITE/files/$peer" "$SITE/files/$BC_HOST"; done ;;
manifest) hash=$(sha256sum <"$SITE/files/$BC_HOST" | cut -d' ' -f1)
    echo "{\"schema\":1,\"files\":[{\"id\":\"cipher.aes\",\"size\":1,\"sha256\":\"$hash\"},{\"id\":\"cruise-config.xml\",\"size\":1,\"sha256\":\"$hash\"}]}" ;;
esac
"#,
    ),
    (
        "curl",
        r#"
for url; do :; done
case $url in
*198.18.5.200*) ls "$SITE"/vip/* >/dev/null 2>&1 || exit 7 ;;
*) [ -e "$SITE/gocd/$BC_HOST" ] || { case "$*" in *maintenance_mode*|*dashboard*) cat >>"$SITE/overheard" ;; esac; case "$*" in *http_code*) printf 000;; esac; exit 7; } ;;
esac
mode=$SITE/maintenance/$BC_HOST
case "$*" in *maintenance_mode*|*dashboard*)
    grep -qx "header = \"Authorization: bearer $(cat "$SITE/known.token")\"" || { case "$*" in *http_code*) printf 401;; esac; exit 22; } ;;
esac
case "$*" in
*maintenance_mode/info*)
    on=false; [ ! -e "$mode" ] || on=true
    jobs=$(cat "$SITE/jobs"); running=true; [ "$jobs" ] || running=false
    echo "{\"is_maintenance_mode\": $on, \"attributes\": {\"has_running_systems\": $running, \"running_systems\": {\"building_jobs\": [$jobs]}}}" ;;
*maintenance_mode/enable*) if [ -e "$mode" ]; then printf 409; else touch "$mode"; printf 204; fi ;;
*maintenance_mode/disable*) if [ -e "$mode" ]; then rm "$mode"; printf 204; else printf 409; fi ;;
*http_code*) printf 200 ;;
*version*) echo '{"version":"0.1","full_version":"0.1 (test stand-in)"}' ;;
esac
"#,
    ),
];

/// A site that is running; dropped, its servers are stopped.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    bin: PathBuf,
    ports: [u16; 2],
    /// A real server for `ssh`, and its port; without it, `ssh` is a stand-in.
    sshd: Option<(std::process::Child, u16)>,
    /// Number of the operator's machine: each has journals of its own.
    operator: std::cell::Cell<u32>,
}

/// Why real servers cannot be used here.
pub(crate) fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root may run a server as another user".to_owned());
    }
    if programs().is_none() {
        return Some("PostgreSQL is not installed (apt-get install postgresql-15)".to_owned());
    }
    None
}

/// Whether there can be a site.
pub(crate) fn possible() -> bool {
    is_all_there(missing())
}

/// Whether nothing is missing; what is, is said aloud, and with CI=true it is a failure.
#[expect(clippy::print_stderr, reason = "a test says that it was skipped")]
pub(crate) fn is_all_there(missing: Option<String>) -> bool {
    if let Some(reason) = &missing {
        assert!(std::env::var("CI").map_or(true, |ci| ci != "true"), "{reason}");
        eprintln!("SKIPPED: {reason}");
    }
    missing.is_none()
}

/// A site, where there can be one.
pub(crate) fn site() -> Option<Site> {
    possible().then(Site::new)
}

/// Waits until `look` finds what is wanted, or panics with what it has seen last.
#[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) => {
                assert!(std::time::Instant::now() < deadline, "waited {PATIENCE:?} for {what}; last seen: {last}")
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Bytes that are free in the file system of a directory.
fn free(directory: &str) -> u64 {
    nix::sys::statvfs::statvfs(directory).map_or(0, |system| system.blocks_available() * system.fragment_size())
}

fn programs() -> Option<PathBuf> {
    VERSIONS
        .iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .find(|bin| bin.join("initdb").exists())
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Site {
    /// Home serves, away follows.
    pub(crate) fn new() -> Self {
        Self::with(false, "16")
    }

    /// The same, with so little WAL that a copy of all of it is made in a moment.
    pub(crate) fn small() -> Self {
        Self::with(false, "1")
    }

    /// The same, and the hosts are reached through a real sshd on loopback, each at an address of its own. The servers write
    /// to disk as they do in earnest.
    pub(crate) fn over_ssh() -> Self {
        Self::with(true, "16")
    }

    /// `segment`: the size of a WAL file in MB.
    fn with(real_ssh: bool, segment: &str) -> Self {
        let bin = programs().expect("checked by `missing`");
        let mut directory = tempfile::Builder::new();
        directory.prefix("bcctl-site-");
        let in_memory = !real_ssh && free(MEMORY) > 4 << 30;
        let directory = if in_memory { directory.tempdir_in(MEMORY) } else { directory.tempdir() };
        let directory = directory.expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let ports = [0, 1].map(|_| free_port());
        let mut site = Self { directory, bin, ports, sshd: None, operator: std::cell::Cell::new(0) };
        for name in ["bin", "power", "vip", "gocd", "maintenance", "files", "state", "sockets", "etc"] {
            fs::create_dir(site.path(name)).expect("a directory");
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o777)).expect("mode");
        }
        for (name, script) in PROGRAMS.into_iter().filter(|(name, _)| !(real_ssh && *name == "ssh")) {
            let path = site.path("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}")).expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        for host in ["pg1", "pg2", "go1", "go2"] {
            fs::write(site.path("power").join(host), "on\n").expect("a file");
        }
        for host in ["go1", "go2"] {
            fs::write(site.path("files").join(host), "first\n").expect("a file");
            fs::set_permissions(site.path("files").join(host), fs::Permissions::from_mode(0o666)).expect("mode");
        }
        fs::write(site.path("etc/db.properties"), "db.url=jdbc:postgresql://localhost/postgres\n").expect("a file");
        let store = site.path("artifacts");
        let config = format!(
            "<cruise>\n<!-- <artifactsDir>/elsewhere</artifactsDir> -->\n<server><artifacts>\n<artifactsDir>{}</artifactsDir></artifacts></server></cruise>\n",
            store.display()
        );
        fs::write(site.path("etc/cruise-config.xml"), config).expect("a file");
        for name in ["token", "known.token"] {
            fs::write(site.path(name), format!("{TOKEN}\n")).expect("a file");
        }
        fs::set_permissions(site.path("token"), fs::Permissions::from_mode(0o600)).expect("mode");
        succeed(Command::new("chown").arg("postgres:").arg(site.path("token")));
        fs::write(site.path("jobs"), "").expect("a file");
        if real_ssh {
            site.sshd = Some(site.start_sshd());
        }
        fs::write(site.path("bc.toml"), site.inventory()).expect("a file");
        site.make_servers(segment);
        fs::write(site.path("gocd/go1"), "").expect("a file");
        fs::write(site.path("vip/go1"), "").expect("a file");
        site
    }

    fn inventory(&self) -> String {
        let (root, bin, sockets) = (self.directory.path().display(), self.bin.display(), self.path("sockets"));
        let mut text = format!(
            "site = \"test\"\njournal-directory = \"{root}/copies\"\nvip = {{ address = \"198.18.5.200/24\", interface = \"lo\" }}\n\
             [timeouts]\nboot = \"20s\"\npostgresql-start = \"30s\"\npostgresql-stop = \"30s\"\nreplay = \"15s\"\nvip = \"10s\"\ngocd-ready = \"10s\"\n\
             [policy]\nminimum-free = \"1MB\"\n\
             [postgresql]\nprimary = \"pg1\"\nstandby = \"pg2\"\nbin-directory = \"{bin}\"\ndata-directory = \"{root}/pg1\"\n\
             socket-directory = \"{}\"\n[gocd]\nprimary = \"go1\"\nstandby = \"go2\"\nos-user = \"postgres\"\nconfig-directory = \"{root}/etc\"\n\
             database = \"postgres\"\napi-token-file = \"{root}/token\"\n",
            sockets.display()
        );
        for (index, host) in ["pg1", "pg2"].into_iter().enumerate() {
            let control = format!("runuser -u postgres -- {bin}/pg_ctl -D {root}/{host}");
            text.push_str(&format!(
                "{}address = \"127.0.0.1\"\n\
                 [postgresql.on.{host}]\nport = {}\ndata-directory = \"{root}/{host}\"\n\
                 commands = {{ start = \"{control} -w -s -l {root}/{host}.log start\", stop = \"{control} -w -s -m fast stop\", status = \"{control} status\" }}\n",
                self.host(host),
                self.ports[index]
            ));
        }
        for (index, host) in ["go1", "go2"].into_iter().enumerate() {
            // As GoCD does: its first statement is a write.
            let psql = format!(
                "runuser -u postgres -- {bin}/psql -h {} -p {} -XAtqd postgres",
                sockets.display(),
                self.ports[index]
            );
            text.push_str(&format!(
                "{}[gocd.on.{host}]\n\
                 commands = {{ start = \"{psql} -c 'INSERT INTO boots VALUES (1)' && echo gocd starts on {host} >>{root}/effects && touch {root}/gocd/{host}\", \
                 stop = \"rm -f {root}/gocd/{host} {root}/maintenance/{host}\", status = \"test -e {root}/gocd/{host}\", \
                 start-in-maintenance = \"{psql} -c 'INSERT INTO boots VALUES (2)' && echo gocd starts on {host} >>{root}/effects && touch {root}/maintenance/{host} {root}/gocd/{host}\" }}\n",
                self.host(host)
            ));
        }
        text
    }

    /// The section of a host, and how it is reached.
    fn host(&self, name: &str) -> String {
        let Some((_, port)) = &self.sshd else { return format!("[hosts.{name}]\nssh = \"{name}\"\n") };
        let number = ["pg1", "pg2", "go1", "go2"].iter().position(|host| *host == name).expect("a host") + 11;
        let etc = self.path("etc");
        let etc = etc.display();
        format!(
            "[hosts.{name}]\nssh = \"root@127.0.0.{number}\"\n\
             ssh-options = [\"-F\", \"/dev/null\", \"-p\", \"{port}\", \"-i\", \"{etc}/client\", \"-o\", \"UserKnownHostsFile={etc}/known_hosts\", \"-o\", \"SetEnv=BC_HOST={name}\"]\n"
        )
    }

    #[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
    fn start_sshd(&self) -> (std::process::Child, u16) {
        let etc = self.path("etc");
        for key in ["host", "client"] {
            succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(etc.join(key)));
        }
        succeed(Command::new("cp").arg(etc.join("client.pub")).arg(etc.join("authorized_keys")));
        fs::create_dir_all("/run/sshd").expect("sshd's own directory, which Debian's unit makes at boot");
        let path = std::env::var("PATH").unwrap_or_default();
        for _ in 0..20 {
            let port = free_port();
            let listen: String = (11..15).map(|number| format!("ListenAddress 127.0.0.{number}:{port}\n")).collect();
            let key = fs::read_to_string(etc.join("host.pub")).expect("a key");
            let known: String = (11..15).map(|number| format!("[127.0.0.{number}]:{port} {key}")).collect();
            fs::write(etc.join("known_hosts"), known).expect("a file");
            let text = format!(
                "{listen}HostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nAcceptEnv BC_HOST\nSetEnv PATH={1}:{path}:/usr/sbin:/sbin SITE={2} BIN={3}\n",
                etc.display(),
                self.path("bin").display(),
                self.directory.path().display(),
                self.bin.display()
            );
            fs::write(etc.join("sshd_config"), text).expect("a file");
            let log = fs::File::create(etc.join("sshd.log")).expect("a file");
            let mut server = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f"])
                .arg(etc.join("sshd_config"))
                .stderr(log)
                .spawn()
                .expect("sshd starts");
            for _ in 0..200 {
                if std::net::TcpStream::connect(("127.0.0.14", port)).is_ok() {
                    return (server, port);
                }
                if server.try_wait().expect("a child").is_some() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            let _ = server.kill();
        }
        panic!("sshd does not start: {}", fs::read_to_string(etc.join("sshd.log")).unwrap_or_default());
    }

    /// Where a program of PostgreSQL is.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// From here on a program of PostgreSQL is this script as far as bcctl is concerned; `$real` is the program.
    pub(crate) fn wrap(&self, name: &str, script: &str) {
        // The path says the version, as Debian's does.
        let version = self.bin.parent().and_then(Path::file_name).expect("VERSION/bin");
        let wrapped = self.path("wrapped").join(version).join("bin");
        fs::create_dir_all(&wrapped).expect("a directory");
        for program in
            fs::read_dir(&self.bin).expect("a directory").flatten().filter(|program| program.file_name() != name)
        {
            std::os::unix::fs::symlink(program.path(), wrapped.join(program.file_name())).expect("a link");
        }
        let wrapper = wrapped.join(name);
        fs::write(&wrapper, format!("#!/bin/sh\nreal={}\n{script}\n", self.program(name).display())).expect("a script");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("mode");
        let inventory = fs::read_to_string(self.path("bc.toml")).expect("a file");
        let directory = |path: &Path| format!("bin-directory = \"{}\"", path.display());
        let other = inventory.replacen(&directory(&self.bin), &directory(&wrapped), 1);
        assert_ne!(other, inventory);
        fs::write(self.path("bc.toml"), other).expect("a file");
    }

    /// From here on `fence` is the real program, which keeps every request it gets in `fence.log`. Each host has one device, whose
    /// off is worth `grade`; the policy of the site asks for `wanted`.
    pub(crate) fn fence(&self, grade: &str, wanted: &str) {
        let real = built("fence");
        let (root, config) = (self.directory.path().display(), self.path("etc/fence.toml"));
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >>{root}/fence.log\nexec {} \"$@\"\n", real.display());
        fs::write(self.path("bin/fence"), script).expect("a script");
        let mut text = format!("history = \"{root}/fence/history.jsonl\"\n[policy]\nrequire-token = true\n");
        for host in ["pg1", "pg2", "go1", "go2"] {
            text.push_str(&format!(
                "[nodes.{host}]\nlevels = [[\"{host}-power\"]]\n[devices.{host}-power]\nagent = \"exec\"\n\
                 command = \"{root}/bin/fence_power\"\ntimeout = \"20s\"\ngrade = \"{grade}\"\noptions = {{ plug = \"{host}\" }}\n"
            ));
        }
        fs::write(&config, text).expect("a file");
        let policy = format!("[fencing]\nconfig = \"{}\"\n[policy]\nfence-grade = \"{wanted}\"\n", config.display());
        fs::write(self.path("bc.toml"), self.inventory().replacen("[policy]\n", &policy, 1)).expect("a file");
    }

    /// A call of `fence` as bcctl makes it: its exit code, and what it said.
    pub(crate) fn call_fence(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(self.path("bin/fence"));
        command.args(arguments).env("FENCE_CONFIG", self.path("etc/fence.toml")).stdin(Stdio::null());
        self.environment(&mut command);
        let Output { status, stdout, stderr } = command.output().expect("fence starts");
        (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    }

    /// The ports of the servers on pg1 and pg2.
    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    fn make_servers(&self, segment: &str) {
        succeed(Command::new("chown").arg("postgres:").arg(self.directory.path()));
        let pg1 = self.path("pg1");
        succeed(
            self.as_postgres("initdb").args(["-A", "trust", "--no-sync", "--wal-segsize", segment, "-D"]).arg(&pg1),
        );
        self.configure("pg1", self.ports[0]);
        self.service("pg1", "start");
        self.sql("pg1", "CREATE ROLE replicator LOGIN REPLICATION; CREATE TABLE boots (n int); CREATE TABLE pipelines (name text, counter bigint); CREATE TABLE pipelinelabelcounts (pipelinename text, labelcount bigint); CREATE TABLE rows (n serial PRIMARY KEY, t text); SELECT pg_create_physical_replication_slot('pg2', true)");
        let source = format!("host=127.0.0.1 port={} user=replicator application_name=pg2", self.ports[0]);
        succeed(
            self.as_postgres("pg_basebackup")
                .args(["-R", "-c", "fast", "-S", "pg2", "--no-sync", "-d", &source, "-D"])
                .arg(self.path("pg2")),
        );
        self.configure("pg2", self.ports[1]);
        self.service("pg2", "start");
        self.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "pg1", "1");
    }

    /// The port is in the file of the data directory, so a copy that did not keep the host's own file would not start.
    pub(crate) fn configure(&self, host: &str, port: u16) {
        let path = self.path(host).join("postgresql.conf");
        let fsync = if self.sshd.is_some() { "on" } else { "off" };
        let text = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nwal_level = replica\nmax_connections = 20\n\
             shared_buffers = 16MB\nwal_keep_size = 64MB\nmax_slot_wal_keep_size = 512MB\nwal_retrieve_retry_interval = 200ms\nwal_log_hints = on\nfsync = {fsync}\n",
            self.path("sockets").display()
        );
        fs::write(&path, text).expect("a file");
    }

    /// Both hosts see one directory, into which pg1 archives with the shipped program and from which both restore.
    pub(crate) fn share_an_archive(&self) {
        let archive = self.path("archive");
        fs::create_dir(&archive).expect("a directory");
        succeed(Command::new("chown").arg("postgres:").arg(&archive));
        let program = self.path("bin/archive-wal");
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/archive-wal"), &program).expect("a copy");
        let (directory, program) = (archive.display(), program.display());
        let text = fs::read_to_string(self.path("bc.toml")).expect("a file");
        let section = format!("[postgresql]\narchive = {{ directory = \"{directory}\", program = \"{program}\" }}\n");
        fs::write(self.path("bc.toml"), text.replacen("[postgresql]\n", &section, 1)).expect("a file");
        for host in ["pg1", "pg2"] {
            self.sql(host, "ALTER SYSTEM SET archive_mode = on");
            self.sql(host, &format!("ALTER SYSTEM SET archive_command = '\"{program}\" \"%p\" \"{directory}/%f\"'"));
            self.sql(host, &format!("ALTER SYSTEM SET restore_command = 'cp \"{directory}/%f\" \"%p\"'"));
            self.service(host, "stop");
            self.service(host, "start");
        }
        self.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "pg1", "1");
    }

    /// A program of the servers, run as their owner.
    pub(crate) fn as_postgres(&self, program: &str) -> Command {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(self.bin.join(program)).current_dir("/");
        command
    }

    /// `start` or `stop` of a server, by hand.
    pub(crate) fn service(&self, host: &str, verb: &str) {
        let log = self.path(&format!("{host}.log"));
        let mut command = self.as_postgres("pg_ctl");
        command.arg("-D").arg(self.path(host)).args(["-w", "-s", "-m", "fast", "-l"]).arg(log).arg(verb);
        succeed(command.stdout(Stdio::null()).stderr(Stdio::null()));
    }

    /// The answer of a server.
    pub(crate) fn sql(&self, host: &str, statement: &str) -> String {
        self.try_sql(host, statement).unwrap_or_else(|error| panic!("{host}: {statement}: {error}"))
    }

    /// The answer of a server, or its error.
    pub(crate) fn try_sql(&self, host: &str, statement: &str) -> Result<String, String> {
        let output = self.psql(host, statement).output().expect("psql starts");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// One statement, not yet asked.
    pub(crate) fn psql(&self, host: &str, statement: &str) -> Command {
        let port = self.ports[usize::from(host == "pg2")];
        let mut command = self.as_postgres("psql");
        command.args(["-XAtq", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.path("sockets"));
        command.args(["-p", &port.to_string(), "-c", statement]);
        command
    }

    /// Waits until a server gives an answer.
    pub(crate) fn wait(&self, statement: &str, host: &str, answer: &str) {
        until(&format!("{host}: {statement}: {answer}"), || {
            let last = self.try_sql(host, statement).unwrap_or_else(|error| error);
            if last == answer { Ok(()) } else { Err(last) }
        });
    }

    /// The inventory with more of it.
    pub(crate) fn inventory_with(&self, section: &str, text: &str) -> String {
        self.inventory().replacen(&format!("[{section}]\n"), &format!("[{section}]\n{text}\n"), 1)
    }

    /// A host hangs: it cannot be reached, but its servers go on.
    pub(crate) fn unplug(&self, host: &str) {
        fs::write(self.path("power").join(host), "hung\n").expect("a file");
        // What was open hangs as well.
        let mut command = Command::new(self.path("bin/hang-up"));
        self.environment(&mut command);
        succeed(command.arg(host));
    }

    /// A host is there again.
    pub(crate) fn plug_in(&self, host: &str) {
        fs::write(self.path("power").join(host), "on\n").expect("a file");
    }

    /// A server dies as in a power cut.
    pub(crate) fn kill_server(&self, host: &str) {
        succeed(self.as_postgres("pg_ctl").arg("-D").arg(self.path(host)).args([
            "-m",
            "immediate",
            "-w",
            "-s",
            "stop",
        ]));
    }

    /// The inventory with little patience for a standby that does not replay.
    pub(crate) fn patient_about_nothing(&self) -> String {
        self.inventory().replace("replay = \"15s\"", "replay = \"2s\"")
    }

    fn environment(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("SITE", self.directory.path())
            .env("BIN", &self.bin);
        command.env("BC_INVENTORY", self.path("bc.toml")).env("BC_STATE", self.state()).env("NO_COLOR", "1");
    }

    /// A call of bcctl, not yet started.
    pub(crate) fn bcctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bcctl"));
        command.args(arguments).stdin(Stdio::null());
        self.environment(&mut command);
        command
    }

    /// A call of bcctl that has to end with `status`; returns what it said.
    pub(crate) fn expect(&self, status: i32, arguments: &[&str]) -> String {
        let Output { status: ended, stdout, stderr } = self.bcctl(arguments).output().expect("bcctl starts");
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(ended.code(), Some(status), "bcctl {arguments:?} said:\n{said}\n{}", self.logs());
        said
    }

    /// Starts bcctl, and returns when it has begun `step` and can do nothing of it, until it is let go. What an earlier operation, or an
    /// earlier part of this one, has begun does not count.
    #[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
    pub(crate) fn hold_at(&self, step: &str, arguments: &[&str]) -> std::process::Child {
        let shell = self.path("bin/sh");
        if !shell.exists() {
            fs::write(&shell, SHELL).expect("a script");
            fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        let begun = format!("\"event\":\"begin\",\"step\":\"{step}\"");
        let count = || self.journals().concat().matches(&begun).count();
        let before = count();
        fs::write(self.path("held-step"), format!("{before} {step}\n")).expect("a file");
        let mut child =
            self.bcctl(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bcctl starts");
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < deadline {
            let ended = child.try_wait().expect("a child");
            if count() > before {
                return child;
            }
            if let Some(ended) = ended {
                panic!("bcctl ended with {ended} before {step} began: {:?}", self.journals().last());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("{step} did not begin within {PATIENCE:?}: {:?}", self.journals().last());
    }

    /// The step that is held goes on.
    pub(crate) fn let_go(&self) {
        fs::remove_file(self.path("held-step")).expect("a step is held");
    }

    /// Starts bcctl, and returns when it has begun `step` and goes on.
    pub(crate) fn start_until(&self, step: &str, arguments: &[&str]) -> std::process::Child {
        let child = self.hold_at(step, arguments);
        self.let_go();
        child
    }

    /// Starts bcctl and kills it (SIGKILL) where it has begun `step`. What it has asked of a host for that, the host does.
    pub(crate) fn kill_at(&self, step: &str, arguments: &[&str]) {
        let mut child = self.hold_at(step, arguments);
        child.kill().expect("killed");
        child.wait().expect("reaped");
        self.let_go();
    }

    /// The text of every journal, oldest first.
    pub(crate) fn journals(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.state().join("test")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// What a server has written into its log.
    pub(crate) fn log(&self, host: &str) -> String {
        fs::read_to_string(self.path(&format!("{host}.log"))).unwrap_or_default()
    }

    fn logs(&self) -> String {
        ["pg1", "pg2"]
            .map(|host| {
                let log = fs::read_to_string(self.path(&format!("{host}.log"))).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                format!("--- {host}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
            })
            .join("\n")
    }

    /// From here on bcctl runs on another machine, which knows nothing of what the one before has written.
    pub(crate) fn another_operator(&self) {
        self.operator.set(self.operator.get() + 1);
    }

    /// Where the bcctl of this operator keeps its own journals.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state").join(self.operator.get().to_string())
    }

    /// A path of the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Hosts that hold the VIP, and hosts on which GoCD runs.
    pub(crate) fn serving(&self) -> (Vec<String>, Vec<String>) {
        let list = |path: &Path| {
            let mut names: Vec<String> = fs::read_dir(path)
                .expect("a directory")
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        (list(&self.path("vip")), list(&self.path("gocd")))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some((mut server, _)) = self.sshd.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for host in ["pg1", "pg2"] {
            let _ =
                self.as_postgres("pg_ctl").arg("-D").arg(self.path(host)).args(["-m", "immediate", "stop"]).output();
        }
    }
}

/// Another program of the workspace, built as this one was. Cargo builds for a test only the programs of the test's own package. All
/// are built, as `make build` does: with one of them only, dependencies would have other features, and be built again.
fn built(program: &str) -> PathBuf {
    let bcctl = Path::new(env!("CARGO_BIN_EXE_bcctl"));
    // The cargo that runs this test, not the one that has compiled it.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells a test about itself would make it build some of the dependencies anew: they ask for it.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    succeed(&mut cargo);
    let path = bcctl.with_file_name(program);
    assert!(path.exists(), "{} was not built", path.display());
    path
}
