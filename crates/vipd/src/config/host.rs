//! What a configuration says about the host that it is for, and only that host can answer.

use std::path::Path;

/// The host that a configuration is read on. As it stands here it has everything that it is asked for.
pub trait Host {
    /// Whether commands may be run as a user.
    ///
    /// # Errors
    /// Why not, in words.
    fn may_run_as(&self, _user: &str) -> Result<(), String> {
        Ok(())
    }

    /// Whether the control socket can be made at a path.
    ///
    /// # Errors
    /// What is in the way, in words.
    fn may_listen_at(&self, _path: &Path) -> Result<(), String> {
        Ok(())
    }

    /// Whether a program can be started now; it may be installed later.
    ///
    /// # Errors
    /// Why not, in words.
    fn may_start(&self, _program: &str) -> Result<(), String> {
        Ok(())
    }

    /// Whether there is a user of that name.
    fn has_user(&self, _name: &str) -> bool {
        true
    }

    /// Whether there is a group of that name.
    fn has_group(&self, _name: &str) -> bool {
        true
    }
}

/// Any host at all: only the text counts.
#[derive(Clone, Copy, Debug)]
pub struct AnyHost;

impl Host for AnyHost {}
