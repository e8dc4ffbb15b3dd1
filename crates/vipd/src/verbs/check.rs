//! `vipd check`: whether a configuration is right, and what the daemon would do with it. Touches nothing.

use std::io::{self, Read as _, Write};
use std::path::Path;

use bc_model::exit::Exit;
use serde::Serialize;

use crate::config::{Check, Config, Instance, LoadError, MayRunAs, Problem, Summary, describe_lease, text_of};
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
/// The result is 0 if the configuration is right, and 2 if it is wrong or cannot be read. `exists` says whether an
/// interface is there now; one that is not is worth a warning only, for it may appear later. `switch` looks for the
/// dead-man switch, if there is an instance with a lease. `may_run_as` says whether this process could be the daemon of a check
/// with that user; the daemon may be given other privileges.
///
/// # Errors
/// What the streams say.
pub fn check(
    file: &Path,
    json: bool,
    exists: impl Fn(&str) -> bool,
    switch: impl FnOnce() -> Result<Support, LeaseError>,
    may_run_as: MayRunAs,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Exit> {
    let name = if file == Path::new("-") { "<stdin>".to_owned() } else { file.display().to_string() };
    match load(file, &name) {
        Ok(config) => {
            let leased = |instance: &Instance| matches!(instance.lease_plan(Enforcement::DeadMan), Ok(Some(_)));
            let found = config.instances.values().any(leased).then(switch);
            let means = Means::of(found.as_ref());
            let mut summary = Summary::of(&config, |instance| means.describe(instance));
            summary.warnings.extend(absent_interfaces(&config, exists));
            summary.warnings.extend(unrunnable_checks(&config, may_run_as));
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

fn load(file: &Path, name: &str) -> Result<Config, LoadError> {
    if file != Path::new("-") {
        return Config::load(file);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|source| LoadError::Unreadable { file: name.to_owned(), source })?;
    Ok(Config::parse(name, text_of(name, &bytes)?)?)
}

fn report(report: &CheckReport<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

fn absent_interfaces(config: &Config, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut warnings = Vec::new();
    for instance in config.instances.values() {
        let tracked = instance.vrrp().into_iter().flat_map(|vrrp| vrrp.interfaces.iter().map(|at| &at.what));
        for interface in std::iter::once(&instance.interface).chain(tracked).filter(|name| !exists(name.as_str())) {
            let name = &instance.name;
            warnings.push(format!("instance {name}: there is no interface {interface} now; vipd will wait for it"));
        }
    }
    warnings
}

fn unrunnable_checks(config: &Config, may_run_as: MayRunAs) -> Vec<String> {
    let warning = |check: &Check| {
        let user = check.user.as_deref()?;
        let why = may_run_as(user).err()?;
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
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "it has no instance".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Refresh, TableName};

    fn found() -> Result<Support, LeaseError> {
        Ok(Support { refresh: Refresh::Update, owned: true })
    }

    fn checked(text: &str, json: bool) -> (Exit, String, String) {
        checked_where(text, json, found)
    }

    fn may_run_as(user: &str) -> Result<(), String> {
        if user == "nobody" { Err("why not".to_owned()) } else { Ok(()) }
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
        let exit = check(&file, json, |name| name == "eth0", switch, may_run_as, &mut out, &mut err).unwrap();
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
        let exit =
            check(Path::new("/nowhere/vipd.toml"), false, |_| true, found, |_| Ok(()), &mut out, &mut err).unwrap();
        assert_eq!(exit, Exit::Usage);
        assert!(String::from_utf8(err).unwrap().starts_with("error: cannot read /nowhere/vipd.toml: "));
    }
}
