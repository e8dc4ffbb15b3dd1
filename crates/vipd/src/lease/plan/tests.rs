use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_plans_of_usual_intervals() {
    // advert, Active_Down_Interval at priority 100, dead-man timeout, lifetime without a switch, overlap without a switch
    for (advert, down, timeout, lifetime, overlap) in [
        (1000, 3609, 3383, 3, 0),
        (100, 361, 338, 1, 1139),
        (20, 72, 67, 1, 1428),
        (10, 36, 31, 1, 1464),
        (40_950, 147_804, 138_566, 147, 0),
    ] {
        let plan = LeasePlan::elected(ms(advert), ms(down), Enforcement::DeadMan).unwrap();
        let whole_ms = plan.dead_man_timeout.map(|timeout| timeout.as_millis());
        assert_eq!(whole_ms, Some(timeout), "advert {advert} ms");
        assert_eq!((plan.renew_every, plan.overlap()), (ms(advert), ms(0)), "advert {advert} ms");

        let plan = LeasePlan::elected(ms(advert), ms(down), Enforcement::AddressLifetime).unwrap();
        assert_eq!(plan.kernel_address_lifetime, Duration::from_secs(lifetime), "advert {advert} ms");
        assert_eq!(plan.overlap(), ms(overlap), "advert {advert} ms");
    }
}

#[test]
fn a_plan_says_in_plain_words_what_the_kernel_enforces() {
    let words = |plan: Result<LeasePlan, PlanError>| plan.unwrap().describe();
    let freeze = "; a freeze of the whole machine is not covered, only fencing covers that";
    assert_eq!(
        words(LeasePlan::elected(ms(100), ms(361), Enforcement::DeadMan)),
        "if vipd is killed, stopped or hangs, the kernel stops answering for the addresses 338 ms after its last advert \
         (dead-man switch) and removes them within 10500 ms; no peer takes over before 361 ms"
            .to_owned()
            + freeze
    );
    assert_eq!(
        words(LeasePlan::elected(ms(100), ms(361), Enforcement::AddressLifetime)),
        "if vipd is killed, stopped or hangs, the kernel removes the addresses within 1500 ms after its last advert \
         (address lifetime; no dead-man switch here); a peer may take over after 361 ms, so for up to 1139 ms two hosts \
         may answer"
            .to_owned()
            + freeze
    );
    assert_eq!(
        words(LeasePlan::managed(LeasePlan::MANAGED, Enforcement::DeadMan)),
        "if vipd is killed, stopped or hangs, the kernel stops answering for the addresses 1875 ms after its last renewal \
         (dead-man switch) and removes them within 10500 ms; nobody takes them over by himself"
            .to_owned()
            + freeze
    );
}

#[test]
fn a_lease_that_cannot_be_kept_is_refused() {
    let refused = |plan: Result<LeasePlan, PlanError>| plan.unwrap_err().to_string();
    assert_eq!(
        refused(LeasePlan::elected(ms(100), ms(150), Enforcement::DeadMan)),
        "a lease of 150ms is too short to be renewed every 100ms"
    );
    assert_eq!(
        refused(LeasePlan::managed(Duration::ZERO, Enforcement::DeadMan)),
        "a lease of 0ns is too short to be renewed every 10ms"
    );
    assert_eq!(
        refused(LeasePlan::managed(Duration::MAX, Enforcement::DeadMan)),
        format!("a lease of {:?} is longer than 600s", Duration::MAX)
    );
    assert!(LeasePlan::managed(ms(40), Enforcement::DeadMan).is_ok());
}

#[test]
fn an_ipv6_address_is_never_preferred_as_a_source() {
    let plan = LeasePlan::managed(LeasePlan::MANAGED, Enforcement::DeadMan).unwrap();
    assert_eq!(plan.lifetimes(false), Lifetimes { valid: 10, preferred: 10 });
    assert_eq!(plan.lifetimes(true), Lifetimes { valid: 10, preferred: 0 });
}

#[expect(clippy::disallowed_methods, reason = "an Instant can be had in no other way")]
fn some_instant() -> Instant {
    Instant::now()
}

#[test]
fn a_term_is_counted_from_the_advert_and_not_from_the_renewal() {
    let advert = some_instant();
    let plan = LeasePlan::elected(ms(100), ms(361), Enforcement::DeadMan).unwrap();
    let term = plan.term(advert).unwrap();
    assert_eq!(term.milliseconds(advert), Some(338));
    assert_eq!(term.milliseconds(advert + ms(30)), Some(308), "the renewal came 30 ms after its advert");
    assert_eq!(term.milliseconds(advert + ms(338)), None, "less than a millisecond is no lease");
    assert_eq!(term.milliseconds(advert + ms(1000)), None);

    assert!(!term.is_outlived(advert, advert + ms(20)), "22 ms are left between the timeout and the peers");
    assert!(term.is_outlived(advert, advert + ms(25)));
    assert!(!term.is_outlived(advert + ms(400), advert + ms(500)), "what was not renewed cannot be too long");
}

proptest! {
    #[test]
    fn a_lease_ends_before_any_peer_takes_over(advert_cs in 1_u64..=4095, priority in 1_u64..=255) {
        let advert = ms(advert_cs * 10);
        let down = advert * 3 + advert.mul_f64(f64::from(u32::try_from(256 - priority).unwrap()) / 256.0);
        let plan = LeasePlan::elected(advert, down, Enforcement::DeadMan).unwrap();
        let timeout = plan.dead_man_timeout.unwrap();
        prop_assert!(timeout < down);
        prop_assert!(timeout >= advert * 2, "one advert may be late by a whole interval");
        prop_assert!(plan.kernel_address_lifetime > timeout, "a lapse costs packets and not the address");
        prop_assert!(plan.kernel_address_lifetime >= plan.renew_address_every * 4);
        prop_assert_eq!(plan.kernel_address_lifetime.subsec_nanos(), 0);
    }

    #[test]
    fn no_renewal_can_outlive_its_term_unnoticed(advert_ms in 10_u64..1000, late in 0_u64..2000, took in 0_u64..2000) {
        let sent = some_instant();
        let plan = LeasePlan::elected(ms(advert_ms), ms(advert_ms * 3), Enforcement::DeadMan).unwrap();
        let term = plan.term(sent).unwrap();
        let (before, after) = (sent + ms(late), sent + ms(late + took));
        if let Some(timeout) = term.milliseconds(before) {
            let outlives = after + ms(timeout) > sent + ms(advert_ms * 3);
            prop_assert!(!outlives || term.is_outlived(before, after));
        }
    }
}
