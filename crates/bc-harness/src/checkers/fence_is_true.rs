//! A host that was reported off is off.

use super::{Verdict, seconds};
use crate::history::{Event, History};

pub(super) fn check(history: &History) -> Verdict {
    let mut off = 0;
    for entry in history.iter() {
        let Event::Power { node, said, running, .. } = &entry.event else { continue };
        if said != "off" {
            continue;
        }
        match running {
            Some(true) => {
                return Verdict::Broken(format!(
                    "at {} of the run the power switch said that {node} is off, and it was running",
                    seconds(entry.at_us)
                ));
            }
            Some(false) => off += 1,
            None => return Verdict::Unknown(format!("nobody could see whether {node} was off")),
        }
    }
    if off == 0 {
        return Verdict::Unknown("no host was ever reported off".to_owned());
    }
    Verdict::Held(format!("reported {off} times, and true each time"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::history::Asked;

    #[test]
    fn off_that_is_off_is_right() {
        let verdict = check(&history([
            power(1, "pg1", Asked::Status, "on", true),
            power(2, "pg1", Asked::Off, "off", false),
            power(3, "pg1", Asked::Status, "off", false),
        ]));
        assert_eq!(verdict, Verdict::Held("reported 2 times, and true each time".into()));
    }

    #[test]
    fn a_lie_is_named() {
        let verdict = check(&history([power(1500, "pg1", Asked::Off, "off", true)]));
        let expected = "at 1.500 s of the run the power switch said that pg1 is off, and it was running";
        assert_eq!(verdict, Verdict::Broken(expected.into()));
    }

    #[test]
    fn a_switch_that_nobody_used_proves_nothing() {
        let verdict = check(&history([power(1, "pg1", Asked::Status, "on", true)]));
        assert!(matches!(verdict, Verdict::Unknown(_)));
    }
}
