//! systemd's `OnFailure=`: the unit that failed is told in the environment, unless several failed at once.

use std::env;
use std::process::ExitCode;

use clap::Args;

use crate::config;
use crate::error::Error;
use crate::gate;
use crate::render::complain;
use crate::self_fence::{self, SelfFence};
use crate::stop::Stop;

/// What `fence-self@.service` passes.
#[derive(Args, Debug)]
pub(crate) struct Failed {
    /// The unit that failed: %i
    unit: String,
    /// Turn the host off afterwards
    #[arg(long)]
    power_off: bool,
}

/// Fences this host. The exit code is the program's own: systemd shows it as the state of the unit.
pub(super) fn answer(file: &std::path::Path, failed: &Failed) -> ExitCode {
    let request = SelfFence {
        reason: reason(&failed.unit, |name| env::var(name).ok()),
        power_off: failed.power_off,
        gate_directory: env::var_os("FENCE_GATE").map_or_else(|| gate::DIRECTORY.into(), Into::into),
        json: false,
        dry_run: false,
    };
    let fence = || {
        let config = config::load(file)?;
        let stop = Stop::on_signals().map_err(Error::Signals)?;
        self_fence::run(config, &request, &stop)
    };
    let exit = fence().unwrap_or_else(|error| {
        complain(&error);
        error.exit()
    });
    exit.into()
}

fn reason(unit: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut reason = format!("systemd: {unit} failed");
    for (name, word) in
        [("MONITOR_SERVICE_RESULT", "result"), ("MONITOR_EXIT_CODE", "exit code"), ("MONITOR_EXIT_STATUS", "status")]
    {
        if let Some(value) = variable(name) {
            reason.push_str(&format!(", {word} {value}"));
        }
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_says_as_much_as_systemd_does() {
        let told = |name: &str| match name {
            "MONITOR_SERVICE_RESULT" => Some("watchdog".to_owned()),
            "MONITOR_EXIT_STATUS" => Some("ABRT".to_owned()),
            _ => None,
        };
        assert_eq!(reason("pg.service", told), "systemd: pg.service failed, result watchdog, status ABRT");
        assert_eq!(reason("pg.service", |_| None), "systemd: pg.service failed");
    }
}
