//! A rewind that was killed while it copied leaves a server that never starts, or starts and never gets further.

use super::{REWIND_RIGHTS, diverge, site, streams};

#[test]
fn p03_a_rewind_that_was_killed_is_not_continued_but_replaced_by_a_copy() {
    let Some(site) = site() else { return };
    site.sql("pg1", REWIND_RIGHTS);
    // More to copy than it is let: the kernel kills it (SIGXFSZ) at the first byte beyond 4 MB of a file. The first rewind only looks.
    let limit = "case \"$*\" in *\" -n\") ;; *) ulimit -c 0; ulimit -f 8192 ;; esac";
    site.wrap("pg_rewind", &format!("{limit}\nexec \"$real\" \"$@\""));
    site.sql("pg1", "INSERT INTO rows (t) SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    site.wait("SELECT count(*) FROM rows", "pg2", "20000");
    diverge(&site);
    site.sql("pg2", "UPDATE rows SET t = repeat('y', 1000)");
    let own = || std::fs::read_to_string(site.path("pg1/postgresql.conf")).expect("a file");
    let before = own();
    site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    assert_eq!(own(), before, "its own configuration");
    let journal = site.journals().pop().expect("a journal");
    assert!(journal.contains("not rewound, so it is copied: pg_rewind broke off"), "{journal}");
    streams(&site, "pg2", "pg1");
}
