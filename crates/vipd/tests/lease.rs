//! The dead-man switch against the real kernel: two network namespaces of the test's own, real frames between them, and
//! the `nft` program as an observer that knows nothing of our code.

#![expect(clippy::disallowed_methods, reason = "the tests measure, and they wait for time to pass")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what fails here fails the test, and it says what it measured"
)]

#[path = "lease/daemon.rs"]
mod daemon;
#[path = "lease/namespace.rs"]
mod namespace;
#[path = "lease/ruleset.rs"]
mod ruleset;
#[path = "lease/silence.rs"]
mod silence;
#[path = "lease/survival.rs"]
mod survival;
#[path = "lease/wire.rs"]
mod wire;

use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vipd::lease::{DeadMan, Lease, LeaseError, LeaseId, Leased, Missing, Renewal, Term};

use namespace::Namespace;
use wire::{PATIENCE, VIP4, VIP6};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const VIPS: [Leased; 2] = [Leased::V4(VIP4), Leased::V6(VIP6)];

/// Two leases.
pub(crate) const BLUE: LeaseId = LeaseId(NonZeroU32::MIN);
pub(crate) const GREEN: LeaseId = LeaseId(NonZeroU32::MAX);

/// Whether this machine lets a test make network namespaces and has the programs; says why not.
///
/// With `CI=true` a test that cannot run fails.
pub(crate) fn possible() -> bool {
    let works = |program: &str, argument: &str| {
        let quiet = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    let root = nix::unistd::geteuid().is_root();
    let missing =
        [("root", root), ("ip", works("ip", "-V")), ("nft", works("nft", "-v")), ("setpriv", works("setpriv", "-V"))];
    let missing: Vec<_> = missing.iter().filter(|(_, there)| !there).map(|(what, _)| *what).collect();
    if missing.is_empty() {
        return true;
    }
    println!("skipped: this machine lacks {}", missing.join(", "));
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a skipped test is a failed test in CI");
    false
}

/// Opens the switch in `namespace`. A table is free when the last descriptor of its owner's socket is closed, and a test next
/// door that is about to start a program has a copy of every descriptor until it does.
pub(crate) fn open(namespace: &Namespace, table: &str) -> DeadMan {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match namespace.inside(|| DeadMan::open(table.parse().unwrap())) {
            Err(LeaseError::Unavailable(Missing::Taken(_))) if Instant::now() < deadline => std::thread::sleep(ms(2)),
            opened => return opened.unwrap(),
        }
    }
}

/// Leases that end `timeout` from now.
pub(crate) fn leases(ids: &[LeaseId], timeout: Duration) -> Vec<Lease> {
    let until = Instant::now() + timeout;
    // The tests share a slow machine: a renewal that is held up shall not fail but show in the measurements.
    let term = Term { until, latest: until + Duration::from_secs(3600) };
    ids.iter().map(|&id| Lease { id, term }).collect()
}

/// Renews for `timeout`, and returns when that was done. If we are held up for that long it is too late, and we try again.
pub(crate) fn renew(switch: &mut DeadMan, ids: &[LeaseId], timeout: Duration) -> Instant {
    let expected = Renewal { renewed: ids.len(), too_late: 0, reinstalled: false };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let begin = Instant::now();
        let renewal = switch.renew(&leases(ids, timeout), Instant::now).unwrap();
        let end = Instant::now();
        if renewal == expected {
            return end;
        }
        let held_up = end + ms(5) >= begin + timeout;
        assert!(renewal.too_late > 0 && held_up && end < deadline, "{renewal:?} instead of {expected:?}");
    }
}
