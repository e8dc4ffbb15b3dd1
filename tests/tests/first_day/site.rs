//! Hosts as a site has them on its first day: Debian with systemd as PID 1 and sshd, the packages installed, nothing configured.
//!
//! The images are the drill's (`testenv/images`); what they configure of PostgreSQL is taken away again. Everything that is made
//! carries the run's label, and `bc-harness gc RUN` takes it away.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Name, last octet of the address, image.
const HOSTS: [(&str, u8, &str); 5] = [
    ("pg1", 11, "postgres"),
    ("pg2", 12, "postgres"),
    ("go1", 13, "gocd"),
    ("go2", 14, "gocd"),
    ("operator", 31, "box"),
];
const SCRIPTS: &str = "/usr/lib/bc-testenv";
/// A password with what is special in a password file, in SQL and in a shell.
pub(crate) const PASSWORD: &str = r"it's: a \ $ s3cret-word";
const DATABASE_PASSWORD: &str = "gocd-s3cret-word";

/// Where the packages put PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Debian's clusters, as they are.
    Debian,
    /// The layout of the PostgreSQL project's RPM packages, made on Debian with links and a unit of the same name: the packages
    /// themselves, and a distribution that takes them, are not here.
    Pgdg,
}

impl Layout {
    pub(crate) const fn config(self) -> &'static str {
        match self {
            Self::Debian => "/etc/postgresql/15/main",
            Self::Pgdg => "/var/lib/pgsql/15/data",
        }
    }

    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Debian => "postgresql@15-main.service",
            Self::Pgdg => "postgresql-15.service",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Pgdg => "pgdg",
        }
    }
}

/// The unit of PGDG's package, without its helper for the upgrade.
const PGDG_UNIT: &str = "[Unit]\nDescription=PostgreSQL 15 database server\nAfter=network.target\n\
    [Service]\nType=notify\nUser=postgres\nGroup=postgres\nEnvironment=PGDATA=/var/lib/pgsql/15/data/\n\
    OOMScoreAdjust=-1000\nExecStart=/usr/pgsql-15/bin/postmaster -D ${PGDATA}\nExecReload=/bin/kill -HUP $MAINPID\n\
    KillMode=mixed\nKillSignal=SIGINT\nTimeoutSec=0\nTimeoutStartSec=0\n[Install]\nWantedBy=multi-user.target\n";

/// A fence agent for which everything is on.
const SWITCH: &str = "#!/bin/sh\nwhile read -r line; do case $line in action=*) action=${line#*=};; esac; done\n\
    case $action in status) echo 'Status: ON';; monitor) ;; *) exit 1;; esac\n";

/// The hosts of one run.
pub(crate) struct Site {
    harness: String,
    run: String,
    /// First three octets of the addresses.
    net: String,
    pub(crate) layout: Layout,
}

impl Site {
    /// Boots the hosts and lets them know each other's keys.
    pub(crate) fn boot(harness: String, layout: Layout) -> Self {
        succeed(Command::new(&harness).arg("images"));
        let run = format!("{:08x}", std::process::id() ^ u32::from(layout == Layout::Pgdg) << 30);
        let mut site = Self { harness, run, net: String::new(), layout };
        site.make_network();
        for volume in ["pg1", "pg2", "wal"] {
            site.docker(&["volume", "create", "--label", &site.label(), &site.object(volume)]);
        }
        std::thread::scope(|scope| {
            for host in HOSTS {
                let site = &site;
                scope.spawn(move || site.start(host));
            }
        });
        site.exchange_keys();
        site.install();
        site
    }

    fn label(&self) -> String {
        format!("bc.run={}", self.run)
    }

    fn object(&self, name: &str) -> String {
        format!("bc-{}-{name}", self.run)
    }

    /// The address of a host, or (200) the VIP.
    pub(crate) fn address(&self, octet: u8) -> String {
        format!("{}.{octet}", self.net)
    }

    /// A /24 of the networks for tests that nobody has.
    fn make_network(&mut self) {
        let name = format!("bc-{}", self.run);
        let start = std::process::id();
        let mut last = String::new();
        for step in 0..20 {
            let number = (start + step * 7) % 512;
            self.net = format!("198.{}.{}", 18 + number / 256, number % 256);
            let output = Command::new("docker")
                .args(["network", "create", "--internal", "--label", &self.label()])
                .args(["--subnet", &format!("{}.0/24", self.net), "--gateway", &self.address(1), &name])
                .output()
                .expect("docker starts");
            if output.status.success() {
                return;
            }
            last = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        panic!("no network: {last}");
    }

    /// As `testenv/images/README.md` says.
    fn start(&self, (name, octet, image): (&str, u8, &str)) {
        let container = self.object(name);
        let address = self.address(octet);
        let label = self.label();
        let mut command = Command::new("docker");
        command.args(["run", "--detach", "--name", &container, "--hostname", name, "--label", &label]);
        command.args(["--network", &format!("bc-{}", self.run), "--ip", &address]);
        command.args(["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"]);
        command.args(["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]);
        command.args(["--tmpfs", "/run", "--tmpfs", "/run/lock", "--shm-size", "128m"]);
        for sysctl in ["net.ipv4.ip_forward=0", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.all.arp_ignore=1"]
        {
            command.args(["--sysctl", sysctl]);
        }
        for (other, octet, _) in HOSTS {
            command.args(["--add-host", &format!("{other}:{}", self.address(octet))]);
        }
        if self.docker(&["info", "--format", "{{.CgroupVersion}}"]) == "2" {
            command.args(["--cgroupns", "private"]);
        } else {
            command.args(["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro"]);
        }
        if image == "postgres" {
            // Debian's data directories lie below one mount point, PGDG's below another.
            let below = if self.layout == Layout::Debian { "/var/lib/postgresql" } else { "/var/lib/pgsql" };
            command.args(["--volume", &format!("{}:{below}", self.object(name))]);
            command.args(["--volume", &format!("{}:/srv/wal-archive", self.object("wal"))]);
        }
        command.arg(format!("bc-testenv/{image}:latest"));
        succeed(&mut command);
        assert_eq!(self.on(name, &format!("{SCRIPTS}/wait-booted")), "running", "{name}");
    }

    fn exchange_keys(&self) {
        let mut known = String::new();
        for (name, octet, _) in HOSTS {
            let key = self.on(name, &format!("{SCRIPTS}/host-key"));
            let _ = writeln!(known, "{name},{} {key}", self.address(octet));
        }
        let operator = self.on("operator", &format!("{SCRIPTS}/ssh-key"));
        for (name, ..) in HOSTS {
            if name != "operator" {
                self.write(name, &operator, &format!("{SCRIPTS}/authorize-operator"));
            }
            self.write(name, &known, &format!("{SCRIPTS}/known-hosts"));
        }
        for (host, peer) in [("go1", "go2"), ("go2", "go1")] {
            let key = self.on(host, &format!("{SCRIPTS}/ssh-key go"));
            self.write(peer, &key, &format!("{SCRIPTS}/authorize-peer"));
        }
    }

    /// What an administrator has done before the first `bcctl setup`: packages, password files, inventories.
    fn install(&self) {
        let fence = Path::new(&self.harness).with_file_name("fence");
        for (name, ..) in HOSTS {
            // The database hosts and the GoCD hosts of the drill have no gate; these have.
            if name != "operator" {
                self.docker(&["cp", &fence.display().to_string(), &format!("{}:/usr/bin/fence", self.object(name))]);
            }
        }
        let escaped = PASSWORD.replace('\\', r"\\").replace(':', r"\:");
        for host in ["pg1", "pg2"] {
            // As the package leaves it: the drill's configuration goes, and its user's home is where Debian has it.
            self.on(
                host,
                "rm -rf /etc/postgresql/15 && install -d -o postgres -g postgres -m 0755 /etc/postgresql /var/lib/postgresql \
                 && chown postgres:postgres /srv/wal-archive && chmod 0700 /srv/wal-archive",
            );
            self.write(
                host,
                &format!("*:*:*:replicator:{escaped}\n"),
                "umask 077; cat >~postgres/.pgpass && chown postgres:postgres ~postgres/.pgpass",
            );
            if self.layout == Layout::Pgdg {
                self.on(
                    host,
                    "ln -s /usr/lib/postgresql/15 /usr/pgsql-15 && ln -sf postgres /usr/lib/postgresql/15/bin/postmaster \
                     && install -d -o postgres -g postgres -m 0700 /var/lib/pgsql /var/lib/pgsql/15",
                );
                self.write(
                    host,
                    PGDG_UNIT,
                    "cat >/usr/lib/systemd/system/postgresql-15.service && systemctl daemon-reload",
                );
            }
        }
        self.write("operator", &self.inventory(), "cat >/etc/bcctl/bc.toml");
        self.write("operator", &Self::fence(), "umask 077; cat >/etc/fence/fence.toml");
        self.write("operator", SWITCH, "cat >/usr/sbin/fence_answers && chmod 0755 /usr/sbin/fence_answers");
    }

    fn inventory(&self) -> String {
        let mut text =
            format!("site = \"first\"\n[vip]\naddress = \"{}/24\"\ninterface = \"eth0\"\n", self.address(200));
        for (name, octet, _) in &HOSTS[..4] {
            let _ = writeln!(text, "[hosts.{name}]\nssh = \"root@{}\"", self.address(*octet));
        }
        let _ = write!(
            text,
            "[postgresql]\nprimary = \"pg1\"\nstandby = \"pg2\"\nversion = \"15\"\nlayout = \"{}\"\n\
             [postgresql.archive]\ndirectory = \"/srv/wal-archive\"\n\
             [gocd]\nprimary = \"go1\"\nstandby = \"go2\"\nservice = \"go-server.service\"\n\
             [fencing]\nconfig = \"/etc/fence/fence.toml\"\n[policy]\nminimum-free = \"64MB\"\n",
            self.layout.name()
        );
        text
    }

    /// Each host is a plug of a switch that answers, and turns nothing off: nothing is fenced on a first day.
    fn fence() -> String {
        let mut text = "history = \"/var/lib/fence/history.jsonl\"\n".to_owned();
        for (name, ..) in &HOSTS[..4] {
            let _ = writeln!(
                text,
                "[nodes.{name}]\nlevels = [[\"{name}-power\"]]\n[devices.{name}-power]\nagent = \"exec\"\n\
                 command = \"/usr/sbin/fence_answers\"\ntimeout = \"30s\"\ngrade = \"A\"\n[devices.{name}-power.options]\nplug = \"{name}\""
            );
        }
        text
    }

    /// A cluster on `host` by the means of its packages; started, or as it was made.
    pub(crate) fn make_cluster(&self, host: &str, start: bool) {
        let unit = self.layout.unit();
        match self.layout {
            Layout::Debian => self.on(host, "pg_createcluster 15 main"),
            Layout::Pgdg => self.on(
                host,
                "runuser -u postgres -- /usr/pgsql-15/bin/initdb --auth-local=peer --auth-host=scram-sha-256 -D /var/lib/pgsql/15/data \
                 && systemctl enable postgresql-15.service 2>&1",
            ),
        };
        if start {
            self.on(host, &format!("systemctl daemon-reload; systemctl start {unit}"));
        }
    }

    /// GoCD with its database on go1, and what go2 needs of its own.
    pub(crate) fn start_gocd(&self) {
        self.write(
            "pg1",
            &format!("CREATE ROLE gocd LOGIN PASSWORD '{DATABASE_PASSWORD}';\nCREATE DATABASE gocd OWNER gocd;\n"),
            "runuser -u postgres -- psql -Xq -v ON_ERROR_STOP=1",
        );
        for host in ["pg1", "pg2"] {
            let hba = format!("{}/pg_hba.conf", self.layout.config());
            self.on(
                host,
                &format!(
                    "echo 'host gocd gocd {}.0/24 scram-sha-256' >>{hba} && systemctl reload {}",
                    self.net,
                    self.layout.unit()
                ),
            );
        }
        let provision = |arguments: &str| {
            format!(
                "GOCD_DB_PASSWORD={DATABASE_PASSWORD} AGENT_AUTO_REGISTER_KEY=key {SCRIPTS}/provision-gocd {arguments}"
            )
        };
        self.on("go1", &provision("active pg1 go2"));
        self.on("go2", &provision("standby pg2 go1"));
        self.on("go1", "systemctl start go-server");
        self.wait("go1", "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8153/go/api/v1/health", "200");
        self.on("go1", &format!("vipd assign {}/24 --dev eth0", self.address(200)));
    }

    /// bcctl on the operator's host; it must exit with `status`.
    pub(crate) fn bcctl(&self, status: i32, arguments: &str) -> String {
        let output = self.exec("operator", &format!("NO_COLOR=1 bcctl {arguments} 2>&1"), None);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status), "bcctl {arguments} said:\n{said}");
        assert!(!said.contains("s3cret-word"), "a password was shown: {said}");
        said
    }

    /// An answer of the server on `host`.
    pub(crate) fn sql(&self, host: &str, statement: &str) -> String {
        self.write(host, statement, "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1")
    }

    /// Waits until `script` on `host` answers `expected`.
    pub(crate) fn wait(&self, host: &str, script: &str, expected: &str) {
        let begun = Instant::now();
        loop {
            let output = self.exec(host, script, None);
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if said == expected {
                return;
            }
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{host}: {script}: expected {expected}, last seen {said} {error}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a script that must succeed; what it printed.
    pub(crate) fn on(&self, host: &str, script: &str) -> String {
        said(&format!("{host}: {script}"), &self.exec(host, script, None))
    }

    /// The same, with something on its standard input.
    pub(crate) fn write(&self, host: &str, input: &str, script: &str) -> String {
        said(&format!("{host}: {script}"), &self.exec(host, script, Some(input)))
    }

    fn exec(&self, host: &str, script: &str, input: Option<&str>) -> Output {
        let mut command = Command::new("docker");
        command.args(["exec", "-i", &self.object(host), "sh", "-c", script]);
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("docker starts");
        if let Some(input) = input {
            // A script that does not read it all says why by its exit code.
            let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        }
        child.wait_with_output().expect("it ends")
    }

    fn docker(&self, arguments: &[&str]) -> String {
        succeed(Command::new("docker").args(arguments))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = Command::new(&self.harness).args(["gc", &self.run]).stdout(Stdio::null()).status();
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    said(&format!("{command:?}"), &output)
}

fn said(what: &str, output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    assert!(output.status.success(), "{what}: {}\n{out}\n{err}", output.status);
    out
}
