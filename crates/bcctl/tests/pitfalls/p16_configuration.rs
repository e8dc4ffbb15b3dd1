//! A rewind and a base backup bring the other host's postgresql.conf along, port included.

use std::fs;

use super::{REWIND_RIGHTS, diverge, site, streams};

#[test]
fn p16_a_host_keeps_its_own_configuration_through_a_rewind_and_through_a_copy() {
    let Some(site) = site() else { return };
    site.sql("pg1", REWIND_RIGHTS);
    let files = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];
    for (host, file) in ["pg1", "pg2"].into_iter().flat_map(|host| files.map(|file| (host, file))) {
        let path = site.path(host).join(file);
        let text = fs::read_to_string(&path).expect("a file");
        fs::write(&path, format!("{text}# {file} of {host}\n")).expect("a file");
    }
    let own = || files.map(|file| fs::read_to_string(site.path("pg1").join(file)).expect("a file"));
    let before = own();
    diverge(&site);
    let said = site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert!(said.contains("done  rewound"), "{said}");
    assert_eq!(own(), before, "after a rewind");
    streams(&site, "pg2", "pg1");

    site.service("pg1", "stop");
    let said = site.expect(0, &["rejoin", "pg1", "--yes"]);
    assert!(said.contains("rejoin-copy"), "{said}");
    assert_eq!(own(), before, "after a copy");
    streams(&site, "pg2", "pg1");
}
