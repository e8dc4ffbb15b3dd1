//! The operator's own `ssh`, so that jump hosts, agents, aliases and known_hosts work as they always do.

use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use bc_model::inventory::{Host, Inventory};
use tempfile::TempDir;

use super::{Ended, Hosts, Output, Unreached, process};
use crate::command::{At, Command, quote};

/// The hosts of an inventory, over `ssh` with one connection per host, or on this machine.
///
/// The sockets of the connections live in a directory of this process, so that no connection outlives a host that has
/// hung since an earlier call.
pub(crate) struct SystemHosts<'a> {
    inventory: &'a Inventory,
    sockets: TempDir,
}

impl<'a> SystemHosts<'a> {
    /// # Errors
    /// When the directory for the sockets cannot be made.
    pub(crate) fn new(inventory: &'a Inventory) -> std::io::Result<Self> {
        sweep(&std::env::temp_dir());
        let prefix = format!("{SOCKETS}{}-", std::process::id());
        Ok(Self { inventory, sockets: tempfile::Builder::new().prefix(&prefix).tempdir()? })
    }

    fn process(&self, command: &Command) -> Process {
        let script = format!("cd /; export LC_ALL=C; {}", command.script);
        let host = match &command.at {
            At::Operator => None,
            At::Host(name) => self.inventory.hosts.get(name),
        };
        match host.and_then(|host| host.ssh.as_ref().map(|destination| (host, destination))) {
            Some((host, destination)) => {
                let mut ssh = Process::new("ssh");
                ssh.args(options(self.inventory.timeouts.connect, self.sockets.path())).args(&host.ssh_options);
                let shell = if host.sudo { "exec sudo -n sh -c " } else { "exec sh -c " };
                ssh.arg("--").arg(destination).arg(format!("{shell}{}", quote(&script)));
                ssh.env("LC_ALL", "C");
                ssh
            }
            None => {
                let sudo = host.is_some_and(|host| host.sudo);
                let mut shell = Process::new(if sudo { "sudo" } else { "sh" });
                shell.args(if sudo { &["-n", "sh", "-c"][..] } else { &["-c"] }).arg(script);
                shell
            }
        }
    }
}

/// How the directories of sockets are named, before the process id.
const SOCKETS: &str = "bcctl-ssh-";

/// Removes the sockets of processes that were killed. Other people's directories are not ours to remove, and stay.
fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(SOCKETS).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Never ask, never wait for long, notice a peer that hangs, and reuse one connection per host.
fn options(connect: Duration, sockets: &Path) -> Vec<String> {
    let option = |text: String| ["-o".to_owned(), text];
    [
        "BatchMode=yes".to_owned(),
        format!("ConnectTimeout={}", connect.as_secs().max(1)),
        "ServerAliveInterval=5".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        "ControlMaster=auto".to_owned(),
        format!("ControlPath={}/%C", sockets.display()),
        "ControlPersist=30".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ]
    .into_iter()
    .flat_map(option)
    .collect()
}

/// How a person reaches a host by hand; for the dry run.
pub(crate) fn by_hand(host: &Host) -> String {
    match &host.ssh {
        None => "this machine".to_owned(),
        Some(destination) => {
            let words: Vec<String> = host.ssh_options.iter().chain([destination]).map(|word| quote(word)).collect();
            format!("ssh {}{}", words.join(" "), if host.sudo { ", then sudo" } else { "" })
        }
    }
}

impl Hosts for SystemHosts<'_> {
    fn run(&self, command: &Command, limit: Duration, tick: &mut dyn FnMut(Duration)) -> Output {
        let process = self.process(command);
        let over_ssh = process.get_program() == "ssh";
        let mut output = process::run(process, limit, tick);
        if over_ssh && output.end == Ended::Exit(255) {
            output.end = Ended::Unreached(classify(&output.stderr));
        }
        output
    }
}

impl Drop for SystemHosts<'_> {
    /// Ends the connections; without this they would linger for `ControlPersist`.
    fn drop(&mut self) {
        let Ok(sockets) = std::fs::read_dir(self.sockets.path()) else { return };
        for socket in sockets.flatten() {
            let mut ssh = Process::new("ssh");
            ssh.arg("-o").arg(format!("ControlPath={}", socket.path().display())).args(["-O", "exit", "bcctl"]);
            process::run(ssh, Duration::from_secs(1), &mut |_| {});
        }
    }
}

/// What `ssh` means with exit status 255.
fn classify(stderr: &str) -> Unreached {
    let says = |text: &str| stderr.contains(text);
    if says("Host key verification failed") || says("IDENTIFICATION HAS CHANGED") || says("host key is known") {
        Unreached::HostKey
    } else if says("Permission denied") || says("Too many authentication failures") {
        Unreached::KeyRefused
    } else if says("Could not resolve hostname") {
        Unreached::Name
    } else {
        Unreached::NoAnswer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_to_the_host_as_one_word_and_never_asks() {
        let text = include_str!("../../../../packaging/bc.toml").replacen(
            "ssh = \"root@198.18.5.11\"",
            "ssh = \"ops@jump\"\nssh-options = [\"-p\", \"2222\"]\nsudo = true",
            1,
        );
        let inventory = Inventory::parse("bc.toml", &text).expect("the example parses");
        let hosts = SystemHosts::new(&inventory).expect("a directory");
        let words = |command: &Command| -> Vec<String> {
            let process = hosts.process(command);
            std::iter::once(process.get_program())
                .chain(process.get_args())
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let ssh = words(&Command::on("pg1", "echo it's $HOME"));
        assert_eq!((ssh[0].as_str(), ssh.contains(&"BatchMode=yes".to_owned())), ("ssh", true));
        assert_eq!(ssh[ssh.len() - 5..ssh.len() - 1], ["-p", "2222", "--", "ops@jump"]);
        assert_eq!(ssh[ssh.len() - 1], r"exec sudo -n sh -c 'cd /; export LC_ALL=C; echo it'\''s $HOME'");
        assert_eq!(words(&Command::here("id")), ["sh", "-c", "cd /; export LC_ALL=C; id"]);
    }

    #[test]
    fn sockets_of_the_dead_are_swept_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let alive = format!("bcctl-ssh-{}-a", std::process::id());
        // Process ids end at 2^22 on Linux.
        for name in ["bcctl-ssh-4194305-x", &alive, "bcctl-ssh-x", "bcctl-site-4194305-x"] {
            std::fs::create_dir(directory.path().join(name)).expect("made");
        }
        sweep(directory.path());
        let left = std::fs::read_dir(directory.path()).expect("a directory").count();
        assert_eq!((left, directory.path().join("bcctl-ssh-4194305-x").exists()), (3, false));
    }

    #[test]
    fn the_reasons_of_ssh_are_told_apart() {
        for (stderr, reason) in [
            ("root@198.18.5.11: Permission denied (publickey).", Unreached::KeyRefused),
            ("Host key verification failed.", Unreached::HostKey),
            ("No ED25519 host key is known for pg1 and you have requested strict checking.", Unreached::HostKey),
            ("ssh: Could not resolve hostname pg9: Name or service not known", Unreached::Name),
            ("ssh: connect to host 198.18.5.11 port 22: Connection timed out", Unreached::NoAnswer),
            ("ssh: connect to host 198.18.5.11 port 22: Connection refused", Unreached::NoAnswer),
        ] {
            assert_eq!(classify(stderr), reason, "{stderr}");
        }
    }
}
