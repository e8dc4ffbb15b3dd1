//! Reload: what a change of the file changes, and what it must leave alone.

#![expect(clippy::unwrap_used, reason = "what must not happen fails the test, with the place")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use vipd::config::{Change, Config, Held, How, InstanceChange, apply, describe, diff};

fn parse(text: &str) -> Config {
    Config::parse("vipd.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

fn one(name: &str, lines: &str) -> Config {
    let defaults = [
        ("mode", "\"vrrp\""),
        ("interface", "\"eth0\""),
        ("addresses", "[\"198.18.5.200/24\"]"),
        ("virtual-router-id", "51"),
    ];
    let mut text = format!("[[instance]]\nname = \"{name}\"\n");
    for (key, value) in defaults.iter().filter(|(key, _)| !lines.starts_with(key)) {
        writeln!(text, "{key} = {value}").unwrap();
    }
    parse(&(text + lines + "\n"))
}

fn only_change(old: &Config, new: &Config) -> InstanceChange {
    match diff(old, new).as_slice() {
        [Change::Instance(change)] => (**change).clone(),
        other => panic!("expected one changed instance: {other:?}"),
    }
}

#[test]
fn what_peers_do_not_know_an_instance_by_changes_in_place() {
    for (line, key) in [
        ("priority = 150", "priority"),
        ("advertisement-interval-ms = 100", "advertisement-interval-ms"),
        ("addresses = [\"198.18.5.200/24\", \"198.18.5.201/24\"]", "addresses"),
        ("unadvertised-addresses = [\"198.18.5.201/24\"]", "unadvertised-addresses"),
        ("preempt = false", "preempt"),
        ("checksum = \"rfc9568\"", "checksum"),
        ("lease = \"2500ms\"", "lease"),
        ("on-conflict = \"release\"", "on-conflict"),
        ("restore-limit = 0", "restore-limit"),
        ("startup-delay = \"9s\"", "startup-delay"),
        ("accept = false", "accept"),
        ("track-interfaces = [\"eth1\"]", "track-interfaces"),
        ("unicast = { peers = [\"198.18.5.2\"] }", "unicast"),
    ] {
        let change = only_change(&one("a", ""), &one("a", line));
        assert_eq!((change.how, change.keys.as_slice()), (How::InPlace, [key].as_slice()), "{line}");
        assert_eq!(change.removed, [], "{line}");
    }
}

#[test]
fn what_peers_know_an_instance_by_begins_it_anew() {
    for (line, key) in [
        ("virtual-router-id = 52", "virtual-router-id"),
        ("version = 2", "version"),
        ("interface = \"eth1\"", "interface"),
        ("virtual-mac = true", "virtual-mac"),
    ] {
        let change = only_change(&one("a", ""), &one("a", line));
        assert_eq!((change.how, change.keys.as_slice()), (How::Restart, [key].as_slice()), "{line}");
    }
    let managed = parse(
        "[[instance]]\nname = \"a\"\nmode = \"managed\"\ninterface = \"eth0\"\naddresses = [\"198.18.5.200/24\"]",
    );
    let change = only_change(&one("a", ""), &managed);
    assert_eq!((change.how, change.keys.as_slice()), (How::Restart, ["mode"].as_slice()));
    assert_eq!(change.removed, [], "the address stays where it is");
}

#[test]
fn a_renamed_instance_goes_on() {
    let change = only_change(&one("a", ""), &one("b", "priority = 150"));
    assert_eq!((change.how, change.from.as_str()), (How::InPlace, "a"));
    assert_eq!(change.keys, ["name", "priority"]);
}

#[test]
fn an_address_that_moves_to_another_instance_is_never_dropped() {
    let instance = |name: &str, vrid: u8, addresses: &str| {
        format!(
            "[[instance]]\nname = \"{name}\"\nmode = \"vrrp\"\ninterface = \"eth0\"\nvirtual-router-id = {vrid}\n\
             addresses = [{addresses}]\n"
        )
    };
    let old =
        parse(&(instance("a", 1, "\"198.18.5.1/24\", \"198.18.5.2/24\"") + &instance("b", 2, "\"198.18.5.3/24\"")));
    let new =
        parse(&(instance("a", 1, "\"198.18.5.1/24\"") + &instance("b", 2, "\"198.18.5.3/24\", \"198.18.5.2/24\"")));
    for change in diff(&old, &new) {
        let Change::Instance(change) = change else { panic!("{change:?}") };
        assert_eq!((change.added, change.removed, change.how), (vec![], vec![], How::InPlace));
    }
    let gone = parse(&instance("b", 2, "\"198.18.5.3/24\", \"198.18.5.2/24\""));
    let Some(Change::Stop { removed, .. }) = diff(&old, &gone).into_iter().next() else { panic!("a is gone") };
    assert_eq!(removed.iter().map(|held| held.address.to_string()).collect::<Vec<_>>(), ["198.18.5.1/24"]);
}

/// What a generated instance is made of; combined at random, most of them are valid configurations.
type Seed = (u8, bool, u8, u8, u8, u8, u8, bool);

fn render(seeds: &[Seed], hook: bool, checks: u8) -> String {
    let mut text = String::new();
    for (index, (name, vrrp, interface, vrid, priority, addresses, lease, check)) in seeds.iter().enumerate() {
        // Each instance draws from addresses of its own parity, or from those that all share.
        let own = |bit: &u8| addresses & (1 << bit) != 0 && (usize::from(*bit) % 3 == index % 3 || *bit == 7);
        let list: Vec<_> = (0..8).filter(own).map(|bit| format!("\"198.18.5.{}/24\"", bit + 1)).collect();
        writeln!(
            text,
            "[[instance]]\nname = \"n{name}\"\ninterface = \"eth{interface}\"\naddresses = [{}]",
            list.join(", ")
        )
        .unwrap();
        writeln!(text, "lease = {}", ["true", "false", "\"2500ms\""][usize::from(lease % 3)]).unwrap();
        if *vrrp {
            writeln!(text, "mode = \"vrrp\"\nvirtual-router-id = {vrid}\npriority = {priority}").unwrap();
            if *check && checks > 0 {
                writeln!(text, "checks = [\"c0\"]").unwrap();
            }
        } else {
            writeln!(text, "mode = \"managed\"").unwrap();
        }
    }
    for check in 0..checks {
        writeln!(text, "[[check]]\nname = \"c{check}\"\ncommand = [\"/bin/true\"]\nrise = {}", seeds.len() + 1)
            .unwrap();
    }
    if hook {
        writeln!(text, "[hook]\ncommand = [\"/bin/true\"]").unwrap();
    }
    text
}

fn config() -> impl Strategy<Value = Config> {
    let seed = (0..4u8, any::<bool>(), 0..2u8, 1..4u8, 1..=254u8, 1..=255u8, 0..3u8, any::<bool>());
    (proptest::collection::vec(seed, 0..4), any::<bool>(), 0..3u8)
        .prop_filter_map("not a valid configuration", |(seeds, hook, checks)| {
            Config::parse("generated", &render(&seeds, hook, checks)).ok()
        })
}

fn held(config: &Config) -> BTreeSet<Held> {
    config
        .instances
        .values()
        .flat_map(|instance| instance.held().map(|address| Held { interface: instance.interface.clone(), address }))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn the_changes_lead_from_the_old_to_the_new(old in config(), new in config()) {
        prop_assert_eq!(apply(old.clone(), &diff(&old, &new)), new);
    }

    #[test]
    fn nothing_changes_when_nothing_differs(config in config()) {
        prop_assert_eq!(diff(&config, &config), Vec::new());
    }

    #[test]
    fn an_instance_that_is_the_same_is_left_alone(old in config(), new in config()) {
        for change in diff(&old, &new) {
            match change {
                Change::Instance(change) => {
                    prop_assert_ne!(&old.instances[&change.from], &change.to);
                    prop_assert!(!change.keys.is_empty());
                }
                Change::Start(instance) => prop_assert!(!old.instances.contains_key(&instance.name)),
                Change::Stop { name, .. } => prop_assert!(!new.instances.contains_key(&name)),
                Change::SetCheck(check) => prop_assert_ne!(old.checks.get(&check.name), Some(&check)),
                _ => {}
            }
        }
    }

    #[test]
    fn no_address_that_stays_is_removed_and_every_one_that_goes_is(old in config(), new in config()) {
        let (before, after) = (held(&old), held(&new));
        let mut removed = BTreeSet::new();
        for change in diff(&old, &new) {
            match change {
                Change::Instance(change) => {
                    prop_assert!(change.added.iter().all(|held| !before.contains(held)));
                    removed.extend(change.removed);
                }
                Change::Stop { removed: gone, .. } => removed.extend(gone),
                _ => {}
            }
        }
        prop_assert_eq!(removed, before.difference(&after).cloned().collect::<BTreeSet<_>>());
    }

    /// The parser's contract: any text gives a configuration or errors with places, never a panic.
    #[test]
    fn any_text_is_accepted_or_refused(text in "(\\[\\[?(instance|check|hook)\\]?\\]\n|[a-z-]{1,12} = (\"[^\"]{0,9}\"|[0-9]{1,5}|\\[\\]|true)\n|.{0,20}\n){0,12}") {
        if let Err(error) = Config::parse("fuzzed", &text) {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(error.problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
        }
    }
}

#[test]
fn what_a_reload_has_done_is_said_in_one_line() {
    let said = |old: &Config, new: &Config| describe(&diff(old, new));
    let a = one("a", "");
    assert_eq!(said(&a, &a), "nothing has changed");
    assert_eq!(said(&a, &one("a", "priority = 150")), "reloaded, 1 change: instance a: priority");
    let other = one("b", "addresses = [\"198.18.5.201/24\"]");
    let (mut both, mut alone) = (a.clone(), other.clone());
    both.instances.extend(other.instances);
    assert_eq!(said(&a, &both), "reloaded, 1 change: instance b is new");
    alone.metrics = "127.0.0.1:9150".parse().ok();
    assert_eq!(said(&both, &alone), "reloaded, 2 changes: the metrics; instance a is gone");
    let anew = said(&a, &one("a", "virtual-router-id = 53"));
    assert_eq!(anew, "reloaded, 1 change: instance a: virtual-router-id, which begins anew");
    assert_eq!(said(&a, &one("c", "")), "reloaded, 1 change: instance a: name; it is c now");
    let mut many = a.clone();
    for number in 60..75 {
        let name = format!("x{number}");
        many.instances.extend(one(&name, &format!("virtual-router-id = {number}")).instances);
    }
    let said = said(&a, &many);
    assert!(said.starts_with("reloaded, 15 changes: instance x60 is new; ") && said.ends_with(" and 3 more"), "{said}");
}
