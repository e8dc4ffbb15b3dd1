//! What the daemon may do: gives up every privilege that it does not need once it runs, and knows which are left.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid};

use super::account::{self, User};

/// What it takes to run a command as another user, and to kill it.
const ANOTHER_USER: [Capability; 3] = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_KILL];

/// Open files that are enough for thousands of interfaces.
const OPEN_FILES: u64 = 65_536;

/// Keeps `CAP_NET_ADMIN` and `CAP_NET_RAW`, drops all others for good, and lets no program that is started gain any.
///
/// `switches_user`: a check is run by another user, which needs `CAP_SETUID`, `CAP_SETGID` and `CAP_KILL`.
///
/// # Errors
/// The kernel's refusal, in words.
pub fn drop_others(switches_user: bool) -> Result<(), String> {
    let mut keep: CapsHashSet = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW].into_iter().collect();
    if switches_user {
        keep.extend(ANOTHER_USER);
    }
    let have = caps::read(None, CapSet::Permitted).map_err(|error| error.to_string())?;
    // The bounding set can be lowered only with this one; without it, no_new_privs below does the same.
    if have.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::all().difference(&keep) {
            if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, *capability).map_err(|error| error.to_string())?;
            }
        }
    }
    let keep: CapsHashSet = keep.intersection(&have).copied().collect();
    caps::clear(None, CapSet::Inheritable).map_err(|error| error.to_string())?;
    caps::set(None, CapSet::Effective, &keep).map_err(|error| error.to_string())?;
    caps::set(None, CapSet::Permitted, &keep).map_err(|error| error.to_string())?;
    prctl::set_no_new_privs().map_err(|error| error.to_string())
}

/// Whether this process, as it is, may run a command as `user`, a name or a number, and kill it.
///
/// # Errors
/// There is no such user, or privileges are missing; in words.
pub fn may_run_as(user: &str) -> Result<(), String> {
    let User { uid, gid, .. } = account::user(user).map_err(|error| error.to_string())?;
    if (Uid::from_raw(uid), Gid::from_raw(gid)) == (Uid::effective(), Gid::effective()) {
        return Ok(());
    }
    let lacks = |capability: &Capability| !caps::has_cap(None, CapSet::Effective, *capability).unwrap_or(true);
    let missing: Vec<_> = ANOTHER_USER.into_iter().filter(lacks).map(|capability| capability.to_string()).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("vipd has no {} to become it and to kill it", missing.join(", ")))
    }
}

/// Lets this process have as many open files as it may, and enough at the most: each interface takes four, and 1024 is the
/// usual limit. Commands that it starts have the same, and some of them go through all that there could be.
///
/// # Errors
/// What setrlimit(2) says.
pub fn raise_open_files() -> io::Result<()> {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most.min(OPEN_FILES).max(now), most).map_err(io::Error::from)
}
