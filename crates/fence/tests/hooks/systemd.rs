//! systemd: the packaged units are what it understands, and `fence self` does what they call it for.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::bench::{have, in_own_namespace, install};
use crate::site::{Site, snippet};

/// A copy of the packaging directory with the program of this build in it, and units of the test beside them.
fn packaged(site: &Site) -> std::path::PathBuf {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let units = site.path("units");
    fs::create_dir(&units).unwrap();
    for name in ["fence.socket", "fence@.service", "fence-self@.service"] {
        let text = fs::read_to_string(packaging.join(name)).unwrap();
        fs::write(units.join(name), text.replace("/usr/bin/fence", &format!("{}/fence", site.here()))).unwrap();
    }
    units
}

#[test]
fn the_packaged_units_and_the_drop_ins_are_sound() {
    if !have("systemd-analyze", "systemd") {
        return;
    }
    let site = Site::new();
    let units = packaged(&site);
    let gate =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/fence-gate.conf")).unwrap();
    let text = |text: &str| text.replace("/usr/bin/fence", &format!("{}/fence", site.here()));
    fs::write(units.join("database.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
    fs::create_dir(units.join("database.service.d")).unwrap();
    fs::write(units.join("database.service.d/gate.conf"), text(&gate)).unwrap();
    fs::write(units.join("database.service.d/self.conf"), text(&snippet("systemd"))).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").args(["--man=no", "--recursive-errors=yes"]);
    for unit in ["fence.socket", "fence@one.service", "fence-self@database.service", "database.service"] {
        // A template is checked as one of its instances.
        let file = unit.replace("@one", "@").replace("@database", "@");
        if file != unit {
            fs::copy(units.join(&file), units.join(unit)).unwrap();
        }
        command.arg(units.join(unit));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("fence") || line.contains("database")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

const SELF: &str = r#"
set -eu
here=@HERE@
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
ip link set lo up
export PATH=$here/bin:$bin:$PATH FENCE_CONFIG=$here/self.toml FENCE_GATE=$here/gate
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups env HOME=$here "$@"; }
chown -R postgres $here
as_postgres initdb -D $here/data --no-sync --auth=trust >/dev/null
as_postgres postgres -D $here/data -p 5432 -k $here -c fsync=off -c listen_addresses=127.0.0.1 >$here/postgres.log 2>&1 &
end=$((SECONDS + 30))
until psql -h 127.0.0.1 -U postgres -XAtqc 'CREATE TABLE t (i int)' postgres 2>/dev/null; do [ $SECONDS -lt $end ]; sleep 0.1; done
@FENCE@ gate --unit database.service && echo "before: may start"
export MONITOR_SERVICE_RESULT=watchdog MONITOR_EXIT_STATUS=ABRT
@FENCE@ hook systemd --power-off database.service && echo "fenced: exit 0"
psql -h 127.0.0.1 -U postgres -XAtqc 'SELECT 1' postgres 2>/dev/null || echo "PostgreSQL does not answer"
@FENCE@ gate --unit database.service || echo "after: exit $?"
touch @HERE@/elected
@FENCE@ hook systemd --power-off database.service || echo "held: exit $?"
"#;

#[test]
fn a_unit_that_failed_fences_its_host() {
    if !have("setpriv", "util-linux") || !have("../lib/postgresql/15/bin/initdb", "postgresql") {
        return;
    }
    let site = Site::new();
    let here = site.here();
    fs::create_dir(site.path("bin")).unwrap();
    // Stand-ins: neither a virtual IP nor the power of this machine is touched.
    for name in ["vipd", "systemctl"] {
        install(
            &site.path("bin").join(name),
            &format!(
                "#!/bin/sh\necho {name} \"$@\" >>{here}/called\n[ {name} = systemctl ] || [ ! -e {here}/elected ] || exit 3\n"
            ),
        );
    }
    let config = format!(
        r#"
history = "{here}/history.jsonl"
[local]
node = "pg1"
stop = ["here"]
[devices.here]
agent = "services"
data-directories = ["{here}/data"]
ports = [5432]
gate-directory = "{here}/gate"
timeout = "20s"
"#
    );
    fs::write(site.path("self.toml"), config).unwrap();
    let script = SELF.replace("@FENCE@", &format!("{here}/fence")).replace("@HERE@", &here);
    let Some(said) = in_own_namespace(&script, Duration::from_secs(100)) else { return };
    for line in ["before: may start", "fenced: exit 0", "PostgreSQL does not answer", "after: exit 1", "held: exit 5"] {
        assert!(said.stdout.contains(line), "no {line:?} in {}\n{}", said.stdout, said.stderr);
    }
    let gate = fs::read_to_string(site.path("gate/pg1.json")).unwrap();
    assert!(gate.contains("systemd: database.service failed, result watchdog, status ABRT"), "{gate}");
    assert!(said.stderr.contains("database.service is not started: pg1 was fenced"), "{}", said.stderr);
    let called = fs::read_to_string(site.path("called")).unwrap();
    let dropped = "systemctl stop vipd.service\nvipd unassign --all\n";
    assert_eq!(called, format!("{dropped}systemctl poweroff\n{dropped}systemctl poweroff --force --force\n"));
    assert!(said.stderr.contains("THIS HOST MAY STILL ANSWER FOR A VIRTUAL IP"), "{}", said.stderr);
}
