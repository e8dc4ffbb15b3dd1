//! When `packaging/standbyd-pull.service` lets a pull begin: its own condition, with a `systemctl` that says what each case wants.
#![expect(clippy::expect_used, reason = "a test says where it stops")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// The condition as systemd gives it to the shell: joined lines, `$$` and `%%` undone.
fn condition() -> String {
    let unit = include_str!("../../../packaging/standbyd-pull.service").replace("\\\n", " ");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecCondition=+/bin/sh -c ")).expect("a condition");
    line.trim_matches('\'').replace("$$", "$").replace("%%", "%")
}

#[test]
fn nothing_is_pulled_into_a_server_that_runs_or_has_just_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let uptime = fs::read_to_string("/proc/uptime").expect("uptime");
    let now: u64 = uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).expect("seconds");
    assert!(now > 60, "the machine has run for a minute");
    let ago = |seconds: u64| now.checked_sub(seconds).map(|then| then * 1_000_000);
    let table = [
        ("active", Some(0), false, "its own files are the truth"),
        ("deactivating", ago(5000), false, "it still writes"),
        ("activating", Some(0), false, "it is about to write"),
        ("inactive", ago(2), false, "a switchover may be at work"),
        ("failed", ago(30), false, "nobody has fetched its files yet"),
        ("inactive", ago(601), true, "it has rested for long"),
        ("inactive", Some(0), true, "it has never run since the machine was started"),
    ];
    for (state, stopped, pulls, why) in table {
        // A machine that was started a moment ago has no such past.
        let Some(stopped) = stopped else { continue };
        let path = directory.path().join("systemctl");
        let script = format!(
            "#!/bin/sh\ncase $* in *=ActiveState*) echo {state};; *=InactiveEnterTimestampMonotonic*) echo {stopped};; esac\n"
        );
        fs::write(&path, script).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        let status = Command::new("/bin/sh")
            .args(["-c", &condition()])
            .env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()))
            .status()
            .expect("sh starts");
        assert_eq!(status.success(), pulls, "{state}, stopped at {stopped} µs: {why}");
    }
}
