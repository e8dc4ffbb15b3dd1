//! synchronous_standby_names came with the base backup: the first write on the new primary waits for a server that is down.

use super::site;

#[test]
fn p11_the_first_write_after_a_promotion_waits_for_nobody() {
    let Some(site) = site() else { return };
    // A standby may have it set: it means nothing there.
    site.sql("pg2", "ALTER SYSTEM SET synchronous_standby_names = 'pg1'");
    site.sql("pg2", "SELECT pg_reload_conf()");
    site.unplug("pg1");
    site.unplug("go1");
    // GoCD's first statement is a write, so this would not end.
    site.expect(0, &["failover", "--yes"]);
    assert_eq!(site.sql("pg2", "SHOW synchronous_standby_names"), "");
    let journal = site.journals().pop().expect("a journal");
    let at = |step: &str| journal.find(&format!("\"event\":\"done\",\"step\":\"{step}\"")).expect("done");
    assert!(at("asynchronous") < at("promote"), "before the promotion, not after: {journal}");
}
