//! No script may do what the rules and the prelude do not know, and the rules allow nothing else.

use std::process::{Command as Process, Stdio};

use bc_model::version::Version;

use super::call::calls;
use super::scripts::{OPERATION, of};
use super::*;

const EXAMPLE: &str = include_str!("../../../../packaging/bc.toml");

fn parse(text: &str) -> Inventory {
    Inventory::parse("bc.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

/// The example in every form that changes what is run.
fn inventories() -> Vec<Inventory> {
    let archive = "\n[postgresql.archive]\ndirectory = \"/srv/wal-archive\"\ncleanup = true\n";
    let named = EXAMPLE.replacen("# name = ", "name = ", 1);
    let waiting = EXAMPLE.replacen("# when-behind = \"refuse\"", "when-behind = \"wait\"", 1);
    let mut inventories = vec![parse(EXAMPLE), parse(&named), parse(&waiting)];
    for version in Version::ALL {
        let text = EXAMPLE.replacen("version = \"15\"", &format!("version = \"{version}\""), 1) + archive;
        let mut inventory = parse(&text);
        inventory.postgresql.synchronous = true;
        inventories.push(inventory);
    }
    inventories
}

/// What anybody may start.
const HARMLESS: [&str; 47] = [
    ":", "[", "awk", "break", "cat", "cd", "command", "curl", "cut", "date", "df", "dirname", "echo", "exit", "export",
    "false", "find", "getent", "grep", "head", "id", "ip", "ls", "mkdir", "mktemp", "mv", "ping", "printf", "ps",
    "read", "return", "rm", "sed", "set", "shift", "sleep", "sort", "stat", "sync", "tail", "test", "tr", "true",
    "umask", "unset", "wait", "wc",
];
/// What the prelude stands in for.
const STOOD_IN_FOR: [&str; 3] = ["systemctl", "vipd", "runuser"];

/// What a script does on `host` that no rule allows.
fn trouble(inventory: &Inventory, host: &str, script: &str) -> Vec<String> {
    let calls = match calls(script) {
        Ok(calls) => calls,
        Err(error) => return vec![error],
    };
    let mut private = Vec::new();
    if [&inventory.postgresql.primary, &inventory.postgresql.standby].contains(&&host.to_owned()) {
        private.push(inventory.server(host).data_directory.to_owned());
        private.extend(inventory.postgresql.archive.as_ref().map(|archive| archive.directory.clone()));
    }
    if [&inventory.gocd.primary, &inventory.gocd.standby].contains(&&host.to_owned()) {
        private.push(inventory.gocd_server(host).config_directory.to_owned());
    }
    let is_private = |word: &Word| private.iter().any(|path| word.text.contains(path.as_str()));
    let mut trouble = Vec::new();
    for call in &calls.calls {
        let name = call.words[0].text.as_str();
        let gate = STOOD_IN_FOR.contains(&name) || name == "sudo";
        if let Err(error) = Rule::of(call, &inventory.postgresql.os_user) {
            trouble.push(error);
        }
        match (&call.to, &call.by) {
            (Some(_), _) if call.within => trouble.push(format!("another program starts runuser for {name}")),
            (None, Some(user)) if gate => trouble.push(format!("{user} starts {name}")),
            (None, None) if gate && call.within => trouble.push(format!("another program starts {name}")),
            (None, None) if !gate && !HARMLESS.contains(&name) => trouble.push(format!("{name} is not known")),
            (None, None) if call.words.iter().any(is_private) => {
                trouble.push(format!("the login's {name} touches what is not the login's"));
            }
            _ => {}
        }
    }
    trouble.extend(
        calls
            .files
            .iter()
            .filter(|(by, file)| by.is_none() && is_private(file))
            .map(|(_, file)| format!("the login reads or writes {}", file.text)),
    );
    trouble
}

#[test]
fn every_script_of_every_operation_can_be_allowed_command_by_command() {
    for inventory in inventories() {
        for host in inventory.hosts.keys() {
            let scripts = of(&inventory, host);
            assert!(scripts.len() > 5, "{host}: {} scripts", scripts.len());
            for script in scripts {
                let trouble = trouble(&inventory, host, &script);
                assert!(trouble.is_empty(), "{} on {host}: {trouble:#?} in\n{script}", inventory.postgresql.version);
            }
        }
    }
}

#[test]
fn a_script_that_could_not_be_allowed_is_found() {
    let inventory = parse(EXAMPLE);
    for (script, words) in [
        ("nft list ruleset", "nft is not known"),
        ("cat /var/lib/postgresql/15/main/PG_VERSION", "touches what is not the login's"),
        ("wc -l </var/lib/postgresql/15/main/postmaster.pid", "the login reads or writes"),
        ("sh -c 'systemctl stop x'", "another program starts systemctl"),
        ("flock /l vipd status", "another program starts vipd"),
        ("setsid runuser -u postgres -- psql", "another program starts runuser"),
        ("runuser -u postgres -- sh -c 'systemctl stop x'", "postgres starts systemctl"),
        ("systemctl stop \"$unit\"", "differ from time to time"),
        ("systemctl stop 'a b'", "differ from time to time"),
        ("vipd assign 198.18.5.200/24 --reason 20000101T000000Z-any", "differ from time to time"),
        ("sh -c \"$job\"", "cannot be read"),
    ] {
        let trouble = trouble(&inventory, "pg1", script);
        assert!(trouble.iter().any(|trouble| trouble.contains(words)), "{script}: {trouble:?}");
    }
}

#[test]
fn no_rule_gives_root_away() {
    for inventory in inventories() {
        for host in inventory.hosts.keys() {
            for rule in rules(&inventory, host).expect("rules") {
                let line = rule.line("ops", &rule.path());
                if rule.user == "root" {
                    let arguments = rule.arguments.as_ref().expect("root's arguments are always the same");
                    assert!(["systemctl", "vipd"].contains(&rule.program.as_str()), "{line}");
                    let said = format!("{} {}", rule.path(), arguments.join(" "));
                    assert!(!arguments.is_empty() && !said.contains(['*', '?', '\\', '^', '[']), "{line}");
                }
                assert!(!line.contains(OPERATION), "{line}");
            }
        }
    }
}

#[test]
fn the_page_has_the_rules_of_the_example() {
    let page_of_docs = include_str!("../../../../docs/sudo.md");
    let inventory = parse(EXAMPLE);
    for host in inventory.hosts.keys() {
        let text = page(&inventory, host, "ops").expect("rules");
        let block = format!("```sudoers\n{text}```\n");
        assert!(page_of_docs.contains(&block), "docs/sudo.md is old: `bcctl sudoers {host} --login ops` says\n{text}");
    }
}

#[test]
fn visudo_accepts_the_rules_of_every_host() {
    if Process::new("visudo").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        assert!(std::env::var("CI").map_or(true, |ci| ci != "true"), "visudo is not installed");
        eprintln!("SKIPPED: visudo is not installed (apt-get install sudo)");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules");
    let odd = Rule {
        user: "o,d:d".to_owned(),
        program: "/opt/a b/x=y".to_owned(),
        arguments: Some(vec!["a,b:c=d".to_owned(), "\\".to_owned(), "^x$".to_owned(), "#".to_owned()]),
    };
    let mut texts = vec![format!("{}\n", odd.line("some=one", &odd.path()))];
    for inventory in inventories() {
        texts.extend(inventory.hosts.keys().map(|host| page(&inventory, host, "ops").expect("rules")));
    }
    for text in texts {
        std::fs::write(&file, &text).expect("a file");
        let output = Process::new("visudo").arg("-cf").arg(&file).output().expect("visudo");
        assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_prelude_sends_through_sudo_what_a_rule_allows_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["sudo", "systemctl"] {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\nprintf '%s|' {name} \"$@\"\n")).expect("a program");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    }
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    for (script, wanted) in [
        ("systemctl show --property=X u", "systemctl|show|--property=X|u|"),
        ("systemctl stop u", "sudo|-n|systemctl|stop|u|"),
        ("vipd status 198.18.5.200 --json", "sudo|-n|vipd|status|198.18.5.200|--json|"),
        ("runuser -u postgres -- psql -c 'SELECT 1'", "sudo|-n|-u|postgres|--|psql|-c|SELECT 1|"),
        ("echo x | (runuser -u go -- standbyd pull)", "sudo|-n|-u|go|--|standbyd|pull|"),
    ] {
        let output =
            Process::new("sh").arg("-c").arg(format!("{PRELUDE}{script}")).env("PATH", &path).output().expect("sh");
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{script}");
    }
}

#[test]
fn commands_of_the_site_that_cannot_be_listed_are_said() {
    let section = |start: &str| {
        let commands = format!("start = \"{start}\", stop = \"true\", status = \"true\"");
        let text =
            EXAMPLE.replace("[fencing]", &format!("[postgresql.on.pg2]\ncommands = {{ {commands} }}\n[fencing]"));
        rules(&parse(&text), "pg2").map(|rules| rules.iter().map(Rule::words).collect::<Vec<_>>().join(", "))
    };
    let rules = section("runuser -u postgres -- /opt/pg/pg_ctl start").expect("rules");
    assert!(rules.contains("/opt/pg/pg_ctl as postgres"), "{rules}");
    let rules = section("sudo -n /usr/bin/pg_ctlcluster 15 main start").expect("rules");
    assert!(rules.contains("/usr/bin/pg_ctlcluster 15 main start as root"), "{rules}");
    for start in ["su - postgres -c 'pg_ctl start'", "sudo -n /opt/start $(hostname)"] {
        assert!(section(start).is_err(), "{start}");
    }
}

#[test]
fn only_what_the_steps_need_stands_in_their_way() {
    let mut inventory = parse(EXAMPLE);
    for host in inventory.hosts.values_mut() {
        host.sudo = Sudo::Commands;
    }
    let all = rules(&inventory, "go1").expect("rules");
    let mut seen = crate::observe::tests::healthy();
    let denied = |words: &str| {
        let number =
            all.iter().position(|rule| rule.words().starts_with(words)).unwrap_or_else(|| panic!("{words}: {all:?}"));
        vec![(number, "/opt/bin/x".to_owned())]
    };
    let table = |intent, fence: &[&str]| {
        let decision = crate::plan::Decision {
            operation: "20261121T203000Z-test".to_owned(),
            intent,
            to: crate::place::Place::Away,
            timeline: 1,
            system_identifier: None,
            fence: fence.iter().map(|host| (*host).to_owned()).collect(),
            fence_together: false,
            power_on: Vec::new(),
            reseed: None,
            salvage_first: false,
            publish: false,
            quarantine: true,
        };
        crate::steps::table(&inventory, &decision)
    };
    seen.spoil("go1").denied = denied("vipd unassign");
    let missing = missing_for(&inventory, &seen, &table(bc_model::journal::Intent::Switchover, &[]));
    assert_eq!(missing.len(), 1, "{missing:?}");
    let of_go1 = missing[0].1.as_ref().expect("rules");
    assert_eq!((missing[0].0.as_str(), of_go1[0].path.as_str()), ("go1", "/opt/bin/x"));
    let fenced = table(bc_model::journal::Intent::Failover, &["go1", "pg1"]);
    assert_eq!(missing_for(&inventory, &seen, &fenced), vec![], "a host that is turned off needs no rule");
}
