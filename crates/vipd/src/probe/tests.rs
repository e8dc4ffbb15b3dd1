#![expect(clippy::disallowed_methods, reason = "a test picks its start of time")]

use proptest::prelude::*;

use super::*;
use crate::frame::arp::Operation;
use crate::frame::claim::Manner;

const OWN: MacAddr = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x0d);
const OTHER_NIC: MacAddr = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x06, 0x0d);
const THEIRS: MacAddr = MacAddr(0x02, 0x42, 0xc6, 0x12, 0x05, 0x02);

fn vip() -> IpAddr {
    "198.18.5.200".parse().unwrap()
}

fn probe(total: Duration, jitter: u64, now: Instant) -> Probe {
    Probe::new(vip(), OWN, vec![OWN, OTHER_NIC], total, jitter, now)
}

/// Runs the clock forward to each deadline; returns when each question was asked, and the end.
fn run(mut probe: Probe, start: Instant) -> (Vec<Duration>, Duration, Verdict) {
    let mut now = start;
    let mut asked = Vec::new();
    loop {
        match probe.next(now) {
            Next::Send(frame) => {
                assert_eq!(frame, question(OWN, vip()));
                asked.push(now - start);
            }
            Next::Listen(until) => {
                assert!(until > now, "the clock must go on");
                now = until;
            }
            Next::Verdict(verdict) => return (asked, now - start, verdict),
        }
    }
}

fn reply(mac: MacAddr) -> Vec<u8> {
    let IpAddr::V4(vip) = vip() else { unreachable!("the VIP of these tests is IPv4") };
    let target_ip = std::net::Ipv4Addr::UNSPECIFIED;
    Arp { operation: Operation::Reply, sender_mac: mac, sender_ip: vip, target_mac: OWN, target_ip }.emit()
}

#[test]
fn silence_for_the_whole_time_means_free() {
    let start = Instant::now();
    let (asked, end, verdict) = run(probe(DEFAULT_TIME, 0, start), start);
    assert_eq!(asked, [0, 100, 200].map(Duration::from_millis));
    assert_eq!(end, Duration::from_millis(700));
    assert_eq!(verdict, Verdict::Free);
}

#[test]
fn a_claim_ends_the_probe_at_once() {
    let start = Instant::now();
    let mut probe = probe(DEFAULT_TIME, 0, start);
    assert!(matches!(probe.next(start), Next::Send(_)));
    probe.hear(&reply(THEIRS));
    let claim = Claim { address: vip(), mac: THEIRS, manner: Manner::Answered };
    assert_eq!(probe.next(start), Next::Verdict(Verdict::InUse(claim)));
}

#[test]
fn a_claim_before_the_first_question_counts() {
    let start = Instant::now();
    let mut probe = probe(DEFAULT_TIME, u64::MAX, start);
    probe.hear(&question(THEIRS, vip()));
    let claim = Claim { address: vip(), mac: THEIRS, manner: Manner::Probing };
    assert_eq!(probe.next(start), Next::Verdict(Verdict::InUse(claim)), "two hosts that probe at once both refuse");
}

#[test]
fn our_own_frames_and_other_addresses_are_no_conflict() {
    let start = Instant::now();
    let mut probe = probe(DEFAULT_TIME, 0, start);
    probe.hear(&question(OWN, vip()));
    probe.hear(&reply(OTHER_NIC));
    probe.hear(&question(THEIRS, "198.18.5.201".parse().unwrap()));
    probe.hear(&Arp::announcement(Operation::Request, THEIRS, "198.18.5.201".parse().unwrap()).emit());
    probe.hear(b"noise");
    assert_eq!(run(probe, start).2, Verdict::Free);
}

#[test]
fn a_host_that_answers_the_ipv6_probe_is_found() {
    let start = Instant::now();
    let vip6: std::net::Ipv6Addr = "fd00:5::200".parse().unwrap();
    let mut probe = Probe::new(vip6.into(), OWN, vec![OWN], DEFAULT_TIME, 0, start);
    assert_eq!(probe.next(start), Next::Send(ndp::probe(OWN, vip6)));
    probe.hear(&ndp::announcement(THEIRS, vip6, false));
    assert!(matches!(probe.next(start), Next::Verdict(Verdict::InUse(claim)) if claim.mac == THEIRS));
}

#[test]
fn a_driver_that_was_held_up_still_listens_after_its_last_question() {
    let start = Instant::now();
    let mut probe = probe(DEFAULT_TIME, 0, start);
    let late = start + Duration::from_secs(10);
    for _ in 0..PROBES {
        assert!(matches!(probe.next(late), Next::Send(_)));
    }
    assert_eq!(probe.next(late), Next::Listen(late + Duration::from_millis(500)));
}

proptest! {
    #[test]
    fn the_schedule_keeps_the_proportions_of_rfc_5227(jitter: u64, millis in 70_u64..60_000) {
        let start = Instant::now();
        let total = Duration::from_millis(millis);
        let unit = total / 7;
        let (asked, end, verdict) = run(probe(total, jitter, start), start);
        prop_assert_eq!(verdict, Verdict::Free);
        prop_assert_eq!(asked.len(), PROBES);
        prop_assert_eq!(end, total, "no longer and no shorter than asked for");
        prop_assert!(asked[0] <= unit);
        for pair in asked.windows(2) {
            prop_assert!((unit..=unit * 2).contains(&(pair[1] - pair[0])));
        }
        prop_assert!(end - asked[2] >= unit * 2, "silence after the last question");
    }

    #[test]
    fn a_claim_at_any_moment_means_in_use(jitter: u64, steps in 0_usize..7) {
        let mut now = Instant::now();
        let mut probe = probe(DEFAULT_TIME, jitter, now);
        for _ in 0..steps {
            match probe.next(now) {
                Next::Listen(until) => now = until,
                Next::Send(_) => {}
                Next::Verdict(verdict) => {
                    prop_assert_eq!(verdict, Verdict::Free);
                    return Ok(());
                }
            }
        }
        probe.hear(&reply(THEIRS));
        prop_assert!(matches!(probe.next(now), Next::Verdict(Verdict::InUse(_))));
    }
}
