//! Without checksums or wal_log_hints, pg_rewind refuses.

use super::{REWIND_RIGHTS, diverge, site, streams};

#[test]
fn p07_without_hints_it_is_copied_and_says_why() {
    let Some(site) = site() else { return };
    site.sql("pg1", REWIND_RIGHTS);
    for host in ["pg1", "pg2"] {
        let path = site.path(host).join("postgresql.conf");
        let text = std::fs::read_to_string(&path).expect("a file").replace("wal_log_hints = on", "wal_log_hints = off");
        std::fs::write(&path, text).expect("a file");
        site.service(host, "stop");
        site.service(host, "start");
    }
    diverge(&site);
    let said = site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert!(said.contains("not rewound, so it is copied") && said.contains("wal_log_hints"), "{said}");
    streams(&site, "pg2", "pg1");
}
