//! A watchdog of this host (Linux watchdog API, `Documentation/watchdog/watchdog-api.rst`): armed, patted, disarmed.
//!
//! Dropping it does not disarm it: whoever dies without saying V leaves a machine that ends itself. The file need not be a
//! device: a test gives one whose end is not the end of this machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

pub(crate) mod record;
pub(crate) mod run;

/// `struct watchdog_info`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

const MAGIC_CLOSE: u32 = 0x0100;

mod call {
    use super::Info;

    nix::ioctl_read!(get_support, b'W', 0, Info);
    nix::ioctl_read!(keep_alive, b'W', 5, i32);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, i32);
    nix::ioctl_read!(get_timeout, b'W', 7, i32);
}

/// An armed watchdog.
#[derive(Debug)]
pub(crate) struct Watchdog {
    file: File,
    /// What it says it is.
    pub(crate) identity: String,
    /// Seconds without a pat after which it fires.
    pub(crate) timeout_s: u32,
    /// Whether a close without V leaves it armed.
    pub(crate) magic_close: bool,
    /// Whether nothing can disarm it.
    pub(crate) nowayout: Option<bool>,
}

impl Watchdog {
    /// Opens `device`, which arms it, and sets its timeout, in whole seconds.
    ///
    /// # Errors
    /// When it cannot be opened (another program pats it: `EBUSY`), is no watchdog, or does not take the timeout. It may be armed then.
    #[expect(unsafe_code, reason = "ioctl has no safe form; each argument lives longer than its call")]
    pub(crate) fn arm(device: &Path, timeout: Duration) -> io::Result<Self> {
        let wanted = i32::try_from(timeout.as_secs()).ok().filter(|seconds| *seconds > 0);
        let wanted = wanted.ok_or_else(|| io::Error::other("expected a timeout of whole seconds, at least one"))?;
        let file = OpenOptions::new().write(true).open(device)?;
        let mut info = Info { options: 0, firmware_version: 0, identity: [0; 32] };
        // SAFETY: `info` has the layout that the kernel fills, and outlives the call.
        unsafe { call::get_support(file.as_raw_fd(), &raw mut info) }?;
        let mut seconds = wanted;
        // SAFETY: `seconds` is an int that the kernel reads and overwrites, and outlives the call.
        unsafe { call::set_timeout(file.as_raw_fd(), &raw mut seconds) }?;
        // SAFETY: as before. What was set is not believed: drivers round.
        unsafe { call::get_timeout(file.as_raw_fd(), &raw mut seconds) }?;
        let identity: Vec<u8> = info.identity.into_iter().take_while(|byte| *byte != 0).collect();
        Ok(Self {
            identity: String::from_utf8_lossy(&identity).into_owned(),
            timeout_s: u32::try_from(seconds).map_err(io::Error::other)?,
            magic_close: info.options & MAGIC_CLOSE != 0,
            nowayout: nowayout(device),
            file,
        })
    }

    /// Puts the end off by another timeout.
    ///
    /// # Errors
    /// When the device refuses.
    #[expect(unsafe_code, reason = "ioctl has no safe form; the argument lives longer than the call")]
    pub(crate) fn pat(&self) -> io::Result<()> {
        let mut nothing = 0;
        // SAFETY: `nothing` is an int, which the kernel does not even read.
        unsafe { call::keep_alive(self.file.as_raw_fd(), &raw mut nothing) }?;
        Ok(())
    }

    /// Disarms it, where that is possible.
    ///
    /// # Errors
    /// When it has no magic close, or cannot be stopped at all; it is then still armed.
    pub(crate) fn disarm(mut self) -> io::Result<()> {
        if self.nowayout == Some(true) {
            return Err(io::Error::other("nowayout is set: it cannot be disarmed"));
        }
        if !self.magic_close {
            return Err(io::Error::other("it has no magic close"));
        }
        self.file.write_all(b"V")
    }
}

/// What sysfs says of a device in /dev: `nowayout` of /sys/class/watchdog/NAME.
fn nowayout(device: &Path) -> Option<bool> {
    let name = device.file_name()?.to_str()?;
    let name = if name == "watchdog" { "watchdog0" } else { name };
    match fs::read_to_string(Path::new("/sys/class/watchdog").join(name).join("nowayout")).ok()?.trim() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}
