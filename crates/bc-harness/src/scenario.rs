//! A scenario: typed steps, in order. What a step does to the world is in [`crate::drill`].

use serde::{Deserialize, Serialize};

use crate::history::{FaultKind, Phase, Sabotage};

/// Names of what is run in the operator box.
pub(crate) mod operation {
    /// A failback when nothing has failed over.
    pub(crate) const EARLY_FAILBACK: &str = "a failback too early";
    /// A failover when everything is well.
    pub(crate) const EARLY_FAILOVER: &str = "a failover of a healthy site";
    /// `bcctl failover --dry-run`.
    pub(crate) const DRY_FAILOVER: &str = "a dry run of the failover";
    /// `bcctl failover --yes`.
    pub(crate) const FAILOVER: &str = "the failover";
    /// `bcctl resume --yes`.
    pub(crate) const RESUME: &str = "the resumption";
    /// `bcctl failover --yes` once more.
    pub(crate) const SECOND_FAILOVER: &str = "a second failover";
    /// `bcctl failback --yes`.
    pub(crate) const FAILBACK: &str = "the failback";
}

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Step {
    /// Hosts, network, power switch; provisioned and booted.
    BringUp,
    /// Clients and watchers start; replication streams, agents are known, a pipeline runs, the standby's files are in step.
    SteadyState,
    /// What makes no sense must be refused, and a dry run must say what would be run.
    Ask,
    /// The primary site fails.
    Fail { fault: FaultKind },
    /// A client notices.
    Detect,
    /// `bcctl failover`, killed at the begin of a step and resumed if so asked.
    FailOver { kill_at: Option<String> },
    /// Whatever is still frozen and alive awakes.
    EndFreeze,
    /// The site works again; facts are read off it.
    Settle { phase: Phase },
    /// `bcctl failover` once more: there is nothing to do.
    FailOverAgain,
    /// The operator changes the configuration of the GoCD server that serves.
    EditConfig,
    /// The old hosts get their power back through `fence on`.
    PowerOn,
    /// `bcctl failback`.
    FailBack,
}

impl Step {
    /// What it does, for people; also its name in the history.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::BringUp => "bring up the site".to_owned(),
            Self::SteadyState => "wait for steady state".to_owned(),
            Self::Ask => "ask for what makes no sense, and for a plan".to_owned(),
            Self::Fail { fault: FaultKind::Hang } => "freeze the primary site".to_owned(),
            Self::Fail { fault: FaultKind::PowerCut } => "cut the power of the primary site".to_owned(),
            Self::Detect => "notice that the site is down".to_owned(),
            Self::FailOver { kill_at: None } => "bcctl failover".to_owned(),
            Self::FailOver { kill_at: Some(step) } => format!("bcctl failover, killed at {step} and resumed"),
            Self::EndFreeze => "end the freeze of what is still alive".to_owned(),
            Self::Settle { phase } => format!("see that the site works after {}", phase.as_str()),
            Self::FailOverAgain => "bcctl failover once more".to_owned(),
            Self::EditConfig => "change the configuration on go2".to_owned(),
            Self::PowerOn => "power on the old hosts".to_owned(),
            Self::FailBack => "bcctl failback".to_owned(),
        }
    }

    /// Whether a step of this name belongs to the preparation: its failure says nothing about the tools.
    pub(crate) fn is_preparation(name: &str) -> bool {
        [Self::BringUp, Self::SteadyState].iter().any(|step| step.name() == name)
    }

    /// Whether it is done even after an earlier step has failed: a zombie must awake for the drill to see it.
    pub(crate) const fn is_done_anyway(&self) -> bool {
        matches!(self, Self::EndFreeze)
    }
}

/// What can be chosen about a drill.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// How the primary site fails.
    pub(crate) fault: FaultKind,
    /// What is tampered with.
    pub(crate) sabotage: Option<Sabotage>,
    /// The step of the failover at whose begin `bcctl` is killed.
    pub(crate) kill_bcctl_at: Option<String>,
}

/// The drill: there, and back again.
pub(crate) fn drill(choice: &Choice) -> Vec<Step> {
    vec![
        Step::BringUp,
        Step::SteadyState,
        Step::Ask,
        Step::Fail { fault: choice.fault },
        Step::Detect,
        Step::FailOver { kill_at: choice.kill_bcctl_at.clone() },
        Step::EndFreeze,
        Step::Settle { phase: Phase::FailedOver },
        Step::FailOverAgain,
        Step::EditConfig,
        Step::PowerOn,
        Step::FailBack,
        Step::Settle { phase: Phase::Home },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zombie_awakes_after_the_failover_whatever_became_of_it() {
        let choice = Choice { fault: FaultKind::Hang, sabotage: None, kill_bcctl_at: Some("promote".into()) };
        let steps = drill(&choice);
        let place = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).expect("a step");
        assert!(place(|step| matches!(step, Step::FailOver { .. })) < place(Step::is_done_anyway));
        assert_eq!(steps.iter().filter(|step| step.is_done_anyway()).count(), 1);
    }

    #[test]
    fn names_are_unique() {
        let choice = Choice { fault: FaultKind::Hang, sabotage: None, kill_bcctl_at: None };
        let names: std::collections::BTreeSet<_> = drill(&choice).iter().map(Step::name).collect();
        assert_eq!(names.len(), drill(&choice).len());
    }
}
