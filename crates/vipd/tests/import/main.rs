//! `vipd import`: keepalived.conf in, vipd.toml and a list of what stayed behind out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what must not happen fails the test, with the place")]

mod election;
mod tracking;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use proptest::prelude::*;
use vipd::config::{Config, PeerSet};
use vipd::import::{Import, Place, import};
use vrrp::{Preempt, Version};

/// What is found in the field, and what contradicts itself.
const FIELD: &str = concat!(include_str!("import.conf"), include_str!("contradictions.conf"));

const SAMPLES: &str = "/usr/share/doc/keepalived/samples";

fn no_includes(_: &str, _: &str) -> io::Result<Vec<(String, String)>> {
    Err(io::Error::new(io::ErrorKind::NotFound, "there are no files here"))
}

fn imported(text: &str) -> Import {
    import("keepalived.conf", text, "high", &no_includes).unwrap_or_else(|error| panic!("{error}"))
}

fn config(text: &str) -> Config {
    let import = imported(text);
    Config::parse("imported", &import.toml).unwrap_or_else(|error| panic!("{error}\n{}", import.toml))
}

fn malformed(text: &str) -> String {
    import("keepalived.conf", text, "high", &no_includes).unwrap_err().to_string()
}

/// One instance on eth0 with more lines in its block.
fn instance(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {{\n 198.18.0.100/24\n }}\n{more}\n}}\n"
    )
}

fn notes(import: &Import) -> Vec<String> {
    import.notes.iter().map(ToString::to_string).collect()
}

/// The lines that say something: neither empty, nor a comment, nor braces and backslashes alone.
fn telling_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered =
        text.lines().enumerate().map(|(index, line)| (index + 1, line.split(['#', '!']).next().unwrap_or(line)));
    numbered.filter(|(_, line)| !line.chars().all(|c| c.is_whitespace() || matches!(c, '{' | '}' | '\\')))
}

fn assert_every_line_is_accounted_for(name: &str, text: &str, import: &Import) {
    let carried: BTreeSet<usize> = import.carried.iter().map(|Place { line, .. }| *line).collect();
    for (line, words) in telling_lines(text) {
        let noted = import.notes.iter().any(|note| (note.place.line..=note.last_line).contains(&line));
        assert!(
            carried.contains(&line) || noted,
            "{name}:{line}: {words}: neither carried over nor listed\n{import:#?}"
        );
    }
}

#[test]
fn a_real_configuration_comes_over_with_its_losses_named() {
    let import = imported(include_str!("import.conf"));
    assert_every_line_is_accounted_for("import.conf", include_str!("import.conf"), &import);
    Config::parse("imported", &import.toml).unwrap();
    insta::assert_snapshot!(import.toml);
}

#[test]
fn whatever_contradicts_itself_is_accounted_for() {
    let import = imported(FIELD);
    assert_every_line_is_accounted_for("FIELD", FIELD, &import);
    let config = Config::parse("imported", &import.toml).unwrap_or_else(|error| panic!("{error}\n{}", import.toml));
    for name in ["OWNER", "MEMBER", "SINGLE"] {
        assert!(config.instances.contains_key(name), "{import:#?}");
    }
}

/// Everything that keepalived ships as an example.
#[test]
fn every_sample_of_keepalived_is_carried_over_or_listed_line_by_line() {
    // dpkg may have left them out, and their directory not.
    if !Path::new(SAMPLES).join("keepalived.conf.vrrp").is_file() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{SAMPLES} is missing: testenv/setup test");
        eprintln!("SKIPPED: {SAMPLES} is missing; `testenv/setup test` installs keepalived with them");
        return;
    }
    let mut instances = BTreeMap::new();
    for entry in std::fs::read_dir(SAMPLES).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("keepalived.conf") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for config_id in ["high", "low", "other"] {
            let import = import(&name, &text, config_id, &no_includes).unwrap_or_else(|error| panic!("{error}"));
            assert_every_line_is_accounted_for(&name, &text, &import);
            if import.instances > 0 {
                Config::parse(&name, &import.toml).unwrap_or_else(|error| panic!("{error}\n{}", import.toml));
            } else {
                assert_eq!(import.toml, "", "{name}");
                assert!(!import.notes.is_empty(), "{name}");
            }
            instances.insert(name.trim_start_matches("keepalived.conf.").to_owned(), import.instances);
        }
    }
    let expected = [
        ("SSL_GET", 1),
        ("conditional_conf", 1),
        ("sample", 1),
        ("track_interface", 1),
        ("vrrp", 4),
        ("vrrp.localcheck", 9),
        ("vrrp.lvs_syncd", 3),
        ("vrrp.routes", 1),
        ("vrrp.rules", 1),
        ("vrrp.scripts", 3),
        ("vrrp.static_ipaddress", 1),
        ("vrrp.sync", 9),
    ];
    instances.retain(|_, count| *count > 0);
    assert_eq!(instances, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[test]
fn the_version_is_keepalived_s_default_unless_said_otherwise() {
    let version = |text: &str| config(text).instances["VI_1"].vrrp().unwrap().interval.version();
    assert_eq!(version(&instance("")), Version::V2);
    assert_eq!(version(&instance("version 3")), Version::V3);
    assert_eq!(version(&(instance("") + "global_defs {\n vrrp_version 3\n}\n")), Version::V3);
    assert_eq!(version(&instance("").replace("198.18.0.100/24", "fe80::1/64")), Version::V3);
}

#[test]
fn fractions_of_a_second_are_carried_by_version_3_and_rounded_by_version_2() {
    let of = |lines: &str| {
        let import = imported(&instance(lines));
        let config = Config::parse("imported", &import.toml).unwrap();
        (config.instances["VI_1"].vrrp().unwrap().interval.duration().as_millis(), notes(&import))
    };
    assert_eq!(of("version 3\nadvert_int 0.25"), (250, vec![]));
    let rounded =
        |line, to, unit| vec![format!("keepalived.conf:{line}: advert_int {to}: the protocol counts in {unit} ms")];
    assert_eq!(of("advert_int 1.6"), (2000, rounded(7, "1.6: rounded to 2000 ms", 1000)));
    assert_eq!(of("version 3\nadvert_int 0.123"), (120, rounded(8, "0.123: rounded to 120 ms", 10)));
}

#[test]
fn an_interval_that_no_advertisement_carries_leaves_the_instance_behind() {
    let import = imported(&instance("version 3\nadvert_int 60"));
    assert_eq!(import.instances, 0);
    assert_eq!(
        notes(&import),
        ["keepalived.conf:1-9: vrrp_instance VI_1: 60000 ms is outside 10 to 40950 ms, the range of VRRP version 3"]
    );
}

#[test]
fn unicast_peers_come_over_without_oneself() {
    let import = imported(&instance(
        "unicast_src_ip 198.18.0.1\nunicast_peer {\n 198.18.0.1\n 198.18.0.2 min_ttl 254 max_ttl 255\n}",
    ));
    let config = Config::parse("imported", &import.toml).unwrap();
    let PeerSet::Unicast(unicast) = &config.instances["VI_1"].vrrp().unwrap().peers else { panic!("{config:?}") };
    assert_eq!((unicast.peers.len(), unicast.minimum_ttl), (1, 254));
    assert_eq!(notes(&import).len(), 1, "max_ttl is not carried over: {import:?}");
}

#[test]
fn strict_mode_means_that_packets_are_not_accepted() {
    let accept = |text: &str| config(text).instances["VI_1"].vrrp().unwrap().accept;
    assert!(accept(&instance("")));
    assert!(!accept(&instance("no_accept")));
    assert!(!accept(&(instance("") + "global_defs {\n vrrp_strict\n}")));
    assert!(accept(&(instance("accept\nversion 3") + "global_defs {\n vrrp_strict\n}")));
}

#[test]
fn an_ipv6_instance_gets_the_link_local_address_that_it_must_have() {
    let ula = instance("").replace("198.18.0.100/24", "fd00::100/64");
    let import = imported(&ula);
    assert_eq!(config(&ula).instances["VI_1"].addresses[0].to_string(), "fe80::33/64");
    assert!(notes(&import)[0].contains("fe80::33/64 was added"), "{import:?}");
    let last = instance("").replace("198.18.0.100/24", "fd00::100/64\n fe80::7/64");
    let addresses = &config(&last).instances["VI_1"].addresses;
    assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fe80::7/64", "fd00::100/64"]);
}

/// The places are those of the file that was read, never of the one that was written on the way.
#[test]
fn what_vipd_cannot_run_is_left_behind_whole() {
    let second = instance("").replace("VI_1", "VI_2").replace("0.100", "0.101");
    let import = imported(&(instance("") + &second));
    assert_eq!(import.instances, 1);
    assert_eq!(
        notes(&import),
        [
            "keepalived.conf:9-16: vrrp_instance VI_2: found 51, expected a number of its own: on eth0 (IPv4) it is instance \"VI_1\" \
          already (keepalived.conf:1)"
        ]
    );
}

#[test]
fn names_become_names() {
    let import = imported(&instance("").replace("VI_1", "\"VI 1/a\""));
    let config = Config::parse("imported", &import.toml).unwrap();
    assert!(config.instances.contains_key("VI-1-a"), "{config:?}");
    assert_eq!(import.notes.len(), 1);
}

#[test]
fn two_names_never_become_one() {
    let second = instance("").replace("VI_1", "\"VI 1+a\"").replace("0.100", "0.101").replace("51", "52");
    let config = config(&(instance("").replace("VI_1", "\"VI 1/a\"") + &second));
    assert_eq!(config.instances.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["VI-1-a", "VI-1-a-2"]);
}

#[test]
fn parameters_are_replaced_as_the_manual_says() {
    let addresses = |text: &str| {
        let import = imported(text);
        let config = Config::parse("imported", &import.toml).unwrap_or_else(|error| panic!("{error}\n{import:#?}"));
        let all = config.instances.values().flat_map(|instance| instance.addresses.clone()).collect::<Vec<_>>();
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let base = "$BASE=198.18.${SUB}\n$SUB=0\n";
    let nested =
        format!("{base}{}", instance("").replace("198.18.0.100/24", "${BASE}.100/32\n$SUB=10\n${BASE}.100/32"));
    assert_eq!(addresses(&nested), ["198.18.0.100/32", "198.18.10.100/32"]);
    let template = "$I= \\\nvrrp_instance VI_${NUM} { \\\n interface eth0.${NUM} \\\n virtual_router_id 1 \\\n \
                    @high priority 130 \\\n @low priority 120 \\\n virtual_ipaddress { \\\n 198.18.${NUM}.254/24 \\\n } \\\n}\n\
                    \n$NUM=0\n$I\n\n$NUM=1\n$I\n";
    assert_eq!(addresses(template), ["198.18.0.254/24", "198.18.1.254/24"]);
    let undefined = instance("notify \"/bin/x ${UNDEFINED} $ALSO\"");
    assert!(notes(&imported(&undefined))[0].contains("${UNDEFINED} $ALSO"));
}

#[test]
fn conditions_decide_by_the_config_id() {
    let text = instance("@high priority 170\n@low priority 85\n@^high nopreempt");
    let vrrp = config(&text).instances["VI_1"].vrrp().cloned().unwrap();
    assert_eq!((vrrp.priority.get(), vrrp.preempt), (170, Preempt::Immediately));
    let import = imported(&text);
    assert_eq!(import.notes.iter().map(|note| note.place.line).collect::<Vec<_>>(), [8, 9]);
}

#[test]
fn included_files_are_read_and_named() {
    let files = |pattern: &str, from: &str| {
        assert_eq!((pattern, from), ("conf.d/*.conf", "/etc/keepalived/keepalived.conf"));
        Ok(vec![("/etc/keepalived/conf.d/a.conf".to_owned(), instance("\n\n bogus 1"))])
    };
    let import = import("/etc/keepalived/keepalived.conf", "include conf.d/*.conf\n", "x", &files).unwrap();
    assert_eq!(import.instances, 1);
    assert_eq!(
        notes(&import),
        ["/etc/keepalived/conf.d/a.conf:9: bogus 1: the keyword is not known in a vrrp_instance"]
    );
    let missing = imported(&format!("include /nowhere/*\n{}", instance("")));
    assert_eq!(notes(&missing), ["keepalived.conf:1: include /nowhere/*: there are no files here"]);
}

#[test]
fn malformed_files_are_refused_with_the_line() {
    assert_eq!(
        malformed("vrrp_instance VI_1 {\n interface \"lo\n}\n"),
        "keepalived.conf:2: a quote (\") is opened and not closed"
    );
    assert_eq!(
        malformed("\nvrrp_instance VI_1 {\n interface lo\n"),
        "keepalived.conf:2: the block of `vrrp_instance` is never closed: `}` is missing"
    );
    assert_eq!(malformed("global_defs {\n}\n}\n"), "keepalived.conf:3: `}` without a block to close");
    assert_eq!(
        malformed("a {\n}\n~SEQ(i, 1, 3) vrrp_instance VI_$i {\n interface eth0\n}\n"),
        "keepalived.conf:3: a sequence or a list repeats one line, and the blocks of this one do not end in it"
    );
    assert_eq!(malformed("{\n}\n"), "keepalived.conf:1: `{` without a keyword before it");
    assert_eq!(malformed(&"a {\n".repeat(100)), "keepalived.conf:33: blocks nest too deeply");
    assert_eq!(
        malformed("$A=x $B\n$B=y $A\nz $A\n"),
        "keepalived.conf:3: the parameters in this line are replaced without end"
    );
    let doubling: String = (1..64).map(|n| format!("$A{n}=${{A{m}}}${{A{m}}}\n", m = n - 1)).collect();
    assert!(malformed(&format!("$A0=x\n{doubling}z ${{A63}}\n")).contains("without end"));
    // Each replacement moves the rest of its line, so that 37 bytes once took 40 seconds and a gigabyte.
    let long = format!("$A={}\nz ${{A}}{}\n", "x".repeat(100), " $A".repeat(200));
    assert!(malformed(&long).contains("2: the parameters in this line are replaced without end"));
    assert!(malformed("$d=$dM\\ST $d\\\n m\nO@\\/\nO $d\\\n m").contains("without end"));
    let itself = |_: &str, from: &str| Ok(vec![(from.to_owned(), "include x\n".to_owned())]);
    assert_eq!(import("a", "include x\n", "x", &itself).unwrap_err().to_string(), "a:1: a includes itself");
}

#[test]
fn nothing_worth_having_is_nothing() {
    let import = imported("virtual_server 198.18.0.1 80 {\n delay_loop 6\n}\n");
    assert_eq!((import.instances, import.toml.as_str()), (0, ""));
    assert_eq!(import.notes.len(), 1);
}

/// Lines of a real file in any order and number, cut and joined: what an editor leaves behind.
fn mangled() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> = FIELD.lines().chain(["{", "}", "$A=x $A", "~SEQ(x)", "\\"]).collect();
    let line = prop_oneof![20 => proptest::sample::select(lines).prop_map(str::to_owned), 1 => ".{0,30}"];
    proptest::collection::vec((line, 0..4u8), 0..60)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + if end == 0 { " " } else { "\n" }).collect())
}

/// Whole blocks of a real file, each perhaps without some of its lines.
fn thinned() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<bool>(), FIELD.lines().count()).prop_map(move |keep| {
        let kept = |(line, keep): (&'static str, bool)| (keep || line.contains(['{', '}'])).then_some(line);
        FIELD.lines().zip(keep).filter_map(kept).collect::<Vec<_>>().join("\n")
    })
}

/// A file with characters that mean something where none were.
fn scratched() -> impl Strategy<Value = String> {
    let scratch = ("[{}\"'\\\\$@#!~, \n]", any::<prop::sample::Index>());
    (thinned(), proptest::collection::vec(scratch, 0..6)).prop_map(|(mut text, scratches)| {
        for (scratch, at) in scratches {
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            text.insert_str(at, &scratch);
        }
        text
    })
}

proptest! {
    #[test]
    fn any_text_is_imported_or_refused(text in prop_oneof![mangled(), thinned(), scratched(), ".{0,200}"]) {
        if let Ok(import) = import("fuzzed", &text, "high", &no_includes) {
            prop_assert_eq!(import.instances == 0, import.toml.is_empty());
            if import.instances > 0 {
                let config = Config::parse("imported", &import.toml);
                prop_assert!(config.is_ok(), "{}\n{}", config.unwrap_err(), import.toml);
                prop_assert_eq!(config.unwrap().instances.len(), import.instances);
            }
        }
    }

    #[test]
    fn every_line_of_a_thinned_file_is_accounted_for(text in prop_oneof![thinned(), scratched()]) {
        let import = import("thinned", &text, "high", &no_includes);
        if let Ok(import) = import {
            assert_every_line_is_accounted_for("thinned", &text, &import);
        }
    }
}
