//! What a host's answer means.

use super::*;

const UNIT: &str = "postgresql@15-main.service";
const ADDRESSES: &str = "addresses\n1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n\
    2: eth0    inet 198.18.5.13/24 brd 198.18.5.255 scope global eth0\\       valid_lft forever\n";
const HELD: &str = "2: eth0    inet 198.18.5.200/24 scope global secondary eth0\\       valid_lft forever\n";

fn unit(load: &str, active: &str, pid: &str) -> String {
    format!("unit {UNIT}\nMainPID={pid}\nLoadState={load}\nActiveState={active}\n")
}

fn services() -> Services {
    Services {
        units: vec![UNIT.to_owned()],
        vips: vec![Vip::parse("198.18.5.200/24 dev eth0").unwrap()],
        gate_directory: GATE_DIRECTORY.to_owned(),
        ..Services::default()
    }
}

fn looked(answer: &str) -> NodeState {
    services().look(&format!("gate set\n{answer}")).state
}

#[test]
fn a_host_is_off_when_its_services_are_stopped_and_the_address_is_gone() {
    let table = [
        (unit("loaded", "inactive", "0"), NodeState::Off),
        (unit("loaded", "failed", "0"), NodeState::Off),
        (unit("masked", "inactive", "0"), NodeState::Off),
        (unit("loaded", "active", "77"), NodeState::On),
        (unit("loaded", "reloading", "77"), NodeState::On),
        (unit("loaded", "deactivating", "77"), NodeState::Unknown),
        (unit("loaded", "activating", "0"), NodeState::Unknown),
        (unit("loaded", "failed", "77"), NodeState::Unknown),
        (unit("not-found", "inactive", "0"), NodeState::Unknown),
        (unit("", "", ""), NodeState::Unknown),
        (String::new(), NodeState::Unknown),
    ];
    for (said, state) in table {
        assert_eq!(looked(&format!("{said}{ADDRESSES}end\n")), state, "{said}");
    }
}

#[test]
fn an_address_that_is_still_there_is_on() {
    assert_eq!(looked(&format!("{}{ADDRESSES}{HELD}end\n", unit("loaded", "inactive", "0"))), NodeState::On);
}

#[test]
fn an_answer_that_was_cut_off_is_unknown() {
    let whole = format!("{}{ADDRESSES}end\n", unit("loaded", "inactive", "0"));
    for end in 0..whole.len() - 1 {
        assert_ne!(looked(&whole[..end]), NodeState::Off, "{}", &whole[..end]);
    }
}

#[test]
fn ipv6_addresses_are_compared_as_addresses() {
    let vip = Vip::parse("fd00:5::0200/64 dev eth0").unwrap();
    let said = "addresses\n2: eth0    inet6 fd00:5::200/64 scope global \\       valid_lft forever\nend\n";
    let answer = Services { vips: vec![vip], ..Services::default() }.look(&format!("gate set\n{said}"));
    assert_eq!((answer.state, answer.detail.as_str()), (NodeState::On, "fd00:5::200 is on eth0"));
}

#[test]
fn malformed_vips_and_units_are_refused() {
    for text in [
        "198.18.5.200/24",
        "198.18.5.200 dev eth0",
        "198.18.5.200/24 dev -x",
        "198.18.5.200/24 dev a'b",
        "x/24 dev eth0",
        "198.18.5.200/24 via eth0",
        "198.18.5.200/24 dev eth0 eth1",
    ] {
        assert_eq!(Vip::parse(text), None, "{text}");
    }
    for name in ["", "-x.service", "a b.service", "a'b.service", "$(id).service"] {
        assert!(!is_unit_name(name), "{name}");
    }
    assert!(is_unit_name("postgresql@15-main.service") && is_unit_name(r"dev-disk-by\x2duuid.mount"));
}

#[test]
fn without_the_gate_a_stopped_host_proves_nothing() {
    let stopped = format!("{}{ADDRESSES}end\n", unit("loaded", "inactive", "0"));
    let set = services().look(&format!("gate set\n{stopped}"));
    assert_eq!((set.state, set.at_most), (NodeState::Off, None));
    let missing = services().look(&format!("gate missing\n{stopped}"));
    assert_eq!((missing.state, missing.at_most), (NodeState::Off, Some(Grade::X)));
    assert!(missing.detail.ends_with("the boot gate is not set"), "{}", missing.detail);
}

const DATA: &str = "/var/lib/postgresql/15/main";
const SOCKETS: &str = "sockets\n  sl  local_address rem_address   st tx_queue\n";

fn postgresql(processes: &str, sockets: &str) -> NodeState {
    let services = Services { data_directories: vec![DATA.into()], ports: vec![5432], ..Services::default() };
    services.look(&format!("gate set\nprocesses {DATA}\n{processes}{sockets}end\n")).state
}

#[test]
fn postgresql_is_off_when_no_process_is_in_its_directory_and_nobody_listens() {
    let listens = "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000\n";
    let talks = "   0: 0100007F:1538 0100007F:A1B2 01 00000000:00000000 00:00000000\n";
    assert_eq!(postgresql("", SOCKETS), NodeState::Off);
    assert_eq!(postgresql("/proc/77/cwd\n", SOCKETS), NodeState::On);
    assert_eq!(postgresql("", &format!("{SOCKETS}{listens}")), NodeState::On);
    assert_eq!(postgresql("", &format!("{SOCKETS}{talks}")), NodeState::Off);
    assert_eq!(postgresql("not a data directory\n", SOCKETS), NodeState::Unknown);
    assert_eq!(postgresql("unreadable /proc/77\n", SOCKETS), NodeState::Unknown);
    assert_eq!(postgresql("", "sockets\n"), NodeState::Unknown);
    assert_eq!(postgresql("", ""), NodeState::Unknown);
}

#[test]
fn only_plain_paths_stand_in_a_script() {
    assert!(is_plain_path(DATA));
    for path in ["", "/", "data", "/a b", "/a'b", "/$(id)", "/a/", "/a*"] {
        assert!(!is_plain_path(path), "{path}");
    }
}
