//! Broken sites: each yields the one finding that explains it, first.

use bc_model::fencing::{Grade, NodeState};
use bc_model::inventory::Inventory;
use bc_model::vip::VipStatus;

use super::findings;
use crate::finding::{Finding, Level};
use crate::hosts::Unreached;
use crate::observe::tests::{healthy, inventory, reaching};
use crate::observe::{FenceTrouble, GocdFacts, Host, Observation, Power};

/// The findings that are not as they should be, in the order in which they are shown.
fn wrong(inventory: &Inventory, seen: &Observation) -> Vec<Finding> {
    findings(inventory, seen).into_iter().filter(|finding| finding.level > Level::Ok).collect()
}

fn with_archive() -> Inventory {
    let text = include_str!("../../../../packaging/bc.toml");
    let text = format!("{text}\n[postgresql.archive]\ndirectory = \"/srv/wal\"\n");
    Inventory::parse("bc.toml", &text.replace("[vip]", "[vip]\nname = \"ci.example.net\"")).expect("a site")
}

fn archived(mut seen: Observation) -> Observation {
    for host in ["pg1", "pg2"] {
        let archive = &mut seen.server(host).archive;
        (archive.there, archive.writable, archive.free) = (true, true, Some(9 << 30));
        archive.files = vec!["000000010000000000000004".to_owned()];
        seen.set(host, "archive_mode", "on");
        seen.set(host, "archive_command", "bc-archive %p /srv/wal/%f");
        seen.set(host, "restore_command", "cp /srv/wal/%f %p");
    }
    seen.answers("pg1").last_archived = Some("000000010000000000000004".to_owned());
    for host in ["go1", "go2"] {
        seen.application(host).name = vec!["198.18.5.200".to_owned()];
    }
    seen
}

impl Observation {
    fn set(&mut self, host: &str, name: &str, value: &str) {
        self.answers(host).settings.insert(name.to_owned(), value.to_owned());
    }

    fn application(&mut self, host: &str) -> &mut GocdFacts {
        self.spoil(host).gocd.as_mut().expect("a GoCD host")
    }

    fn alone(&mut self) {
        self.answers("pg1").replication.clear();
        self.answers("pg2").receiver = None;
        self.answers("pg2").received_timeline = None;
    }
}

/// What is broken, how, and the number of the finding that explains it on the host where it is.
type Broken = (&'static str, fn(&mut Observation), &'static str, &'static str);

const BROKEN: &[Broken] = &[
    ("a host is unplugged", |seen| *seen = seen.clone().lost("pg2", NodeState::On), "BC103", "pg2"),
    ("the primary's host is unplugged", |seen| *seen = seen.clone().lost("pg1", NodeState::On), "BC103", "pg1"),
    ("a host was fenced", |seen| *seen = seen.clone().lost("pg2", NodeState::Off), "BC104", "pg2"),
    (
        "sudo asks for a password",
        |seen| {
            let words = "sudo: a password is required".to_owned();
            seen.hosts.insert("pg2".to_owned(), Host::Unseen { reason: Unreached::Sudo, words });
        },
        "BC105",
        "pg2",
    ),
    (
        "the login is not root",
        |seen| {
            seen.spoil("pg2").uid = Some(1000);
            seen.server("pg2").sql = None;
        },
        "BC105",
        "pg2",
    ),
    ("sudo allows one command too few", |seen| seen.spoil("go2").denied = vec![(0, String::new())], "BC111", "go2"),
    ("the journals have no place", |seen| seen.spoil("pg2").unwritable = Some("/var/lib".to_owned()), "BC105", "pg2"),
    ("the look broke off", |seen| seen.spoil("go1").complete = false, "BC106", "go1"),
    ("a clock is wrong", |seen| seen.spoil("pg2").clock_off = Some(-7200.0), "BC107", "pg2"),
    (
        "the unit has another name",
        |seen| {
            *seen = seen.clone().stopped("pg2");
            seen.server("pg2").service.missing = true;
            seen.answers("pg1").replication.clear();
        },
        "BC108",
        "pg2",
    ),
    ("the unit is enabled", |seen| seen.server("pg1").service.enabled = true, "BC109", "pg1"),
    ("no boot gate", |seen| seen.application("go2").service.gated = false, "BC110", "go2"),
    (
        "PostgreSQL was removed",
        |seen| {
            *seen = seen.clone().stopped("pg2");
            let server = seen.server("pg2");
            (server.program, server.control) = (None, None);
        },
        "BC201",
        "pg2",
    ),
    ("the inventory names another version", |seen| seen.answers("pg2").version = 140_012, "BC102", "pg2"),
    ("both are primaries", |seen| seen.answers("pg2").in_recovery = false, "BC202", "site"),
    ("both are standbys", |seen| seen.answers("pg1").in_recovery = true, "BC203", "site"),
    ("both servers are stopped", |seen| *seen = seen.clone().stopped("pg1").stopped("pg2"), "BC204", "site"),
    (
        "the data of another cluster",
        |seen| {
            seen.answers("pg2").system_identifier = "1".to_owned();
            seen.alone();
        },
        "BC205",
        "pg2",
    ),
    (
        "a recovery.conf of old",
        |seen| {
            *seen = seen.clone().stopped("pg2");
            seen.server("pg2").files.push("recovery.conf".to_owned());
            seen.answers("pg1").replication.clear();
        },
        "BC207",
        "pg2",
    ),
    (
        "a primary with standby.signal",
        |seen| seen.server("pg1").files.push("standby.signal".to_owned()),
        "BC208",
        "pg1",
    ),
    (
        "the primary is stopped",
        |seen| {
            *seen = seen.clone().stopped("pg1");
            seen.application("go1").health = 500;
            seen.alone_without_primary();
        },
        "BC209",
        "pg1",
    ),
    (
        "the diverged node that looks healthy",
        |seen| {
            let history = &mut seen.server("pg1").history;
            history.timeline = 2;
            history.ends = vec![(1, "0/4000000".parse().expect("an LSN"))];
            seen.answers("pg1").timeline = 2;
            seen.answers("pg1").replication[0].sync_state = "sync".to_owned();
            seen.set("pg1", "synchronous_standby_names", "pg2");
        },
        "BC210",
        "pg2",
    ),
    (
        "the standby is stopped",
        |seen| {
            *seen = seen.clone().stopped("pg2");
            seen.answers("pg1").replication.clear();
            seen.answers("pg1").slots[0].active = false;
        },
        "BC211",
        "pg2",
    ),
    (
        "the standby is stopped, and commits wait for it",
        |seen| {
            *seen = seen.clone().stopped("pg2");
            seen.answers("pg1").replication.clear();
            seen.set("pg1", "synchronous_standby_names", "pg2");
            seen.application("go1").health = 0;
        },
        "BC211",
        "pg2",
    ),
    (
        "pg_hba.conf lets nobody in",
        |seen| {
            seen.server("pg2").login = Some(false);
            seen.alone();
        },
        "BC301",
        "pg2",
    ),
    (
        "the slot has lost its WAL",
        |seen| {
            seen.answers("pg1").slots[0].lost = true;
            seen.alone();
        },
        "BC302",
        "pg2",
    ),
    (
        "the slot was dropped",
        |seen| {
            seen.answers("pg1").slots.clear();
            seen.alone();
        },
        "BC303",
        "pg2",
    ),
    (
        "another application_name",
        |seen| seen.answers("pg1").replication[0].name = "walreceiver".to_owned(),
        "BC304",
        "pg2",
    ),
    (
        "all senders are busy",
        |seen| {
            seen.alone();
            seen.answers("pg1").wal_senders = 10;
        },
        "BC305",
        "pg1",
    ),
    ("the network between the servers is cut", Observation::alone, "BC306", "pg2"),
    (
        "replay is paused",
        |seen| {
            seen.answers("pg2").replay_paused = true;
            seen.answers("pg1").write_lsn = "1/0".parse().ok();
        },
        "BC307",
        "pg2",
    ),
    ("replay is delayed", |seen| seen.set("pg2", "recovery_min_apply_delay", "3600000"), "BC308", "pg2"),
    ("the standby is far behind", |seen| seen.answers("pg1").write_lsn = "1/0".parse().ok(), "BC309", "pg2"),
    (
        "commits wait for a name that nobody has",
        |seen| seen.set("pg1", "synchronous_standby_names", "pg9"),
        "BC310",
        "pg1",
    ),
    ("the primary's max_connections is smaller", |seen| seen.set("pg1", "max_connections", "20"), "BC315", "pg1"),
    ("the standby has one WAL sender", |seen| seen.set("pg2", "max_wal_senders", "1"), "BC316", "pg2"),
    ("recovery stays on its timeline", |seen| seen.set("pg1", "recovery_target_timeline", "current"), "BC317", "pg1"),
    ("the way back is closed", |seen| seen.server("pg1").login = Some(false), "BC318", "pg1"),
    ("a prepared transaction", |seen| seen.answers("pg1").prepared_transactions = 1, "BC320", "pg1"),
    (
        "the shared drive is not mounted",
        |seen| {
            let archive = &mut seen.server("pg1").archive;
            (archive.there, archive.writable) = (false, false);
            archive.files.clear();
            seen.answers("pg1").archiver_failing = true;
            seen.answers("pg1").archive_ready = 200;
        },
        "BC401",
        "pg1",
    ),
    ("the shared drive is read-only", |seen| seen.server("pg2").archive.writable = false, "BC402", "pg2"),
    (
        "the standby has another drive mounted",
        |seen| seen.server("pg2").archive.files = vec!["00000001000000000000000A".to_owned()],
        "BC403",
        "pg2",
    ),
    (
        "the archive command fails",
        |seen| {
            seen.answers("pg1").archiver_failing = true;
            seen.answers("pg1").archive_ready = 200;
        },
        "BC406",
        "pg1",
    ),
    ("the archive command overwrites", |seen| seen.set("pg1", "archive_command", "cp %p /srv/wal/%f"), "BC408", "pg1"),
    ("the disk is nearly full", |seen| seen.server("pg2").free = Some(1 << 20), "BC410", "pg2"),
    ("db.properties is gone", |seen| seen.application("go2").database = None, "BC501", "go2"),
    (
        "db.properties names another database",
        |seen| seen.application("go2").database = Some("jdbc:postgresql://pg2:5432/cruise".to_owned()),
        "BC509",
        "go2",
    ),
    (
        "the token is readable by others",
        |seen| seen.application("go2").token = Some(Err("has to hold an access token".to_owned())),
        "BC510",
        "go2",
    ),
    (
        "GoCD does not know the token",
        |seen| seen.application("go1").maintenance = Some(Err("curl: (22) error: 401".to_owned())),
        "BC510",
        "go1",
    ),
    ("GoCD is in maintenance mode", |seen| seen.application("go1").maintenance = Some(Ok(true)), "BC511", "go1"),
    ("GoCD runs twice", |seen| seen.application("go2").service.active = true, "BC503", "go2"),
    (
        "GoCD is stopped",
        |seen| {
            let gocd = seen.application("go1");
            (gocd.service.active, gocd.health) = (false, 0);
            gocd.vip = Ok(VipStatus { schema: 1, addresses: Vec::new(), instances: None, daemon_error: None });
        },
        "BC504",
        "go1",
    ),
    ("GoCD is starting", |seen| seen.application("go1").health = 503, "BC505", "go1"),
    (
        "standbyd is not there",
        |seen| seen.application("go1").manifest = Err("standbyd: command not found".to_owned()),
        "BC506",
        "go1",
    ),
    (
        "the configuration was changed since the last pull",
        |seen| {
            let Ok(manifest) = &mut seen.application("go1").manifest else { panic!("a manifest") };
            manifest.files[1].size += 1;
        },
        "BC508",
        "go2",
    ),
    (
        "vipd is not there",
        |seen| seen.application("go2").vip = Err("vipd: command not found".to_owned()),
        "BC601",
        "go2",
    ),
    (
        "both hold the VIP",
        |seen| {
            let held = seen.application("go1").vip.clone();
            seen.application("go2").vip = held;
        },
        "BC603",
        "vip",
    ),
    (
        "a stranger answers for the VIP",
        |seen| {
            seen.application("go1").mac = Some("02:00:00:00:00:01".to_owned());
            seen.application("go2").vip_answers = Some("02:00:00:00:00:66".to_owned());
        },
        "BC602",
        "vip",
    ),
    (
        "the VIP is at the other place",
        |seen| {
            let [one, two] = ["go1", "go2"].map(|host| seen.application(host).vip.clone());
            seen.application("go1").vip = two;
            seen.application("go2").vip = one;
        },
        "BC604",
        "vip",
    ),
    (
        "nobody holds the VIP",
        |seen| {
            seen.application("go1").vip =
                Ok(VipStatus { schema: 1, addresses: Vec::new(), instances: None, daemon_error: None })
        },
        "BC605",
        "vip",
    ),
    (
        "the name means another address",
        |seen| seen.application("go2").name = vec!["198.18.5.9".to_owned()],
        "BC606",
        "go2",
    ),
    (
        "fence is not installed",
        |seen| {
            seen.fence_check = Some(FenceTrouble::Unusable("fence: not found".to_owned()));
            for power in seen.fence.values_mut() {
                *power = Power { state: NodeState::Unknown, words: "fence: not found".to_owned() };
            }
        },
        "BC701",
        "fence",
    ),
    (
        "a fence device is dead",
        |seen| {
            seen.fence_check = Some(FenceTrouble::Devices("pg1-power: timed out".to_owned()));
            seen.fence.insert("pg1".to_owned(), Power { state: NodeState::Unknown, words: "timed out".to_owned() });
        },
        "BC702",
        "fence",
    ),
    (
        "the devices of a host prove too little",
        |seen| seen.reach.as_mut().expect("nodes")[2] = reaching("pg1", Grade::D),
        "BC704",
        "pg1",
    ),
    ("fence does not know a host", |seen| drop(seen.reach.as_mut().expect("nodes").remove(0)), "BC704", "go1"),
];

impl Observation {
    /// The standby of a primary that is gone.
    fn alone_without_primary(&mut self) {
        self.answers("pg2").receiver = None;
        self.answers("pg2").received_timeline = None;
        self.server("pg2").login = Some(false);
    }
}

#[test]
fn a_healthy_site_yields_nothing() {
    assert_eq!(wrong(&with_archive(), &archived(healthy())), []);
    let bare = inventory();
    assert_eq!(wrong(&bare, &healthy()), []);
}

#[test]
fn each_of_many_broken_sites_yields_the_one_finding_that_explains_it_first() {
    assert!(BROKEN.len() >= 30, "{}", BROKEN.len());
    let mut failures = Vec::new();
    for (name, spoil, code, subject) in BROKEN {
        let mut seen = archived(healthy());
        spoil(&mut seen);
        let wrong = wrong(&with_archive(), &seen);
        let first = wrong.first().map(|first| (first.code().unwrap_or_default(), first.subject.clone()));
        let roots: Vec<String> =
            wrong.iter().filter(|finding| finding.because_of.is_none()).filter_map(Finding::code).collect();
        if first != Some(((*code).to_owned(), (*subject).to_owned())) || roots != [*code] {
            let lines: Vec<String> = wrong
                .iter()
                .map(|finding| {
                    format!(
                        "    {:?} {} {}: {}",
                        finding.code(),
                        finding.subject,
                        finding.words,
                        finding.because_of.map(crate::finding::Kind::code).unwrap_or_default()
                    )
                })
                .collect();
            failures.push(format!("{name}: expected {code} on {subject} alone\n{}", lines.join("\n")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_the_devices_of_the_other_place_could_not_prove_refuses_nothing_yet() {
    let mut seen = healthy();
    seen.reach.as_mut().expect("nodes")[3] = reaching("pg2", Grade::D);
    let wrong = wrong(&inventory(), &seen);
    let [finding] = &wrong[..] else { panic!("{wrong:?}") };
    assert_eq!((finding.code().as_deref(), finding.level), (Some("BC704"), Level::Warning));
    assert!(finding.refuses.is_empty());
    let words = "could not be proven off well enough: level 1 (pg2-power: D) proves D, and B is required";
    assert_eq!(finding.words, words);
}

#[test]
fn every_finding_says_what_to_do() {
    for (name, spoil, ..) in BROKEN {
        let mut seen = archived(healthy());
        spoil(&mut seen);
        for finding in wrong(&with_archive(), &seen) {
            assert!(finding.hint.is_some(), "{name}: {finding:?}");
            let kind = finding.kind.expect("a number");
            assert!(finding.refuses.iter().all(|intent| kind.refuses.contains(intent)), "{name}: {finding:?}");
        }
    }
}
