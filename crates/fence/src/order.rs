//! What is asked of `fence`, by a person, a hook or a cluster manager: the same for all of them.

use std::time::Duration;

use bc_model::fencing::{FenceAction, Grade, Token};

/// One request to change a node.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The node, as the configuration names it.
    pub(crate) node: String,
    /// What is asked for.
    pub(crate) action: FenceAction,
    /// Why; kept in the history.
    pub(crate) reason: String,
    /// Who asks; kept in the history.
    pub(crate) by: String,
    /// The right to fence that the request carries.
    pub(crate) token: Option<Token>,
    /// A grade that must be reached, whatever the policy is content with.
    pub(crate) require: Option<Grade>,
    /// An off that was proven so recently is looked at again, and not repeated.
    pub(crate) tolerance: Option<Duration>,
    /// Whether the node's delay is left out: nobody else is racing.
    pub(crate) no_delay: bool,
    /// Whether the brake on storms is overridden.
    pub(crate) override_brake: bool,
    /// Whether the node may be this host: `fence self`.
    pub(crate) may_be_self: bool,
}

impl Order {
    /// A request of this program's caller, with nothing but what is needed.
    pub(crate) fn new(node: &str, action: FenceAction, reason: &str) -> Self {
        Self {
            node: node.to_owned(),
            action,
            reason: reason.to_owned(),
            by: crate::caller::name(),
            token: None,
            require: None,
            tolerance: None,
            no_delay: false,
            override_brake: false,
            may_be_self: false,
        }
    }
}
