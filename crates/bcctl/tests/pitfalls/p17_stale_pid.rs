//! A postmaster.pid of a server that is gone, whose number now belongs to another program.

use super::{site, streams};

#[test]
fn p17_a_stale_pid_file_does_not_count_as_a_running_server() {
    let Some(site) = site() else { return };
    std::fs::remove_file(site.path("gocd/go1")).expect("it runs");
    site.service("pg1", "stop");
    let pid = site.path("pg1/postmaster.pid");
    std::fs::write(&pid, format!("{}\n{}\n", std::process::id(), site.path("pg1").display())).expect("a file");
    // pg_ctl believes it, so here the site's own status command is asked for the port instead.
    let text = std::fs::read_to_string(site.path("bc.toml")).expect("a file");
    let bin = "pg_ctl -D";
    assert!(text.contains(bin), "{text}");
    let ready = format!("$BIN/pg_isready -q -h 127.0.0.1 -p {}", site.ports()[0]);
    let status = text.lines().find(|line| line.starts_with("commands") && line.contains("/pg1 status")).expect("pg1");
    let old = status.split("status = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a command");
    std::fs::write(site.path("bc.toml"), text.replace(old, &ready)).expect("a file");
    site.expect(0, &["promote-only", "--yes"]);
    std::fs::remove_file(&pid).expect("it is still there");
    site.service("pg1", "start");
    streams(&site, "pg2", "pg1");
}
