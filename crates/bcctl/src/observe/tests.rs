//! A healthy site as the hosts would print it, for the tests of rules and plans; and tests of the reading itself.

use std::collections::BTreeMap;

use bc_model::fencing::{DeviceReach, Grade, LevelReach, NodeReach, NodeState};
use bc_model::inventory::Inventory;

use super::facts::parse;
use super::{FenceTrouble, Host, HostFacts, Observation, PostgresqlFacts, Power, SqlFacts, script};
use crate::hosts::Unreached;
use crate::place::Place;

const PRIMARY: &str = "\
pg.unit.LoadState=loaded
pg.unit.ActiveState=active
pg.unit.UnitFileState=disabled
pg.unit.ExecCondition={ path=/usr/bin/fence ; argv[]=/usr/bin/fence gate pg ; }
pg.data=15
pg.program=postgres (PostgreSQL) 15.18
pg.free=9000000000
control.system-identifier=7300000000000000001
control.state=in production
control.checkpoint=0/4000060
control.timeline=1
sql.version=150018
sql.in-recovery=false
sql.system-identifier=7300000000000000001
sql.checkpoint-timeline=1
sql.timeline=1
sql.write-lsn=0/5000148
sql.replication=pg2|streaming|async|198.18.5.12|0/5000148|false
sql.slot=pg2|true|0/5000148|reserved
sql.setting=max_connections|60
sql.setting=max_wal_senders|10
sql.setting=max_replication_slots|10
sql.setting=max_worker_processes|8
sql.setting=synchronous_standby_names|
sql.setting=recovery_target_timeline|latest
sql.setting=recovery_min_apply_delay|0
sql.wal-senders=1
sql.archiver-failing=false
sql.archive-ready=0
sql.prepared-transactions=0
sql.tablespaces=0
sql.size=30000000
pg.login=0
";

const STANDBY: &str = "\
pg.unit.LoadState=loaded
pg.unit.ActiveState=active
pg.unit.UnitFileState=disabled
pg.unit.ExecCondition={ path=/usr/bin/fence ; argv[]=/usr/bin/fence gate pg ; }
pg.data=15
pg.program=postgres (PostgreSQL) 15.18
pg.file=standby.signal
pg.recovering=000000010000000000000005
pg.free=9000000000
control.system-identifier=7300000000000000001
control.state=in archive recovery
control.checkpoint=0/4000060
control.timeline=1
sql.version=150018
sql.in-recovery=true
sql.system-identifier=7300000000000000001
sql.checkpoint-timeline=1
sql.timeline=1
sql.receive-lsn=0/5000148
sql.replay-lsn=0/5000148
sql.replay-paused=false
sql.last-commit-age=1.4
sql.receiver=streaming|198.18.5.11|5432
sql.received-timeline=1
sql.setting=primary_slot_name|pg2
sql.setting=max_connections|60
sql.setting=max_wal_senders|10
sql.setting=max_replication_slots|10
sql.setting=max_worker_processes|8
sql.setting=recovery_min_apply_delay|0
sql.wal-senders=0
sql.tablespaces=0
sql.size=30000000
pg.login=0
";

const FILES: &str = r#"{"schema":1,"files":[{"id":"cipher.aes","size":32,"sha256":"aa"},{"id":"cruise-config.xml","size":900,"sha256":"bb"}]}"#;

fn gocd(active: bool, database: &str) -> String {
    let (state, health) = if active { ("active", 200) } else { ("inactive", 0) };
    let held = if active { r#"{"address":"198.18.5.200/24","interface":"eth0","placed-by-vipd":true}"# } else { "" };
    let version = if active { r#"{"version":"26.1.0","full_version":"26.1.0 (1-abc)"}"# } else { "" };
    format!(
        "gocd.unit.LoadState=loaded\ngocd.unit.ActiveState={state}\ngocd.unit.UnitFileState=disabled\ngocd.unit.ExecCondition=fence gate\ngocd.health={health}\n\
         gocd.version={version}\ngocd.database=jdbc:postgresql://{database}:5432/gocd\ngocd.manifest={FILES}\n\
         gocd.vip={{\"schema\":1,\"addresses\":[{held}]}}\n"
    )
}

/// The packaged example.
pub(crate) fn inventory() -> Inventory {
    Inventory::parse("bc.toml", include_str!("../../../../packaging/bc.toml")).expect("the example parses")
}

/// Home serves, away follows, everything is as it should be; to be spoilt by a test.
pub(crate) fn healthy() -> Observation {
    serving(Place::Home)
}

/// A site that is well, served from `place`.
pub(crate) fn serving(place: Place) -> Observation {
    let inventory = inventory();
    let (from, to) = (place, place.other());
    let renamed = |text: &str| if place == Place::Home { text.to_owned() } else { text.replace("pg2", "pg1") };
    let texts = [
        (from.postgresql(&inventory), renamed(PRIMARY)),
        (to.postgresql(&inventory), STANDBY.to_owned()),
        (from.gocd(&inventory), gocd(true, from.postgresql(&inventory))),
        (to.gocd(&inventory), gocd(false, to.postgresql(&inventory))),
    ];
    let on = |host: &str| (host.to_owned(), Power { state: NodeState::On, words: String::new() });
    Observation {
        fence: texts.iter().map(|(host, _)| on(host)).collect(),
        hosts: texts
            .into_iter()
            .map(|(host, text)| {
                let text = format!("host.now=1795293000.5\nhost.uid=0\n{text}host.complete=t\n");
                (host.to_owned(), Host::Seen(Box::new(parse(&text))))
            })
            .collect(),
        fence_check: None,
        reach: Some(["go1", "go2", "pg1", "pg2"].map(|node| reaching(node, Grade::A)).to_vec()),
    }
}

/// A node with one level of one device, which proves this much; `B` is required.
pub(crate) fn reaching(node: &str, grade: Grade) -> NodeReach {
    let devices = vec![DeviceReach { device: format!("{node}-power"), grade }];
    let levels = vec![LevelReach { level: 1, grade, required: Grade::B, devices }];
    NodeReach { node: node.to_owned(), enough: grade >= Grade::B, levels }
}

impl Observation {
    /// The facts of a host, to be spoilt.
    pub(crate) fn spoil(&mut self, host: &str) -> &mut HostFacts {
        match self.hosts.get_mut(host) {
            Some(Host::Seen(facts)) => facts,
            other => panic!("{host} was not seen: {other:?}"),
        }
    }

    /// The PostgreSQL server of a host, to be spoilt.
    pub(crate) fn server(&mut self, host: &str) -> &mut PostgresqlFacts {
        self.spoil(host).postgresql.as_mut().expect("a PostgreSQL host")
    }

    /// What the running server of a host answers, to be spoilt.
    pub(crate) fn answers(&mut self, host: &str) -> &mut SqlFacts {
        self.server(host).sql.as_mut().expect("a running server")
    }

    /// The host does not answer any more, and its power state is `state`.
    pub(crate) fn lost(mut self, host: &str, state: NodeState) -> Self {
        let words = format!("ssh: connect to host {host} port 22: Connection timed out");
        self.hosts.insert(host.to_owned(), Host::Unseen { reason: Unreached::NoAnswer, words });
        self.fence.insert(host.to_owned(), Power { state, words: String::new() });
        self
    }

    /// The server on a host is stopped.
    pub(crate) fn stopped(mut self, host: &str) -> Self {
        let server = self.server(host);
        server.sql = None;
        server.service.active = false;
        server.control.as_mut().expect("a cluster").state = "shut down".to_owned();
        self
    }
}

#[test]
fn what_a_host_prints_is_read() {
    let seen = healthy();
    let primary = seen.sql(&inventory(), Place::Home).expect("it answers");
    assert_eq!((primary.version, primary.timeline, primary.number("max_connections")), (150_018, 1, 60));
    assert_eq!(primary.replication[0].replay_lsn.map(|lsn| lsn.to_string()).as_deref(), Some("0/5000148"));
    let gocd = seen.gocd(&inventory(), Place::Home).expect("it answers");
    assert_eq!(gocd.version.as_deref(), Some("26.1.0 (1-abc)"));
    assert_eq!(seen.holds_vip(&inventory(), Place::Home), Some(true));
    assert_eq!(seen.holds_vip(&inventory(), Place::Away), Some(false));
}

#[test]
fn a_format_of_a_newer_program_is_not_guessed_at() {
    let facts = parse("gocd.vip={\"schema\":2,\"addresses\":[]}\n");
    let vip = facts.gocd.expect("a GoCD host").vip.expect_err("not known");
    assert_eq!(vip, "schema 2 is not known here (this program knows 1)");
}

#[test]
fn nothing_but_lines_without_meaning_is_a_look_that_broke_off() {
    let facts = parse("bash: warning\n=\n.\nhost.now=x\n");
    assert_eq!(facts, HostFacts::default());
}

#[test]
fn the_script_is_one_that_a_posix_shell_reads() {
    let inventory = inventory();
    for host in inventory.hosts.keys() {
        let script = script::look(&inventory, host).script;
        let status = std::process::Command::new("sh").args(["-n", "-c", &script]).status().expect("sh starts");
        assert!(status.success(), "{script}");
    }
}

/// Hosts that answer with a fixed text, to see that all are looked at.
#[test]
fn a_host_that_does_not_answer_does_not_spoil_the_look_at_the_others() {
    use crate::command::{At, Command};
    use crate::hosts::{Ended, Hosts, Output};
    struct Fixed;
    impl Hosts for Fixed {
        fn run(&self, command: &Command, _: std::time::Duration) -> Output {
            let (end, stdout) = match &command.at {
                At::Host(host) if host == "pg1" => (Ended::Unreached(Unreached::KeyRefused), ""),
                At::Host(_) => (Ended::Exit(0), "host.complete=t\n"),
                At::Operator => (Ended::Exit(1), ""),
            };
            Output { end, stdout: stdout.to_owned(), stderr: "Permission denied (publickey).".to_owned() }
        }
    }
    let seen = super::observe(&inventory(), &Fixed, super::Fences::Devices);
    let reached: BTreeMap<&str, bool> =
        seen.hosts.iter().map(|(host, look)| (host.as_str(), matches!(look, Host::Seen(_)))).collect();
    assert_eq!(reached, BTreeMap::from([("go1", true), ("go2", true), ("pg1", false), ("pg2", true)]));
    assert_eq!(seen.fence_check, Some(FenceTrouble::Devices("Permission denied (publickey).".to_owned())));
}
