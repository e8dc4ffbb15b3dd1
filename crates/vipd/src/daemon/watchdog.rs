//! What systemd is told (sd_notify(3)): ready, reloading, stopping, and that the loop turns.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// The line to systemd; silent without one.
#[derive(Debug)]
pub struct Watchdog {
    socket: Option<SocketAddr>,
    /// When the loop must have turned again, and how often; `None` without `WatchdogSec`.
    next: Option<(Instant, Duration)>,
}

impl Watchdog {
    /// As systemd asks in the environment.
    #[must_use]
    pub fn from_environment(now: Instant) -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| match address(&name) {
            Ok(address) => Some(address),
            Err(error) => {
                tracing::warn!(?name, %error, "systemd cannot be told anything: NOTIFY_SOCKET");
                None
            }
        });
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let limit = number("WATCHDOG_USEC").filter(|limit| is_meant && *limit > 0).map(Duration::from_micros);
        Self { socket, next: limit.map(|limit| (now, limit / 2)) }
    }

    /// The daemon does its work.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again.
    pub fn reloading(&self) {
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            let now = Duration::from(now).as_micros();
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
        }
    }

    /// The daemon lets go of everything.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// When [`pat`](Self::pat) is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// Says that the loop turns, if it is time.
    pub fn pat(&mut self, now: Instant) {
        if let Some((at, every)) = self.next
            && at <= now
        {
            self.tell("WATCHDOG=1");
            self.next = Some((now + every, every));
        }
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        let sent = UnixDatagram::unbound().and_then(|from| from.send_to_addr(state.as_bytes(), socket));
        if let Err(error) = sent {
            tracing::debug!(%error, "sd_notify");
        }
    }
}

/// A path, or `@` and a name that is in no file system.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest),
        _ => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn systemd_hears_at_a_path_and_at_a_name_that_is_in_no_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify").into_os_string();
        for name in [path, OsString::from(format!("@vipd-watchdog-{}", process::id()))] {
            let socket = address(&name).unwrap();
            let systemd = UnixDatagram::bind_addr(&socket).unwrap();
            systemd.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let heard = || {
                let mut buffer = [0; 256];
                let length = systemd.recv(&mut buffer).unwrap();
                String::from_utf8(buffer[..length].to_owned()).unwrap()
            };
            let now = crate::clock::now();
            let mut watchdog = Watchdog { socket: Some(socket), next: Some((now, Duration::from_secs(1))) };
            watchdog.ready();
            assert_eq!(heard(), "READY=1", "{name:?}");
            watchdog.reloading();
            let said = heard();
            let at = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            assert!(at.is_some_and(|at| at.parse::<u64>().is_ok()), "{said}");
            watchdog.pat(now);
            assert_eq!(heard(), "WATCHDOG=1");
            assert_eq!(watchdog.deadline(), Some(now + Duration::from_secs(1)));
            watchdog.stopping();
            assert_eq!(heard(), "STOPPING=1");
        }
    }
}
