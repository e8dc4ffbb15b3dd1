//! How strong a proof is that a node can no longer write.

use serde::{Deserialize, Serialize};

/// What is known about a node that is said to be off; a stronger grade compares greater.
///
/// ```
/// use bc_model::fencing::Grade;
/// assert!(Grade::A > Grade::B && Grade::E > Grade::X);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grade {
    /// Anything else; not a fence.
    #[default]
    X,
    /// A person confirmed it.
    E,
    /// PostgreSQL and GoCD seen stopped on the host: no process, port closed, boot gate set.
    D,
    /// Its watchdog has elapsed, with recorded proof that it was armed.
    C,
    /// Isolated at the hypervisor, switch or fabric, read back.
    B,
    /// Power off, read back.
    A,
}

impl Grade {
    /// All grades, the strongest first.
    pub const ALL: [Self; 6] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::X];

    /// The letter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
            Self::X => "X",
        }
    }

    /// What it says about the node, in one line.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::A => "power off, read back",
            Self::B => "isolated at the hypervisor, switch or fabric, read back",
            Self::C => "watchdog elapsed, with recorded proof that it was armed",
            Self::D => "PostgreSQL and GoCD seen stopped on the host, boot gate set",
            Self::E => "a person confirmed it",
            Self::X => "no proof; not a fence",
        }
    }

    /// Whether a device that proves this grade, and answers "on", shows that an "off" of grade `off` cannot be true.
    ///
    /// Services seen running on the host (D) refute everything: power off, isolation and a stop alike. Power that is on (A)
    /// refutes that the power is off and nothing else: an isolated or stopped host has power. A port that is still open (B) refutes
    /// nothing: another port, or the power, may be what is off.
    #[must_use]
    pub const fn refutes(self, off: Self) -> bool {
        match self {
            Self::D => true,
            Self::A => matches!(off, Self::A),
            Self::C => matches!(off, Self::C),
            Self::B | Self::E | Self::X => false,
        }
    }
}

impl std::fmt::Display for Grade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the letter of a grade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a grade: A, B, C, D, E or X")]
pub struct NoGrade;

impl std::str::FromStr for Grade {
    type Err = NoGrade;

    fn from_str(text: &str) -> Result<Self, NoGrade> {
        Self::ALL.into_iter().find(|grade| grade.as_str() == text).ok_or(NoGrade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_are_ordered_by_strength_and_written_as_a_letter() {
        assert!(Grade::ALL.is_sorted_by(|a, b| a > b));
        for grade in Grade::ALL {
            assert_eq!(serde_json::to_string(&grade).unwrap(), format!("\"{grade}\""));
            assert_eq!(grade.as_str().parse(), Ok(grade));
        }
        assert_eq!("a".parse::<Grade>(), Err(NoGrade));
    }
}
