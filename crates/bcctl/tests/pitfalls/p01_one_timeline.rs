//! Home from a base backup without a promotion: both servers write one timeline, and rows are lost without an error.

use super::{site, streams, timeline};

#[test]
fn p01_a_failback_ends_on_a_timeline_of_its_own_whatever_was_written_meanwhile() {
    let Some(site) = site() else { return };
    site.unplug("pg1");
    site.unplug("go1");
    site.expect(0, &["failover", "--yes"]);
    // In the procedure done by hand, either of these in this window made the servers part for good.
    site.sql("pg2", "CHECKPOINT");
    site.sql("pg2", "INSERT INTO rows (t) SELECT 'in the window' FROM generate_series(1, 50)");
    site.expect(0, &["failback", "--yes"]);
    assert_eq!(timeline(&site, "pg1"), "00000003", "away was on 2");
    assert_eq!(site.sql("pg1", "SELECT count(*) FROM rows WHERE t = 'in the window'"), "50");
    streams(&site, "pg1", "pg2");
}
