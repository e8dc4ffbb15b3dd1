//! Stopped at any instant: never an address half-done, and always able to run again.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sniffer::Sniffer;
use crate::world::{Outcome, World, until};

#[test]
fn a_signal_during_the_probe_leaves_nothing() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let child = host.start_vipd("assign 198.18.5.200/24 --dev eth0 --probe-time 30s");
        until("vipd has taken the signals over", || takes(child.id(), signal));
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let stopped = Outcome::from(child.wait_with_output().unwrap());
        assert_eq!(
            (stopped.code, stopped.err.as_str()),
            (
                Some(1),
                "probe 198.18.5.200/24 dev eth0: 3 ARP probes in 30000 ms\nerror: stopped by a signal before 198.18.5.200 was added; nothing was changed\n  hint: run it again\n"
            )
        );
        assert!(!host.has("198.18.5.200"));
    }
}

/// Whether `signal` waits for the process to read it (proc(5), `SigBlk`).
fn takes(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let taken = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or("0");
    let is_vipd = status.starts_with("Name:\tvipd\n");
    is_vipd && u64::from_str_radix(taken.trim(), 16).unwrap() >> (signal as u32 - 1) & 1 == 1
}

#[test]
fn a_signal_after_the_address_was_added_lets_it_be_announced() {
    let Some(world) = World::new(1) else { return };
    let host = &world.hosts[0];
    let child = host.start_vipd("assign 198.18.5.200/24 --dev eth0 --no-probe");
    until("the address is there", || host.has("198.18.5.200"));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let ended = Outcome::from(child.wait_with_output().unwrap());
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "198.18.5.200/24 assigned to eth0; 6 announcements; no lease: it stays until it is unassigned\n"),
        "{ended:?}"
    );
}

#[test]
fn after_sigkill_at_any_instant_the_next_run_succeeds() {
    let kills: Vec<_> = [2_u64, 60, 105, 130, 300]
        .into_iter()
        .map(|millis| {
            thread::spawn(move || {
                let Some(world) = World::new(1) else { return };
                let host = &world.hosts[0];
                let mut child = host.start_vipd("assign 198.18.5.200/24 --dev eth0 --probe-time 100ms");
                thread::sleep(Duration::from_millis(millis));
                child.kill().unwrap();
                child.wait().unwrap();
                let again = host.vipd("assign 198.18.5.200/24 --dev eth0 --probe-time 100ms");
                assert_eq!(again.code, Some(0), "killed after {millis} ms: {again:?}");
                assert!(again.out.contains("6 announcements"), "killed after {millis} ms: {again:?}");
                assert_eq!(host.addresses()[..2], ["198.18.5.10/24", "198.18.5.200/24 secondary"]);
            })
        })
        .collect();
    kills.into_iter().for_each(|kill| kill.join().unwrap());
}

/// Changes something while vipd announces an address: stops it for that. A test that was held up may find that it is through.
fn amid_announcements(world: &World, change: &str) -> Outcome {
    let host = &world.hosts[0];
    for _ in 0..20 {
        let mut sniffer = Sniffer::new(world);
        let child = host.start_vipd("assign 198.18.5.200/24 --dev eth0 --no-probe");
        until("the address is there", || host.has("198.18.5.200"));
        let vipd = Pid::from_raw(child.id().try_into().unwrap());
        kill(vipd, Signal::SIGSTOP).unwrap();
        until("it is stopped, or has ended", || matches!(state(vipd), 'T' | 'Z'));
        let announced = sniffer.frames().iter().filter(|frame| frame[12..14] == [8, 6]).count();
        let announces = state(vipd) == 'T' && announced < 6;
        if announces {
            host.namespace.ip(change);
        }
        kill(vipd, Signal::SIGCONT).unwrap();
        let ended = Outcome::from(child.wait_with_output().unwrap());
        if announces {
            return ended;
        }
        assert_eq!(host.vipd("unassign 198.18.5.200/24 --dev eth0").code, Some(0));
    }
    panic!("it was never caught announcing");
}

/// What a process does (proc(5)): `T` is stopped, `Z` has ended.
fn state(pid: Pid) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap()
}

#[test]
fn a_link_that_goes_down_in_the_middle_takes_the_address_back() {
    let Some(world) = World::new(1) else { return };
    let failed = amid_announcements(&world, "link set eth0 down\n");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.starts_with("error: sending on eth0: "), "{failed:?}");
    assert!(!world.hosts[0].has("198.18.5.200"), "failed, and undone");
}

#[test]
fn an_address_that_is_taken_away_while_it_is_announced_is_not_called_assigned() {
    let Some(world) = World::new(1) else { return };
    let failed = amid_announcements(&world, "address del 198.18.5.200/24 dev eth0\n");
    assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""), "{failed:?}");
    assert!(failed.err.contains("but reading back shows otherwise"), "{failed:?}");
}
