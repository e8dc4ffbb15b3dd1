//! The one place of the crate that reads the clock, waits for it, and draws a random number.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsFd as _;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::ready::Ready;

/// The monotonic time of this moment. Call it in the outermost loop only, and hand the value inwards.
#[expect(clippy::disallowed_methods, reason = "the edge of the program reads the clock here, and nowhere else")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns when the clock has reached `deadline`, at once if it has. For one-shot verbs; the daemon has its [`Alarm`].
#[expect(clippy::disallowed_methods, reason = "the edge of the program waits for the clock here, and nowhere else")]
pub fn sleep_until(deadline: Instant) {
    let left = deadline.saturating_duration_since(now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

/// The time of day, for reports. It may jump; nothing is computed from it.
#[expect(clippy::disallowed_methods, reason = "the edge of the program reads the clock here, and nowhere else")]
#[must_use]
pub fn timestamp() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// One alarm of CLOCK_MONOTONIC, exact to some microseconds (timerfd_create(2)); tokio's own timers count milliseconds.
pub struct Alarm {
    timer: TimerFd,
    ready: Ready,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// What timerfd_create(2) says.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let ready = Ready::watch(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Self { timer, ready })
    }

    /// Sets it to `deadline`, or to never.
    ///
    /// # Errors
    /// What timerfd_settime(2) says.
    pub fn set(&self, deadline: Option<Instant>) -> io::Result<()> {
        match deadline {
            None => self.timer.unset()?,
            Some(deadline) => {
                // Zero would switch it off.
                let left = deadline.saturating_duration_since(now()).max(Duration::from_nanos(1));
                self.timer.set(Expiration::OneShot(TimeSpec::from_duration(left)), TimerSetTimeFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Ready when it has gone off.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.ready.poll(context)
    }
}

/// A random number from the system, good enough for jitter and nothing else.
#[must_use]
pub fn jitter() -> u64 {
    // RandomState is seeded by the operating system; each new one differs.
    RandomState::new().build_hasher().finish()
}
