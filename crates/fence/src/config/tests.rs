//! What the configuration refuses, and where it says the mistake is.

use super::*;

const GOOD: &str = r#"history = "/var/lib/fence/history.jsonl"

[nodes.pg1]
levels = [["pg1-power"], ["pg1-ssh"]]

[devices.pg1-power]
agent = "exec"
command = "/usr/sbin/fence_ipmilan"
timeout = "30s"
[devices.pg1-power.options]
ip = "198.18.5.91"
lanplus = true
cipher = 3
password = "hunter2"

[devices.pg1-ssh]
agent = "ssh"
destination = "root@198.18.5.11"
stop-services = ["postgresql@15-main.service"]
drop-vips = ["198.18.5.200/24 dev eth0"]
timeout = "1m"
"#;

#[test]
fn what_the_off_of_an_unknown_agent_is_worth_has_to_be_said() {
    let script = GOOD.replace("/usr/sbin/fence_ipmilan", "/usr/local/sbin/switch");
    let read = |text: &str| parse(text).unwrap_or_else(|problem| panic!("{}", problem.problem));
    let config = read(&script);
    assert_eq!(config.devices["pg1-power"].grade, Grade::X);
    assert!(
        config.warnings.iter().any(|warning| warning.contains("pg1-power proves nothing")),
        "{:?}",
        config.warnings
    );
    let config = read(&script.replace("timeout = \"30s\"", "timeout = \"30s\"\ngrade = \"A\""));
    assert_eq!(config.devices["pg1-power"].grade, Grade::A);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(read(GOOD).devices["pg1-power"].grade, Grade::A, "one that is known needs no word");
}

/// The complaint about `GOOD` with one piece replaced: `line: key: problem`.
fn complaint(piece: &str, instead: &str) -> String {
    assert!(GOOD.contains(piece), "{piece}");
    let text = GOOD.replacen(piece, instead, 1);
    match parse(&text) {
        Ok(_) => "accepted".to_owned(),
        Err(Problem { at, key, problem }) => {
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            format!("{line}: {key}: {problem}")
        }
    }
}

#[test]
fn the_contract_is_read() {
    let config = parse(GOOD).map_err(|problem| problem.problem).unwrap();
    assert_eq!(config.nodes["pg1"].levels, [["pg1-power"], ["pg1-ssh"]]);
    assert_eq!(config.devices["pg1-power"].timeout, Duration::from_secs(30));
    assert_eq!(config.devices["pg1-ssh"].timeout, Duration::from_secs(60));
    let preview = config.devices["pg1-power"].agent.preview(crate::agent::Action::Off, "pg1");
    assert!(preview.stdin.contains(&"lanplus=true".to_owned()), "{preview:?}");
    assert!(preview.stdin.contains(&"cipher=3".to_owned()), "{preview:?}");
    assert!(!format!("{config:?}").contains("hunter2"), "a secret is in Debug");
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_packaged_example_is_read_without_a_warning() {
    let text = include_str!("../../../../packaging/fence.toml");
    let config = parse(text).map_err(|problem| format!("{}: {}", problem.key, problem.problem)).unwrap();
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn every_mistake_is_named_with_its_line_its_key_and_what_was_expected() {
    let table = [
        (
            "history = ",
            "histroy = ",
            "1: histroy: unknown field `histroy`, expected one of `history`, `local`, `clusters`, `allow`, `policy`, `nodes`, `devices`",
        ),
        (
            "\"/var/lib/fence/history.jsonl\"",
            "\"history.jsonl\"",
            "1: history: \"history.jsonl\": expected an absolute path",
        ),
        (
            "levels = [[\"pg1-power\"], [\"pg1-ssh\"]]",
            "levels = []",
            "4: nodes.pg1.levels: expected at least one level, such as [[\"DEVICE\"]]",
        ),
        (
            "levels = [[\"pg1-power\"], [\"pg1-ssh\"]]",
            "levels = [[]]",
            "4: nodes.pg1.levels: expected at least one device in each level",
        ),
        ("levels = [[\"pg1-power\"], [\"pg1-ssh\"]]", "", "3: nodes.pg1: missing field `levels`"),
        (
            "[[\"pg1-power\"], ",
            "[[\"pg1-pwoer\"], ",
            "4: nodes.pg1.levels: no device \"pg1-pwoer\" under [devices]; did you mean \"pg1-power\"? (there are: pg1-power, pg1-ssh)",
        ),
        (
            "[\"pg1-ssh\"]",
            "[\"pg1-ssh\", \"pg1-ssh\"]",
            "4: nodes.pg1.levels: device \"pg1-ssh\" is named twice in one level",
        ),
        (
            "levels = [[\"pg1-power\"], [\"pg1-ssh\"]]",
            "levels = \"pg1-power\"",
            "4: nodes.pg1.levels: invalid type: string \"pg1-power\", expected a sequence",
        ),
        (
            "[nodes.pg1]",
            "[nodes.\"../pg1\"]",
            "3: nodes.\"../pg1\": expected a name of up to 64 letters, digits, \".\", \"_\" and \"-\" that begins with a letter or digit",
        ),
        (
            "agent = \"exec\"",
            "agent = \"impi\"",
            "7: devices.pg1-power.agent: no agent \"impi\"; expected one of `exec`, ",
        ),
        ("agent = \"exec\"\n", "", "6: devices.pg1-power: missing field `agent`"),
        (
            "command = \"/usr/sbin/fence_ipmilan\"\n",
            "",
            "6: devices.pg1-power.command: missing; expected the path of a fence agent",
        ),
        (
            "\"/usr/sbin/fence_ipmilan\"",
            "\"fence_ipmilan\"",
            "8: devices.pg1-power.command: \"fence_ipmilan\": expected an absolute path",
        ),
        (
            "timeout = \"30s\"",
            "timeout = 30",
            "9: devices.pg1-power.timeout: invalid type: integer `30`, expected a string",
        ),
        (
            "timeout = \"30s\"",
            "timeout = \"soon\"",
            "9: devices.pg1-power.timeout: \"soon\": expected a duration between 100ms and 1h, such as \"30s\"",
        ),
        (
            "timeout = \"30s\"",
            "timeout = \"-30s\"",
            "9: devices.pg1-power.timeout: \"-30s\": expected a duration between 100ms and 1h, such as \"30s\"",
        ),
        ("timeout = \"30s\"\n", "", "6: devices.pg1-power.timeout: missing; expected a duration such as \"30s\""),
        (
            "timeout = \"30s\"",
            "timeuot = \"30s\"",
            "9: devices.pg1-power.timeuot: unknown field `timeuot`, expected one of",
        ),
        (
            "cipher = 3",
            "action = \"reboot\"",
            "13: devices.pg1-power.options.action: may not be set: fence names the action of every call itself",
        ),
        (
            "cipher = 3",
            "method = \"cycle\"",
            "13: devices.pg1-power.options.method: may not be set: only \"onoff\" can be proven off",
        ),
        (
            "cipher = 3",
            "cipher = 3.5",
            "13: devices.pg1-power.options.cipher: invalid type: floating point `3.5`, expected a string, an integer or a boolean",
        ),
        (
            "cipher = 3",
            "cipher = \"3\\nplug=2\"",
            "13: devices.pg1-power.options.cipher: expected one line without control characters",
        ),
        (
            "cipher = 3",
            "\"a=b\" = 3",
            "13: devices.pg1-power.options.a=b: expected an option name of letters, digits, \"_\" and \"-\"",
        ),
        (
            "destination = \"root@198.18.5.11\"",
            "destination = \"-oProxyCommand=id\"",
            "18: devices.pg1-ssh.destination: \"-oProxyCommand=id\": expected user@host or ssh://user@host:port",
        ),
        (
            "[\"postgresql@15-main.service\"]",
            "[\"a b\"]",
            "19: devices.pg1-ssh.stop-services: \"a b\": expected the name of a systemd unit",
        ),
        (
            "/24 dev eth0\"",
            "\"",
            "20: devices.pg1-ssh.drop-vips: \"198.18.5.200\": expected an address such as \"198.18.5.200/24 dev eth0\"",
        ),
        (
            "agent = \"ssh\"",
            "agent = \"ssh\"\ncommand = \"/bin/true\"",
            "18: devices.pg1-ssh.command: unknown field `command`, expected one of `destination`, `identity-file`, `known-hosts`, `stop-services`, `drop-vips`, `data-directories`, `ports`, `gate-directory`, beside `agent`, `timeout` and `grade`, when agent = \"ssh\"",
        ),
        (
            "agent = \"exec\"",
            "agent = \"exec\"\ndestination = \"x\"",
            "8: devices.pg1-power.destination: unknown field `destination`, expected one of `command`, `options`, `options-from-file`, beside `agent`, `timeout` and `grade`, when agent = \"exec\"",
        ),
        ("levels = [[", "levels = [[[", "6: : missing comma between array elements, expected `,`"),
    ];
    for (piece, instead, expected) in table {
        let said = complaint(piece, instead);
        assert!(said.starts_with(expected), "{instead}\n  said     {said}\n  expected {expected}");
    }
}

#[test]
fn a_host_without_services_and_addresses_could_be_proven_off_by_nothing() {
    let text = GOOD
        .replace("stop-services = [\"postgresql@15-main.service\"]", "")
        .replace("drop-vips = [\"198.18.5.200/24 dev eth0\"]", "");
    let Err(problem) = parse(&text) else { panic!("accepted") };
    assert_eq!(problem.key, "devices.pg1-ssh.stop-services");
}

#[test]
fn a_device_used_by_no_node_or_by_two_and_a_node_with_only_ssh_are_warnings() {
    let text = GOOD.replace(
        "levels = [[\"pg1-power\"], [\"pg1-ssh\"]]",
        "levels = [[\"pg1-ssh\"]]\n[nodes.go1]\nlevels = [[\"pg1-ssh\"]]",
    );
    let Ok(config) = parse(&text) else { panic!("refused") };
    assert_eq!(
        config.warnings,
        [
            "device pg1-power is used by no node",
            "device pg1-ssh is used by go1 and pg1: turning one off turns all of them off",
            "node go1 has only devices that ask the node itself: it cannot be fenced once it no longer answers",
            "node pg1 has only devices that ask the node itself: it cannot be fenced once it no longer answers",
        ]
    );
}

#[test]
fn an_unknown_node_is_answered_with_the_nearest_or_with_all() {
    let Ok(config) = parse(GOOD) else { panic!("refused") };
    let said = |name| config.node(name).err().unwrap().to_string();
    assert_eq!(said("pg11"), "no node \"pg11\" in the configuration; did you mean \"pg1\"? (there are: pg1)");
    assert_eq!(said("zebra"), "no node \"zebra\" in the configuration; there are: pg1");
}
