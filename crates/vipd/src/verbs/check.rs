//! `vipd check`: whether a configuration is right, and what the daemon would do with it. Touches nothing.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use bc_model::exit::Exit;
use serde::Serialize;

use crate::config::{
    Check, Config, Host, Instance, LoadError, Loaded, PeerSet, Problem, Summary, describe_lease, read_all, text_of,
};
use crate::daemon::place;
use crate::kernel::Observed;
use crate::lease::{Enforcement, LeaseError, Missing, Support};

/// What was found, as JSON has it.
#[derive(Debug, Serialize)]
struct CheckReport<'a> {
    schema: u32,
    file: &'a str,
    valid: bool,
    problems: &'a [Problem],
    summary: Option<&'a Summary>,
    error: Option<String>,
}

/// Checks `file` (`-` is standard input), prints what it would do to `out`, and problems and warnings to `err`.
///
/// The result is 0 if the configuration is right, and 2 if it is wrong or cannot be read. `look` lists interfaces and
/// addresses: what is not there now, or of another kind, is worth a warning only, for it may appear later. `switch` looks for
/// the dead-man switch, if there is an instance with a lease. What this process may not do on the `host` is a warning, too: the
/// daemon may be given other privileges.
///
/// # Errors
/// What the streams say.
pub fn check(
    file: &Path,
    json: bool,
    look: impl FnOnce() -> io::Result<Observed>,
    switch: impl FnOnce() -> Result<Support, LeaseError>,
    host: &dyn Host,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Exit> {
    let name = if file == Path::new("-") { "<stdin>".to_owned() } else { file.display().to_string() };
    match load(file, &name, &AnyUser(host)) {
        Ok(Loaded { config, warnings }) => {
            let leased = |instance: &Instance| matches!(instance.lease_plan(Enforcement::DeadMan), Ok(Some(_)));
            let found = config.instances.values().any(leased).then(switch);
            let means = Means::of(found.as_ref());
            let mut summary = Summary::of(&config, |instance| means.describe(instance));
            summary.warnings.splice(0..0, warnings);
            match look() {
                Ok(observed) => {
                    summary.warnings.extend(unfit_interfaces(&config, &observed));
                    summary.warnings.extend(own_peers(&config, &observed));
                }
                Err(error) => summary.warnings.push(format!("interfaces were not looked at: {error}")),
            }
            summary.warnings.extend(unrunnable_checks(&config, host));
            if let (Means::Known(Enforcement::AddressLifetime), Some(Err(error))) = (means, &found) {
                summary.warnings.push(error.to_string());
            }
            for warning in &summary.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            if json {
                report(&CheckReport { summary: Some(&summary), ..CheckReport::about(&name, true) }, out)?;
            } else {
                writeln!(err, "{name} is valid: {}", counted(&config))?;
                write!(out, "{summary}")?;
            }
            Ok(Exit::Done)
        }
        Err(LoadError::Wrong(wrong)) => {
            for problem in &wrong.problems {
                writeln!(err, "error: {}", problem.in_file(&wrong.file))?;
            }
            let count = wrong.problems.len();
            writeln!(err, "{name} is not valid: {count} error{}", if count == 1 { "" } else { "s" })?;
            if json {
                report(&CheckReport { problems: &wrong.problems, ..CheckReport::about(&name, false) }, out)?;
            }
            Ok(Exit::Usage)
        }
        Err(unreadable @ LoadError::Unreadable { .. }) => {
            writeln!(err, "error: {unreadable}")?;
            if json {
                let error = Some(unreadable.to_string());
                report(&CheckReport { error, ..CheckReport::about(&name, false) }, out)?;
            }
            Ok(Exit::Usage)
        }
    }
}

/// What enforces the leases on this host, as far as it can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Known(Enforcement),
    /// Only who may use nf_tables can see whether it is there.
    Unknown,
}

impl Means {
    fn of(found: Option<&Result<Support, LeaseError>>) -> Self {
        match found {
            // A running vipd has it.
            None | Some(Ok(_) | Err(LeaseError::Unavailable(Missing::Taken(_)))) => Self::Known(Enforcement::DeadMan),
            Some(Err(LeaseError::Unavailable(Missing::Permission))) => Self::Unknown,
            Some(Err(_)) => Self::Known(Enforcement::AddressLifetime),
        }
    }

    fn describe(self, instance: &Instance) -> String {
        let [switch, lifetime] =
            [Enforcement::DeadMan, Enforcement::AddressLifetime].map(|means| describe_lease(instance, means));
        match self {
            Self::Known(Enforcement::DeadMan) => switch,
            Self::Known(Enforcement::AddressLifetime) => lifetime,
            Self::Unknown if switch == lifetime => switch,
            Self::Unknown => format!(
                "whether this kernel has nf_tables can be seen with CAP_NET_ADMIN only. With it: {switch}. Without: {lifetime}"
            ),
        }
    }
}

impl<'a> CheckReport<'a> {
    fn about(file: &'a str, valid: bool) -> Self {
        Self { schema: Summary::SCHEMA, file, valid, problems: &[], summary: None, error: None }
    }
}

/// The same host for a daemon that may run commands as anybody.
struct AnyUser<'h>(&'h dyn Host);

impl Host for AnyUser<'_> {
    fn may_listen_at(&self, path: &Path) -> Result<(), String> {
        self.0.may_listen_at(path)
    }

    fn may_start(&self, program: &str) -> Result<(), String> {
        self.0.may_start(program)
    }

    fn has_user(&self, name: &str) -> bool {
        self.0.has_user(name)
    }

    fn has_group(&self, name: &str) -> bool {
        self.0.has_group(name)
    }
}

fn load(file: &Path, name: &str, host: &dyn Host) -> Result<Loaded, LoadError> {
    if file != Path::new("-") {
        return Config::load_for(file, host);
    }
    let bytes = read_all(io::stdin().lock());
    let bytes = bytes.map_err(|source| LoadError::Unreadable { file: name.to_owned(), source })?;
    Ok(Config::parse_for(name, text_of(name, &bytes)?, host)?)
}

fn report(report: &CheckReport<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

fn unfit_interfaces(config: &Config, observed: &Observed) -> Vec<String> {
    let mut warnings = Vec::new();
    for instance in config.instances.values() {
        let (name, interface) = (&instance.name, &instance.interface);
        if observed.link(interface.as_str()).is_some_and(|link| !link.ethernet) {
            warnings.push(format!("instance {name}: {interface} is no Ethernet interface; vipd would wait for one"));
        }
        let exists = |name: &str| observed.link(name).is_some();
        let tracked = instance.vrrp().into_iter().flat_map(|vrrp| vrrp.interfaces.iter().map(|at| &at.what));
        for interface in std::iter::once(&instance.interface).chain(tracked).filter(|name| !exists(name.as_str())) {
            warnings.push(format!("instance {name}: there is no interface {interface} now; vipd will wait for it"));
        }
    }
    warnings
}

fn own_peers(config: &Config, observed: &Observed) -> Vec<String> {
    let warning = |instance: &Instance| {
        let own = place::own_peers(instance, observed);
        let (name, list) = (&instance.name, own.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "));
        let all = matches!(&instance.vrrp()?.peers, PeerSet::Unicast(unicast) if unicast.peers.len() == own.len());
        match own.len() {
            0 => None,
            _ if all => Some(format!(
                "instance {name}: every unicast peer ({list}) is an address of this host; vipd would wait for another"
            )),
            _ => Some(format!("instance {name}: of its unicast peers {list} is this host, and is left out")),
        }
    };
    config.instances.values().filter_map(warning).collect()
}

fn unrunnable_checks(config: &Config, host: &dyn Host) -> Vec<String> {
    let warning = |check: &Check| {
        let user = check.user.as_deref()?;
        let why = host.may_run_as(user).err()?;
        let name = &check.name;
        Some(format!("check {name}: user {user}: {why}; a vipd that may do no more than this process refuses to run"))
    };
    config.checks.values().filter_map(warning).collect()
}

fn counted(config: &Config) -> String {
    let count = |number: usize, what: &str| match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        number => Some(format!("{number} {what}s")),
    };
    let parts = [
        count(config.instances.len(), "instance"),
        count(config.checks.len(), "check"),
        count(config.sync_groups.len(), "sync group"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Address, Link};
    use crate::lease::{Refresh, TableName};

    fn found() -> Result<Support, LeaseError> {
        Ok(Support { refresh: Refresh::Update, owned: true })
    }

    fn checked(text: &str, json: bool) -> (Exit, String, String) {
        checked_where(text, json, found)
    }

    /// A host with eth0 and lo, where nobody is nobody.
    struct Small;

    impl Host for Small {
        fn may_run_as(&self, user: &str) -> Result<(), String> {
            if user == "nobody" { Err("why not".to_owned()) } else { Ok(()) }
        }

        fn may_start(&self, program: &str) -> Result<(), String> {
            if program.starts_with("/usr") { Ok(()) } else { Err("why not".to_owned()) }
        }

        fn may_listen_at(&self, path: &Path) -> Result<(), String> {
            if path.starts_with("/run") { Ok(()) } else { Err("why not".to_owned()) }
        }

        fn has_user(&self, name: &str) -> bool {
            name != "nosuch"
        }

        fn has_group(&self, name: &str) -> bool {
            name != "nogrp"
        }
    }

    fn look() -> io::Result<Observed> {
        let link = |index, name: &str| Link { index, name: name.into(), ethernet: index > 1, ..Link::default() };
        let address = Address {
            net: "198.18.0.1/24".parse().unwrap(),
            link: 2,
            tag: None,
            secondary: false,
            tentative: false,
            duplicate: false,
            valid_for: None,
        };
        let links = vec![link(1, "wg0"), link(2, "eth0")];
        Ok(Observed { links, addresses: [address].into_iter().collect() })
    }

    fn checked_where(
        text: &str,
        json: bool,
        switch: impl FnOnce() -> Result<Support, LeaseError>,
    ) -> (Exit, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vipd.toml");
        std::fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = check(&file, json, look, switch, &Small, &mut out, &mut err).unwrap();
        let place = directory.path().display().to_string() + "/";
        let words = |bytes| String::from_utf8(bytes).unwrap().replace(&place, "");
        (exit, words(out), words(err))
    }

    const VALID: &str = include_str!("../../../../packaging/vipd.toml");

    #[test]
    fn a_valid_file_says_what_will_be_done() {
        let (exit, out, err) = checked(VALID, false);
        assert_eq!(exit, Exit::Done);
        let expected = "instance gocd: VRRP version 3, virtual router 51 on eth0, priority 150\n  \
                        addresses             198.18.5.200/24\n  advertises            every 1000 ms, multicast\n  \
                        Skew_Time             414.0625 ms\n  Active_Down_Interval  3414.0625 ms\n";
        assert!(out.contains(expected), "{out}");
        assert!(out.contains("instance artifacts: managed, on eth0"), "{out}");
        assert_eq!(
            err,
            "warning: instance gocd: there is no interface eth1 now; vipd will wait for it\n\
             vipd.toml is valid: 2 instances, 1 check\n"
        );
    }

    #[test]
    fn what_the_kernel_enforces_is_what_this_kernel_can() {
        const INSTANCE: &str =
            "[[instance]]\nname = \"a\"\nmode = \"managed\"\ninterface = \"eth0\"\naddresses = [\"198.18.0.1/24\"]\n";
        let missing = |what| move || Err(LeaseError::Unavailable(what));
        let leases = |switch: Result<Support, LeaseError>| {
            let (exit, out, err) = checked_where(INSTANCE, false, || switch);
            assert_eq!(exit, Exit::Done, "{err}");
            (out.contains("(dead-man switch)"), out.contains("no dead-man switch here"), err)
        };
        let taken = Missing::Taken(TableName::default());
        for switch in [found(), missing(taken)()] {
            let (with, without, err) = leases(switch);
            assert!(with && !without && !err.contains("dead-man"), "{err}");
        }
        let (with, without, err) = leases(missing(Missing::NfTables)());
        assert!(!with && without, "{err}");
        assert!(err.contains("warning: no dead-man switch here: the kernel has no nf_tables"), "{err}");
        let (with, without, _) = leases(missing(Missing::Permission)());
        assert!(with && without, "both are said");
        let unleased = format!("{INSTANCE}lease = false\n");
        checked_where(&unleased, false, || panic!("nobody needs to know"));
    }

    #[test]
    fn a_check_that_cannot_be_run_is_a_warning() {
        let text = VALID.replace("# user = ", "user = ");
        let (exit, _, err) = checked(&text, false);
        assert_eq!(exit, Exit::Done);
        let expected =
            "warning: check gocd: user nobody: why not; a vipd that may do no more than this process refuses to run\n";
        assert!(err.contains(expected), "{err}");
    }

    const UNICAST: &str = "[[instance]]\nname = \"a\"\nmode = \"vrrp\"\ninterface = \"eth0\"\naddresses = [\"198.18.0.9/24\"]\n\
                           virtual-router-id = 51\n[instance.unicast]\npeers = [\"198.18.0.1\"]\n";

    #[test]
    fn a_peer_that_is_this_host_is_a_warning() {
        let (exit, _, err) = checked(UNICAST, false);
        let alone = "warning: instance a: every unicast peer (198.18.0.1) is an address of this host; vipd would wait for \
                     another\n";
        assert!(exit == Exit::Done && err.contains(alone), "{err}");
        let both = UNICAST.replace("198.18.0.1\"", "198.18.0.1\", \"198.18.0.2\"");
        let (exit, _, err) = checked(&both, false);
        let one = "warning: instance a: of its unicast peers 198.18.0.1 is this host, and is left out\n";
        assert!(exit == Exit::Done && err.contains(one), "{err}");
        let (_, _, err) = checked(&UNICAST.replace("198.18.0.1\"", "198.18.0.2\""), false);
        assert_eq!(err, "vipd.toml is valid: 1 instance\n");
    }

    #[test]
    fn an_interface_that_is_not_ethernet_is_a_warning() {
        let (exit, _, err) = checked(&UNICAST.replace("eth0", "wg0").replace("0.1\"", "0.2\""), false);
        let expected = "warning: instance a: wg0 is no Ethernet interface; vipd would wait for one\n";
        assert!(exit == Exit::Done && err.contains(expected), "{err}");
    }

    #[test]
    fn what_this_host_does_not_have_is_a_warning_with_its_line() {
        let text = UNICAST.replace("0.1\"", "0.2\"")
            + "[control]\nusers = [\"go\", 7, \"nosuch\"]\ngroups = [\"nogrp\"]\n[hook]\ncommand = [\"/bin/x\"]\n\
               [[check]]\nname = \"c\"\ncommand = [\"/bin/y\", \"z\"]\n";
        let (exit, _, err) = checked(&text, false);
        assert_eq!(exit, Exit::Done, "{err}");
        let expected = "warning: vipd.toml:10:19: control: users: found \"nosuch\", which /etc/passwd does not have: it lets nobody in\n\
                        warning: vipd.toml:11:11: control: groups: found \"nogrp\", which /etc/group does not have: it lets nobody in\n\
                        warning: vipd.toml:13:11: hook: command: found \"/bin/x\", which cannot be started now: why not\n\
                        warning: vipd.toml:16:11: check \"c\": command: found \"/bin/y\", which cannot be started now: why not\n";
        assert!(err.starts_with(expected), "{err}");
        let (exit, _, err) = checked(&(UNICAST.to_owned() + "[control]\nsocket = \"/etc\"\n"), false);
        let expected =
            "error: vipd.toml:10:10: control: socket: found \"/etc\", expected a path for a socket: why not\n";
        assert!(exit == Exit::Usage && err.starts_with(expected), "{err}");
    }

    #[test]
    fn a_file_without_end_is_exit_2() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = check(Path::new("/dev/zero"), false, look, found, &Small, &mut out, &mut err).unwrap();
        let err = String::from_utf8(err).unwrap();
        assert_eq!((exit, err.as_str()), (Exit::Usage, "error: cannot read /dev/zero: it has more than 16 MiB\n"));
    }

    #[test]
    fn a_wrong_file_is_exit_2_with_every_problem() {
        let (exit, out, err) = checked("lease = 1\nlaese = true\n", false);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        assert!(err.starts_with("error: vipd.toml:1:9: lease: found 1, expected"), "{err}");
        assert!(err.contains("\nerror: vipd.toml:2:1: unknown key \"laese\""), "{err}");
        assert!(err.ends_with("vipd.toml is not valid: 2 errors\n"), "{err}");
    }

    #[test]
    fn json_is_one_document_whether_the_file_is_right_or_wrong() {
        for (text, valid) in [(VALID, true), ("lease = 1\n", false)] {
            let (_, out, _) = checked(text, true);
            let report: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(report["valid"], valid);
            assert_eq!(report["problems"].as_array().map(Vec::len), Some(usize::from(!valid)));
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_exit_2() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = check(Path::new("/nowhere/vipd.toml"), false, look, found, &Small, &mut out, &mut err).unwrap();
        assert_eq!(exit, Exit::Usage);
        assert!(String::from_utf8(err).unwrap().starts_with("error: cannot read /nowhere/vipd.toml: "));
    }
}
