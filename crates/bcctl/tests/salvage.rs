//! Rows that only the old primary has, and that its disk still holds, are on the new one after a failover. Real servers.
#![expect(clippy::expect_used, reason = "a test says where it stops")]

mod site;

use std::fs;

use site::Site;

/// A site with an archive on a shared drive, or nothing (said aloud) where there can be none; with CI=true that is a failure.
fn site() -> Option<Site> {
    site::site().inspect(Site::share_an_archive)
}

fn insert(site: &Site, text: &str) {
    site.sql("pg1", &format!("INSERT INTO rows (t) SELECT '{text}' FROM generate_series(1, 100)"));
}

fn count(site: &Site, host: &str, text: &str) -> String {
    site.sql(host, &format!("SELECT count(*) FROM rows WHERE t = '{text}'"))
}

/// pg1 writes more than two segments that nobody else gets, and its server dies; its host is there.
fn crash_with_rows_of_its_own(site: &Site) -> String {
    insert(site, "both");
    site.wait("SELECT count(*) FROM rows", "pg2", "100");
    site.service("pg2", "stop");
    site.sql("pg1", "ALTER SYSTEM SET archive_command = 'false'");
    site.sql("pg1", "SELECT pg_reload_conf()");
    site.wait("SHOW archive_command", "pg1", "false");
    for _ in 0..2 {
        insert(site, "only on pg1");
        site.sql("pg1", "SELECT pg_switch_wal()");
    }
    insert(site, "only on pg1");
    let last = site.sql("pg1", "SELECT pg_walfile_name(pg_current_wal_lsn())");
    site.kill_server("pg1");
    fs::remove_file(site.path("gocd/go1")).expect("it runs");
    site.service("pg2", "start");
    assert_eq!(count(site, "pg2", "only on pg1"), "0");
    last
}

#[test]
fn what_a_crashed_primary_has_on_its_disk_is_not_lost() {
    let Some(site) = site() else { return };
    let last = crash_with_rows_of_its_own(&site);
    let plan = site.expect(0, &["failover", "--dry-run"]);
    let at = |words: &str| plan.find(words).unwrap_or_else(|| panic!("{words}: {plan}"));
    assert!(at("salvage:") < at("fence off go1"), "before its host is turned off: {plan}");

    site.kill_at("salvage", &["failover", "--yes"]);
    site.expect(0, &["resume", "--yes"]);
    assert_eq!(count(&site, "pg2", "only on pg1"), "300", "{:?}", site.journals());
    let journal = site.journals().pop().expect("a journal");
    assert!(journal.contains("MB more, all that pg1 has on its disk"), "{journal}");
    let report = site.expect(0, &["report"]);
    assert!(report.contains("got from the old primary's disk, up to"), "{report}");
    let archived = |name: &str| site.path("archive").join(name).exists();
    assert!(!archived(&last), "it was not whole, and pg1 could not archive the rest of it");
    let number = u64::from_str_radix(&last[8..], 16).expect("a number");
    assert!(archived(&format!("{}{:016X}", &last[..8], number - 1)), "whole ones get their name");

    // The way home is the same as ever.
    site.expect(0, &["failback", "--yes"]);
    assert_eq!(count(&site, "pg1", "only on pg1"), "300");
}

#[test]
fn a_primary_that_is_stopped_by_the_fence_is_read_after_it_and_one_without_power_is_not() {
    let Some(site) = site() else { return };
    insert(&site, "both");
    site.wait("SELECT count(*) FROM rows", "pg2", "100");
    // The connection between the servers is cut; both serve on.
    let hba = "local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 reject\n";
    fs::write(site.path("pg1/pg_hba.conf"), hba).expect("a file");
    site.sql("pg1", "SELECT pg_reload_conf()");
    site.sql("pg1", "SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    site.wait("SELECT count(*) FROM pg_stat_replication", "pg1", "0");
    insert(&site, "only on pg1");
    site.unplug("go1");
    // A fence that logs in, stops the services and looks: the host stays up.
    let switch = fs::read_to_string(site.path("bin/power")).expect("a script");
    let power = "echo off >\"$SITE/power/$node\"";
    let host = "[ $node = go1 ] && echo off >\"$SITE/power/$node\" || echo off >\"$SITE/stopped-$node\"";
    assert!(switch.contains(power), "{switch}");
    let switch = switch
        .replace(power, host)
        .replace("hang-up \"$node\"", "[ $node = pg1 ] || hang-up \"$node\"")
        .replace("rm -f \"$SITE/gocd", "[ $node = pg1 ] || rm -f \"$SITE/gocd");
    fs::write(site.path("bin/power"), switch).expect("a script");
    let fence = fs::read_to_string(site.path("bin/fence")).expect("a script");
    assert!(fence.contains("state=$(power \"$node\" \"$verb\")\n"), "{fence}");
    let fence = fence
        .replace(
            "confirmed=true\n",
            "grade=A; [ ! -e \"$SITE/stopped-$node\" ] || { state=off; grade=D; }\nconfirmed=true\n",
        )
        .replace(
            "\\\"grade\\\":\\\"A\\\",\\\"required\\\":\\\"B\\\"",
            "\\\"grade\\\":\\\"$grade\\\",\\\"required\\\":\\\"D\\\"",
        );
    fs::write(site.path("bin/fence"), fence).expect("a script");
    site.expect(0, &["failover", "--yes"]);
    assert_eq!(count(&site, "pg2", "only on pg1"), "100", "{:?}", site.journals());
    let journal = site.journals().pop().expect("a journal");
    assert!(journal.contains("\"event\":\"done\",\"step\":\"salvage\""), "{journal}");
}

#[test]
fn a_host_without_power_has_nothing_to_read_and_that_is_said() {
    let Some(site) = site() else { return };
    site.unplug("pg1");
    site.unplug("go1");
    let said = site.expect(0, &["failover", "--yes"]);
    assert!(said.contains("skipped") && said.contains("pg1 is off (grade A): its disk cannot be read"), "{said}");
    assert!(!site.path("archive").read_dir().expect("a directory").flatten().any(|entry| entry.path().is_dir()));
}

#[test]
fn wal_of_another_history_is_not_given_to_the_standby_and_the_failover_goes_on() {
    let Some(site) = site() else { return };
    crash_with_rows_of_its_own(&site);
    // Where both have WAL, pg1's is not the same: as after a standby that was promoted once and put back by hand.
    let end = site.sql("pg2", "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint");
    let end: u64 = end.parse().expect("a number");
    let name = format!("00000001{:016X}", end >> 24);
    let path = site.path("pg1/pg_wal").join(&name);
    let mut bytes = fs::read(&path).expect("the segment in which pg2 ends");
    let within = usize::try_from(end & 0xFF_FFFF).expect("small");
    assert!(within > 8192, "{within}");
    bytes[within - 100] ^= 0xFF;
    fs::write(&path, &bytes).expect("a file");
    let own = fs::read(site.path("pg2/pg_wal").join(&name)).expect("its own");
    let said = site.expect(0, &["failover", "--yes"]);
    assert!(said.contains("the two have different histories"), "{said}");
    assert_eq!((count(&site, "pg2", "both").as_str(), count(&site, "pg2", "only on pg1").as_str()), ("100", "0"));
    let kept = fs::read(site.path("pg2/pg_wal").join(format!("{name}.partial")))
        .or_else(|_| fs::read(site.path("pg2/pg_wal").join(&name)));
    assert!(kept.is_ok_and(|kept| kept[..within] == own[..within]), "what it had is as it was");
}
