//! Every operation with a login that is not root, over a real sshd and a real sudo that allows each command by a rule of
//! its own, on real servers; and what happens when one rule is missing.
//!
//! The test runs in a mount namespace with users and sudoers of its own, so the machine's stay as they are. All hosts of
//! the site are one machine, so their rules are together in one sudoers.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says where it stops, and what it saw")]

mod site;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use site::Site;

/// Says that the namespace is there.
const INSIDE: &str = "BC_SUDO_TEST_INSIDE";
/// The operators' login.
const LOGIN: &str = "bcops";
/// GoCD's user.
const GO: &str = "bcgo";

/// What systemd would do, for the units of this site: shows to anybody; starts, stops and sets for root. GoCD starts in maintenance
/// mode if it is told so in its environment.
const SYSTEMCTL: &str = r#"
verb=$1
for unit; do :; done
case $* in
"show --property=Environment --value") cat "$SITE/environment" 2>/dev/null; exit 0 ;;
esac
host=${unit#*@}; host=${host%.service}
case $unit in
postgresql@*) runs() { pgrep -f "bin/postgres -D $SITE/$host( |\$)" >/dev/null; } ;;
*) runs() { [ -e "$SITE/gocd/$host" ]; } ;;
esac
if [ "$verb" = show ]; then
    state=inactive; ! runs || state=active
    case $* in
    *--value*) echo $state ;;
    *) echo "LoadState=loaded"; echo "ActiveState=$state"; echo "UnitFileState=disabled"
        echo "ExecCondition={ path=/usr/bin/fence ; argv[]=/usr/bin/fence gate --unit $unit ; }" ;;
    esac
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "Interactive authentication required." >&2; exit 1; }
control="runuser -u postgres -- $BIN/pg_ctl -D $SITE/$host -w -s -l $SITE/$host.log"
case $verb-$unit in
set-environment-*) printf '%s\n' "$unit" >"$SITE/environment" ;;
unset-environment-*) rm -f "$SITE/environment" ;;
start-postgresql@*) runs || $control start ;;
stop-postgresql@*) ! runs || $control -m fast stop ;;
start-*) [ $host = go1 ] && port=$PORT1 || port=$PORT2
    runuser -u postgres -- "$BIN/psql" -h "$SITE/sockets" -p "$port" -XAtqd postgres -c 'INSERT INTO boots VALUES (1)' || exit 1
    ! grep -q maintenance.mode=true "$SITE/environment" 2>/dev/null || touch "$SITE/maintenance/$host"
    touch "$SITE/gocd/$host" ;;
stop-*) rm -f "$SITE/gocd/$host" "$SITE/maintenance/$host" ;;
*) exit 2 ;;
esac
"#;

fn sh(script: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

fn must(script: &str) -> String {
    let (succeeded, said) = sh(script);
    assert!(succeeded, "{script}: {said}");
    said
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).expect("a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
}

#[test]
fn every_operation_runs_with_a_rule_for_each_command_and_none_without() {
    let missing = site::missing().or_else(|| {
        let wanted =
            [("sudo -V", "sudo is not installed (apt-get install sudo)"), ("unshare -m true", "no mount namespace")];
        wanted.into_iter().find(|(script, _)| !sh(script).0).map(|(_, reason)| reason.to_owned())
    });
    if !site::is_all_there(missing) {
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let this = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "--"])
        .arg(this)
        .args(["--exact", "every_operation_runs_with_a_rule_for_each_command_and_none_without", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Users and sudoers that only this namespace sees.
fn own_users(etc: &Path) {
    let etc = etc.display();
    must(&format!(
        "umask 022; for file in passwd group shadow; do cp -p /etc/$file {etc}/$file; done\n\
         printf '%s:x:%s:%s::/tmp:/bin/sh\\n' {LOGIN} 61234 61234 {GO} 61235 61235 >>{etc}/passwd\n\
         printf '%s:x:%s:\\n' {LOGIN} 61234 {GO} 61235 >>{etc}/group\n\
         printf '%s:*:19000::::::\\n' {LOGIN} {GO} >>{etc}/shadow\n\
         for file in passwd group shadow; do mount --bind {etc}/$file /etc/$file; done\n\
         mkdir {etc}/sudoers.d\n\
         printf '%s\\n' 'Defaults env_reset, !syslog' 'Defaults logfile=\"{etc}/sudo.log\", loglinelen=0' \
         'Defaults env_keep += \"SITE BIN BC_HOST\"' '@includedir /etc/sudoers.d' >{etc}/sudoers\n\
         chmod 0440 {etc}/sudoers\n\
         mount --bind {etc}/sudoers /etc/sudoers; mount --bind {etc}/sudoers.d /etc/sudoers.d\n\
         [ ! -d /run/sudo ] || mount -t tmpfs tmpfs /run/sudo"
    ));
}

/// The same site, driven by systemd and reached by a login that is not root.
fn with_a_login(site: &Site) {
    let root = site.path("");
    let root = root.to_str().expect("a path").trim_end_matches('/').to_owned();
    let [one, two] = site.ports().map(|port| port.to_string());
    let systemctl = SYSTEMCTL.replace("$PORT1", &one).replace("$PORT2", &two);
    program(&site.path("bin/systemctl"), &format!("#!/bin/sh\n{systemctl}"));
    let vipd = fs::read_to_string(site.path("bin/vipd")).expect("a stand-in");
    let only_root = "#!/bin/sh\n[ \"$(id -u)\" = 0 ] || { echo 'vipd: Operation not permitted' >&2; exit 1; }\n";
    program(&site.path("bin/vipd"), &vipd.replacen("#!/bin/sh\n", only_root, 1));
    must(&format!("install -d -m 0700 -o {LOGIN} {root}/copies; chown {GO}: {root}/token"));
    let mut text = String::new();
    let mut host = String::new();
    for line in fs::read_to_string(site.path("bc.toml")).expect("an inventory").lines() {
        if let Some(name) = line.strip_prefix("[postgresql.on.").or_else(|| line.strip_prefix("[gocd.on.")) {
            name.trim_end_matches(']').clone_into(&mut host);
        }
        if line.starts_with("commands = ") {
            let service = if host.starts_with("pg") { "postgresql" } else { "go-server" };
            text.push_str(&format!("service = \"{service}@{host}.service\"\n"));
        } else if line.starts_with("ssh = ") {
            text.push_str(&format!("{}\nsudo = \"commands\"\n", line.replace("root@", &format!("{LOGIN}@"))));
        } else {
            text.push_str(&format!("{}\n", line.replace("os-user = \"postgres\"", &format!("os-user = \"{GO}\""))));
        }
    }
    fs::write(site.path("bc.toml"), text).expect("an inventory");
}

/// Writes the rules that bcctl prints into sudoers, but for lines with `without`. Our stand-ins lie elsewhere.
fn allow(site: &Site, without: &str) {
    let bin = site.path("bin");
    let bin = bin.display();
    for host in ["pg1", "pg2", "go1", "go2"] {
        let mut rules = site.expect(0, &["sudoers", host]);
        for program in ["systemctl", "vipd", "standbyd"] {
            rules = rules.replace(&format!("/usr/bin/{program} "), &format!("{bin}/{program} "));
        }
        rules = rules.replace("secure_path=\"", &format!("secure_path=\"{bin}:"));
        let lines = rules.lines().filter(|line| without.is_empty() || !line.contains(without));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let path = Path::new("/etc/sudoers.d").join(host);
        fs::write(&path, &text).expect("rules");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).expect("mode");
        must(&format!("visudo -cqf {} || {{ cat {0}; false; }}", path.display()));
    }
}

fn inside() {
    let etc = tempfile::Builder::new().prefix("bcctl-sudo-").tempdir().expect("a directory");
    fs::set_permissions(etc.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    own_users(etc.path());
    let site = Site::over_ssh();
    with_a_login(&site);
    allow(&site, "");

    // The rules allow what they name, and nothing beside it.
    let may = |command: &str| {
        let (bin, root) = (site.path("bin"), site.path(""));
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        sh(&format!(
            "PATH={path} SITE={} setpriv --reuid {LOGIN} --regid {LOGIN} --clear-groups sudo -n {command}",
            root.display()
        ))
    };
    assert!(may("vipd status 198.18.5.200 --json").0, "{:?}", may("vipd status 198.18.5.200 --json"));
    for command in [
        "sh -c true",
        "systemctl stop ssh.service",
        "systemctl stop postgresql@pg1.service ssh.service",
        "systemctl --root=/ stop postgresql@pg1.service",
        "vipd assign 198.18.5.1/24 --dev lo",
        "vipd assign 198.18.5.200/24 --dev lo --force",
        &format!("-u {GO} standbyd export"),
    ] {
        let (allowed, said) = may(command);
        assert!(!allowed && said.contains("sudo: "), "{command}: {said}");
    }

    // A rule too few is found, by name, before anything is touched.
    allow(&site, "vipd unassign");
    let before = (site.serving(), site.journals());
    let said = site.expect(3, &["check"]);
    let line =
        format!("{LOGIN} ALL=(root) NOPASSWD: {}/vipd unassign 198.18.5.200/24 --dev lo", site.path("bin").display());
    for words in ["BC111", "go1", "vipd unassign 198.18.5.200/24 --dev lo as root", &line] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    for arguments in [&["switchover", "--yes"][..], &["vip-only", "--to", "go2", "--yes"]] {
        let said = site.expect(3, arguments);
        assert!(said.contains("vipd unassign"), "{said}");
    }
    assert_eq!((site.serving(), site.journals()), before, "nothing was touched");
    allow(&site, "");

    let log = etc.path().join("sudo.log");
    fs::write(&log, "").expect("emptied");
    let said = site.expect(0, &["check"]);
    assert!(!said.contains("BC1"), "{said}");
    let said = site.expect(0, &["status"]);
    assert!(said.contains("pg1") && said.contains("streaming"), "{said}");
    site.expect(0, &["switchover", "--yes"]);
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    site.expect(0, &["switchover", "--yes"]);
    assert_eq!(site.sql("pg1", "SELECT pg_is_in_recovery()"), "f");
    site.expect(0, &["failover", "--yes", "--even-if-healthy", "--i-am-sure", "pg1"]);
    assert_eq!(site.sql("pg2", "SELECT pg_is_in_recovery()"), "f");
    site.expect(0, &["rejoin", "pg1", "--rewind", "--yes"]);
    site.wait("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "pg2", "1");
    site.sql("pg2", "INSERT INTO rows (t) VALUES ('kept')");
    site.expect(0, &["failback", "--yes"]);
    assert_eq!(site.sql("pg1", "SELECT t FROM rows"), "kept");
    assert_eq!(site.serving(), (vec!["go1".to_owned()], vec!["go1".to_owned()]));

    // Nothing was tried that is not allowed, and root was asked for fixed words only.
    let log = fs::read_to_string(&log).expect("the log of sudo");
    assert!(log.contains("COMMAND=") && !log.contains("not allowed"), "{log}");
    let as_root = |line: &&str| line.contains("USER=root") && line.contains("COMMAND=");
    let root: std::collections::BTreeSet<&str> =
        log.lines().filter(as_root).filter_map(|line| line.split("COMMAND=").nth(1)).collect();
    assert!(root.iter().all(|command| !command.contains("/sh ")), "{root:#?}");
    eprintln!("as root: {root:#?}");

    // What setup writes is root's, and no rule allows that.
    let said = site.expect(3, &["setup", "primary", "--dry-run"]);
    assert!(said.contains("gives root away"), "{said}");

    // Another login cannot see who has the lock, so it waits for nobody and does nothing.
    must(&format!("chown -R root: {}", site.path("copies").display()));
    let said = site.expect(3, &["switchover", "--yes"]);
    assert!(said.contains("cannot be seen"), "{said}");
    let said = site.expect(3, &["check"]);
    assert!(said.contains("BC105") && said.contains("install -d -m 0700 -o bcops"), "{said}");
}
