//! The way back of GoCD's page, by hand: "Recovery - Back to the primary server", docs.gocd.org, business continuity, eight steps.
//!
//! Done by a person who types at once and mistypes nothing, so what it takes here is the least that it takes.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::client::Writer;
use crate::site::Site;

/// What a step took, in seconds.
pub(crate) type Took = Vec<(&'static str, f64)>;

/// The eight steps; `checkpoint` is one that PG2 makes between steps 4 and 5, as a timer does every five minutes.
pub(crate) fn failback(site: &Site, writer: &Writer, checkpoint: bool) -> Result<Took> {
    let mut took = Took::new();
    let mut step = |words: &'static str, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let begun = Instant::now();
        work().with_context(|| words)?;
        took.push((words, begun.elapsed().as_secs_f64()));
        Ok(())
    };
    let remove = |path: &str| std::fs::remove_file(site.path(path));
    let write = |path: &str| std::fs::write(site.path(path), "");
    step("1 stop both GoCD servers", &mut || {
        // GoCD is what writes to this database.
        writer.hold();
        Ok(remove("gocd/go2")?)
    })?;
    step("2 unassign the VIP", &mut || Ok(remove("vip/go2")?))?;
    step("3 copy /etc/go", &mut || {
        std::fs::copy(site.path("files/go2"), site.path("files/go1")).map(drop).map_err(Into::into)
    })?;
    step("4 pg_basebackup -X fetch", &mut || {
        std::fs::remove_dir_all(site.path("pg1"))?;
        let from = format!("host=127.0.0.1 port={} user=replicator", site.ports()[1]);
        let status = site
            .as_postgres("pg_basebackup")
            .args(["-d", &from, "-X", "fetch", "-D"])
            .arg(site.path("pg1"))
            .status()?;
        ensure!(status.success(), "pg_basebackup: {status}");
        // On a host with files of its own in /etc/postgresql this does not happen.
        site.configure("pg1", site.ports()[0]);
        Ok(())
    })?;
    if checkpoint {
        site.sql("pg2", "CHECKPOINT");
    }
    step("5 restart PG2 as a standby", &mut || {
        // Since PostgreSQL 12 the renamed recovery.conf is this file and these settings. The page knows no slots.
        let upstream = format!("host=127.0.0.1 port={} user=replicator application_name=pg2", site.ports()[0]);
        site.sql("pg2", &format!("ALTER SYSTEM SET primary_conninfo = '{upstream}'"));
        site.sql("pg2", "ALTER SYSTEM RESET primary_slot_name");
        write("pg2/standby.signal")?;
        ensure!(
            std::process::Command::new("chown")
                .arg("postgres:")
                .arg(site.path("pg2/standby.signal"))
                .status()?
                .success()
        );
        site.service("pg2", "stop");
        site.service("pg2", "start");
        Ok(())
    })?;
    step("6 start PG1", &mut || {
        site.service("pg1", "start");
        Ok(())
    })?;
    step("7 start GO1", &mut || {
        write("gocd/go1")?;
        writer.release();
        Ok(())
    })?;
    step("8 assign the VIP", &mut || Ok(write("vip/go1")?))?;
    Ok(took)
}
