//! The capabilities of this process: asked before anything is done, so that a refusal touches nothing.

use std::fmt;

use caps::CapSet;

/// What vipd needs to be allowed to do (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Add and remove addresses.
    NetAdmin,
    /// Send and receive frames.
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

    /// Whether this process has it in effect.
    ///
    /// True if that cannot be found out: the kernel's own refusal is then reported in the same words.
    #[must_use]
    pub fn is_effective(self) -> bool {
        let capability = match self {
            Self::NetAdmin => caps::Capability::CAP_NET_ADMIN,
            Self::NetRaw => caps::Capability::CAP_NET_RAW,
        };
        caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true)
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
