//! A setup of a standby that is killed, and run again: whatever the moment, it comes to its end, the old data is not touched before a
//! verified copy can take its place, and is kept.

#![expect(clippy::disallowed_methods, reason = "a test waits for a process that has a time limit of its own")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

use crate::pair::{Pair, pair, succeed};

/// Stands in for `mv`: counts its calls, and stops at the one it is told of. Every change of a name that setup makes goes through it.
const MV: &str = r#"#!/bin/sh
cd "${0%/*}" || exit
count=$(($(cat count) + 1))
echo "$count" >count
if [ "$count" = "$(cat at 2>/dev/null)" ]; then
    echo "$$ mv $*" >stopped.new
    /usr/bin/mv stopped.new stopped
    exec sleep 600
fi
cd / && exec /usr/bin/mv "$@"
"#;

/// A directory with that `mv`, for root and for the owner of the server.
struct Shims(PathBuf);

impl Shims {
    fn make(pair: &Pair) -> Self {
        let shims = Self(pair.path("shims"));
        fs::create_dir(&shims.0).expect("a directory");
        fs::set_permissions(&shims.0, fs::Permissions::from_mode(0o777)).expect("mode");
        shims.put("mv", MV);
        shims
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a file");
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(0o777)).expect("mode");
    }

    /// Runs a setup in which the `at`-th `mv` (none if 0) stops, and kills it there: bcctl and everything between the two, as a power
    /// cut of both machines would. How it ended, and what it was about to do.
    fn run(&self, pair: &Pair, at: usize) -> (ExitStatus, String) {
        self.put("count", "0");
        self.put("at", &at.to_string());
        let _ = fs::remove_file(self.0.join("stopped"));
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH").expect("PATH"));
        let mut command = pair.command(&["setup", "standby", "--yes"]);
        command.env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("bcctl starts");
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return (status, String::new());
            }
            if let Ok(stopped) = fs::read_to_string(self.0.join("stopped")) {
                let (pid, words) = stopped.trim().split_once(' ').expect("a pid and words");
                kill_up_to(child.id(), pid.parse().expect("a pid"));
                return (child.wait().expect("it ends"), words.to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Kills `pid` and its ancestors, the last of them `top`; top first, so that nobody is told of anything.
fn kill_up_to(top: u32, pid: u32) {
    let mut all = vec![pid];
    while all[0] != top {
        let stat = fs::read_to_string(format!("/proc/{}/stat", all[0])).expect("a process");
        let parent = stat.rsplit_once(") ").expect("a name").1.split(' ').nth(1).expect("a parent");
        all.insert(0, parent.parse().expect("a pid"));
        assert!(all[0] > 1, "{pid} is no descendant of {top}");
    }
    for pid in all {
        let _ = kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL);
    }
}

/// What was on pg2 before: another cluster, with a configuration of its own that would not even follow this primary.
struct Old {
    conf: String,
}

impl Old {
    fn make(pair: &Pair) -> Self {
        let data = pair.path("saved");
        succeed(
            pair.program("initdb").args(["-A", "trust", "--auth-host=scram-sha-256", "--no-sync", "-D"]).arg(&data),
        );
        let conf = fs::read_to_string(data.join("postgresql.conf")).expect("a file")
            + &format!(
                "# the old pg2\nport = {}\nunix_socket_directories = '{}'\nfsync = off\nshared_buffers = 16MB\nmax_connections = 10\nwal_retrieve_retry_interval = 200ms\n",
                pair.ports[1],
                pair.path("s").display()
            );
        fs::write(data.join("postgresql.conf"), &conf).expect("a file");
        fs::write(data.join("old-data"), "rows that nobody has anywhere else").expect("a file");
        Self { conf }
    }

    /// pg2 as it was before any setup.
    fn restore(pair: &Pair) {
        let _ = pair.program("pg_ctl").arg("-D").arg(pair.path("pg2")).args(["-s", "-m", "immediate", "stop"]).output();
        for name in names(pair) {
            let path = pair.path(&name);
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
        succeed(std::process::Command::new("cp").arg("-a").arg(pair.path("saved")).arg(pair.path("pg2")));
    }

    /// The old data is somewhere, once, as it was; in its own place as long as no verified copy is there.
    fn assert_untouched(&self, pair: &Pair, when: &str) {
        // What a bcctl that was killed has begun may still go on, and change a name while we look.
        let look = || {
            let all = names(pair);
            let holds = all.iter().filter(|name| pair.path(name).join("old-data").exists()).cloned().collect();
            (all, holds)
        };
        let (mut seen, mut again): ((Vec<String>, Vec<String>), _) = (look(), look());
        for _ in 0..100 {
            if seen == again {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            (seen, again) = (again, look());
        }
        let (all, holds) = again;
        let [name] = holds.as_slice() else { panic!("{when}: the old data is in {holds:?} of {all:?}") };
        let conf = fs::read_to_string(pair.path(name).join("postgresql.conf")).expect("a file");
        assert_eq!(conf, self.conf, "{when}: the configuration in {name}");
        let copied = all.iter().any(|name| name.ends_with("-setup"));
        assert!(copied || *name == "pg2", "{when}: {all:?}");
    }
}

/// The names of what belongs to pg2.
fn names(pair: &Pair) -> Vec<String> {
    let entries = fs::read_dir(pair.path("")).expect("a directory").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("pg2") && name != "pg2.log");
    names.sort();
    names
}

/// Run again, the setup comes to its end, and nothing of the earlier one is left but what was there before.
fn assert_completes(pair: &Pair, old: &Old, when: &str) {
    let said = pair.bcctl(0, &["setup", "standby", "--yes"]);
    pair.wait("pg2", "SELECT count(*) FROM rows", "100");
    assert_eq!(pair.sql("pg2", "SELECT pg_is_in_recovery()"), "t", "{when}: {said}");
    assert_eq!(
        pair.sql("pg2", "SHOW max_connections"),
        "25",
        "{when}: as many as the primary has, or it would not start"
    );
    old.assert_untouched(pair, when);
    let left: Vec<String> = names(pair).into_iter().filter(|name| name.contains(".bcctl-")).collect();
    assert!(left.is_empty(), "{when}: {left:?}");
    let conf = fs::read_to_string(pair.path("pg2/postgresql.conf")).expect("a file");
    assert!(conf.starts_with(&old.conf), "{when}: its own configuration came with it");
    assert!(pair.bcctl(0, &["setup", "standby", "--yes"]).contains("nothing was changed"), "{when}");
}

/// A primary that is set up, with rows.
fn primary() -> Option<(Pair, Old)> {
    let pair = pair()?;
    pair.bcctl(0, &["setup", "primary", "--yes"]);
    pair.sql("pg1", "CREATE TABLE rows (n int); INSERT INTO rows SELECT generate_series(1, 100)");
    let old = Old::make(&pair);
    Some((pair, old))
}

#[test]
fn killed_at_every_change_of_a_name_with_everything_that_it_had_started() {
    let Some((pair, old)) = primary() else { return };
    let shims = Shims::make(&pair);
    Old::restore(&pair);
    let (status, _) = shims.run(&pair, 0);
    assert!(status.success(), "{status}");
    let count: usize = fs::read_to_string(shims.0.join("count")).expect("a count").trim().parse().expect("a number");
    // The copy gets its name, the old data goes aside, the copy takes its place, and two files are written in it.
    assert_eq!(count, 5);

    for at in 1..=count {
        Old::restore(&pair);
        let (status, words) = shims.run(&pair, at);
        let when = format!("killed before rename {at} of {count}: {words}");
        assert_eq!(status.signal(), Some(9), "{when}");
        old.assert_untouched(&pair, &when);
        assert_completes(&pair, &old, &when);
    }
}

#[test]
fn killed_after_every_step_one_after_the_other() {
    let Some((pair, old)) = primary() else { return };
    Old::restore(&pair);
    let plan = pair.bcctl(0, &["setup", "standby", "--dry-run"]);
    let steps: Vec<&str> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("## ")?.split_once(". ")?.1.split_once(':'))
        .map(|(step, _)| step)
        .collect();
    assert!(steps.contains(&"rejoin-copy") && steps.last() == Some(&"rejoin-stream"), "{steps:?}");
    old.assert_untouched(&pair, "after a dry run");

    let last = steps.len() - 2;
    for (number, step) in steps.iter().enumerate().take(last + 1) {
        let mut child = pair
            .command(&["setup", "standby", "--yes"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("bcctl");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let line = said.find(|line| line.split_whitespace().nth(1) == Some(step));
        child.kill().expect("SIGKILL");
        let status = child.wait().expect("it ends");
        let when = format!("killed after {step}");
        assert!(line.is_some(), "{when}: it was not reached; {status}");
        // After the last but one there is only a look left: the signal may come too late.
        let over = number == last && status.success();
        assert!(over || status.signal() == Some(9), "{when}: it was over already; {status}");
        old.assert_untouched(&pair, &when);
    }
    assert_completes(&pair, &old, "killed after every step");
    assert_eq!(names(&pair).iter().filter(|name| name.contains(".old-")).count(), 1, "copied once: {:?}", names(&pair));
}

#[test]
fn killed_in_the_middle_of_the_base_backup() {
    let Some((pair, old)) = primary() else { return };
    // Large enough that the copy takes a while.
    pair.sql("pg1", "CREATE TABLE large AS SELECT n, repeat(md5(n::text), 30) AS words FROM generate_series(1, 60000) AS n; CHECKPOINT");
    let copying = || names(&pair).iter().any(|name| name.ends_with(".partial"));
    for (all, when) in [(false, "bcctl killed, its base backup goes on"), (true, "bcctl and its base backup killed")] {
        // The copy may be over before it is killed; then there was nothing to see, and it is tried again.
        let in_the_middle = (0..10).any(|_| {
            Old::restore(&pair);
            let mut setup = pair.command(&["setup", "standby", "--yes"]);
            let mut child = setup.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("bcctl");
            for _ in 0..20_000 {
                if copying() || child.try_wait().expect("a child").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            let killed = all && kill_copy(&pair);
            child.kill().expect("SIGKILL");
            let status = child.wait().expect("it ends");
            (killed || !all) && copying() && status.signal() == Some(9)
        });
        assert!(in_the_middle, "{when}: ten base backups were over too soon: {:?}", names(&pair));
        old.assert_untouched(&pair, when);
        assert_completes(&pair, &old, when);
        let kept = names(&pair).into_iter().filter(|name| name.contains(".old-")).count();
        assert_eq!(kept, 1, "{when}: {:?}", names(&pair));
    }
}

/// Kills the base backup and what runs it; false if there is none any more.
fn kill_copy(pair: &Pair) -> bool {
    let Ok(text) = fs::read_to_string(pair.path("pg2.bcctl.pid")) else { return false };
    let Ok(pid) = text.trim().parse() else { return false };
    // The copy leads a session of its own.
    getpgid(Some(Pid::from_raw(pid))).is_ok_and(|group| killpg(group, Signal::SIGKILL).is_ok())
}
