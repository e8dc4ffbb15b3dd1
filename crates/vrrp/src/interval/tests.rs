use proptest::prelude::*;

use super::*;

fn v3(centis: u16) -> AdverInterval {
    AdverInterval::V3(Centis::new(centis).unwrap())
}

fn v2(seconds: u8) -> AdverInterval {
    AdverInterval::V2(Seconds::new(seconds).unwrap())
}

fn priority(level: u8) -> Priority {
    Priority::new(level).unwrap()
}

#[test]
fn the_reference_instance_waits_0_361_s_and_its_skew_is_0_061_s() {
    // Priority 100, 10 cs: 0.1 × 156 / 256 = 0.0609375 s.
    assert_eq!(v3(10).skew_time(priority(100)), Duration::from_nanos(60_937_500));
    assert_eq!(v3(10).active_down_interval(priority(100)), Duration::from_nanos(360_937_500));
}

#[test]
fn the_defaults_wait_3_609_s() {
    assert_eq!(v3(100).active_down_interval(Priority::DEFAULT), Duration::from_nanos(3_609_375_000));
}

#[test]
fn the_shortest_skew_is_not_zero() {
    assert_eq!(v3(1).skew_time(priority(254)), Duration::from_nanos(78_125), "2/256 of 10 ms");
    assert_eq!(v3(1).skew_time(Priority::OWNER), Duration::from_nanos(39_063), "39 062.5 ns, rounded up");
}

#[test]
fn version_2_skews_by_a_second_whatever_the_interval() {
    assert_eq!(v2(1).skew_time(priority(100)), Duration::from_nanos(609_375_000));
    assert_eq!(v2(255).skew_time(priority(100)), Duration::from_nanos(609_375_000));
    assert_eq!(v2(2).active_down_interval(priority(1)), Duration::from_nanos(6_996_093_750));
}

#[test]
fn the_longest_interval_at_the_lowest_priority_does_not_overflow() {
    assert_eq!(v3(4095).skew_time(priority(1)), Duration::from_nanos(40_790_039_063));
    assert_eq!(v2(255).active_down_interval(priority(1)), Duration::from_nanos(765_996_093_750));
}

#[test]
fn one_second_is_100_centiseconds_and_40_95_s_is_4095() {
    assert_eq!(AdverInterval::from_millis(Version::V3, 1000), Ok(v3(100)));
    assert_eq!(AdverInterval::from_millis(Version::V3, 40_950), Ok(v3(4095)));
    assert_eq!(AdverInterval::from_millis(Version::V3, 10), Ok(v3(1)));
    assert_eq!(v3(100).duration(), Duration::from_secs(1));
}

#[test]
fn an_interval_that_the_version_cannot_carry_is_refused_with_the_reason() {
    use IntervalError::{NotCentiseconds, NotSeconds, OutsideV2, OutsideV3};
    for (version, millis, why) in [
        (Version::V3, 0, OutsideV3(0)),
        (Version::V3, 15, NotCentiseconds(15)),
        (Version::V3, 40_960, OutsideV3(40_960)),
        (Version::V3, u64::MAX - 5, OutsideV3(u64::MAX - 5)),
        (Version::V2, 0, OutsideV2(0)),
        (Version::V2, 500, NotSeconds(500)),
        (Version::V2, 256_000, OutsideV2(256_000)),
    ] {
        assert_eq!(AdverInterval::from_millis(version, millis), Err(why), "{version:?} {millis} ms");
    }
    assert_eq!(Centis::new(0), None);
    assert_eq!(Centis::new(4096), None);
    assert_eq!(Seconds::new(0), None);
}

proptest! {
    #[test]
    fn skew_and_down_interval_agree_with_exact_arithmetic(centis in 1_u16..=4095, level in 1_u8..=255) {
        let exact_times_256 = u128::from(256 - u16::from(level)) * u128::from(centis) * 10_000_000;
        let interval = v3(centis);
        let skew = interval.skew_time(priority(level));
        prop_assert_eq!(skew.as_nanos(), exact_times_256.div_ceil(256));
        prop_assert_eq!(
            interval.active_down_interval(priority(level)).as_nanos(),
            3 * u128::from(centis) * 10_000_000 + skew.as_nanos()
        );
    }

    #[test]
    fn a_higher_priority_always_waits_less(centis in 1_u16..=4095, level in 1_u8..=254) {
        let interval = v3(centis);
        prop_assert!(interval.skew_time(priority(level)) > interval.skew_time(priority(level + 1)));
        prop_assert!(interval.skew_time(priority(level)) < interval.duration());
        prop_assert!(!interval.skew_time(priority(level + 1)).is_zero());
    }

    #[test]
    fn version_2_agrees_with_exact_arithmetic(seconds in 1_u8..=255, level in 1_u8..=255) {
        let skew = v2(seconds).skew_time(priority(level)).as_nanos();
        prop_assert_eq!(skew * 256, u128::from(256 - u16::from(level)) * 1_000_000_000);
    }
}
