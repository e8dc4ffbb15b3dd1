//! What a failover would lose now, as far as it can be known.

use bc_model::inventory::{Bytes, Inventory};
use serde::Serialize;

use super::Site;
use crate::finding::Finding;
use crate::finding::kinds::LOSS;
use crate::lsn::Lsn;

/// What would be lost if the other place took over now.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Loss {
    /// The server that would be promoted.
    pub(crate) standby: String,
    /// The server whose commits would be lost.
    pub(crate) primary: String,
    /// Where the standby's WAL ends.
    pub(crate) reached: Option<Lsn>,
    /// What it has replayed of that.
    pub(crate) replayed: Option<Lsn>,
    /// Where the primary's WAL ends, if it answers.
    pub(crate) written: Option<Lsn>,
    /// Bytes of WAL that only the primary has; nothing if that cannot be known.
    pub(crate) bytes: Option<u64>,
    /// Age in seconds of the last commit that the standby has: commits of that time may be lost. 0 if it has everything.
    pub(crate) seconds: Option<f64>,
    /// Whether commits are acknowledged only when the standby has them.
    pub(crate) synchronous: bool,
    /// Why the standby must not be promoted at all.
    pub(crate) diverged: Option<String>,
}

/// Looks at what the other place has.
pub(crate) fn of(site: &Site<'_>) -> Loss {
    let (inventory, seen) = (site.inventory, site.seen);
    let standby = seen.sql(inventory, site.other()).filter(|sql| sql.in_recovery);
    let primary = seen.sql(inventory, site.serving).filter(|sql| !sql.in_recovery);
    let diverged = super::diverged(site);
    let two = site.pg(site.other());
    let acknowledged = |row: &crate::observe::Replication| {
        row.name == two && row.state == "streaming" && matches!(row.sync_state.as_str(), "sync" | "quorum")
    };
    let synchronous = diverged.is_none()
        && primary.map_or(inventory.postgresql.synchronous, |primary| primary.replication.iter().any(acknowledged));
    let reached = standby.and_then(|standby| standby.receive_lsn.max(standby.replay_lsn));
    let written = primary.and_then(|primary| primary.write_lsn);
    let bytes = written.zip(reached).filter(|_| diverged.is_none()).map(|(written, reached)| written.since(reached));
    let age = standby.and_then(|standby| standby.last_commit_age);
    Loss {
        standby: two.to_owned(),
        primary: site.pg(site.serving).to_owned(),
        reached,
        replayed: standby.and_then(|standby| standby.replay_lsn),
        written,
        bytes,
        seconds: if bytes == Some(0) { Some(0.0) } else { age },
        synchronous,
        diverged,
    }
}

impl Loss {
    /// In words, for the plan and for `bcctl status`.
    pub(crate) fn words(&self, inventory: &Inventory) -> String {
        let (one, two) = (&self.primary, &self.standby);
        if let Some(words) = &self.diverged {
            return format!("{two} {words}");
        }
        let lsn = |lsn: Option<Lsn>| lsn.map_or_else(|| "nothing".to_owned(), |lsn| lsn.to_string());
        let age = match self.seconds {
            Some(age) if self.bytes != Some(0) => format!("; the last commit it has seen is {age} s old"),
            _ => String::new(),
        };
        let known = format!("{two} has received {} and replayed {}{age}", lsn(self.reached), lsn(self.replayed));
        match (self.written, self.bytes) {
            (Some(written), Some(bytes)) => format!(
                "{known}; {one} has written {written}: up to {} may be lost, and what it writes until it is off",
                Bytes(bytes)
            ),
            _ if inventory.postgresql.synchronous => format!(
                "{known}; commits that {one} acknowledged while {two} was its synchronous standby are all there; others may be lost"
            ),
            _ => format!(
                "{known}; replication is asynchronous: what {one} acknowledged after that is lost, and how much that is cannot be known"
            ),
        }
    }
}

/// Whether that is more than the policy allows. Without a policy, the person who confirms the plan decides.
pub(super) fn finding(site: &Site<'_>) -> Option<Finding> {
    let policy = &site.inventory.policy;
    if policy.allowed_loss.is_none() && policy.allowed_loss_time.is_none() {
        return None;
    }
    let loss = of(site);
    // Without a standby there is nothing to fail over to, which another finding says.
    loss.reached?;
    let too_many = match (policy.allowed_loss, loss.bytes) {
        (Some(allowed), Some(bytes)) if bytes > allowed.0 => {
            Some(format!("{} would be lost, and the policy allows {allowed}", Bytes(bytes)))
        }
        (Some(allowed), None) if !loss.synchronous => {
            Some(format!("how much would be lost cannot be known, and the policy allows {allowed}"))
        }
        _ => None,
    };
    let too_old = match (policy.allowed_loss_time, loss.seconds) {
        (Some(allowed), Some(seconds))
            if loss.bytes != Some(0) && !loss.synchronous && seconds > allowed.as_secs_f64() =>
        {
            Some(format!("its last commit is {seconds} s old, and the policy allows {} s", allowed.as_secs()))
        }
        _ => None,
    };
    let words = too_many.or(too_old)?;
    Some(
        Finding::of(&LOSS, site.pg(site.other()), words)
            .hint("bring the primary back, or the standby up to it; --accept-loss fails over all the same"),
    )
}

#[cfg(test)]
mod tests {
    use bc_model::fencing::NodeState;

    use super::*;
    use crate::observe::tests::{healthy, inventory};
    use crate::place::Place;

    fn loss(seen: &crate::observe::Observation) -> Loss {
        of(&Site { inventory: &inventory(), seen, serving: Place::Home })
    }

    #[test]
    fn a_standby_that_has_everything_loses_nothing() {
        let loss = loss(&healthy());
        assert_eq!((loss.bytes, loss.seconds, loss.synchronous), (Some(0), Some(0.0), false));
    }

    #[test]
    fn without_the_primary_only_the_age_is_known() {
        let loss = loss(&healthy().lost("pg1", NodeState::Off));
        assert_eq!((loss.bytes, loss.seconds), (None, Some(1.4)));
        assert!(loss.words(&inventory()).contains("cannot be known"));
    }

    #[test]
    fn a_diverged_standby_is_never_counted_as_synchronous() {
        let mut seen = healthy();
        seen.answers("pg1").replication[0].sync_state = "sync".to_owned();
        assert!(loss(&seen).synchronous);
        seen.answers("pg1").replication[0].ahead = true;
        let loss = loss(&seen);
        assert_eq!((loss.synchronous, loss.bytes, loss.diverged.is_some()), (false, None, true));
    }

    #[test]
    fn the_policy_speaks_about_bytes_seconds_and_what_cannot_be_known() {
        let mut inventory = inventory();
        let gone = healthy().lost("pg1", NodeState::Off);
        let found = |inventory: &Inventory, seen| finding(&Site { inventory, seen, serving: Place::Home });
        assert!(found(&inventory, &gone).is_none(), "no policy");
        inventory.policy.allowed_loss_time = Some(std::time::Duration::from_secs(1));
        assert!(found(&inventory, &gone).is_some_and(|finding| finding.words.contains("1.4 s old")));
        inventory.policy.allowed_loss_time = Some(std::time::Duration::from_secs(2));
        assert!(found(&inventory, &gone).is_none());
        inventory.policy.allowed_loss = Some(Bytes(1 << 20));
        assert!(found(&inventory, &gone).is_some_and(|finding| finding.words.contains("cannot be known")));
        let mut behind = healthy();
        behind.answers("pg1").write_lsn = Some(Lsn(0x500_0148 + (3 << 20)));
        assert!(found(&inventory, &behind).is_some_and(|finding| finding.words.contains("3072 kB would be lost")));
    }
}
