//! Physical slots stay behind on the old primary: the new one recycles what its peer still needs, the old one keeps WAL for ever.

use super::{site, streams};

#[test]
fn p18_the_slot_goes_along_with_the_role() {
    let Some(site) = site() else { return };
    let slots = "SELECT coalesce(string_agg(slot_name || ' ' || active, ','), '') FROM pg_replication_slots";
    assert_eq!(site.sql("pg1", slots), "pg2 true");
    site.expect(0, &["switchover", "--yes"]);
    streams(&site, "pg2", "pg1");
    assert_eq!((site.sql("pg2", slots), site.sql("pg1", slots)), ("pg1 true".to_owned(), String::new()));
}
