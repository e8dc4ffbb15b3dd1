//! A trigger file that was left behind promotes a standby the moment it starts, while the primary serves.

use super::site;

#[test]
fn p15_a_stale_trigger_file_is_found_before_anything_is_done() {
    let Some(site) = site() else { return };
    if site.sql("pg1", "SHOW server_version_num").parse::<u32>().expect("a number") >= 160_000 {
        return; // There are no trigger files any more.
    }
    // On the primary it means nothing, until the switchover makes a standby of it.
    let file = site.path("trigger");
    std::fs::write(&file, "").expect("a file");
    site.sql("pg1", &format!("ALTER SYSTEM SET promote_trigger_file = '{}'", file.display()));
    site.sql("pg1", "SELECT pg_reload_conf()");
    site.wait("SHOW promote_trigger_file", "pg1", &file.to_string_lossy());
    let said = site.expect(3, &["switchover", "--yes"]);
    assert!(said.contains("trigger"), "{said}");
    assert_eq!(site.sql("pg2", "SELECT pg_is_in_recovery()"), "t");
}
