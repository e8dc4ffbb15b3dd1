//! max_wal_senders = 1: a base backup that streams its WAL needs two.

use super::{diverge, site, streams};

#[test]
fn p10_a_copy_that_gets_no_connection_fails_and_the_old_data_is_untouched() {
    let Some(site) = site() else { return };
    diverge(&site);
    let senders = |count: &str| {
        site.sql("pg2", &format!("ALTER SYSTEM SET max_wal_senders = {count}"));
        site.service("pg2", "stop");
        site.service("pg2", "start");
    };
    senders("1");
    let control = site.path("pg1/global/pg_control");
    let before = std::fs::read(&control).expect("a file");
    let said = site.expect(1, &["rejoin", "pg1", "--yes"]);
    assert!(said.contains("rejoin-copy") && said.contains("max_wal_senders"), "{said}");
    assert_eq!(std::fs::read(&control).expect("a file"), before);
    let left = std::fs::read_dir(site.path("")).expect("a directory").flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("-rejoin")).collect();
    assert!(left.is_empty(), "what it had copied is removed: {left:?}");
    senders("10");
    site.expect(0, &["rejoin", "pg1", "--yes"]);
    streams(&site, "pg2", "pg1");
}
