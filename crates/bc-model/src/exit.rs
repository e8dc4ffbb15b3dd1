//! Exit codes, the same in every program of the suite.
//!
//! A script at three in the morning branches on these, so they never change meaning. When `fence` is called as a
//! fence agent (request on stdin) it speaks the agent's dialect instead: 0 success or on, 2 off, 1 everything else.

use std::process::ExitCode;

/// What a program's end means to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or there was nothing to do.
    Done,
    /// Failed; whatever had been changed was put back.
    Failed,
    /// The command line or a configuration file is wrong; nothing was touched.
    Usage,
    /// A precondition does not hold; nothing was touched.
    Refused,
    /// Stopped half-way; `bcctl resume` continues.
    HalfWay,
    /// A node could not be proven off.
    NotFenced,
}

impl Exit {
    /// The number handed to the caller.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::HalfWay => 4,
            Self::NotFenced => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_numbers_never_change() {
        let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Refused, Exit::HalfWay, Exit::NotFenced];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5]);
    }
}
