//! Gives up every privilege that the daemon does not need once it runs.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// Keeps `CAP_NET_ADMIN` and `CAP_NET_RAW`, drops all others for good, and lets no program that is started gain any.
///
/// `switches_user`: a check is run by another user, which needs `CAP_SETUID` and `CAP_SETGID`.
///
/// # Errors
/// The kernel's refusal, in words.
pub fn drop_others(switches_user: bool) -> Result<(), String> {
    let mut keep: CapsHashSet = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW].into_iter().collect();
    if switches_user {
        keep.extend([Capability::CAP_SETUID, Capability::CAP_SETGID]);
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
