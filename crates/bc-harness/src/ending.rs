//! How a run ends, and the number that its caller sees.

use std::process::ExitCode;

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every invariant held.
    Held,
    /// At least one invariant was broken.
    Broken,
    /// The command line is wrong, or the machine lacks something; nothing was started.
    Refused,
    /// Nothing was seen to break, but not everything could be judged.
    Unjudged,
    /// Stopped by Ctrl-C or SIGTERM; everything was torn down.
    Interrupted,
}

impl Ending {
    /// The exit code: 0 held, 1 broken, 2 usage or missing requirement, 4 could not be judged, 130 interrupted.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Broken => 1,
            Self::Refused => 2,
            Self::Unjudged => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn the_numbers_never_change() {
        let all = [Ending::Held, Ending::Broken, Ending::Refused, Ending::Unjudged, Ending::Interrupted];
        assert_eq!(all.map(Ending::code), [0, 1, 2, 4, 130]);
    }
}
