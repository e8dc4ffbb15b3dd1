//! GoCD's maintenance mode, through its API on its own host: no timer triggers and no job is assigned while it is on.
//!
//! The access token is read on the host and goes to `curl` through a pipe: it is in no argument list, no environment, no output
//! and no journal. Before each request the service is seen to run, so that whoever else listens on the port of one that is down learns
//! no token.

use bc_model::inventory::{Inventory, Service};

use super::{Command, quote, service};
use crate::judge::{Check, Expect, Mode};

/// Read by GoCD at every start, so it must be gone before the next one.
const PROPERTY: &str = "-Dgocd.server.start.in.maintenance.mode=true";
/// Read by every JVM, whatever starts it.
const VARIABLE: &str = "JAVA_TOOL_OPTIONS";
/// Whether systemd hands a variable to what it starts.
const HAS: &str = "has() { case $(systemctl show --property=Environment --value) in *$1*) true;; *) false;; esac; }";

/// Whether the inventory names an access token, and with it whether the mode is used at all.
pub(crate) fn is_used(inventory: &Inventory) -> bool {
    inventory.gocd_server(&inventory.gocd.primary).api_token_file.is_some()
}

/// `script` in a shell of its own that can `ask PATH …` of the server on `host`, with the token; status 1 if there is no good one.
pub(crate) fn asking(inventory: &Inventory, host: &str, script: &str) -> String {
    let server = inventory.gocd_server(host);
    let (file, user) = (server.api_token_file.unwrap_or_default(), &inventory.gocd.os_user);
    // A name that is in the environment already would be handed on: hence `unset`.
    format!(
        "(unset token; case $(stat -L -c %a:%U {quoted}) in [46]00:{user}) token=$(runuser -u {user} -- cat {quoted} | \
         sed -n '1s|^[A-Za-z0-9._~+/=-]\\{{1,\\}}$|header = \"Authorization: bearer &\"|p');; esac; \
         [ \"$token\" ] || {{ echo {complaint} >&2; exit 1; }}; \
         ask() {{ {{ {runs}; }} || {{ echo 'GoCD does not run' >&2; return 1; }}; path=$1; shift; printf '%s\\n' \"$token\" | curl -q -sS -m 10 --noproxy '*' -K - \
         -H 'Accept: application/vnd.go.cd+json' \"$@\" http://127.0.0.1:{port}/go/api/\"$path\"; }}; {script})",
        quoted = quote(file),
        user = quote(user),
        complaint = quote(&format!(
            "{file} has to hold an access token of GoCD in its first line, and belong to {user} with mode 0600"
        )),
        runs = service::runs(&server.service),
        port = server.port,
    )
}

fn switch(inventory: &Inventory, host: &str, verb: &str) -> Command {
    let script = format!(
        "status=$(ask admin/maintenance_mode/{verb} -o /dev/null -w '%{{http_code}}' -X POST -H 'X-GoCD-Confirm: true'); \
         case $status in 204|409) ;; '') exit 1;; *) echo \"GoCD answers $status to {verb} maintenance mode\" >&2; exit 1;; esac"
    );
    Command::on(host, asking(inventory, host, &script))
}

/// Switches it on; already on is as good.
pub(crate) fn enable(inventory: &Inventory, host: &str) -> Command {
    switch(inventory, host, "enable")
}

/// Switches it off; already off is as good.
pub(crate) fn disable(inventory: &Inventory, host: &str) -> Command {
    switch(inventory, host, "disable")
}

/// Returns when nothing runs any more, or the policy's time is over.
pub(crate) fn wait_for_jobs(inventory: &Inventory, host: &str) -> Command {
    let script = format!(
        "end=$(($(date +%s) + {})); while [ \"$(date +%s)\" -lt $end ]; do ask admin/maintenance_mode/info -f 2>/dev/null | \
         tr -d ' \\n' | grep -q '\"has_running_systems\":false' && break; sleep 0.5; done",
        inventory.policy.wait_for_jobs.as_secs().max(1)
    );
    Command::on(host, asking(inventory, host, &script))
}

/// Whether the server says that it is in this mode.
pub(crate) fn is(inventory: &Inventory, host: &str, mode: Mode) -> Check {
    let command = Command::on(host, asking(inventory, host, "ask admin/maintenance_mode/info -f"));
    Check { commands: vec![command], expect: Expect::Maintenance(mode) }
}

/// Whether the dashboard is loaded, that is, the database was read: 202 until then.
pub(crate) fn dashboard_loaded(inventory: &Inventory, host: &str) -> Check {
    let script =
        "status=$(ask dashboard -o /dev/null -w '%{http_code}'); echo \"dashboard $status\"; [ \"$status\" = 200 ]";
    Check::succeeds(Command::on(host, asking(inventory, host, script)))
}

/// Starts the server in maintenance mode, if the host has a way to say so for this start only; else just starts it.
pub(crate) fn start(inventory: &Inventory, host: &str) -> Command {
    let of_server = inventory.gocd_server(host).service;
    Command::on(
        host,
        match &of_server {
            // What somebody else has put into that variable stays: the mode is then switched on as soon as GoCD answers.
            Service::Systemd(_) => format!(
                "({HAS}; has {VARIABLE}= || systemctl set-environment {VARIABLE}={PROPERTY}; {start}; s=$?; {forget}; exit $s)",
                start = service::start(&of_server),
                forget = forgetting(),
            ),
            Service::Commands(commands) => match &commands.start_in_maintenance {
                Some(start) => format!("{} || {{ {start}; }}", service::runs(&of_server)),
                None => service::start(&of_server),
            },
        },
    )
}

/// Whether a start in maintenance mode is possible on `host`.
pub(crate) fn starts_quiet(inventory: &Inventory, host: &str) -> bool {
    match inventory.gocd_server(host).service {
        Service::Systemd(_) => true,
        Service::Commands(commands) => commands.start_in_maintenance.is_some(),
    }
}

/// Takes away what a start that was killed half-way may have left; without systemd there is nothing.
pub(crate) fn forget(inventory: &Inventory, host: &str) -> Option<(Command, Check)> {
    match inventory.gocd_server(host).service {
        Service::Systemd(_) => Some((
            Command::on(host, format!("({HAS}; {})", forgetting())),
            Check::succeeds(Command::on(host, format!("({HAS}; ! has {VARIABLE}={PROPERTY})"))),
        )),
        Service::Commands(_) => None,
    }
}

fn forgetting() -> String {
    format!("if has {VARIABLE}={PROPERTY}; then systemctl unset-environment {VARIABLE}; fi")
}
