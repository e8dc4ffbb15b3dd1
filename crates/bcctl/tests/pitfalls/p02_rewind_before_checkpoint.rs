//! pg_rewind before the new primary's checkpoint: "no rewind required", status 0, and the server can never follow.

use super::{REWIND_RIGHTS, diverge, site, streams};

#[test]
fn p02_a_rewind_waits_for_the_checkpoint_of_the_new_primary() {
    let Some(site) = site() else { return };
    site.sql("pg1", REWIND_RIGHTS);
    site.sql("pg1", "ALTER SYSTEM SET checkpoint_timeout = '1d'");
    diverge(&site);
    let control = "SELECT timeline_id FROM pg_control_checkpoint()";
    let said = site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert!(said.contains("rejoin-checkpoint") && said.contains("done  rewound"), "{said}");
    assert_eq!(site.sql("pg2", control), "2", "before pg_rewind looked");
    streams(&site, "pg2", "pg1");
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows WHERE t = 'only here'"), "0");
}
