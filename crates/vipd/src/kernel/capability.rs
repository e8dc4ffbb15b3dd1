//! The capabilities of this process: asked before anything is done, so that a refusal touches nothing.

use std::fmt;

/// What vipd needs to be allowed to do (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Bit 12: add and remove addresses.
    NetAdmin,
    /// Bit 13: send and receive frames.
    NetRaw,
}

impl Capability {
    /// What it is needed for, after "to".
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::NetAdmin => "add and remove addresses",
            Self::NetRaw => "probe and announce on the wire",
        }
    }

    const fn bit(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
            Self::NetRaw => 13,
        }
    }

    /// Whether this process has it in effect.
    ///
    /// True if that cannot be found out: the kernel's own refusal is then reported in the same words.
    #[must_use]
    pub fn is_effective(self) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        effective_set(&status).is_none_or(|set| set >> self.bit() & 1 == 1)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
        })
    }
}

/// The bits of the `CapEff` line of /proc/PID/status (proc(5)).
fn effective_set(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read_from_proc() {
        let status = "Name:\tvipd\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000003000\n";
        assert_eq!(effective_set(status), Some(1 << 12 | 1 << 13));
        assert_eq!(effective_set("Name:\tvipd\n"), None);
    }
}
