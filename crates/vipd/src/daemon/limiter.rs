//! At most so many times within so long. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Lets something happen `limit` times within `window`, whenever the window begins.
#[derive(Clone, Debug)]
pub struct Limiter {
    limit: usize,
    window: Duration,
    happened: VecDeque<Instant>,
}

impl Limiter {
    /// Nothing has happened yet.
    #[must_use]
    pub const fn new(limit: usize, window: Duration) -> Self {
        Self { limit, window, happened: VecDeque::new() }
    }

    /// When it may happen again; `None`: now, or never.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let full = self.happened.len() >= self.limit;
        self.happened.front().filter(|_| full).map(|&first| first + self.window)
    }

    /// Whether it may happen `now`; if so it has happened.
    pub fn admit(&mut self, now: Instant) -> bool {
        while self.happened.front().is_some_and(|&first| first + self.window <= now) {
            self.happened.pop_front();
        }
        let admitted = self.happened.len() < self.limit;
        if admitted {
            self.happened.push_back(now);
        }
        admitted
    }
}

/// Lets something happen once within `window` for each of `KINDS` kinds.
#[derive(Clone, Debug)]
pub struct Hush<const KINDS: usize> {
    window: Duration,
    last: [Option<Instant>; KINDS],
}

impl<const KINDS: usize> Hush<KINDS> {
    /// Nothing has happened yet.
    #[must_use]
    pub const fn new(window: Duration) -> Self {
        Self { window, last: [None; KINDS] }
    }

    /// Whether it may happen `now`, to the kind of this number; if so it has happened.
    pub fn admit(&mut self, kind: usize, now: Instant) -> bool {
        let Some(last) = self.last.get_mut(kind) else { return false };
        let admitted = last.is_none_or(|last| last + self.window <= now);
        if admitted {
            *last = Some(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test picks its start of time")]

    use super::*;

    #[test]
    fn the_window_moves() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limiter = Limiter::new(2, Duration::from_secs(60));
        let admitted = [0, 30, 59, 60, 61, 90].map(|seconds| limiter.admit(at(seconds)));
        assert_eq!(admitted, [true, true, false, true, false, true]);
        assert_eq!(limiter.next(), Some(at(120)));
        assert!(!Limiter::new(0, Duration::from_secs(60)).admit(start), "never is never");
    }

    #[test]
    fn each_kind_has_a_window_of_its_own() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut hush = Hush::<2>::new(Duration::from_secs(60));
        let admitted =
            [(0, 0), (1, 59), (0, 59), (0, 60), (1, 60), (2, 60)].map(|(kind, at_s)| hush.admit(kind, at(at_s)));
        assert_eq!(admitted, [true, true, false, true, false, false], "there is no third kind");
    }
}
