//! What can go wrong with the dead-man switch.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::batch::Operation;
use super::ruleset::Family;
use super::support::Missing;

/// Why the dead-man switch did not do what it was asked to do.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// There is no dead-man switch on this host; the address lifetime alone must do.
    #[error("no dead-man switch here: {0}")]
    Unavailable(#[source] Missing),
    /// The kernel refused, and changed nothing.
    #[error(transparent)]
    Refused(Refusal),
    /// The netlink socket failed; if it did so after sending, the kernel may have done what it was asked.
    #[error("netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The kernel's answer was lost; it may have done what it was asked. Doing it again is safe.
    #[error("nf_tables did not answer")]
    Unanswered,
    /// The process was held up in the middle of a renewal for longer than the lease allows, so the addresses were silenced:
    /// another host may have taken them in the meantime.
    #[error("a renewal was held up for {} ms, so its addresses were silenced", held_up.as_millis())]
    Stalled {
        /// How long the renewal took.
        held_up: Duration,
    },
}

impl LeaseError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable(missing) => Some(missing.hint()),
            Self::Refused(refusal) if refusal.errno == Errno::EPERM => {
                Some("another running vipd owns the table: stop that one")
            }
            Self::Stalled { .. } => Some("give vipd more CPU, or a longer advertisement interval"),
            Self::Refused(_) | Self::Socket(_) | Self::Unanswered => None,
        }
    }

    /// Whether our tables are not as we left them: somebody removed or changed them.
    pub(super) fn is_discrepancy(&self) -> bool {
        let conflicts = |errno| matches!(errno, Errno::ENOENT | Errno::EEXIST | Errno::EBUSY);
        matches!(self, Self::Refused(refusal) if conflicts(refusal.errno))
    }

    /// Whether an element may have lapsed in the middle of its own transaction, so that trying again helps.
    pub(super) fn is_lapse(&self) -> bool {
        let deletes = |refusal: &Refusal| matches!(refusal.operation, Some((Operation::DeleteElements, _)));
        matches!(self, Self::Refused(refusal) if refusal.errno == Errno::ENOENT && deletes(refusal))
    }
}

/// A refusal of nf_tables. Nothing of the transaction was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("nf_tables refused to {}: {}{}", self.asked(), errno.desc(), self.said())]
pub struct Refusal {
    /// The kernel's error number.
    pub errno: Errno,
    /// The kernel's own words, if it had any.
    pub words: Option<String>,
    /// Which of our messages it refused; `None` for the transaction as a whole.
    pub(super) operation: Option<(Operation, Family)>,
}

impl Refusal {
    fn asked(&self) -> String {
        match self.operation {
            Some((operation, family)) => format!("{operation} of family {}", family.name()),
            None => "start a transaction".to_owned(),
        }
    }

    fn said(&self) -> String {
        self.words.as_ref().map_or_else(String::new, |words| format!(" ({words})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_was_asked_and_what_the_kernel_said() {
        let refusal = Refusal {
            errno: Errno::EOPNOTSUPP,
            words: Some("unknown flag".to_owned()),
            operation: Some((Operation::AddTable, Family::Arp)),
        };
        assert_eq!(
            refusal.to_string(),
            "nf_tables refused to add a table of family arp: Operation not supported on transport endpoint (unknown flag)"
        );
    }

    #[test]
    fn a_missing_element_is_a_lapse_and_a_missing_table_is_not() {
        let refused = |operation| {
            LeaseError::Refused(Refusal {
                errno: Errno::ENOENT,
                words: None,
                operation: Some((operation, Family::Inet)),
            })
        };
        let (lapse, gone) = (refused(Operation::DeleteElements), refused(Operation::AddElements));
        assert!(lapse.is_lapse() && lapse.is_discrepancy(), "if it is refused again, it is none");
        assert!(gone.is_discrepancy() && !gone.is_lapse());
    }
}
