//! repmgr: the validation of a failover, and its events.

use clap::Args;

use super::{Caller, FENCED, Problem};
use crate::render::warn;

/// `failover_validation_command = 'fence hook repmgr-validate %n %a %v %u %t'`
#[derive(Args, Debug)]
pub(crate) struct Validate {
    /// %n: id of the node that won the election
    id: String,
    /// %a: its name
    name: String,
    /// %v: nodes that it can see, itself included
    visible: u32,
    /// %u: nodes with the same upstream
    upstream: u32,
    /// %t: all nodes
    total: u32,
    /// The cluster under [clusters]; not needed where there is only one
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// The right to promote, then the fence.
pub(super) fn validate(caller: &Caller, validate: &Validate) -> Result<u8, Problem> {
    let Validate { id, name, visible, total, cluster, .. } = validate;
    let (_, known) = caller.cluster(cluster.as_deref())?;
    let here = &caller.local()?.node;
    if known.node(name).or_else(|| known.node(id)) != Some(here.as_str()) {
        return Err(Problem::said(format!(
            "repmgr validates its node {id} ({name:?}), and this host is {here:?}; if they are the same, say so under names"
        )));
    }
    if !majority(*visible, *total) {
        return Err(Problem::said(format!("this node sees {visible} of {total} nodes, which is no majority")));
    }
    let reason = format!("repmgr validates a failover to {name}: {visible} of {total} nodes are visible");
    caller.fence_suspects(cluster.as_deref(), &reason)
}

/// A pair has no majority without its primary: there the fence alone decides.
const fn majority(visible: u32, total: u32) -> bool {
    total <= 2 || visible as u64 * 2 > total as u64
}

/// `event_notification_command = 'fence hook repmgr-event %n %e %s %p'`; never `%d`, which a shell would read.
#[derive(Args, Debug)]
pub(crate) struct Event {
    /// %n: id of the node
    id: String,
    /// %e: what happened
    event: String,
    /// %s: 1 if it succeeded
    success: String,
    /// %p: id of the primary, with some events
    primary: Option<String>,
    /// The cluster under [clusters]; not needed where there is only one
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

pub(super) fn event(caller: &Caller, event: &Event) -> Result<u8, Problem> {
    let Some(id) = new_primary(event) else { return Ok(FENCED) };
    let (name, cluster) = caller.cluster(event.cluster.as_deref())?;
    let Some(node) = cluster.node(id) else {
        warn(&format!("repmgr's node {id:?} is none of ours: add it under [clusters.{name}.names]"));
        return Ok(FENCED);
    };
    caller.note_primary(name, node, &format!("repmgr-event {}", event.event))
}

/// Whom an event shows to be the primary.
fn new_primary(event: &Event) -> Option<&str> {
    match (event.success.as_str(), event.event.as_str()) {
        ("1", "primary_register" | "standby_promote" | "standby_switchover" | "repmgrd_failover_promote") => {
            Some(&event.id)
        }
        ("1", "standby_register" | "standby_follow" | "repmgrd_failover_follow") => {
            event.primary.as_deref().filter(|id| !id.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_of_more_than_two_may_not_promote() {
        for (visible, total, may) in
            [(1, 2, true), (1, 3, false), (2, 3, true), (2, 4, false), (3, 4, true), (0, 3, false)]
        {
            assert_eq!(majority(visible, total), may, "{visible} of {total}");
        }
    }

    #[test]
    fn events_name_the_primary_or_say_nothing() {
        let event = |event: &str, success: &str, primary: Option<&str>| Event {
            id: "2".into(),
            event: event.into(),
            success: success.into(),
            primary: primary.map(str::to_owned),
            cluster: None,
        };
        let table = [
            (event("standby_promote", "1", None), Some("2")),
            (event("standby_promote", "0", None), None),
            (event("standby_follow", "1", Some("1")), Some("1")),
            (event("standby_follow", "1", Some("")), None),
            (event("standby_switchover", "1", Some("1")), Some("2")),
            (event("repmgrd_start", "1", Some("1")), None),
        ];
        for (event, primary) in table {
            assert_eq!(new_primary(&event), primary, "{event:?}");
        }
    }
}
