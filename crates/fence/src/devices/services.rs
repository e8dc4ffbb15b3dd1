//! What a host must have stopped to be harmless, how it is made to stop it, and how that is seen.
//!
//! Off means here: every unit is loaded, inactive and without a main process; no process has a data directory as its working
//! directory (every process of PostgreSQL has); nobody listens on the ports; no interface has any of the addresses. With the boot
//! gate set that is grade D; without it the next boot would start everything again, and it is none.
//! A unit that systemd does not know is no evidence: a misspelt name is also "inactive".

use std::time::Duration;

use bc_model::fencing::{Grade, NodeState};
use ipnet::IpNet;

use crate::agent::Answer;
use crate::secret::{Options, clean};

/// Where the gate of each node is, unless the configuration says otherwise.
pub(super) const GATE_DIRECTORY: &str = "/var/lib/fence/gate";
const PREAMBLE: &str = "PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\"; LC_ALL=C; export PATH LC_ALL";

/// What is stopped, and looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    /// systemd units that must not run on a fenced host.
    pub(super) units: Vec<String>,
    /// Data directories of PostgreSQL in which no process may be.
    pub(super) data_directories: Vec<String>,
    /// TCP ports on which nobody may listen.
    pub(super) ports: Vec<u16>,
    /// Addresses that a fenced host must not have.
    pub(super) vips: Vec<Vip>,
    /// The directory of the boot gate.
    pub(super) gate_directory: String,
}

/// A virtual IP as the configuration writes it: `198.18.5.200/24 dev eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vip {
    /// The address with its prefix length.
    pub(super) address: IpNet,
    /// The interface that it is dropped from.
    pub(super) device: String,
}

impl Vip {
    /// Reads `ADDRESS/PREFIX dev INTERFACE`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [address, "dev", device] = words[..] else { return None };
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        let device_is_legal =
            !device.is_empty() && device.len() < 16 && device.chars().all(legal) && !device.starts_with('-');
        Some(Self { address: address.parse().ok()?, device: device_is_legal.then(|| device.to_owned())? })
    }
}

/// Whether `name` may be a systemd unit (systemd.unit(5)), so that it can stand in a command line.
pub(super) fn is_unit_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
    !name.is_empty() && name.len() < 256 && !name.starts_with('-') && name.chars().all(legal)
}

/// Whether `path` is an absolute path that can stand in a command line and in a pattern of find(1).
pub(super) fn is_plain_path(path: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "/._-@+".contains(c);
    path.starts_with('/') && path.len() > 1 && !path.ends_with('/') && path.chars().all(legal)
}

impl Services {
    fn gate(&self, node: &str) -> String {
        format!("{}/{node}.json", self.gate_directory)
    }

    /// Stops everything it can even if one part fails: what is left is found by looking again.
    ///
    /// The polite stop has `patience`; who does not follow is killed, with everybody in its control group.
    pub(super) fn off_script(&self, node: &str, patience: Duration) -> String {
        let (directory, gate) = (&self.gate_directory, self.gate(node));
        let mut lines = vec![PREAMBLE.to_owned(), "failed=0".to_owned()];
        // The gate first: what is stopped must not be started again by a reboot half-way.
        lines.push(format!(
            "{{ [ -e '{gate}' ] || {{ mkdir -p '{directory}' && printf '{{\"node\":\"{node}\"}}\\n' >'{gate}.new' \
             && sync '{gate}.new' && mv '{gate}.new' '{gate}' && sync '{directory}'; }}; }} || failed=1"
        ));
        for unit in &self.units {
            lines.push(format!(
                "timeout {0} systemctl stop -- '{unit}' || {{ systemctl kill --kill-whom=all -s KILL -- '{unit}' \
                 2>/dev/null || systemctl kill --kill-who=all -s KILL -- '{unit}'; \
                 timeout {0} systemctl stop -- '{unit}'; }} || failed=1",
                patience.as_secs().max(1)
            ));
        }
        for path in &self.data_directories {
            lines.push(kill_script(path));
        }
        for Vip { address, device } in &self.vips {
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
    pub(super) fn status_script(&self, node: &str) -> String {
        let mut lines = vec![PREAMBLE.to_owned()];
        lines.push(format!("[ -e '{}' ] && echo 'gate set' || echo 'gate missing'", self.gate(node)));
        for unit in &self.units {
            lines.push(format!("echo 'unit {unit}'"));
            lines.push(format!("systemctl show -p LoadState -p ActiveState -p MainPID -- '{unit}' || exit 70"));
        }
        for path in &self.data_directories {
            lines.push(format!("echo 'processes {path}'"));
            lines.push("command -v find >/dev/null && command -v grep >/dev/null || exit 70".to_owned());
            lines.push(UNREADABLE.to_owned());
            // Nobody runs in a directory that is misspelt.
            lines.push(format!("[ -e '{path}/PG_VERSION' ] || echo 'not a data directory'"));
            lines.push(find_processes(path));
        }
        if !self.ports.is_empty() {
            lines.push("echo sockets".to_owned());
            lines.push("cat /proc/net/tcp || exit 70; cat /proc/net/tcp6 2>/dev/null".to_owned());
        }
        if !self.vips.is_empty() {
            lines.push("echo addresses".to_owned());
            lines.push("ip -o address show || exit 70".to_owned());
        }
        lines.push("echo end".to_owned());
        lines.join("\n")
    }

    /// Prints what each unit asks before it starts.
    pub(super) fn guards_script(&self) -> String {
        let ask = |unit: &String| format!("echo 'unit {unit}'; systemctl show -p ExecCondition -- '{unit}'");
        let lines: Vec<String> = self.units.iter().map(ask).collect();
        format!("{PREAMBLE}\n{}\necho end", lines.join("\n"))
    }

    /// The units that start whether or not the boot gate is set, in words.
    pub(super) fn unguarded(&self, answer: &str) -> Vec<String> {
        let heeds = |unit: &&String| {
            let lines = part(answer, &format!("unit {unit}")).unwrap_or_default();
            !lines.iter().any(|line| line.contains("fence") && line.contains("gate"))
        };
        let words =
            |unit: &String| format!("{unit} has no `ExecCondition=fence gate …`: it would start at the next boot");
        self.units.iter().filter(heeds).map(words).collect()
    }

    /// Reads the answer of the status script: on if anything runs or is held, off only if every item is proven gone.
    pub(super) fn look(&self, answer: &str) -> Answer {
        if answer.lines().next_back() != Some("end") || !answer.starts_with("gate ") {
            return Answer::unknown(clean(&format!("the answer is incomplete: {answer}"), &Options::new()));
        }
        let mut found: Vec<(NodeState, String)> = self.units.iter().map(|unit| look_at_unit(answer, unit)).collect();
        found.extend(self.data_directories.iter().map(|path| look_for_processes(answer, path)));
        found.extend(self.ports.iter().map(|port| look_at_port(answer, *port)));
        found.extend(self.vips.iter().map(|vip| look_for_address(answer, vip)));
        let state = if found.iter().any(|(state, _)| *state == NodeState::On) {
            NodeState::On
        } else if found.is_empty() || found.iter().any(|(state, _)| *state == NodeState::Unknown) {
            NodeState::Unknown
        } else {
            NodeState::Off
        };
        let gate = answer.starts_with("gate set\n");
        let mut words: Vec<String> = found.into_iter().map(|(_, words)| words).collect();
        if state == NodeState::Off {
            words.push(if gate { "boot gate set".into() } else { "the boot gate is not set".into() });
        }
        Answer {
            state,
            obeyed: state != NodeState::Unknown,
            at_most: (!gate).then_some(Grade::X),
            detail: clean(&words.join(", "), &Options::new()),
        }
    }
}

/// Prints the working directory link of every process that is in `path`: `/proc/77/cwd`.
fn find_processes(path: &str) -> String {
    format!(
        "real=$(readlink -f '{path}'); find /proc -mindepth 2 -maxdepth 2 -name cwd \
         \\( -lname \"$real\" -o -lname \"$real (deleted)\" \\) 2>/dev/null"
    )
}

/// Prints every PostgreSQL whose working directory we may not see: without the right to look (root, or CAP_SYS_PTRACE in a
/// container) all would seem to be gone. The dead that nobody has reaped yet have none.
const UNREADABLE: &str = "for comm in $(grep -lsxE 'postgres|postmaster' /proc/[0-9]*/comm); do
  process=${comm%/comm}
  readlink $process/cwd >/dev/null 2>&1 || ! grep -qs '^State:.[^ZX]' $process/status || echo \"unreadable $process\"
done";

/// Kills every process that is in `path`, with its whole control group where it is a service of its own, until none is left.
///
/// A postmaster killed alone leaves backends that commit once more; so all are stopped first, then killed.
fn kill_script(path: &str) -> String {
    format!(
        "own=$(sed -n 's/^0:://p' /proc/self/cgroup)
for round in 1 2 3 4 5 6 7 8 9 10; do
  pids=$({find} | cut -d/ -f3)
  [ -n \"$pids\" ] || break
  kill -STOP $pids 2>/dev/null
  for pid in $pids; do
    group=$(sed -n 's/^0:://p' /proc/$pid/cgroup 2>/dev/null)
    case $group in \"$own\") ;; *.service) {{ echo 1 >\"/sys/fs/cgroup$group/cgroup.kill\"; }} 2>/dev/null ;; esac
  done
  kill -KILL $pids 2>/dev/null
  sleep 0.05
done
[ -z \"$({find})\" ] || failed=1",
        find = find_processes(path)
    )
}

/// The lines of one part of the answer.
fn part<'a>(answer: &'a str, heading: &str) -> Option<Vec<&'a str>> {
    let mut lines = answer.lines().skip_while(|line| *line != heading);
    lines.next()?;
    let another = |line: &&str| {
        ["unit ", "processes "].iter().any(|word| line.starts_with(word))
            || ["sockets", "addresses", "end"].contains(line)
    };
    Some(lines.take_while(|line| !another(line)).collect())
}

fn look_for_processes(answer: &str, path: &str) -> (NodeState, String) {
    let Some(lines) = part(answer, &format!("processes {path}")) else {
        return (NodeState::Unknown, format!("no word about processes in {path}"));
    };
    if let Some(process) = lines.iter().find_map(|line| line.strip_prefix("unreadable ")) {
        return (
            NodeState::Unknown,
            format!("{process} is a PostgreSQL, and its directory may not be read; look as root"),
        );
    }
    if lines.contains(&"not a data directory") {
        return (NodeState::Unknown, format!("{path} is not a data directory of this host; is it spelt right?"));
    }
    let pids: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("/proc/")?.strip_suffix("/cwd")).collect();
    match pids[..] {
        [] => (NodeState::Off, format!("no process in {path}")),
        [first, ..] => (NodeState::On, format!("{} processes in {path}, such as {first}", pids.len())),
    }
}

/// Reads /proc/net/tcp (proc(5)): `sl local_address rem_address st`, the port in hexadecimal, state 0A for listening.
fn look_at_port(answer: &str, port: u16) -> (NodeState, String) {
    let Some(lines) = part(answer, "sockets") else {
        return (NodeState::Unknown, format!("no word about port {port}"));
    };
    if !lines.iter().any(|line| line.trim_start().starts_with("sl ")) {
        return (NodeState::Unknown, format!("no word about port {port}"));
    }
    let end = format!(":{port:04X}");
    let listens = lines.iter().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, local, _, "0A", ..] if local.ends_with(&end))
    });
    if listens {
        (NodeState::On, format!("port {port} is open"))
    } else {
        (NodeState::Off, format!("port {port} closed"))
    }
}

fn look_at_unit(answer: &str, unit: &str) -> (NodeState, String) {
    let lines = part(answer, &format!("unit {unit}")).unwrap_or_default();
    let property = |name: &str| {
        let values = lines.iter().filter_map(|line| line.split_once('='));
        values.filter(|(key, _)| *key == name).map(|(_, value)| value).next().unwrap_or_default()
    };
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

fn look_for_address(answer: &str, vip: &Vip) -> (NodeState, String) {
    let host = vip.address.addr();
    match part(answer, "addresses") {
        None => (NodeState::Unknown, format!("no word about {host}")),
        Some(lines) => match held_by(&lines, vip) {
            Some(device) => (NodeState::On, format!("{host} is on {device}")),
            None => (NodeState::Off, format!("{host} absent")),
        },
    }
}

/// The interface that has the address, by the output of `ip -o address show`: `2: eth0    inet 198.18.5.200/24 …`.
fn held_by<'a>(lines: &[&'a str], vip: &Vip) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let device = words.next()?;
        let address = words.skip_while(|word| !matches!(*word, "inet" | "inet6")).nth(1)?;
        // A point-to-point address is printed without a prefix length.
        let address = address.split('/').next()?;
        (address.parse() == Ok(vip.address.addr())).then_some(device)
    })
}

#[cfg(test)]
mod tests;
