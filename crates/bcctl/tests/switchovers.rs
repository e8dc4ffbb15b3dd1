//! Planned switchovers there and back, over a real sshd, while a client writes: no acknowledged row is lost and nobody
//! helps. `make bench-switchover` does a hundred; `BC_SWITCHOVERS=100` makes this test do as many.
#![expect(clippy::expect_used, reason = "a test says where it stops")]
#![expect(clippy::disallowed_methods, reason = "a test waits with a deadline, and its client reads the clock")]

#[path = "../benches/switchover/client.rs"]
mod client;
mod site;

use std::collections::BTreeSet;

use client::Writer;

#[test]
fn switchovers_there_and_back_under_load_lose_no_acknowledged_row() {
    if !site::possible() {
        return;
    }
    let count = std::env::var("BC_SWITCHOVERS").ok().and_then(|count| count.parse().ok()).unwrap_or(4);
    let site = site::Site::over_ssh();
    site.sql("pg1", "CREATE TABLE bench (id bigint PRIMARY KEY)");
    let writer = Writer::start(site.ports());
    let mut primary = "pg1";
    for number in 1..=count {
        writer.wait_for(50).unwrap_or_else(|error| panic!("switchover {number}: {error}"));
        site.expect(0, &["switchover", "--yes"]);
        primary = if primary == "pg1" { "pg2" } else { "pg1" };
        assert_eq!(site.sql(primary, "SELECT pg_is_in_recovery()"), "f", "switchover {number}");
    }
    // One may be from before; the next is from the server that it has moved to.
    writer.wait_for(2).expect("the client goes on");
    let acknowledged = writer.stop();
    let kept = site.sql(primary, "SELECT string_agg(id::text, ',') FROM bench");
    let kept: BTreeSet<u64> = kept.split(',').filter_map(|id| id.parse().ok()).collect();
    let lost: Vec<u64> = acknowledged.iter().map(|ack| ack.id).filter(|id| !kept.contains(id)).collect();
    assert!(lost.is_empty(), "of {} acknowledged rows are lost: {lost:?}", acknowledged.len());
    let gap = |pair: &[client::Ack]| pair[1].at.duration_since(pair[0].at);
    eprintln!("{} rows, longest pause {:?}", acknowledged.len(), acknowledged.windows(2).map(gap).max());
    let mut servers: Vec<usize> = acknowledged.iter().map(|ack| ack.server).collect();
    servers.dedup();
    assert_eq!(servers.len(), count + 1, "every switchover moved the client: {servers:?}");
}
