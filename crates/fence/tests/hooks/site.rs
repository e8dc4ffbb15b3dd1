//! Two database hosts on one machine: what the scripts of the tests share, and the snippets of the documentation.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bc_model::fencing::HistoryLine;

use crate::bench::{Said, in_own_namespace, install};

/// The block of `docs/fence-hooks.md` with this name.
pub(crate) fn snippet(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fence-hooks.md");
    let text = fs::read_to_string(page).unwrap();
    let mut lines = text.lines();
    let found = lines.any(|line| line.strip_prefix("```").is_some_and(|info| info.split(' ').nth(1) == Some(name)));
    assert!(found, "docs/fence-hooks.md has no block named {name}");
    lines.take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect()
}

/// A directory that `postgres` may enter, removed at the end.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

/// The power switch of pg1: its processes are the PID namespace whose first process is in `pg1.pid`.
///
/// With the file `broken` the switch answers and does nothing. At every `off` it looks whether pg2 is still a standby.
const SWITCH: &str = r#"#!/bin/sh
here=@HERE@
while IFS= read -r line; do case $line in action=*) action=${line#action=} ;; esac; done
init=$(cat $here/pg1.pid)
case $action in
off)
    psql -h 127.0.0.1 -p 5432 -U postgres -XAtc 'SELECT pg_is_in_recovery()' postgres >>$here/standby-at-off
    [ -e $here/broken ] && exit 1
    kill -KILL $init; exit 0 ;;
status|monitor) kill -0 $init 2>/dev/null && exit 0; exit 2 ;;
*) exit 1 ;;
esac
"#;

/// What the scripts share.
const COMMON: &str = r#"
set -eu
here=@HERE@
fence=@FENCE@
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
PATH=$bin:$PATH
ip link set lo up
mount -t tmpfs tmpfs /var/run/postgresql
chmod 777 /var/run/postgresql
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups env HOME=$here "$@"; }
sql() { port=$1; shift; PGCONNECT_TIMEOUT=2 timeout 5 psql -h 127.0.0.1 -p $port -U postgres -XAtqc "$*" postgres 2>/dev/null; }
# until_true SECONDS WHAT COMMAND…
until_true() {
    limit=$1 what=$2; shift 2
    end=$((SECONDS + limit))
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "gave up after $limit s waiting until $what"; tail -n 30 $here/*.log; exit 1; }
        sleep 0.2
    done
}
freeze_pg1() {
    space=$(readlink /proc/$(cat $here/pg1.pid)/ns/pid)
    for process in /proc/[0-9]*; do
        [ "$(readlink $process/ns/pid 2>/dev/null)" = "$space" ] && kill -STOP ${process#/proc/}
    done
    return 0
}
afterwards() { :; }
refused() { [ "$(grep -c "\"confirmed\":false" $here/pg2/history.jsonl 2>/dev/null || true)" -ge $1 ] 2>/dev/null; }
pg2_is_standby() { [ "$(sql 5432 'SELECT pg_is_in_recovery()')" = t ]; }
pg2_is_primary() { [ "$(sql 5432 'SELECT pg_is_in_recovery()')" = f ]; }
streaming() { [ "$(sql 5431 "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" = 1 ]; }
"#;

/// What is the same for every manager: the fence fails, nothing is promoted; it works, and then only it is.
const FAILOVER: &str = r#"
until_true 60 "pg2 follows pg1" streaming
sql 5431 'CREATE TABLE seen (id int); INSERT INTO seen VALUES (1)' || true
touch $here/broken
freeze_pg1
echo "pg1 is frozen, and its power switch does nothing"
still_standby_or_end() {
    if pg2_is_primary; then echo "PROMOTED WITHOUT A FENCE"; exit 1; fi
    refused 2
}
until_true 90 "two fences have failed" still_standby_or_end
pg2_is_standby && echo "two fences have failed, and pg2 is a standby"
kill -0 $(cat $here/pg1.pid) && echo "pg1 was not touched"
rm $here/broken
until_true 60 "pg2 is the primary" pg2_is_primary
echo "pg2 is the primary"
kill -0 $(cat $here/pg1.pid) 2>/dev/null || echo "pg1 is gone"
afterwards
"#;

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = Self { directory };
        for (node, port) in [("pg1", 5431), ("pg2", 5432)] {
            fs::create_dir(site.path(node)).unwrap();
            fs::write(site.path(&format!("{node}.toml")), site.config(node, port)).unwrap();
        }
        install(&site.path("switch"), &SWITCH.replace("@HERE@", &site.here()));
        // What runs as `postgres` may not be able to enter the directory of the build.
        fs::copy(env!("CARGO_BIN_EXE_fence"), site.path("fence")).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn here(&self) -> String {
        self.directory.path().display().to_string()
    }

    fn config(&self, node: &str, port: u16) -> String {
        let here = self.here();
        format!(
            r#"
history = "{here}/{node}/history.jsonl"
[local]
node = "{node}"
postgres = "host=127.0.0.1 port={port} user=postgres dbname=postgres"
record = "{here}/{node}/primary"
[clusters.main]
nodes = ["pg1", "pg2"]
names = {{ pg1 = ["1", "127.0.0.1:5431"], pg2 = ["2", "127.0.0.1:5432"] }}
[[allow]]
user = "postgres"
nodes = ["pg1"]
actions = ["off"]
[nodes.pg1]
levels = [["power"]]
[nodes.pg2]
levels = [["nothing"]]
[devices.power]
agent = "exec"
command = "{here}/switch"
timeout = "3s"
grade = "A"
[devices.nothing]
agent = "exec"
command = "/bin/false"
timeout = "3s"
"#
        )
    }

    /// The snippet with the program of this build in place of the packaged one.
    pub(crate) fn snippet(&self, name: &str) -> String {
        snippet(name).replace("/usr/bin/fence", &format!("{}/fence", self.here()))
    }

    /// Runs `setup`, then the failover; `None` where that is not possible.
    pub(crate) fn fail_over(&self, setup: &str) -> Option<Said> {
        let script = format!("{COMMON}\n{setup}\n{FAILOVER}");
        let script = script.replace("@HERE@", &self.here()).replace("@FENCE@", &format!("{}/fence", self.here()));
        in_own_namespace(&script, Duration::from_secs(400))
    }

    /// `outcome pg1 true` and so on, of the history of one node.
    pub(crate) fn history(&self, node: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(node).join("history.jsonl")).unwrap_or_default();
        let line = |line: &str| match serde_json::from_str(line) {
            Ok(HistoryLine::Verdict(report)) => Some(format!("{} {} {}", report.action, report.node, report.confirmed)),
            _ => None,
        };
        text.lines().filter_map(line).collect()
    }

    /// Who the callbacks of `node` wrote down.
    pub(crate) fn recorded_primary(&self, node: &str) -> String {
        fs::read_to_string(self.path(node).join("primary/main")).unwrap_or_default()
    }
}

/// That nothing was promoted before the old primary was seen off, and that it was then.
pub(crate) fn assert_only_after_a_fence(site: &Site, said: &Said) {
    for line in
        ["two fences have failed, and pg2 is a standby", "pg1 was not touched", "pg2 is the primary", "pg1 is gone"]
    {
        assert!(said.stdout.contains(line), "no {line:?} in {}\n{}", said.stdout, said.stderr);
    }
    assert_eq!(said.code, Some(0), "{said:?}");
    let history = site.history("pg2");
    assert!(history.iter().filter(|line| *line == "off pg1 false").count() >= 2, "{history:?}");
    assert_eq!(history.iter().find(|line| *line == "off pg1 true").map(String::as_str), Some("off pg1 true"));
    let at_off = fs::read_to_string(site.path("standby-at-off")).unwrap();
    let first_success = history.iter().position(|line| line == "off pg1 true").unwrap();
    let seen: Vec<&str> = at_off.lines().take(first_success + 1).collect();
    assert!(!seen.is_empty() && seen.iter().all(|state| *state == "t"), "pg2 at each off: {seen:?}");
}
