//! Commands for turning hosts off and on; they run on the operator's machine.

use bc_model::inventory::Inventory;

use super::{Command, quote, quote_with};
use crate::journal;
use crate::judge::{Check, Expect};
use crate::plan::Decision;

fn fence(inventory: &Inventory, arguments: &str) -> Command {
    Command::here(format!("FENCE_CONFIG={} fence {arguments}", quote(&inventory.fencing.config)))
}

/// Turns `node` off; status 0 only when it was asked again and answered off, proven as well as policy wants.
///
/// The request carries the right to fence: a request of an older operation, or of this one after the promotion of another, is
/// refused. Nobody races with an operator, so the node's delay is left out.
pub(crate) fn off(inventory: &Inventory, decision: &Decision, node: &str) -> Command {
    let reason = format!("bcctl {}", decision.operation);
    let (node, reason, require) = (quote(node), quote(&reason), require(inventory));
    let token = right(decision);
    fence(inventory, &format!("off {node} --reason {reason}{token}{require} --no-delay --json"))
}

/// The option that carries the right of an operation, if the cluster's identity was seen.
fn right(decision: &Decision) -> String {
    let timeline = (decision.timeline > 0).then(|| decision.timeline.to_string());
    let token = timeline.and_then(|timeline| token(decision, &timeline));
    token.map(|token| format!(" --token {}", quote(&token))).unwrap_or_default()
}

/// `SYSTEM-IDENTIFIER/TIMELINE/EPOCH/ID/EXPIRES` of an operation, if the cluster's identity was seen.
fn token(decision: &Decision, timeline: &str) -> Option<String> {
    let Decision { system_identifier, operation, .. } = decision;
    let epoch = journal::stamp(operation)?.as_second();
    // A resumed operation has the same rank; its time begins when the command does, which nobody can hold up on the way.
    Some(format!("{}/{timeline}/{epoch}/{operation}/+10m", system_identifier.as_ref()?))
}

/// Makes the new timeline known to `fence`, once `node` is promoted: requests of those who know the old one only are refused.
///
/// Nothing where there is nobody to tell, or nothing to tell.
pub(crate) fn publish(inventory: &Inventory, decision: &Decision, node: &str) -> Option<(Command, Check)> {
    let system_identifier = decision.system_identifier.as_ref()?.parse().ok()?;
    let token = token(decision, "{new_timeline}").filter(|_| decision.publish && decision.timeline > 0)?;
    let raise = fence(inventory, &format!("token {} --raise {}", quote(node), quote_with(&token, &["new_timeline"])));
    let expect = Expect::TokenPast { system_identifier, timeline: decision.timeline };
    Some((raise, Check { commands: vec![fence(inventory, "token --json")], expect }))
}

/// How well each node could be proven off, by what `fence` is configured to do; no device is asked.
pub(crate) fn nodes(inventory: &Inventory) -> Command {
    fence(inventory, &format!("nodes{} --json", require(inventory)))
}

/// What the policy of the site wants beyond that of `fence`.
fn require(inventory: &Inventory) -> String {
    inventory.policy.fence_grade.map(|grade| format!(" --require {grade}")).unwrap_or_default()
}

/// Turns `node` on, with the right of the operation.
pub(crate) fn on(inventory: &Inventory, decision: &Decision, node: &str) -> Command {
    let reason = format!("bcctl {}", decision.operation);
    fence(inventory, &format!("on {} --reason {}{} --json", quote(node), quote(&reason), right(decision)))
}

/// Asks for the state of `node`.
pub(crate) fn status(inventory: &Inventory, node: &str) -> Command {
    fence(inventory, &format!("status {}{} --json", quote(node), require(inventory)))
}

/// Asks every device whether it would work.
pub(crate) fn check(inventory: &Inventory) -> Command {
    fence(inventory, "check")
}

/// Whether `node` is off.
pub(crate) fn is_off(inventory: &Inventory, node: &str) -> Check {
    Check { commands: vec![status(inventory, node)], expect: Expect::FencedOff }
}

/// Whether `node` is off in the way that leaves its disk readable: its services were seen stopped, and the host is there.
pub(crate) fn is_stopped(inventory: &Inventory, node: &str) -> Check {
    Check { commands: vec![status(inventory, node)], expect: Expect::FencedStopped }
}

#[cfg(test)]
mod tests {
    use bc_model::fencing::{Grade, Token};
    use bc_model::journal::Intent;

    use super::*;
    use crate::command::At;
    use crate::observe::tests::inventory;
    use crate::place::Place;

    #[test]
    fn a_fence_carries_the_right_of_its_operation_and_the_grade_of_the_site() {
        let mut inventory = inventory();
        let mut decision = Decision {
            operation: "20261121T203000Z-failover".to_owned(),
            intent: Intent::Failover,
            to: Place::Away,
            timeline: 4,
            system_identifier: Some("7300000000000000001".to_owned()),
            fence: vec![],
            fence_together: false,
            power_on: vec![],
            reseed: None,
            salvage_first: false,
            publish: true,
            quarantine: true,
        };
        let token = token(&decision, "4").expect("a token");
        assert_eq!(token, "7300000000000000001/4/1795293000/20261121T203000Z-failover/+10m");
        let absolute: Token = token.replace("+10m", "2026-11-21T20:40:00Z").parse().expect("fence reads it");
        assert_eq!(absolute.rank(), (4, 1_795_293_000));
        inventory.policy.fence_grade = Some(Grade::A);
        let command = off(&inventory, &decision, "pg1");
        assert_eq!(command.at, At::Operator);
        assert!(command.script.contains(&format!("--token {token}")), "{}", command.script);
        assert!(command.script.contains(" --require A "), "{}", command.script);
        assert!(status(&inventory, "pg1").script.contains("status pg1 --require A --json"));
        let (raise, _) = publish(&inventory, &decision, "pg2").expect("something to tell");
        let words = "fence token pg2 --raise '7300000000000000001/'\"${new_timeline}\"'/1795293000/20261121T203000Z-failover/+10m'";
        assert!(raise.script.ends_with(words), "{}", raise.script);
        decision.publish = false;
        assert_eq!(publish(&inventory, &decision, "pg2"), None, "there is no fence here");
    }
}
