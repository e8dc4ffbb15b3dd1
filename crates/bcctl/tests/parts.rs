//! Half an operation on two real servers: rejoin (by copy and by rewind), promote only, VIP only.
#![expect(clippy::expect_used, reason = "a test says where it stops")]

mod site;

use site::{Site, site};

/// What pg_rewind needs of the role that the standby logs in as.
const REWIND_RIGHTS: &str = "GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO replicator";

fn streams(site: &Site, primary: &str, standby: &str) {
    let row = format!(
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{standby}' AND state = 'streaming'"
    );
    site.wait(&row, primary, "1");
    site.sql(primary, "INSERT INTO rows (t) VALUES ('canary')");
    let count = site.sql(primary, "SELECT count(*) FROM rows");
    site.wait("SELECT count(*) FROM rows", standby, &count);
}

#[test]
fn promote_only_wants_the_primary_down_and_then_vip_only_moves_the_address() {
    let Some(site) = site() else { return };
    let said = site.expect(3, &["promote-only", "--yes"]);
    assert!(said.contains("pg1 takes writes") && said.contains("two primaries"), "{said}");
    // Somebody has stopped GoCD and the primary by hand, and cleanly.
    std::fs::remove_file(site.path("gocd/go1")).expect("it runs");
    site.service("pg1", "stop");
    site.expect(0, &["promote-only", "--yes"]);
    assert_eq!(site.sql("pg2", "SELECT pg_is_in_recovery()"), "f");
    assert_eq!(site.serving().0, ["go1"], "the VIP is where it was");
    site.expect(0, &["vip-only", "--to", "go2", "--yes"]);
    assert_eq!(site.serving().0, ["go2"]);
    assert!(site.expect(0, &["vip-only", "--to", "go2", "--yes"]).contains("nothing to do"));
    // Started by whoever, the old primary comes up as a standby of the new one.
    site.service("pg1", "start");
    streams(&site, "pg2", "pg1");
    assert!(site.expect(0, &["rejoin", "pg1", "--yes"]).contains("nothing to do"));
    let said = site.expect(3, &["rejoin", "pg2", "--yes"]);
    assert!(said.contains("a primary does not rejoin"), "{said}");
}

/// pg1 is turned off with a row that nobody else has, and comes back as a standby of pg2, without that row.
fn loses_power_and_rejoins_by_rewind(site: &Site) {
    site.service("pg2", "stop");
    site.sql("pg1", "INSERT INTO rows (t) VALUES ('only here')");
    site.kill_server("pg1");
    site.service("pg2", "start");
    diverge(site, "pg1", "pg2");
    site.sql("pg2", REWIND_RIGHTS);
    let said = site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert!(said.contains("done  rewound"), "{said}");
    streams(site, "pg2", "pg1");
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows WHERE t = 'only here'"), "0");
}

#[test]
fn a_diverged_primary_rejoins_by_rewind_or_else_by_copy() {
    let Some(site) = site() else { return };
    loses_power_and_rejoins_by_rewind(&site);

    // Without those rights pg_rewind does not want to, and the copy does it.
    site.service("pg1", "stop");
    site.sql("pg2", "INSERT INTO rows (t) VALUES ('only there')");
    site.kill_server("pg2");
    site.service("pg1", "start");
    diverge(&site, "pg2", "pg1");
    site.sql("pg1", "REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text) FROM replicator");
    site.sql("pg1", "REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) FROM replicator");
    let said = site.expect(0, &["rejoin", "pg2", "--rewind", "--yes"]);
    assert!(said.contains("not rewound, so it is copied: pg_rewind does not want to"), "{said}");
    streams(&site, "pg1", "pg2");
}

#[test]
fn a_server_with_its_configuration_elsewhere_rejoins_by_rewind_after_a_power_cut() {
    let Some(site) = site() else { return };
    site.share_an_archive();
    keep_configuration_elsewhere(&site, "pg1");
    site.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "pg1", "1");
    loses_power_and_rejoins_by_rewind(&site);
}

/// As Debian has it: nothing but the data is in the data directory.
fn keep_configuration_elsewhere(site: &Site, host: &str) {
    site.service(host, "stop");
    let (data, config) = (site.path(host), site.path(&format!("{host}.etc")));
    std::fs::create_dir(&config).expect("a directory");
    for file in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        std::fs::rename(data.join(file), config.join(file)).expect("a file");
    }
    let file = config.join("postgresql.conf");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, format!("{text}data_directory = '{}'\n", data.display())).expect("a file");
    let inventory = std::fs::read_to_string(site.path("bc.toml")).expect("a file");
    let (data, config) = (data.display(), config.display());
    let section = format!("[postgresql.on.{host}]\n");
    let with = format!("{section}config-directory = \"{config}\"\n");
    let inventory = inventory.replace(&format!("-D {data} "), &format!("-D {config} ")).replace(&section, &with);
    std::fs::write(site.path("bc.toml"), inventory).expect("a file");
    let mut start = site.as_postgres("pg_ctl");
    let log = site.path(&format!("{host}.log"));
    start.args(["-w", "-s", "-D", &config.to_string(), "-l"]).arg(log).arg("start");
    let silent = start.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    assert!(silent.status().expect("it starts").success(), "{}", site.log(host));
}

/// `old` is gone, `new` is promoted and written to, and `old` comes back with power but without its server.
fn diverge(site: &Site, old: &str, new: &str) {
    site.unplug(old);
    site.expect(0, &["promote-only", "--yes"]);
    site.plug_in(old);
    site.sql(new, "INSERT INTO rows (t) SELECT 'new' FROM generate_series(1, 100)");
}
