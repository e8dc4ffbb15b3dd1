//! Commands for the GoCD pair and its configuration files.

use bc_model::inventory::Inventory;

use super::{Command, quote, service, waiting};
use crate::judge::{Check, Expect};

fn url(inventory: &Inventory, host: &str, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", inventory.gocd_server(host).port)
}

/// The health page: 200 when the web application is up.
pub(crate) const HEALTH: &str = "/go/api/v1/health";

/// Starts the server.
pub(crate) fn start(inventory: &Inventory, host: &str) -> Command {
    Command::on(host, service::start(&inventory.gocd_server(host).service))
}

/// Stops the server.
pub(crate) fn stop(inventory: &Inventory, host: &str) -> Command {
    Command::on(host, service::stop(&inventory.gocd_server(host).service))
}

/// Whether the service runs.
pub(crate) fn started(inventory: &Inventory, host: &str) -> Check {
    Check::succeeds(Command::on(host, service::runs(&inventory.gocd_server(host).service)))
}

/// Whether the service is stopped and nobody listens on its port.
pub(crate) fn stopped(inventory: &Inventory, host: &str) -> Check {
    let runs = service::runs(&inventory.gocd_server(host).service);
    // 7 is curl's "could not connect"; everything else means that somebody listens.
    let script = format!(
        "if {{ {runs}; }}; then echo GoCD runs >&2; exit 1; fi; curl -s -o /dev/null -m 5 {}; [ $? -eq 7 ] || {{ echo its port answers >&2; false; }}",
        quote(&url(inventory, host, "/"))
    );
    Check::succeeds(Command::on(host, script))
}

/// Whether the server is ready: the health page answers 200, and it says its version.
pub(crate) fn ready(inventory: &Inventory, host: &str) -> Check {
    let script = format!(
        "curl -fsS -m 5 -o /dev/null {} && curl -fsS -m 5 -H 'Accept: application/vnd.go.cd.v1+json' {} | tr -d '\\n' | \
         sed -n 's/.*\"full_version\" *: *\"\\([^\"]*\\)\".*/version \\1/p'",
        quote(&url(inventory, host, HEALTH)),
        quote(&url(inventory, host, "/go/api/version"))
    );
    Check::succeeds(Command::on(host, script))
}

/// Returns when the health page answers 200, or the time that GoCD has for that is over.
pub(crate) fn wait_ready(inventory: &Inventory, host: &str) -> Command {
    let answers = format!("curl -fsS -m 5 -o /dev/null {} 2>/dev/null", quote(&url(inventory, host, HEALTH)));
    Command::on(host, waiting(&answers, inventory.timeouts.gocd_ready))
}

/// Whether the server answers at the VIP, asked from its own host.
pub(crate) fn answers_at_vip(inventory: &Inventory, host: &str) -> Check {
    let address = match inventory.vip.address.addr() {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    };
    let url = format!("http://{address}:{}{HEALTH}", inventory.gocd_server(host).port);
    Check::succeeds(Command::on(host, format!("curl -fsS -g -m 5 -o /dev/null {}", quote(&url))))
}

/// `standbyd`, as GoCD's own user.
pub(crate) fn standbyd(inventory: &Inventory, host: &str, arguments: &str) -> Command {
    Command::on(host, format!("runuser -u {} -- standbyd {arguments}", quote(&inventory.gocd.os_user)))
}

/// Fetches what differs from the peer.
pub(crate) fn pull(inventory: &Inventory, host: &str) -> Command {
    standbyd(inventory, host, "pull --once --json")
}

/// Whether both hosts have the same files, by hash.
pub(crate) fn same_files(inventory: &Inventory, one: &str, other: &str) -> Check {
    Check {
        commands: [one, other].map(|host| standbyd(inventory, host, "manifest --json")).into(),
        expect: Expect::SameFiles,
    }
}
