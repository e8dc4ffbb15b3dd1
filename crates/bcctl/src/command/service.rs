//! Starting, stopping and looking at a service, through systemd or the site's own commands.

use bc_model::inventory::Service;

use super::quote;

/// Starts it unless it runs, and waits for that.
pub(crate) fn start(service: &Service<'_>) -> String {
    match service {
        Service::Systemd(unit) => format!("systemctl start {}", quote(unit)),
        Service::Commands(commands) => format!("{} || {{ {}; }}", runs(service), commands.start),
    }
}

/// Stops it cleanly and waits for that.
pub(crate) fn stop(service: &Service<'_>) -> String {
    match service {
        Service::Systemd(unit) => format!("systemctl stop {}", quote(unit)),
        Service::Commands(commands) => commands.stop.clone(),
    }
}

/// Status 0 if it runs; one on its way up or down counts as running.
pub(crate) fn runs(service: &Service<'_>) -> String {
    match service {
        Service::Systemd(unit) => format!(
            "case $(systemctl show --property=ActiveState --value {}) in active|activating|reloading|deactivating) true;; *) false;; esac",
            quote(unit)
        ),
        Service::Commands(commands) => format!("({}) >/dev/null 2>&1", commands.status),
    }
}

/// Status 0 if it runs or may come to run. One on its way down does not count: whether its process is still there is seen
/// by looking for the process.
pub(crate) fn may_run(service: &Service<'_>) -> String {
    match service {
        Service::Systemd(unit) => format!(
            "case $(systemctl show --property=ActiveState --value {}) in active|activating|reloading) true;; *) false;; esac",
            quote(unit)
        ),
        Service::Commands(_) => runs(service),
    }
}
