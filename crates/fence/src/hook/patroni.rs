//! Patroni's callbacks: `ACTION ROLE SCOPE`, asynchronous, killed by the next one, exit code ignored. So they only write down
//! who is the primary.

use clap::Args;

use super::{Caller, FENCED, Problem, postgres};

/// What Patroni appends.
#[derive(Args, Debug)]
pub(crate) struct Callback {
    /// on_start, on_stop, on_restart, on_reload, on_role_change
    action: String,
    /// primary (master before 4.0), replica, standby_leader, demoted, …
    role: String,
    /// Patroni's scope: the name of the cluster under [clusters]
    scope: String,
}

pub(super) fn callback(caller: &Caller, callback: &Callback) -> Result<u8, Problem> {
    let Callback { action, role, scope } = callback;
    let by = format!("patroni-callback {action} {role} {scope}");
    let (name, cluster) = caller.cluster(Some(scope))?;
    let local = caller.local()?;
    match (action.as_str(), role.as_str()) {
        ("on_stop", _) => Ok(FENCED),
        (_, "primary" | "master" | "promoted") => caller.note_primary(name, &local.node, &by),
        (_, _) => {
            let Some(conninfo) = &local.postgres else { return Ok(FENCED) };
            let known = postgres::ask(conninfo, &caller.stop).map_err(Problem::Said)?;
            match known.followed.iter().find_map(|name| cluster.node(name)) {
                Some(node) if node != local.node => caller.note_primary(name, node, &by),
                _ => Ok(FENCED),
            }
        }
    }
}
