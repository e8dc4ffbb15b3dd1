//! The first day of a site: `bcctl setup` on hosts with systemd that have PostgreSQL's packages and nothing else, over ssh.
//!
//! `BC_HARNESS` names the harness, beside which the statically linked tools lie (`make drills` sets it).

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says that it was skipped"
)]
#![expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod site;

use std::process::{Command, Stdio};

use site::{Layout, Site};

/// The harness, or nothing (said aloud) where there can be no hosts; with CI set that is a failure.
fn harness() -> Option<String> {
    let docker = Command::new("docker").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = match std::env::var("BC_HARNESS") {
        Ok(harness) if docker.is_ok_and(|status| status.success()) => return Some(harness),
        Ok(_) => "docker does not answer",
        Err(_) => "BC_HARNESS does not name the harness; `make drills` does",
    };
    assert!(std::env::var_os("CI").is_none(), "no hosts in CI: {missing}");
    println!("SKIPPED: {missing}");
    None
}

/// Checksums of what setup may write on a host.
fn files(site: &Site, host: &str) -> String {
    let config = site.layout.config();
    let files = format!(
        "{config}/postgresql.conf {config}/pg_hba.conf {config}/start.conf /usr/local/lib/bcctl/* /etc/systemd/system/*/50-bcctl-gate.conf"
    );
    site.on(host, &format!("cksum {files} 2>/dev/null || true; ls -d /var/lib/p*sql/15/*"))
}

/// Whether the server has archived something, and no attempt has failed since: one may fail, and be made again.
fn archives() -> String {
    let archived = "archived_count > 0 AND coalesce(last_archived_time > last_failed_time, true)";
    format!("echo 'SELECT {archived} FROM pg_stat_archiver' | runuser -u postgres -- psql -XAtq")
}

/// From two fresh hosts to a primary and a standby that streams.
fn set_up_postgresql(site: &Site) {
    let (unit, config) = (site.layout.unit(), site.layout.config());
    site.make_cluster("pg1", true);
    site.sql("pg1", "ALTER SYSTEM SET max_connections = 120; CREATE TABLE rows (n int); INSERT INTO rows SELECT generate_series(1, 100)");
    site.on("pg1", &format!("systemctl restart {unit}"));

    let before = files(site, "pg1");
    let said = site.bcctl(0, "setup primary --dry-run");
    assert!(said.contains("+ archive_mode = on") && said.contains("nothing is run"), "{said}");
    assert_eq!(files(site, "pg1"), before, "a dry run touches nothing");

    let original = site.on("pg1", &format!("cksum <{config}/postgresql.conf"));
    site.bcctl(0, "setup primary --yes");
    assert_eq!(
        site.on("pg1", &format!("cat {config}/postgresql.conf.before-* | cksum")),
        original,
        "the old one is kept"
    );
    let (after, running) = (files(site, "pg1"), site.sql("pg1", "SELECT pg_postmaster_start_time()"));
    let said = site.bcctl(0, "setup primary --yes");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!((files(site, "pg1"), site.sql("pg1", "SELECT pg_postmaster_start_time()")), (after, running));

    site.sql("pg1", "SELECT pg_switch_wal()");
    site.wait("pg1", &archives(), "t");
    assert!(site.on("pg2", "ls /srv/wal-archive").lines().count() > 0, "through the shared directory");

    if site.layout == Layout::Debian {
        // Debian's configuration is not in the data directory, so a copy does not bring it.
        let said = site.bcctl(3, "setup standby --yes");
        assert!(said.contains("postgresql.conf is not there") && said.contains("pg_createcluster 15 main"), "{said}");
        // The package makes a cluster and starts it: a second primary, that nobody may overwrite unasked.
        site.make_cluster("pg2", true);
        let said = site.bcctl(3, "setup standby --yes");
        assert!(said.contains("BC202"), "{said}");
        site.on("pg2", &format!("systemctl stop {unit}"));
    }
    let said = site.bcctl(0, "setup standby --yes");
    assert!(said.contains("rejoin-copy"), "{said}");
    assert_eq!(site.sql("pg2", "SELECT count(*), pg_is_in_recovery() FROM rows"), "100|t");
    assert_eq!(site.sql("pg2", "SHOW max_connections"), "120", "as many as the primary, or it would not start");
    assert_eq!(
        site.sql("pg1", "SELECT application_name, state, usename FROM pg_stat_replication"),
        "pg2|streaming|replicator"
    );
    let after = files(site, "pg2");
    let said = site.bcctl(0, "setup standby --yes");
    assert!(said.contains("streams already") && said.contains("nothing was changed"), "{said}");
    assert_eq!(files(site, "pg2"), after);
    for host in ["pg1", "pg2"] {
        let state = format!("systemctl show --property=UnitFileState --value {unit}");
        assert!(!site.on(host, &state).starts_with("enabled"), "{host}: power that returns starts nothing");
        let gate = format!("systemctl show --property=ExecCondition {unit}");
        assert!(site.on(host, &gate).contains("fence gate"), "{host} asks the gate");
    }
}

/// The host that rests has GoCD's files, by standbyd's key that can do nothing else, again every minute, and starts nothing.
fn set_up_gocd(site: &Site) {
    let said = site.bcctl(0, "setup gocd-standby --yes");
    assert!(said.contains("setup-pull"), "{said}");
    let sums = "sha256sum /etc/go/cruise-config.xml /etc/go/cipher.aes";
    assert_eq!(site.on("go2", sums), site.on("go1", sums));
    let said = site.bcctl(0, "setup gocd-standby --yes");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(
        site.on("go2", "systemctl is-enabled standbyd-pull.timer; systemctl is-active standbyd-pull.timer"),
        "enabled\nactive"
    );
    assert_eq!(site.on("go2", "systemctl is-enabled go-server.service || true"), "disabled");
    assert!(site.on("go2", "systemctl show --property=ExecCondition go-server.service").contains("fence gate"));
    // The key opens nothing but the export.
    let shell = "runuser -u go -- ssh -i /var/go/.ssh/id_ed25519 -o BatchMode=yes go@go1 'cat /etc/go/cipher.aes' >/dev/null 2>&1; echo $?";
    assert_ne!(site.on("go2", shell), "0");
    // What changes on go1 comes by the timer.
    site.on("go1", "echo 'a plugin' >/var/lib/go-server/plugins/external/new.jar && chown go:go /var/lib/go-server/plugins/external/new.jar");
    site.wait("go2", "cat /var/lib/go-server/plugins/external/new.jar 2>/dev/null", "a plugin");
}

fn the_first_day(layout: Layout) {
    let Some(harness) = harness() else { return };
    let site = Site::boot(harness, layout);
    set_up_postgresql(&site);
    site.start_gocd();
    set_up_gocd(&site);
    let said = site.bcctl(0, "check");
    // Notes: the old data is kept, and the serving GoCD host has no gate yet.
    assert!(!said.contains("warning") && !said.contains("FAIL"), "{said}");

    site.bcctl(0, "switchover --yes");
    assert_eq!(
        site.sql("pg2", "INSERT INTO rows VALUES (101); SELECT count(*), pg_is_in_recovery() FROM rows"),
        "101|f"
    );
    site.wait(
        "pg1",
        "echo 'SELECT count(*), pg_is_in_recovery() FROM rows' | runuser -u postgres -- psql -XAtq",
        "101|t",
    );
    // The new primary archives to where the old one did, under the new timeline, and over nothing.
    site.sql("pg2", "SELECT pg_switch_wal()");
    site.wait("pg2", "ls /srv/wal-archive | grep -q '^00000002[0-9A-F]*$' && echo there", "there");
    // What another server has under the same name would never go away.
    site.wait("pg2", &archives(), "t");
    let failed = site.on("pg2", "grep -rhA3 'archive command failed\\|^archive-wal: ' /var/log/postgresql || true");
    println!("failed attempts to archive on pg2: {failed:?}");
    assert!(!failed.contains("with other content"), "{failed}");
    let said = site.bcctl(0, "setup gocd-standby --yes");
    assert!(said.contains("go1"), "now go1 rests: {said}");
    site.bcctl(0, "check");
    let password = "grep -rl 's3cret-word' /var/log/postgresql /var/lib/bcctl 2>/dev/null || true";
    for host in ["pg1", "pg2", "operator"] {
        assert_eq!(site.on(host, password), "", "{host}: a password in a log or a journal");
    }
}

#[test]
fn debians_clusters_become_a_pair_and_change_places() {
    the_first_day(Layout::Debian);
}

#[test]
fn pgdgs_layout_becomes_a_pair_and_changes_places() {
    the_first_day(Layout::Pgdg);
}
