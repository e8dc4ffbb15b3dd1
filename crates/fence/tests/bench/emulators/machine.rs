//! A machine: a network namespace with processes in it. Power off is SIGKILL for all of them; power on starts them again.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::wait_for;
use crate::bench::{have, install, skip};

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Machine {
    pub(crate) namespace: String,
    directory: TempDir,
}

impl Machine {
    /// A machine that is on, and runs a process that does nothing.
    ///
    /// Nothing, said aloud, where namespaces cannot be made.
    pub(crate) fn start() -> Option<Self> {
        Self::with("exec sleep 1000000")
    }

    /// A machine that is on, and runs a PostgreSQL of its own on port 5432.
    pub(crate) fn with_postgresql() -> Option<Self> {
        let Some(bin) = postgresql_bin() else {
            skip("initdb is missing: apt-get install postgresql");
            return None;
        };
        let machine = Self::new()?;
        let data = machine.data();
        for (program, arguments) in [
            ("install", vec!["-d", "-o", "postgres", "-g", "postgres", "-m", "700", data.to_str().unwrap()]),
            ("chmod", vec!["755", machine.directory.path().to_str().unwrap()]),
        ] {
            assert!(Command::new(program).args(arguments).status().unwrap().success());
        }
        let initdb = as_postgres(&bin.join("initdb"))
            .args(["-A", "trust", "--no-sync", "--no-locale", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(initdb.status.success(), "{initdb:?}");
        let boot = format!(
            "# After a real loss of power no process has the old number; here a dead one may not have been reaped yet.\n\
             rm -f {2}/postmaster.pid\nexec setpriv --reuid=postgres --regid=postgres --clear-groups {}/postgres -D {2} -c listen_addresses=127.0.0.1 \
             -c unix_socket_directories= -c fsync=off >>{1}/log 2>&1",
            bin.display(),
            machine.directory.path().display(),
            data.display()
        );
        fs::write(machine.path("log"), "").unwrap();
        assert!(Command::new("chmod").arg("666").arg(machine.path("log")).status().unwrap().success());
        machine.boots(&boot);
        wait_for("PostgreSQL answers", || machine.sql("select 1").is_ok(), || machine.log());
        Some(machine)
    }

    fn with(boot: &str) -> Option<Self> {
        let machine = Self::new()?;
        machine.boots(boot);
        wait_for("the machine runs", || machine.runs(), || machine.log());
        Some(machine)
    }

    fn new() -> Option<Self> {
        if !have("ip", "iproute2") {
            return None;
        }
        let namespace = format!("fence-m{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &namespace]).output().unwrap();
        if !made.status.success() {
            skip(&format!("no network namespace can be made here: {}", String::from_utf8_lossy(&made.stderr)));
            return None;
        }
        let machine = Self { namespace, directory: tempfile::tempdir().unwrap() };
        let up = Command::new("ip").args(["-n", &machine.namespace, "link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        install(&machine.chassis(), &machine.script());
        Some(machine)
    }

    fn boots(&self, boot: &str) {
        let inside = self.path("inside");
        install(&inside, &format!("#!/bin/sh\ncd /\n{boot}\n"));
        let outside = format!(
            "#!/bin/sh\nexec setsid ip netns exec {} {} </dev/null >>{}/log 2>&1\n",
            self.namespace,
            inside.display(),
            self.directory.path().display()
        );
        install(&self.path("boot"), &outside);
        let on = Command::new(self.chassis()).args(["set", "power", "1"]).status().unwrap();
        assert!(on.success());
    }

    /// The power switch, as OpenIPMI calls it: `0x20 get power`, `0x20 set power 0`.
    pub(crate) fn chassis(&self) -> PathBuf {
        self.path("chassis")
    }

    fn script(&self) -> String {
        format!(
            r#"#!/bin/sh
# The power of a machine. The file `lie` makes it say what was asked for and do nothing; `vanish` names a process that is
# killed once the power has been switched.
ns={} here={}
case $1 in 0x*) shift ;; esac
case "$1 $2" in
  "get power") echo power:$(cat $here/power) ;;
  "set power")
    [ -e $here/lie ] || case $3 in
      0) while pids=$(ip netns pids $ns) && [ -n "$pids" ]; do kill -KILL $pids 2>/dev/null; done ;;
      1) if [ -z "$(ip netns pids $ns)" ]; then $here/boot & fi ;;
    esac
    printf %s "$3" >$here/power
    [ ! -e $here/vanish ] || kill -KILL $(cat $here/vanish) ;;
esac
exit 0
"#,
            self.namespace,
            self.directory.path().display()
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Makes a file whose presence changes how the machine behaves.
    pub(crate) fn set(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Switches by hand, whatever the devices do.
    pub(crate) fn switch(&self, on: bool) {
        for name in ["lie", "vanish"] {
            let _ = fs::remove_file(self.path(name));
        }
        let power = if on { "1" } else { "0" };
        assert!(Command::new(self.chassis()).args(["set", "power", power]).status().unwrap().success());
        wait_for("the machine is switched", || self.runs() == on, || self.log());
    }

    /// The processes of the machine: what no device has a say in.
    pub(crate) fn runs(&self) -> bool {
        let pids = Command::new("ip").args(["netns", "pids", &self.namespace]).output().unwrap();
        assert!(pids.status.success(), "{pids:?}");
        !pids.stdout.is_empty()
    }

    /// Asks the PostgreSQL of the machine, over TCP.
    ///
    /// # Errors
    /// With psql's words.
    pub(crate) fn sql(&self, statement: &str) -> Result<String, String> {
        let psql = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", statement])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if psql.status.success() { Ok(text(psql.stdout)) } else { Err(text(psql.stderr)) }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path("lie"));
        let _ = Command::new(self.chassis()).args(["set", "power", "0"]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

fn postgresql_bin() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

fn as_postgres(program: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}
