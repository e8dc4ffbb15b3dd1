//! A primary that crashed between archiving a file and remembering it archives the file again; `test ! -f` refuses that for ever.

use std::fs;

use super::{check, site};

#[test]
fn p14_the_same_file_again_is_accepted_and_another_one_never_put_over_it() {
    let Some(site) = site() else { return };
    site.share_an_archive();
    let next = || {
        let name = site.sql("pg1", "SELECT pg_walfile_name(pg_current_wal_lsn())");
        site.sql("pg1", "INSERT INTO rows (t) VALUES ('x'); SELECT pg_switch_wal()");
        site.wait("SELECT last_archived_wal FROM pg_stat_archiver", "pg1", &name);
        name
    };
    // The crash: the server has forgotten that the file is in the archive.
    let forget = |name: &str| {
        site.service("pg1", "stop");
        let status = |kind: &str| site.path("pg1/pg_wal/archive_status").join(format!("{name}.{kind}"));
        fs::rename(status("done"), status("ready")).expect("it was archived");
    };
    let failures = "SELECT failed_count FROM pg_stat_archiver";
    let remembered = |name: &str| {
        format!("SELECT count(*) FROM pg_ls_dir('pg_wal/archive_status') AS name WHERE name = '{name}.done'")
    };

    let name = next();
    let archived = site.path("archive").join(&name);
    let content = fs::read(&archived).expect("archived");
    site.sql("pg1", "SELECT pg_stat_reset_shared('archiver')");
    forget(&name);
    site.service("pg1", "start");
    site.wait(&remembered(&name), "pg1", "1");
    assert_eq!(site.sql("pg1", failures), "0", "the same content is no failure");
    assert!(fs::read(&archived).expect("archived") == content);

    // Another server has archived under that name.
    let mut other = content.clone();
    other[8000] ^= 0xFF;
    fs::write(&archived, &other).expect("a file");
    forget(&name);
    site.service("pg1", "start");
    site.wait("SELECT failed_count > 0 FROM pg_stat_archiver", "pg1", "t");
    assert!(fs::read(&archived).expect("archived") == other, "it is never overwritten");
    assert_eq!(site.sql("pg1", &remembered(&name)), "0", "and the server keeps its own");
    assert!(site.log("pg1").contains("is there already, with other content"), "{}", site.log("pg1"));
    let (_, found) = check(&site);
    assert!(found.iter().any(|finding| finding["code"] == "BC406" && finding["subject"] == "pg1"), "{found:#?}");

    fs::write(&archived, &content).expect("a file");
    // After three failed attempts the archiver rests for a minute; this wakes it.
    site.sql("pg1", "SELECT pg_reload_conf()");
    site.wait(&remembered(&name), "pg1", "1");
}
