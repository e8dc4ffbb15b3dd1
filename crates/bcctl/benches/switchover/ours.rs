//! bcctl over a real sshd; GoCD, the VIP and the configuration files are stand-ins that take no time.

#![allow(dead_code, reason = "each bench uses its own part")]

use anyhow::{Result, bail};

use crate::pair::Pair;
use crate::site::Site;

pub(crate) struct Ours {
    site: Site,
    /// What bcctl said, for a failure.
    verbose: bool,
}

impl Ours {
    pub(crate) fn start(verbose: bool) -> Self {
        Self { site: Site::over_ssh(), verbose }
    }

    /// The site itself, for what is done to it by hand.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Runs bcctl to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<()> {
        let output = self.site.bcctl(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if self.verbose {
            eprintln!("{said}{}", self.site.journals().last().map(String::as_str).unwrap_or_default());
        }
        if !output.status.success() {
            bail!("bcctl {} ended with {}: {said}", arguments.join(" "), output.status);
        }
        Ok(())
    }
}

impl Pair for Ours {
    fn name(&self) -> String {
        format!("bcctl {}", env!("CARGO_PKG_VERSION"))
    }

    fn ports(&self) -> [u16; 2] {
        self.site.ports()
    }

    fn switch(&mut self, _: usize) -> Result<()> {
        self.run(&["switchover", "--yes"])
    }
}
