//! Transcripts of what the command line refuses by itself. Needs no privilege.

#![expect(clippy::unwrap_used, reason = "a program that cannot be started fails the test, with the place")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Exit code and stderr of `vipd ARGUMENTS`.
fn vipd(arguments: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vipd")).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.stdout.is_empty(), "stdout is for data: {output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_malformed_address_says_what_was_expected() {
    let table = [
        ("198.18.5", "expected an address with its prefix length, such as 198.18.5.200/24 or fd00::200/64"),
        ("198.18.5.200", "the prefix length is missing; write 198.18.5.200/24 if that is the subnet's"),
        ("198.18.5.200/33", "the prefix length must be a number from 1 to 32"),
        ("fd00::200/0", "the prefix length must be a number from 1 to 128"),
        ("224.0.0.18/24", "224.0.0.18 is a multicast address and cannot be a virtual IP"),
        ("127.0.0.2/8", "127.0.0.2 is a loopback address and cannot be a virtual IP"),
        ("0.0.0.0/24", "0.0.0.0 is the unspecified address and cannot be a virtual IP"),
        ("198.18.5.0/24", "198.18.5.0 is the address of its network and cannot be a virtual IP"),
        ("198.18.5.255/24", "198.18.5.255 is the broadcast address of its network and cannot be a virtual IP"),
    ];
    for (address, words) in table {
        let expected = format!(
            "error: invalid value '{address}' for '<ADDR/PREFIX>': {words}\n\nFor more information, try '--help'.\n"
        );
        assert_eq!(vipd(&format!("assign {address} --dev eth0")), (Some(2), expected));
    }
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() {
    let table = [
        ("assign 198.18.5.200/24", "the following required arguments were not provided:\n  --dev <IF>"),
        ("assign --dev eth0", "the following required arguments were not provided:\n  <ADDR/PREFIX>"),
        ("unassign", "the following required arguments were not provided:"),
        ("unassign 198.18.5.200/24", "the following required arguments were not provided:\n  --dev <IF>"),
        ("unassign 198.18.5.200/24", "\n\nUsage: vipd unassign [OPTIONS] <ADDR/PREFIX> --dev <IF>\n"),
        ("unassign", "\n       vipd unassign [OPTIONS] --all [--dev <IF>]\n"),
        ("unassign 198.18.5.200/24 --all", "cannot be used with"),
        ("assign 198.18.5.200/24 --dev eth0 --no-probe --probe-time 1s", "cannot be used with"),
        (
            "assign 198.18.5.200/24 --dev eth0 --probe-time 5",
            "invalid value '5' for '--probe-time <TIME>': expected a time from 100ms to 60s, such as 700ms or 7s",
        ),
        ("asign", "unrecognized subcommand 'asign'\n\n  tip: some similar subcommands exist: 'unassign', 'assign'"),
    ];
    for (arguments, words) in table {
        let (code, err) = vipd(arguments);
        assert_eq!(code, Some(2), "{arguments}: {err}");
        assert!(err.starts_with("error: ") && err.contains(words), "{arguments}: {err}");
    }
}

#[test]
fn an_interface_that_does_not_exist_is_told_with_those_that_do() {
    let (code, err) = vipd("assign 198.18.5.200/24 --dev no-such-if --dry-run");
    assert_eq!(code, Some(2), "{err}");
    assert!(err.starts_with("error: there is no interface no-such-if\n  hint: this host has lo"), "{err}");
}

#[test]
fn a_check_says_what_it_found_also_when_nobody_reads_on() {
    for json in [&["--json"][..], &[]] {
        for out in ["/dev/full", "a pipe that nobody reads"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vipd"));
            command.arg("check").args(json).arg("-").stdin(Stdio::piped()).stderr(Stdio::null());
            match std::fs::File::options().write(true).open(out) {
                Ok(full) => command.stdout(full),
                Err(_) => command.stdout(std::io::pipe().unwrap().1),
            };
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"[[instance]]\nnam = 1\n").unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(2), "{json:?} to {out}");
        }
    }
}
