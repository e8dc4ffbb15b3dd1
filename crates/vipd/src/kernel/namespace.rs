//! A network namespace for a test of the kernel's edge.

/// In a network namespace of its own; skipped where none can be made.
pub(crate) fn within(test: impl FnOnce() + Send + 'static) {
    let unshared = || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
    let run = std::thread::spawn(move || unshared().map(|()| test()));
    match run.join() {
        Ok(Ok(())) => {}
        Ok(Err(errno)) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must run this, but: unshare: {errno}");
            eprintln!("skipped: network namespaces need root or CAP_SYS_ADMIN: unshare: {errno}");
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
