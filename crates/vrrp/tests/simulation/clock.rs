//! A host's own clock: another origin, another rate, and it may stand still while the world goes on.

use vrrp::Instant;

/// The world's time, in nanoseconds since it began.
pub(crate) type Time = u64;

/// The fastest and the slowest clocks are off by this many parts in 1024: 4.9 %, hundreds of times worse than quartz.
pub(crate) const WORST_RATE: i64 = 50;

pub(crate) struct Clock {
    offset: i64,
    rate: i64,
}

impl Clock {
    /// A clock that gains `rate` parts in 1024.
    pub(crate) fn new(offset: u64, rate: i64) -> Self {
        assert!(rate.abs() <= WORST_RATE);
        Self { offset: i64::try_from(offset).unwrap(), rate }
    }

    /// What it shows at this moment.
    pub(crate) fn reads(&self, now: Time) -> Instant {
        let now = now.cast_signed();
        Instant::from_nanos((self.offset + now + now * self.rate / 1024).cast_unsigned())
    }

    /// The first moment at which it shows this, or later.
    pub(crate) fn shows(&self, reading: Instant) -> Time {
        let elapsed = reading.as_nanos().cast_signed() - self.offset;
        let mut time = (elapsed * 1024 / (1024 + self.rate) - 2).max(0).cast_unsigned();
        while self.reads(time) < reading {
            time += 1;
        }
        time
    }

    /// It stood still from then to now.
    pub(crate) fn stood_still(&mut self, from: Time, now: Time) {
        self.offset -= i64::try_from(self.reads(now).since(self.reads(from)).as_nanos()).unwrap();
    }
}

#[test]
fn a_clock_shows_a_reading_no_earlier_than_it_reads_it() {
    for rate in [-WORST_RATE, -1, 0, 7, WORST_RATE] {
        let clock = Clock::new(1 << 40, rate);
        for time in [0, 1, 999_999_999, 3_600_000_000_001, 1_000_000_000_000_000] {
            let reading = clock.reads(time);
            let shown = clock.shows(reading);
            assert!(shown <= time && clock.reads(shown) == reading, "rate {rate}, time {time}");
            assert!(shown == 0 || clock.reads(shown - 1) < reading);
        }
    }
}
