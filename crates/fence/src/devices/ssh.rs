//! The agent `ssh`: a host that still answers is asked to stop its services and drop its virtual IPs, then looked at again.
//!
//! This is the polite way, and it proves nothing about a host that does not answer: unreachable is unknown, never off.
//! Off means here that every service is loaded, inactive and without a main process, and that no interface of the host has any
//! of the addresses. A unit that systemd does not know is no evidence: a misspelt name is also "inactive".

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bc_model::fencing::{Grade, NodeState};
use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

use crate::agent::{Action, Agent, Answer, Call, Preview, ending};
use crate::child::{self, Ended, Finished};
use crate::config::{Keys, Place, Problem};
use crate::secret::{Options, clean};

/// One host behind ssh.
#[derive(Clone, Debug)]
pub(crate) struct SshAgent {
    /// `user@host`, or an `ssh://` address with a port.
    pub(crate) destination: String,
    /// The key to log in with; else what the operator's own configuration says.
    pub(crate) identity_file: Option<PathBuf>,
    /// The file with the host's key; else the operator's own.
    pub(crate) known_hosts: Option<PathBuf>,
    /// systemd units that must not run on a fenced host.
    pub(crate) stop_services: Vec<String>,
    /// Addresses that a fenced host must not have.
    pub(crate) drop_vips: Vec<Vip>,
}

/// A virtual IP as the configuration writes it: `198.18.5.200/24 dev eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vip {
    /// The address with its prefix length.
    pub(crate) address: IpNet,
    /// The interface that it is dropped from.
    pub(crate) device: String,
}

impl Vip {
    /// Reads `ADDRESS/PREFIX dev INTERFACE`.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [address, "dev", device] = words[..] else { return None };
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        let device_is_legal =
            !device.is_empty() && device.len() < 16 && device.chars().all(legal) && !device.starts_with('-');
        Some(Self { address: address.parse().ok()?, device: device_is_legal.then(|| device.to_owned())? })
    }
}

/// Whether `name` may be a systemd unit (systemd.unit(5)), so that it can stand in a command line.
fn is_unit_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
    !name.is_empty() && name.len() < 256 && !name.starts_with('-') && name.chars().all(legal)
}

const PREAMBLE: &str = "PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\"; LC_ALL=C; export PATH LC_ALL";

impl SshAgent {
    fn script(&self, action: Action) -> String {
        match action {
            Action::Off => self.off_script(),
            Action::Status | Action::Monitor | Action::On => self.status_script(),
        }
    }

    /// Stops everything it can even if one part fails: what is left is found by looking again.
    fn off_script(&self) -> String {
        let mut lines = vec![PREAMBLE.to_owned(), "failed=0".to_owned()];
        if !self.stop_services.is_empty() {
            let units: Vec<String> = self.stop_services.iter().map(|unit| format!("'{unit}'")).collect();
            lines.push(format!("systemctl stop -- {} || failed=1", units.join(" ")));
        }
        for Vip { address, device } in &self.drop_vips {
            let host = address.addr();
            lines.push(format!(
                "{{ command -v vipd >/dev/null 2>&1 && vipd unassign '{address}' --dev '{device}'; }} \
                 || [ -z \"$(ip -o address show dev '{device}' to '{host}')\" ] \
                 || ip address del '{address}' dev '{device}' || failed=1"
            ));
        }
        lines.push("exit $failed".to_owned());
        lines.join("\n")
    }

    /// Ends with the line `end`, so that an answer that was cut off is not taken for a short one.
    fn status_script(&self) -> String {
        let mut lines = vec![PREAMBLE.to_owned()];
        for unit in &self.stop_services {
            lines.push(format!("echo 'unit {unit}'"));
            lines.push(format!("systemctl show -p LoadState -p ActiveState -p MainPID -- '{unit}' || exit 70"));
        }
        if !self.drop_vips.is_empty() {
            lines.push("echo addresses".to_owned());
            lines.push("ip -o address show || exit 70".to_owned());
        }
        lines.push("echo end".to_owned());
        lines.join("\n")
    }

    fn arguments(&self, connect: Duration) -> Vec<String> {
        let mut arguments: Vec<String> = ["-T", "-x", "-a"].map(str::to_owned).into();
        let mut set = |option: String| arguments.extend(["-o".to_owned(), option]);
        set("BatchMode=yes".to_owned());
        set(format!("ConnectTimeout={}", connect.as_secs().max(1)));
        set("ServerAliveInterval=5".to_owned());
        set("ServerAliveCountMax=2".to_owned());
        // A connection of our own: it must end with its process group, and must not lean on one that has gone stale.
        set("ControlMaster=no".to_owned());
        set("ControlPath=none".to_owned());
        if let Some(identity) = &self.identity_file {
            set("IdentitiesOnly=yes".to_owned());
            set(format!("IdentityFile={}", identity.display()));
        }
        if let Some(known_hosts) = &self.known_hosts {
            set("StrictHostKeyChecking=yes".to_owned());
            set("GlobalKnownHostsFile=/dev/null".to_owned());
            set(format!("UserKnownHostsFile={}", known_hosts.display()));
        }
        arguments.extend(["--".to_owned(), self.destination.clone()]);
        arguments
    }

    fn read(&self, action: Action, finished: &Finished, limit: Duration) -> Answer {
        // ssh may print a banner first; the cause is its last line.
        let last = finished.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let words = clean(last, &Options::new());
        let ended = ending(finished.ended, limit);
        let failure = |what: &str| {
            Answer::unknown(if words.is_empty() { format!("{what}{ended}") } else { format!("{what}{ended}: {words}") })
        };
        match (action, finished.ended) {
            (_, Ended::Exited(255)) => failure("the host does not answer over ssh; "),
            (Action::Off, Ended::Exited(0)) => Answer {
                state: NodeState::Off,
                obeyed: true,
                at_most: None,
                detail: "the host says it stopped the services and dropped the addresses".into(),
            },
            (Action::Status | Action::Monitor, Ended::Exited(0)) => {
                let (state, detail) = look(&finished.stdout, &self.stop_services, &self.drop_vips);
                Answer {
                    state,
                    obeyed: state != NodeState::Unknown,
                    at_most: None,
                    detail: clean(&detail, &Options::new()),
                }
            }
            _ => failure(""),
        }
    }
}

impl Agent for SshAgent {
    fn call(&self, call: &Call<'_>) -> Answer {
        if call.action == Action::On {
            return Answer::unknown("an ssh device cannot turn a node on");
        }
        let mut command = Command::new("ssh");
        command.args(self.arguments(call.limit.min(Duration::from_secs(10)))).arg(self.script(call.action));
        match child::run(&mut command, Vec::new(), call.limit, call.waiting, call.stop) {
            Err(error) => Answer::unknown(format!("cannot run ssh: {error}")),
            Ok(finished) => self.read(call.action, &finished, call.limit),
        }
    }

    fn preview(&self, action: Action, _node: &str) -> Preview {
        let mut command = vec!["ssh".to_owned()];
        command.extend(self.arguments(Duration::from_secs(10)));
        command.push(self.script(action));
        Preview { command, stdin: vec![] }
    }

    fn turns_on(&self) -> bool {
        false
    }

    fn grade(&self) -> Grade {
        Grade::D
    }

    fn needs_the_host(&self) -> bool {
        true
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SshKeys {
    destination: Option<Spanned<String>>,
    identity_file: Option<Spanned<String>>,
    known_hosts: Option<Spanned<String>>,
    #[serde(default)]
    stop_services: Vec<Spanned<String>>,
    #[serde(default)]
    drop_vips: Vec<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "ssh"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<SshKeys>()?;
    let stop_services = place.items(
        "stop-services",
        keys.stop_services,
        |text| is_unit_name(text).then(|| text.to_owned()),
        "the name of a systemd unit, such as \"go-server.service\"",
    )?;
    let drop_vips =
        place.items("drop-vips", keys.drop_vips, Vip::parse, "an address such as \"198.18.5.200/24 dev eth0\"")?;
    if stop_services.is_empty() && drop_vips.is_empty() {
        return Err(place.missing(
            "stop-services",
            "a service or, under drop-vips, an address: else nothing could prove the host off",
        ));
    }
    Ok(Box::new(SshAgent {
        destination: destination(&place, keys.destination)?,
        identity_file: place.path("identity-file", keys.identity_file.as_ref())?,
        known_hosts: place.path("known-hosts", keys.known_hosts.as_ref())?,
        stop_services,
        drop_vips,
    }))
}

/// The words that ssh is to connect to.
fn destination(place: &Place, text: Option<Spanned<String>>) -> Result<String, Problem> {
    let text = place.needed("destination", text, "user@host")?;
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if text.get_ref().is_empty() || text.get_ref().starts_with('-') || text.get_ref().contains(bad) {
        return Err(place.wrong("destination", &text, "user@host or ssh://user@host:port"));
    }
    Ok(text.into_inner())
}

/// Reads the answer of the status script: on if anything runs or is held, off only if every item is proven gone.
fn look(answer: &str, units: &[String], vips: &[Vip]) -> (NodeState, String) {
    if answer.lines().next_back() != Some("end") {
        return (NodeState::Unknown, format!("the answer is incomplete: {answer}"));
    }
    let (units_said, addresses_said) = answer.split_once("addresses\n").unwrap_or((answer, ""));
    let mut found: Vec<(NodeState, String)> = units.iter().map(|unit| look_at_unit(units_said, unit)).collect();
    found.extend(vips.iter().map(|vip| {
        let held = held_by(addresses_said, vip);
        let state = if held.is_some() { NodeState::On } else { NodeState::Off };
        (
            state,
            held.map_or_else(
                || format!("{} absent", vip.address.addr()),
                |on| format!("{} is on {on}", vip.address.addr()),
            ),
        )
    }));
    let state = if found.iter().any(|(state, _)| *state == NodeState::On) {
        NodeState::On
    } else if found.is_empty() || found.iter().any(|(state, _)| *state == NodeState::Unknown) {
        NodeState::Unknown
    } else {
        NodeState::Off
    };
    (state, found.into_iter().map(|(_, words)| words).collect::<Vec<_>>().join(", "))
}

fn look_at_unit(answer: &str, unit: &str) -> (NodeState, String) {
    let heading = format!("unit {unit}");
    let properties: Vec<(&str, &str)> = answer
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("unit ") && *line != "end")
        .filter_map(|line| line.split_once('='))
        .collect();
    let property = |name: &str| properties.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| *value);
    match (property("LoadState"), property("ActiveState"), property("MainPID")) {
        (_, active @ ("active" | "reloading"), _) => (NodeState::On, format!("{unit} {active}")),
        // A oneshot or template instance without a main process does not report the property at all.
        ("loaded" | "masked", active @ ("inactive" | "failed"), "0" | "") => {
            (NodeState::Off, format!("{unit} {active}"))
        }
        ("loaded" | "masked", active @ ("inactive" | "failed"), pid) => {
            (NodeState::Unknown, format!("{unit} {active}, but process {pid} is left"))
        }
        ("not-found", ..) => (NodeState::Unknown, format!("{unit} is not a unit of this host; is it spelt right?")),
        (load, active, _) => (NodeState::Unknown, format!("{unit} is {load:?} and {active:?}")),
    }
}

/// The interface that has the address, by the output of `ip -o address show`: `2: eth0    inet 198.18.5.200/24 …`.
fn held_by<'a>(answer: &'a str, vip: &Vip) -> Option<&'a str> {
    answer.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let device = words.next()?;
        let address = words.skip_while(|word| !matches!(*word, "inet" | "inet6")).nth(1)?;
        // A point-to-point address is printed without a prefix length.
        let address = address.split('/').next()?;
        (address.parse() == Ok(vip.address.addr())).then_some(device)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "postgresql@15-main.service";
    const ADDRESSES: &str = "addresses\n1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n\
        2: eth0    inet 198.18.5.13/24 brd 198.18.5.255 scope global eth0\\       valid_lft forever\n";
    const HELD: &str = "2: eth0    inet 198.18.5.200/24 scope global secondary eth0\\       valid_lft forever\n";

    fn unit(load: &str, active: &str, pid: &str) -> String {
        format!("unit {UNIT}\nMainPID={pid}\nLoadState={load}\nActiveState={active}\n")
    }

    fn looked(answer: &str) -> NodeState {
        let vip = Vip::parse("198.18.5.200/24 dev eth0").unwrap();
        look(answer, &[UNIT.to_owned()], &[vip]).0
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
        assert_eq!(look(said, &[], &[vip]), (NodeState::On, "fd00:5::200 is on eth0".into()));
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
}
