//! A rewind that was killed while it copied leaves a server that never starts, or starts and never gets further.

use super::{REWIND_RIGHTS, diverge, site, streams};

#[test]
fn p03_a_rewind_that_was_killed_is_not_continued_but_replaced_by_a_copy() {
    let Some(site) = site() else { return };
    site.sql("pg1", REWIND_RIGHTS);
    // Enough to copy, so that it can be struck in the middle.
    site.sql("pg1", "INSERT INTO rows (t) SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    site.wait("SELECT count(*) FROM rows", "pg2", "20000");
    diverge(&site);
    site.sql("pg2", "UPDATE rows SET t = repeat('y', 1000)");
    let mut bcctl = site.start_until("rejoin-rewind", &["rejoin", "pg1", "--rewind", "--yes"]);
    let data = site.path("pg1").to_string_lossy().into_owned();
    // The second one: the first only looks, and has no mark.
    let mark = || {
        let entries = std::fs::read_dir(data.rsplit_once('/').expect("a path").0).expect("a directory");
        entries.flatten().any(|entry| {
            entry.file_name().to_string_lossy().starts_with("pg1.rewind-") && entry.path().join("begun").exists()
        })
    };
    let rewind = || {
        std::fs::read_dir("/proc").expect("processes").flatten().find_map(|entry| {
            let pid: i32 = entry.file_name().to_string_lossy().parse().ok()?;
            let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let program = line.split('\0').next()?.ends_with("/pg_rewind");
            (program && line.contains(&data)).then_some(pid)
        })
    };
    let killed = (0..20_000).any(|_| {
        if let (true, Some(pid)) = (mark(), rewind()) {
            return nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).is_ok();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        false
    });
    assert!(
        killed,
        "pg_rewind was not struck: {}",
        site.journals().concat().rsplit("rejoin-rewind").next().unwrap_or_default()
    );
    assert_eq!(bcctl.wait().expect("a child").code(), Some(0), "{:?}", site.journals());
    let journal = site.journals().pop().expect("a journal");
    assert!(journal.contains("not rewound, so it is copied: pg_rewind broke off"), "{journal}");
    streams(&site, "pg2", "pg1");
}
