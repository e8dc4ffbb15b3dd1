//! The configuration file: what is accepted, and the exact words for everything that is not.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what must not happen fails the test, with the place")]

use std::fmt::Write as _;
use std::time::Duration;

use vipd::config::{Config, Effect, LeaseSetting, Mode, PeerSet, Summary, describe_lease, lint, text_of};
use vipd::lease::Enforcement;
use vrrp::{Preempt, Version};

const EXAMPLE: &str = include_str!("../../../packaging/vipd.toml");

/// A file that is right, to be made wrong in one place.
const VRRP: &str = r#"
[[instance]]
name = "a"
mode = "vrrp"
interface = "eth0"
addresses = ["198.18.5.200/24"]
virtual-router-id = 51
"#;

fn parse(text: &str) -> Config {
    Config::parse("vipd.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

/// All errors of each text, in the order of the table.
fn errors<'t>(table: impl IntoIterator<Item = (&'t str, String)>) -> String {
    table.into_iter().fold(String::new(), |mut all, (what, text)| {
        let error = Config::parse("vipd.toml", &text).expect_err(what);
        writeln!(all, "── {what}\n{error}\n").unwrap();
        all
    })
}

fn with(line: &str) -> String {
    format!("{VRRP}{line}\n")
}

fn two(second: &str) -> String {
    format!("{VRRP}\n[[instance]]\nmode = \"vrrp\"\n{second}\n")
}

#[test]
fn the_commented_example_is_valid() {
    let config = parse(EXAMPLE);
    assert_eq!(config.instances.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["artifacts", "gocd"]);
    assert_eq!(lint(&config), Vec::<String>::new());
}

/// Every line that is commented out shows a real key with a value that is accepted.
#[test]
fn the_example_is_valid_with_everything_switched_on() {
    let pairs = [("inside", 1), ("outside", 2)];
    let more = pairs.map(|(name, vrid)| {
        format!(
            "[[instance]]\nname = \"{name}\"\nmode = \"vrrp\"\ninterface = \"{name}\"\naddresses = \
             [\"198.19.{vrid}.1/24\"]\nvirtual-router-id = {vrid}\n"
        )
    });
    let is_setting =
        |line: &str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let on: Vec<_> =
        EXAMPLE.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line)).collect();
    let config = parse(&format!("{}\n{}", on.join("\n"), more.join("\n")));
    assert_eq!((config.instances.len(), config.sync_groups.len()), (4, 1));
    assert!(config.hook.is_some() && config.metrics.is_some());
}

/// The parser itself says which keys there are, when it meets one that is nothing like any of them.
#[test]
fn every_key_is_described_in_the_reference() {
    const REFERENCE: &str = include_str!("../../../docs/vipd-config.md");
    let tables = [
        "",
        "[[instance]]\n",
        "[[instance]]\n[instance.unicast]\n",
        "[[check]]\n",
        "[[sync-group]]\n",
        "[hook]\n",
        "[control]\n",
        "[metrics]\n",
    ];
    for table in tables {
        let error = Config::parse("vipd.toml", &format!("{table}\"%\" = 1\n")).unwrap_err();
        let unknown = error.problems.iter().find(|problem| problem.message.contains("unknown key")).unwrap();
        let (_, keys) = unknown.message.split_once("expected one of ").unwrap();
        for key in keys.split(", ") {
            let described = [format!("`{key}`"), format!(".{key}`"), format!("[{key}]"), format!("[instance.{key}]")];
            assert!(
                described.iter().any(|words| REFERENCE.contains(words)),
                "{table}: {key} is not in docs/vipd-config.md"
            );
        }
    }
}

#[test]
fn whatever_is_left_out_has_the_documented_default() {
    let config = parse(VRRP);
    let instance = &config.instances["a"];
    let vrrp = instance.vrrp().unwrap();
    assert_eq!((vrrp.interval.version(), vrrp.interval.duration()), (Version::V3, Duration::from_secs(1)));
    assert_eq!((vrrp.priority.get(), vrrp.preempt, vrrp.startup_delay), (100, Preempt::Immediately, Duration::ZERO));
    assert_eq!((vrrp.accept, vrrp.virtual_mac, &vrrp.peers), (true, false, &PeerSet::Multicast));
    assert_eq!((instance.lease, instance.restore_limit), (LeaseSetting::Automatic, 5));
    assert_eq!(config.control.socket.to_str(), Some("/run/vipd/vipd.sock"));
    assert_eq!((&config.hook, config.metrics), (&None, None));
}

#[test]
fn the_checks_of_a_sync_group_count_for_each_of_its_members() {
    let config = parse(&format!(
        "{}{}",
        two("name = \"b\"\ninterface = \"eth1\"\naddresses = [\"198.18.6.200/24\"]\nvirtual-router-id = 52"),
        "[[check]]\nname = \"db\"\ncommand = [\"/bin/true\"]\nweight = -20\n\
         [[sync-group]]\nname = \"g\"\ninstances = [\"a\", \"b\"]\nchecks = [\"db\"]\ntrack-interfaces = [\"eth2\"]\n"
    ));
    for instance in config.instances.values() {
        let vrrp = instance.vrrp().unwrap();
        assert!(matches!(vrrp.checks[0].effect, Effect::Weight(weight) if weight.get() == -20));
        assert_eq!(vrrp.interfaces[0].effect, Effect::Fault);
    }
}

#[test]
fn an_instance_overrides_the_lease_of_the_file() {
    let text = format!("lease = false\n{VRRP}lease = \"2500ms\"\n");
    assert_eq!(parse(&text).instances["a"].lease, LeaseSetting::Fixed(Duration::from_millis(2500)));
    assert_eq!(parse(&format!("lease = false\n{VRRP}")).instances["a"].lease, LeaseSetting::Off);
}

#[test]
fn a_link_local_address_may_be_virtual_on_two_links() {
    let v6 = |name: &str, interface: &str| {
        format!(
            "[[instance]]\nname = \"{name}\"\nmode = \"vrrp\"\ninterface = \"{interface}\"\nvirtual-router-id = 7\n\
             addresses = [\"fe80::7/64\"]\n"
        )
    };
    parse(&format!("{}{}", v6("a", "eth0"), v6("b", "eth1")));
    assert!(Config::parse("f", &format!("{}{}", v6("a", "eth0"), v6("b", "eth0"))).is_err());
}

#[test]
fn one_number_serves_one_virtual_router_in_each_family_and_on_each_link() {
    let v6 =
        "name = \"b\"\ninterface = \"eth0\"\naddresses = [\"fe80::33/64\", \"fd00::200/64\"]\nvirtual-router-id = 51";
    let other_link = "name = \"b\"\ninterface = \"eth1\"\naddresses = [\"198.18.6.200/24\"]\nvirtual-router-id = 51";
    assert_eq!(parse(&two(v6)).instances.len(), 2);
    assert_eq!(parse(&two(other_link)).instances.len(), 2);
}

#[test]
fn text_that_is_no_toml() {
    let all = errors([
        ("a value without quotes", "[control]\nsocket = /run/vipd.sock\n".to_owned()),
        ("a table that is not closed", "[control\nsocket = \"/run/x\"\n".to_owned()),
        ("a key twice", "lease = true\nlease = false\n".to_owned()),
        ("a key twice in an instance", format!("{VRRP}priority = 100\n[[instance]]\npriority = 5\npriority = 6\n")),
        ("a table twice", "[control]\n[hook]\ntimeout = \"1s\"\n [control]\n".to_owned()),
        ("nothing", String::new()),
        ("no instance", "[metrics]\nlisten = \"127.0.0.1:9150\"\n".to_owned()),
        ("two errors", "lease = yes\n[hook]\ntimeout = 10s\n".to_owned()),
    ]);
    insta::assert_snapshot!(all);
}

#[test]
fn keys_that_do_not_exist() {
    let all = errors([
        ("a misspelt key", with("prioritty = 100")),
        ("keepalived's spelling", with("virtual_router_id = 51")),
        ("nothing near", with("colour = \"red\"")),
        ("a misspelt table", format!("{VRRP}[metric]\nlisten = \"127.0.0.1:9150\"\n")),
        ("a key of a table", "[hook]\ncommand = [\"/bin/true\"]\ntime-out = \"1s\"\n".to_owned()),
        ("a key of something tracked", with("track-interfaces = [{ name = \"eth1\", wait = 1 }]")),
        ("one table where there may be many", VRRP.replace("[[instance]]", "[instance]")),
        ("a value where a table belongs", "hook = \"/bin/true\"\n".to_owned()),
    ]);
    insta::assert_snapshot!(all);
}

#[test]
fn values_that_are_wrong_by_themselves() {
    let lines = [
        ("priority 0", "priority = 0"),
        ("priority 256", "priority = 256"),
        ("priority as text", "priority = \"high\""),
        ("version 4", "version = 4"),
        ("interval 0", "advertisement-interval-ms = 0"),
        ("interval as text", "advertisement-interval-ms = \"1s\""),
        ("interval with a fraction", "advertisement-interval-ms = 1.5"),
        ("an interval of half a centisecond", "advertisement-interval-ms = 15"),
        ("an interval that 12 bits cannot carry", "advertisement-interval-ms = 40960"),
        ("checksum", "checksum = \"rfc5789\""),
        ("preempt", "preempt = \"no\""),
        ("a delay without a unit", "preempt-delay = 5"),
        ("a delay that is no time", "startup-delay = \"soon\""),
        ("a negative delay", "startup-delay = \"-1s\""),
        ("a delay of a week", "startup-delay = \"168h\""),
        ("a lease as a number", "lease = 2"),
        ("a lease too short to renew", "lease = \"1ms\""),
        ("on-conflict", "on-conflict = \"fight\""),
        ("restore-limit", "restore-limit = -1"),
        ("a tracked interface", "track-interfaces = [\"eth0/1\", 7]"),
        ("a tracked interface without a name", "track-interfaces = [{ weight = 10 }]"),
        ("a weight", "track-interfaces = [{ name = \"eth1\", weight = 254 }]"),
        ("not a list", "checks = \"gocd\""),
    ];
    let one = lines.map(|(what, line)| (what, with(line)));
    let replaced = [
        ("virtual router 0", VRRP.replace("= 51", "= 0")),
        ("virtual router 256", VRRP.replace("= 51", "= 256")),
        ("a name that no file may have", VRRP.replace("\"a\"", "\"../a\"")),
        ("a name that no label may have", VRRP.replace("\"a\"", "\"a b\"")),
        ("a mode", VRRP.replace("\"vrrp\"", "\"active\"")),
        ("a long interface", VRRP.replace("eth0", "wlan-upstairs-left")),
        ("an interface alias", VRRP.replace("eth0", "eth0:1")),
        ("the loopback", VRRP.replace("eth0", "lo")),
        ("a prefix length that some take for octal", VRRP.replace("/24", "/024")),
        ("an address without a prefix length", VRRP.replace("/24", "")),
        ("a network for an address", VRRP.replace(".200/24", ".0/24")),
        ("a host name for an address", VRRP.replace("198.18.5.200", "gocd")),
        ("multicast", VRRP.replace("198.18.5.200/24", "224.0.0.18/32")),
        ("no address", VRRP.replace("\"198.18.5.200/24\"", "")),
        ("one address instead of a list", VRRP.replace("[\"198.18.5.200/24\"]", "\"198.18.5.200/24\"")),
    ];
    let all = errors(one.into_iter().chain(replaced));
    insta::assert_snapshot!(all);
}

#[test]
fn keys_that_are_missing() {
    let all = errors([
        ("everything", "[[instance]]\n".to_owned()),
        ("what an election needs", VRRP.replace("virtual-router-id = 51", "")),
        ("a check without a command", "[[check]]\nname = \"a\"\n".to_owned()),
        ("a group without instances", "[[sync-group]]\nname = \"a\"\n".to_owned()),
        ("a hook without a command", "[hook]\n".to_owned()),
        ("metrics without an address", "[metrics]\n".to_owned()),
        ("unicast without peers", with("[instance.unicast]")),
    ]);
    insta::assert_snapshot!(all);
}

#[test]
fn what_does_not_fit_together_within_an_instance() {
    let v6 = VRRP.replace("198.18.5.200/24", "fe80::33/64");
    let many: Vec<_> = (0..256).map(|n| format!("\"198.18.{}.{}/32\"", n / 200, n % 200 + 1)).collect();
    let v6_list = |count: usize| (1..=count).map(|n| format!("\"fe80::{n:x}/64\"")).collect::<Vec<_>>().join(", ");
    let v6_of = |count| v6.replace("\"fe80::33/64\"", &v6_list(count));
    assert_eq!(lint(&parse(&v6_of(90))), Vec::<String>::new(), "they fit");
    let all = errors([
        ("91 IPv6 addresses", v6_of(91)),
        ("two families", VRRP.replace("/24\"", "/24\", \"fd00::200/64\"")),
        ("two families, one unadvertised", with("unadvertised-addresses = [\"fd00::200/64\"]")),
        ("256 addresses", VRRP.replace("\"198.18.5.200/24\"", &many.join(", "))),
        ("IPv6 without a link-local address first", v6.replace("fe80::33/64", "fd00::200/64")),
        ("version 2 over IPv6", format!("{v6}version = 2\n")),
        ("version 2 below a second", with("version = 2\nadvertisement-interval-ms = 500")),
        ("version 2 beyond 255 s", with("version = 2\nadvertisement-interval-ms = 256000")),
        ("a checksum that version 2 has not", with("version = 2\nchecksum = \"rfc9568\"")),
        ("a checksum that IPv6 has not", format!("{v6}checksum = \"rfc9568\"\n")),
        ("a delay of what never happens", with("preempt = false\npreempt-delay = \"5s\"")),
        ("an owner that yields", with("priority = 255\npreempt = false\nstartup-delay = \"5s\"\naccept = false")),
        ("an owner with another MAC address", with("priority = 255\nvirtual-mac = true")),
        ("nothing that would keep packets out", with("lease = false\naccept = false")),
        ("an owner that waits", with("priority = 255\npreempt-delay = \"5s\"")),
        ("an owner with a weight", with("priority = 255\ntrack-interfaces = [{ name = \"eth1\", weight = -5 }]")),
        ("a lease that outlasts the peers' patience", with("lease = \"3001ms\"")),
        ("a lease that one late advertisement ends", with("lease = \"2s\"")),
        ("an owner with a lease", with("priority = 255\nlease = true")),
        ("the same from the top of the file", format!("lease = \"4s\"\n{VRRP}")),
        ("a managed instance with an election's keys", VRRP.replace("\"vrrp\"", "\"managed\"") + "priority = 100\n"),
        ("its own interface", with("track-interfaces = [\"eth0\"]")),
        ("an interface twice", with("track-interfaces = [\"eth1\", { name = \"eth1\", weight = 5 }]")),
        ("no peer", with("[instance.unicast]\npeers = []")),
        ("a peer of the other family", with("[instance.unicast]\npeers = [\"fd00::1\"]")),
        ("a source of the other family", with("[instance.unicast]\npeers = [\"198.18.5.1\"]\nsource = \"fd00::1\"")),
        ("itself as a peer", with("[instance.unicast]\nsource = \"198.18.5.1\"\npeers = [\"198.18.5.1\"]")),
        ("a peer twice", with("[instance.unicast]\npeers = [\"198.18.5.1\", \"198.18.5.1\"]")),
        ("a peer with a prefix", with("[instance.unicast]\npeers = [\"198.18.5.1/24\"]")),
        ("a virtual address as a peer", with("[instance.unicast]\npeers = [\"198.18.5.200\"]")),
        ("a peer that is everybody", with("[instance.unicast]\npeers = [\"255.255.255.255\", \"198.18.5.255\"]")),
        (
            "a peer that is nobody",
            with("[instance.unicast]\npeers = [\"0.0.0.0\", \"127.0.0.1\", \"224.0.0.18\", \"198.18.5.0\"]"),
        ),
        ("a TTL of 0", with("[instance.unicast]\npeers = [\"198.18.5.1\"]\nminimum-ttl = 0")),
    ]);
    insta::assert_snapshot!(all);
}

#[test]
fn what_does_not_fit_together_between_the_parts() {
    let b = "name = \"b\"\ninterface = \"eth1\"\naddresses = [\"198.18.6.200/24\"]\nvirtual-router-id = 52";
    let group = |instances: &str| format!("{}\n[[sync-group]]\nname = \"g\"\ninstances = {instances}\n", two(b));
    let check = "[[check]]\nname = \"gocd\"\ncommand = [\"/bin/true\"]\n";
    let all = errors([
        ("a name twice", two(&b.replace("\"b\"", "\"a\""))),
        ("a virtual router twice", two(&b.replace("eth1", "eth0").replace("52", "51"))),
        ("an address twice", two(&b.replace("198.18.6.200/24", "198.18.5.200/32"))),
        ("an address twice in one instance", with("unadvertised-addresses = [\"198.18.5.200/32\"]")),
        ("an unknown check", format!("{}{check}", with("checks = [\"gocdd\"]"))),
        ("a check where there is none", with("checks = [\"gocd\"]")),
        ("a check twice", format!("{check}{check}")),
        ("an unknown instance in a group", group("[\"a\", \"bb\"]")),
        ("an instance twice in a group", group("[\"a\", \"a\"]")),
        ("a group of one", group("[\"a\"]")),
        (
            "an instance in two groups",
            group("[\"a\", \"b\"]\n[[sync-group]]\nname = \"h\"\ninstances = [\"b\", \"a\"]"),
        ),
        ("a managed instance in a group", group("[\"a\", \"b\"]").replacen("\"vrrp\"", "\"managed\"", 1)),
        ("an unknown check of a group", group("[\"a\", \"b\"]\nchecks = [\"x\"]")),
        (
            "a weight of one member only",
            group("[\"a\", \"b\"]").replacen("= 51", "= 51\ntrack-interfaces = [{ name = \"eth7\", weight = 5 }]", 1),
        ),
        (
            "a check that member and group have",
            group("[\"a\", \"b\"]\nchecks = [\"gocd\"]").replacen("= 51", "= 51\nchecks = [\"gocd\"]", 1) + check,
        ),
    ]);
    insta::assert_snapshot!(all);
}

#[test]
fn services_that_are_wrong() {
    let all = errors([
        ("a command through the PATH", "[[check]]\nname = \"a\"\ncommand = [\"curl\", \"-f\"]\n".to_owned()),
        ("a command line", "[[check]]\nname = \"a\"\ncommand = \"/bin/curl -f\"\n".to_owned()),
        ("a command of no words", "[hook]\ncommand = []\n".to_owned()),
        ("a zero byte", "[hook]\ncommand = [\"/bin/tr\\u0000ue\", \"/bin/false\"]\n".to_owned()),
        ("a rise of 0", "[[check]]\nname = \"a\"\ncommand = [\"/bin/true\"]\nrise = 0\nfall = 0\n".to_owned()),
        ("an interval of 0", "[[check]]\nname = \"a\"\ncommand = [\"/bin/true\"]\ninterval = \"0s\"\n".to_owned()),
        ("a user", "[[check]]\nname = \"a\"\ncommand = [\"/bin/true\"]\nuser = \"a b\"\n".to_owned()),
        ("a relative socket", "[control]\nsocket = \"vipd.sock\"\n".to_owned()),
        ("a long socket", format!("[control]\nsocket = \"/run/{}\"\n", "x".repeat(103))),
        ("users and groups", "[control]\nusers = [\"\", -1]\ngroups = [true]\n".to_owned()),
        ("an address without a port", "[metrics]\nlisten = \"127.0.0.1\"\n".to_owned()),
        ("metrics for a group", "[metrics]\nlisten = \"224.0.0.1:80\"\n".to_owned()),
        ("metrics for everybody", "[metrics]\nlisten = \"255.255.255.255:80\"\n".to_owned()),
        ("a port alone", "[metrics]\nlisten = 9150\n".to_owned()),
    ]);
    insta::assert_snapshot!(all);
}

/// One run shows everything that is wrong, in the order of the file.
#[test]
fn all_errors_are_reported_at_once() {
    let text = r#"[[instance]]
name = "a"
mode = "vrrp"
interface = "eth0"
addresses = ["198.18.5.200/24", "fd00::1/64", "x"]
virtual-router-id = 0
priority = 0
advertisment-interval-ms = 1000
checks = ["nothing"]

[metrics]
listen = "9150"
"#;
    let error = Config::parse("vipd.toml", text).unwrap_err();
    let lines: Vec<_> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [5, 5, 6, 7, 8, 9, 12], "{error}");
    insta::assert_snapshot!(error);
}

#[test]
fn a_hostile_line_is_cut_and_made_harmless() {
    let long = "x".repeat(5000);
    let lines =
        ["lease = \"{}\"", "lease = \"{}\u{1b}[2J\"", "{} = 1", "[[instance]]\nname = \"{}\"\ninterface = \"{}\""];
    for text in lines.map(|line| line.replace("{}", &long)) {
        let error = Config::parse("vipd.toml", &text).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error:?}");
        assert!(error.lines().all(|line| line.chars().count() < 400), "{error}");
    }
}

#[test]
fn the_summary_says_what_the_daemon_will_do() {
    let config = parse(EXAMPLE);
    let summary = Summary::of(&config, |instance| describe_lease(instance, Enforcement::DeadMan));
    let election = summary.instances[1].election.as_ref().unwrap();
    // (256 − 150) × 1 s / 256, and three intervals more (RFC 9568 §6.1).
    assert!((election.skew_time_ms - 414.0625).abs() < 1e-9);
    assert!((election.active_down_interval_ms - 3414.0625).abs() < 1e-9);
    let all = summary.instances.iter().map(|instance| &*instance.lease).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(all);
    assert!(matches!(config.instances["artifacts"].mode, Mode::Managed));
}

#[test]
fn a_file_of_another_encoding_is_shown_where_it_is_wrong() {
    let bytes = [VRRP.as_bytes(), b"# f\xfcr die Agenten\n"].concat();
    let error = text_of("vipd.toml", &bytes).unwrap_err();
    let words = "vipd.toml:8:4: found the byte 0xfc, expected UTF-8\n  |\n8 | # f\u{fffd}r die Agenten\n  |    ^\n  = hint: iconv -f latin1 \
                 -t utf-8 FILE, if that is what it is";
    assert_eq!(error.to_string(), words);
}

#[test]
fn an_address_that_not_every_system_takes_is_worth_a_warning() {
    let warnings = lint(&parse(&VRRP.replace("198.18.5.200", "240.0.0.1")));
    let words = "instance a: 240.0.0.1 is reserved (240.0.0.0/4): Linux takes it, but many routers and other systems drop its \
                 packets";
    assert_eq!(warnings, [words]);
}

#[test]
fn a_socket_has_the_longest_path_that_the_kernel_takes() {
    let path = format!("/run/{}", "x".repeat(102));
    assert_eq!(parse(&format!("{VRRP}[control]\nsocket = {path:?}\n")).control.socket.to_str(), Some(&*path));
}
